"""Drives a search against a simulated fleet, as the conductor drives it against the real one."""

from __future__ import annotations

from dataclasses import dataclass, field

from include.capacity.judgement.probe import judge
from include.capacity.judgement.watching import watch
from include.capacity.models import (
    HOLD_COMPLETE,
    Answer,
    Done,
    FleetSecond,
    ProbeResult,
    SearchSettings,
    Slo,
    SloCondition,
    Step,
    ValidityLimits,
)
from include.capacity.search.decision import next_step
from tests.unit.capacity.simulators.fleet import SimulatedFleet

SLO = Slo((SloCondition("latency_p95_ms", 250.0), SloCondition("error_ratio", 0.01)))
LIMITS = ValidityLimits(
    max_lag_p99_ms=40.0,
    max_generator_cpu_cores=0.9,
    max_gc_ratio=0.1,
    min_idle_threads=1,
    max_rejected_ratio=0.001,
    max_offered_deviation=0.02,
)
SETTINGS = SearchSettings(
    lower_tps=20.0,
    upper_tps=600.0,
    resolution=0.03,
    ramp_factor=1.35,
    ramp_step_s=5.0,
    probe_s=14.0,
    probe_discard_s=3.0,
    soak_s=60.0,
    soak_discard_s=5.0,
    rest_s=3.0,
    max_load_s=600.0,
    max_invalid_repeats=3,
)
PHASE = 0.2  # a step starts this far into a second
VIEW_DELAY_S = 1  # the conductor sees a second this long after its end


@dataclass(slots=True)
class Search:
    answer: Answer
    history: list[ProbeResult] = field(default_factory=list)
    load_s: float = 0.0


def hold(fleet: SimulatedFleet, step: Step, slo: Slo, limits: ValidityLimits, number: int, shards: int) -> ProbeResult:
    """Runs one step: holds the rate, watches, waits for the last reports, judges."""
    first = fleet.now
    seconds: list[FleetSecond] = []
    stop = HOLD_COMPLETE
    ended = first + PHASE + step.hold_s
    while fleet.now < ended:
        seconds.append(fleet.second(step.rate_tps))
        reason = watch(step, slo, limits, seconds[:-VIEW_DELAY_S], transactions_per_arrival=1.0)
        if reason is not None:
            stop, ended = reason, float(fleet.now)
    if stop == HOLD_COMPLETE:
        fleet.second(step.rate_tps)  # the rate stays while the last reports come in
    return judge(
        step,
        slo,
        limits,
        seconds,
        stage="search",
        number=number,
        started_at=first + PHASE,
        ended_at=ended,
        stop=stop,
        transactions_per_arrival=1.0,
        expected_shards=shards,
        environment={},
    )


def drive(
    fleet: SimulatedFleet,
    settings: SearchSettings = SETTINGS,
    slo: Slo = SLO,
    limits: ValidityLimits = LIMITS,
    *,
    shards: int = 2,
    max_steps: int = 200,
) -> Search:
    """Runs a whole search."""
    history: list[ProbeResult] = []
    started = fleet.now
    for number in range(max_steps):
        decided = next_step(settings, slo, history)
        if isinstance(decided, Done):
            return Search(decided.answer, history, fleet.now - started)
        history.append(hold(fleet, decided, slo, limits, number, shards))
    raise AssertionError(f"no end after {max_steps} steps")
