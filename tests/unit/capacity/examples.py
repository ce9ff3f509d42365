"""Short ways to write seconds, steps and results in tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from include.capacity.histogram import Histogram
from include.capacity.judgement.probe import judge
from include.capacity.models import (
    HOLD_COMPLETE,
    FleetSecond,
    ProbeResult,
    ShardSecond,
    Slo,
    SloCondition,
    Step,
    StepKind,
    Validity,
    ValidityLimits,
)
from include.capacity.protocol import GeneratorHealth, Outcome
from include.capacity.validity.checks import NOTHING_ELSE, Surroundings

SLO = Slo((SloCondition("latency_p95_ms", 250.0), SloCondition("error_ratio", 0.01)))
LIMITS = ValidityLimits(
    max_lag_p99_ms=40.0,
    max_generator_cpu_cores=0.9,
    max_gc_ratio=0.1,
    min_idle_threads=1,
    max_rejected_ratio=0.001,
    max_offered_deviation=0.02,
)
STEP = Step("probe", 100.0, 13.0, 3.0, "an example")
FIRST = 1000


def histogram(*latencies_ms: float) -> Histogram:
    filled = Histogram()
    for latency in latencies_ms:
        filled.add(round(latency * 1e3))
    return filled


def same(latency_ms: float, count: int) -> Histogram:
    filled = Histogram()
    filled.add(round(latency_ms * 1e3), count)
    return filled


def shard(
    number: int = 0,
    *,
    cpu: float = 0.3,
    gc: float = 0.0,
    threads: int = 100,
    idle: int = 90,
    incarnation: str = "a",
    delay_s: float | None = None,
    in_force_after_s: float | None = None,
    **health: float,
) -> ShardSecond:
    """`health` are further fields of GeneratorHealth."""
    state = GeneratorHealth(jmeter_cpu_cores=cpu, gc_ratio=gc, **health)  # type: ignore[arg-type]
    return ShardSecond(number, incarnation, 50.0, state, threads, idle, delay_s, in_force_after_s)


def second(
    number: int,
    *,
    offered: int = 100,
    completed: int | None = None,
    latency_ms: float = 50.0,
    rows: Mapping[tuple[str, Outcome], Histogram] | None = None,
    lag_ms: float = 1.0,
    in_flight: int = 5,
    shards: Sequence[ShardSecond] | None = None,
    missing: tuple[int, ...] = (),
    restarted: tuple[int, ...] = (),
    rejected: int = 0,
    guard: str = "",
    sizes: Mapping[str, Histogram] | None = None,
    own_errors: Mapping[str, int] | None = None,
) -> FleetSecond:
    completed = offered if completed is None else completed
    return FleetSecond(
        second=number,
        offered=offered,
        completed=completed,
        rows={("shop", "ok"): same(latency_ms, completed)} if rows is None else rows,
        lag=same(lag_ms, offered),
        in_flight=in_flight,
        shards=(shard(0), shard(1)) if shards is None else tuple(shards),
        missing=missing,
        restarted=restarted,
        rejected=rejected,
        guard=guard,
        sizes=sizes or {},
        own_errors=own_errors or {},
    )


def seconds(count: int = 13, **changes: object) -> list[FleetSecond]:
    """Equal seconds from `FIRST` on."""
    return [second(FIRST + index, **changes) for index in range(count)]  # type: ignore[arg-type]


def judged(
    held: Sequence[FleetSecond],
    *,
    step: Step = STEP,
    slo: Slo = SLO,
    limits: ValidityLimits = LIMITS,
    stop: str = HOLD_COMPLETE,
    transactions_per_arrival: float = 1.0,
    shards: int = 2,
    ended_at: float | None = None,
    healthy_arrival_s: float | None = None,
    surroundings: Surroundings = NOTHING_ELSE,
) -> ProbeResult:
    """Judges seconds that begin at `FIRST`."""
    return judge(
        step,
        slo,
        limits,
        held,
        stage="search",
        number=0,
        started_at=float(FIRST),
        ended_at=float(FIRST + len(held)) if ended_at is None else ended_at,
        stop=stop,
        transactions_per_arrival=transactions_per_arrival,
        expected_shards=shards,
        environment={},
        healthy_arrival_s=healthy_arrival_s,
        surroundings=surroundings,
    )


def result(
    kind: StepKind,
    rate_tps: float,
    passed: bool | None,
    *,
    overloaded: bool = False,
    hold_s: float = 5.0,
    p95_ms: float = 200.0,
    reason: str = "the generator was late",
    status: str = "invalid",
    goodput: float = 1.0,
) -> ProbeResult:
    """A result as the search sees it; `passed=None` is one that is not valid."""
    template = judged(seconds())
    return replace(
        template,
        step=Step(kind, rate_tps, hold_s, 1.0, ""),
        started_at=0.0,
        ended_at=hold_s,
        offered_tps=rate_tps,
        achieved_tps=rate_tps * goodput,
        errors={"ok": round(rate_tps * goodput * template.measured_s)},
        conditions=tuple(
            replace(each, value=p95_ms if each.condition.metric == "latency_p95_ms" else 0.0)
            for each in template.conditions
        ),
        validity=Validity("valid") if passed is not None else Validity(status, (reason,)),  # type: ignore[arg-type]
        sustainable=passed,
        misses=() if passed is not False else ("The p95 latency was beyond the limit.",),
        overloaded=overloaded,
    )
