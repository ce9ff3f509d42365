"""An earlier answer as the place where a search begins. It shortens the way and is never trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from include.capacity.baseline.comparison import RunLevel


def prior_tps(history: Sequence[RunLevel], conditions: Mapping[str, str]) -> float | None:
    """The newest trusted answer that was measured under these conditions, in transactions per second.

    Args:
        conditions: name -> value that must be equal, such as `instances` -> `2`; what a run does not know is unequal.
    """
    alike = [
        run
        for run in history
        if run.trusted and all(run.conditions.get(name) == value for name, value in conditions.items())
    ]
    return max(alike, key=lambda run: run.ended_at).tps if alike else None
