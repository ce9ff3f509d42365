"""Plays a search against a rule that says which step passes, without any load."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from include.capacity.models import Answer, Done, ProbeResult, SearchSettings, Step
from include.capacity.search.decision import next_step
from tests.unit.capacity.examples import SLO, result
from tests.unit.capacity.simulators.driver import SETTINGS

Rule = Callable[[Step, int], ProbeResult]


def passes_below(truth_tps: float, p95_ms: float = 200.0) -> Rule:
    """Every rate up to the truth passes, every other one is an overload."""

    def rule(step: Step, number: int) -> ProbeResult:
        return outcome(step, step.rate_tps <= truth_tps, p95_ms=p95_ms)

    return rule


def outcome(step: Step, passed: bool | None, **more: object) -> ProbeResult:
    """A result of this very step."""
    made = result(step.kind, step.rate_tps, passed, overloaded=passed is False, **more)  # type: ignore[arg-type]
    return replace(made, step=step, ended_at=made.started_at + step.hold_s)


def play(
    rule: Rule, settings: SearchSettings = SETTINGS, history: list[ProbeResult] | None = None
) -> tuple[Answer, list[ProbeResult]]:
    history = [] if history is None else history
    for number in range(300):
        decided = next_step(settings, SLO, history)
        if isinstance(decided, Done):
            return decided.answer, history
        history.append(rule(decided, number))
    raise AssertionError("the search does not end")


def kinds(history: list[ProbeResult]) -> list[str]:
    return [each.step.kind for each in history]


def rates(history: list[ProbeResult], kind: str) -> list[float]:
    return [each.step.rate_tps for each in history if each.step.kind == kind]
