"""Replays a stored search: the same probes must lead to the same decisions."""

from __future__ import annotations

from collections.abc import Sequence

from include.capacity.models import Done, ProbeResult, SearchSettings, Slo, Step
from include.capacity.search.decision import next_step


def replay(settings: SearchSettings, slo: Slo, history: Sequence[ProbeResult]) -> list[tuple[Step | Done, Step | None]]:
    """Decides each step anew from the probes before it.

    Returns:
        (decided, recorded) for each probe of the history, smoke left out, and last (what comes after them, None).
    """
    searched = [result for result in history if result.step.kind != "smoke"]
    pairs: list[tuple[Step | Done, Step | None]] = [
        (next_step(settings, slo, searched[:number]), result.step) for number, result in enumerate(searched)
    ]
    return [*pairs, (next_step(settings, slo, searched), None)]


def differences(pairs: Sequence[tuple[Step | Done, Step | None]]) -> list[int]:
    """The places where the decision differs from what was recorded."""
    return [number for number, (decided, recorded) in enumerate(pairs) if recorded is not None and decided != recorded]
