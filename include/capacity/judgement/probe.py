"""Judges a step once, after it has ended: valid or not, sustainable or not, and why."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from include.capacity.judgement import sequential, sums
from include.capacity.judgement.conditions import (
    allowed_share,
    asked,
    bad_and_total,
    describe,
    judge_condition,
)
from include.capacity.judgement.overload import (
    CLEAR_SHORTFALL,
    backlog,
    healthy_in_flight,
    latency_limit_s,
    shortfall,
)
from include.capacity.judgement.stops import MET, OVERLOAD, WELL, is_stop
from include.capacity.judgement.watching import WELL_S
from include.capacity.models import (
    HOLD_COMPLETE,
    ConditionResult,
    FleetSecond,
    ProbeResult,
    Slo,
    SloCondition,
    Step,
    Validity,
    ValidityLimits,
)
from include.capacity.validity.checks import NOTHING_ELSE, Surroundings, step_problems

MIN_MEASURED_S = 2
TAIL_S = 3
FEW, FEW_MORE = 4.0, 1.5  # bad transactions: below so many, so many more than allowed do not tell a miss
MIN_COMPLETE_SHARE = 0.6  # of the hold's measured part, if nothing ended it early


def judge(
    step: Step,
    slo: Slo,
    limits: ValidityLimits,
    seconds: Sequence[FleetSecond],
    *,
    stage: str,
    number: int,
    started_at: float,
    ended_at: float,
    stop: str,
    transactions_per_arrival: float,
    expected_shards: int,
    environment: Mapping[str, float],
    healthy_arrival_s: float | None = None,
    surroundings: Surroundings = NOTHING_ELSE,
) -> ProbeResult:
    """Judges the whole seconds between the discarded start and the end of a step.

    Args:
        seconds: of the step, final: each reported by all shards, or given up (`missing`). Others than the step's are
            left out.
        started_at, ended_at: epoch seconds between which the step's rate was in force.
        stop: `HOLD_COMPLETE`, what `watch` returned, or a sentence of the caller's.
        transactions_per_arrival: transactions that an arrival makes on average.
        environment: figures that are stored with the probe, such as instances in service.
        healthy_arrival_s: how long an arrival takes at low load, think times included; None if not known.
        surroundings: what else decides about validity, beside the fleet's seconds.

    An abort for overload is judged on what there is, the discarded start included if nothing else was seen.
    """
    held = [
        second for second in sums.in_order(seconds) if started_at <= second.second and second.second + 1 <= ended_at
    ]
    measured = [second for second in held if second.second >= started_at + step.discard_s]
    aborted = is_stop(stop, OVERLOAD)
    if aborted and not measured:
        measured = held
    if is_stop(stop, WELL):
        measured = held[-WELL_S:]
    span = max(len(measured), 1)
    in_flight_start = _in_flight_before(measured, held)
    dispatched, completed = sums.offered(measured), sum(second.completed for second in measured)
    arrivals_per_s = step.rate_tps / transactions_per_arrival
    healthy = healthy_in_flight(slo, arrivals_per_s, transactions_per_arrival, healthy_arrival_s)
    late = _unfinished(measured, healthy, transactions_per_arrival)
    conditions = tuple(_judged(condition, measured, late) for condition in slo.conditions if asked(condition, step))

    fell_behind = _behind(slo, measured, in_flight_start, transactions_per_arrival)
    short, allowed = shortfall(slo, measured, in_flight_start, transactions_per_arrival)
    overloaded = aborted or short > CLEAR_SHORTFALL * allowed
    misses = ([stop] if aborted else []) + [describe(result) for result in conditions if not result.met] + fell_behind
    problems = step_problems(
        step,
        limits,
        held,
        measured,
        surroundings,
        transactions_per_arrival=transactions_per_arrival,
        expected_shards=expected_shards,
        stop=stop,
        first=math.ceil(started_at),
        overloaded=aborted,
        missed=bool(misses),
        thread_hold_s=max(transactions_per_arrival, 1.0) * latency_limit_s(slo) + (healthy_arrival_s or 0.0),
    )
    validity = Validity("invalid", tuple(problems)) if problems else _enough(step, measured, conditions, stop, misses)
    counts = sums.outcomes(measured)
    answered = sum(counts.values()) - counts["generator_error"]
    return ProbeResult(
        stage=stage,
        number=number,
        step=step,
        started_at=started_at,
        ended_at=ended_at,
        measured_s=len(measured),
        offered_tps=dispatched * transactions_per_arrival / span,
        achieved_tps=completed / span,
        transactions_per_arrival=transactions_per_arrival,
        latency_ms=_latencies(measured),
        error_ratio=(answered - counts["ok"]) / answered if answered else 0.0,
        errors=counts,
        conditions=conditions,
        lag_p99_ms=sums.lag(measured).quantile_ms(0.99),
        in_flight_start=in_flight_start,
        in_flight_end=measured[-1].in_flight if measured else in_flight_start,
        validity=validity,
        sustainable=not misses if validity.status == "valid" else None,
        misses=tuple(misses),
        stop=stop,
        environment=dict(environment),
        changes=surroundings.changes,
        overloaded=overloaded,
        in_flight_mean=sums.mean_in_flight(measured),
        tail_goodput_tps=_tail_goodput_tps(measured),
    )


def _judged(condition: SloCondition, measured: Sequence[FleetSecond], late: int) -> ConditionResult:
    """The condition's result with the share of bad transactions and its standard error.

    Where the allowance of the whole hold is a few transactions, one or two more are no miss: they are noise.
    """
    result, allowed = judge_condition(condition, measured, late), allowed_share(condition)
    if allowed is None:
        return result
    values = [bad_and_total(condition, (second,)) for second in measured]
    bad, total = sum(value[0] for value in values) + late, sum(value[1] for value in values) + late
    if not result.met and condition.window_s is None and bad <= min(allowed * total + FEW_MORE, FEW):
        result = replace(result, met=True)
    found = sequential.estimate(sequential.blocks_of(values), allowed)
    return result if found is None else replace(result, share=found.share, share_error=found.error)


def _tail_goodput_tps(measured: Sequence[FleetSecond]) -> float:
    """Transactions per second that ended well at the end; as many of those that ended as of those that began then."""
    tail = measured[-TAIL_S:]
    completed, counts = sum(second.completed for second in tail), sums.outcomes(tail)
    if 2 * sum(counts.values()) < completed:  # most that began then are still on their way
        counts = sums.outcomes(measured)
    known = sum(counts.values())
    return completed * counts["ok"] / known / len(tail) if known else 0.0


def _in_flight_before(measured: Sequence[FleetSecond], held: Sequence[FleetSecond]) -> int:
    """Arrivals in flight when the measured part began: those at the end of the second before it."""
    if not measured:
        return held[-1].in_flight if held else 0
    before = [second.in_flight for second in held if second.second == measured[0].second - 1]
    if before:
        return before[0]
    # the second before is not known: what was in flight then, by what came and went in the first second
    return max(measured[0].in_flight - measured[0].offered + measured[0].completed, 0)


def _unfinished(measured: Sequence[FleetSecond], healthy: float, transactions_per_arrival: float) -> int:
    """Transactions of the measured seconds that never came back and are beyond what a healthy service has in flight."""
    if not measured:
        return 0
    excess = measured[-1].in_flight - healthy - 3 * math.sqrt(healthy)
    absent = sums.offered(measured) * transactions_per_arrival - sum(sums.outcomes(measured).values())
    return max(round(min(excess * transactions_per_arrival, absent)), 0)


def _behind(
    slo: Slo, measured: Sequence[FleetSecond], in_flight_start: int, transactions_per_arrival: float
) -> list[str]:
    """Sentences on a service that completes less than is offered, or builds up a backlog."""
    if not measured:
        return []
    misses = []
    short, allowed = shortfall(slo, measured, in_flight_start, transactions_per_arrival)
    if short > allowed:
        offered = sums.offered(measured) * transactions_per_arrival
        misses.append(
            f"Only {(offered - short) / max(offered, 1):.1%} of the offered transactions were completed "
            f"({short:.0f} are missing, {allowed:.0f} allowed)."
        )
    first, last, grew = backlog(slo, measured, in_flight_start)
    if grew:
        misses.append(f"A backlog built up: {first:.0f} arrivals in flight grew to {last:.0f}.")
    return misses


def _enough(
    step: Step,
    measured: Sequence[FleetSecond],
    conditions: Sequence[ConditionResult],
    stop: str,
    misses: Sequence[str],
) -> Validity:
    """Valid, or inconclusive: too little was seen to tell."""
    if is_stop(stop, OVERLOAD):
        return Validity("valid")
    early = is_stop(stop, MET) or is_stop(stop, WELL)
    wanted = step.hold_s - step.discard_s
    fewest = 1 if step.kind == "rest" else MIN_MEASURED_S
    if len(measured) < fewest or (stop == HOLD_COMPLETE and len(measured) < MIN_COMPLETE_SHARE * wanted - 1):
        return Validity("inconclusive", (f"Only {len(measured)} of {wanted:g} seconds were seen whole.",))
    if misses:
        return Validity("valid")
    # a step on the way up is judged by what it shows; what it cannot show is left to the probes
    unjudged = [] if step.kind in ("warm", "ramp") else [result for result in conditions if result.windows == 0]
    reasons = [describe(result) for result in unjudged]
    if stop != HOLD_COMPLETE and not early and not reasons:
        reasons = [f"It was ended before it could be judged: {stop}"]
    return Validity("inconclusive", tuple(reasons)) if reasons else Validity("valid")


def _latencies(measured: Sequence[FleetSecond]) -> dict[str, float]:
    latency = sums.latency(measured)
    values = {
        name: latency.quantile_ms(q)
        for name, q in (("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))
    }
    return {name: value for name, value in values.items() if value is not None}
