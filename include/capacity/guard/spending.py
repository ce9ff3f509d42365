"""A search that must end within a budget: cuts of its load time, as they were made, and decisions under them. Pure.

A cut is recorded with the number of probes before it, so that a replay and a repeated task decide as the run did.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from include.capacity.models import Done, ProbeResult, SearchSettings, Slo, Step

NextStep = Callable[[SearchSettings, Slo, Sequence[ProbeResult]], Step | Done]
PAUSE_S = 4.0  # a step takes so much longer than its load: reports, judging, storing


@dataclass(frozen=True, slots=True)
class Cut:
    """From the decision after `after` probes on, the search has `max_load_s` of load in all, because of `why`."""

    after: int
    max_load_s: float
    why: str


def cut_at(cuts: Sequence[Cut], number: int) -> Cut | None:
    """The cut in force for the decision after `number` probes: the last of those made by then."""
    return next((cut for cut in reversed(cuts) if cut.after <= number), None)


def decide(
    next_step: NextStep, cuts: Sequence[Cut], settings: SearchSettings, slo: Slo, history: Sequence[ProbeResult]
) -> Step | Done:
    """What `next_step` decides under the cuts; an answer says that, and why, the search was cut."""
    cut = cut_at(cuts, len(history))
    if cut is None:
        return next_step(settings, slo, history)
    step = next_step(replace(settings, max_load_s=min(settings.max_load_s, cut.max_load_s)), slo, history)
    if isinstance(step, Done):
        return replace(step, answer=replace(step.answer, why=(*step.answer.why, cut.why)))
    return step


def needed_s(step: Step, settings: SearchSettings, history: Sequence[ProbeResult]) -> float:
    """Seconds that a step takes, and after it the soak that would verify an answer, if none has passed yet."""
    verified = any(probe.step.kind == "soak" and probe.sustainable for probe in history)
    soak_s = 0.0 if step.kind == "soak" or verified else settings.soak_s + PAUSE_S
    return step.hold_s + PAUSE_S + soak_s


def new_cut(
    step: Step,
    left_s: float,
    why: str,
    settings: SearchSettings,
    history: Sequence[ProbeResult],
    spent_s: float,
) -> Cut | None:
    """The cut that `left_s` seconds make necessary before a step; None when they last for what would come.

    Args:
        spent_s: load time of the history, as the search counts it.
    """
    if needed_s(step, settings, history) <= left_s:
        return None
    pauses_s = PAUSE_S * (1 if step.kind == "soak" else 2)
    return Cut(len(history), spent_s + max(left_s - pauses_s, 0.0), why)
