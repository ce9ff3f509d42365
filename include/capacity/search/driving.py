"""Drives a whole search against anything that can hold a rate: a simulated service, a real one, a recorded one.

All that a search needs of its target is that it holds a rate second by second, and that its instances can be replaced.
A rest is a low rate. The Airflow conductor drives the same functions (`next_step`, `Watch`, `judge`) on the real fleet.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from include.capacity.judgement.light_load import healthy_arrival_s
from include.capacity.judgement.probe import judge
from include.capacity.judgement.watching import Watch
from include.capacity.models import (
    HOLD_COMPLETE,
    Answer,
    Done,
    FleetSecond,
    ProbeResult,
    SearchSettings,
    Slo,
    Step,
    ValidityLimits,
)
from include.capacity.search.decision import next_step

VIEW_DELAY_S = 1  # a second is seen this long after its end: the reports of the shards are on their way


class Target(Protocol):
    """What is measured, together with the load generator in front of it."""

    def second(self, rate_tps: float) -> FleetSecond:
        """Holds the rate (transactions per second) for the next second.

        The `rows` of a returned second may go on filling up while its transactions end.
        """

    def replace(self) -> None:
        """Replaces the instances: the service is as it was before any load."""


@dataclass(frozen=True, slots=True)
class SearchRun:
    """A search that is over. `load_s` counts every second at a rate, rests included."""

    answer: Answer
    history: tuple[ProbeResult, ...]
    load_s: float


def run_search(
    target: Target,
    settings: SearchSettings,
    slo: Slo,
    limits: ValidityLimits,
    *,
    shards: int = 1,
    transactions_per_arrival: float = 1.0,
    max_steps: int = 1000,
    told: Callable[[ProbeResult], None] | None = None,
) -> SearchRun:
    """Runs a search to its end.

    Args:
        shards: how many shards report in each second.
        told: is called with each result.

    Raises RuntimeError when the search does not end within `max_steps` (a defect).
    """
    history: list[ProbeResult] = []
    load_s = 0.0
    for number in range(max_steps):
        decided = next_step(settings, slo, history)
        if isinstance(decided, Done):
            return SearchRun(decided.answer, tuple(history), load_s)
        if decided.replace_first:
            target.replace()
        result, held_s = hold(
            target,
            decided,
            slo,
            limits,
            number=number,
            shards=shards,
            transactions_per_arrival=transactions_per_arrival,
            healthy_s=healthy_arrival_s(history),
        )
        history.append(result)
        load_s += held_s
        if told is not None:
            told(result)
    raise RuntimeError(f"the search did not end within {max_steps} steps")


def hold(
    target: Target,
    step: Step,
    slo: Slo,
    limits: ValidityLimits,
    *,
    number: int,
    shards: int,
    transactions_per_arrival: float = 1.0,
    healthy_s: float | None = None,
) -> tuple[ProbeResult, int]:
    """Holds one step: watches it, waits for the last reports, judges. Returns the result and the seconds of load."""
    watching = Watch(step, slo, limits, transactions_per_arrival=transactions_per_arrival, healthy_arrival_s=healthy_s)
    planned = math.ceil(step.hold_s)
    seconds: list[FleetSecond] = []
    stop = HOLD_COMPLETE
    while len(seconds) < planned + VIEW_DELAY_S:
        seconds.append(target.second(step.rate_at(len(seconds) + 0.5)))
        reason = watching.see(seconds[:-VIEW_DELAY_S])
        if reason is not None and len(seconds) < planned + VIEW_DELAY_S:
            stop = reason
            break
    seen = seconds[:planned] if stop == HOLD_COMPLETE else seconds[:-VIEW_DELAY_S]
    result = judge(
        step,
        slo,
        limits,
        seen,
        stage="search",
        number=number,
        started_at=float(seconds[0].second),
        ended_at=float(seconds[-1].second + 1),
        stop=stop,
        transactions_per_arrival=transactions_per_arrival,
        expected_shards=shards,
        environment={},
        healthy_arrival_s=healthy_s,
    )
    return result, len(seconds)
