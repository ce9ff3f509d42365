"""Second by second: must the step that runs now be ended before its hold is complete?"""

from __future__ import annotations

import math
from collections.abc import Sequence

from include.capacity.judgement import sums
from include.capacity.judgement.conditions import (
    allowed_share,
    asked,
    bad_and_total,
    describe,
    judge_condition,
    samples,
)
from include.capacity.judgement.overload import hard_overload, healthy_in_flight
from include.capacity.judgement.stops import GUARD, OVERLOAD, SHARD, SLO, stop
from include.capacity.models import ALL_LABELS, QUANTILES, FleetSecond, Slo, SloCondition, Step, ValidityLimits

SLIDING_S = 3  # seconds looked at for a sudden failure
ERROR_MARGIN = 0.10  # errors beyond the limit (or 0) by this share of the transactions are an overload
ERRORS_WITHOUT_LIMIT = 0.5
MIN_SLIDING_SAMPLES = 20
BUDGET_SLACK = 1.1  # the step's number of transactions is a forecast


def watch(
    step: Step,
    slo: Slo,
    limits: ValidityLimits,
    seconds: Sequence[FleetSecond],
    *,
    transactions_per_arrival: float,
    healthy_arrival_s: float | None = None,
) -> str | None:
    """Returns the reason to end the step now (see `stops`), or None to go on.

    Args:
        seconds: of this step so far, the first being the one in which its rate came into force.
        transactions_per_arrival: transactions that an arrival makes on average.
        healthy_arrival_s: how long an arrival takes at low load, think times included; None if not known.

    A rest is only watched for what makes the load itself faulty: it begins with what the probe before left in flight.
    """
    seconds = sums.in_order(seconds)
    if not seconds:
        return None
    reason = _faulty_load(seconds[-1])
    if reason is not None or step.kind == "rest":
        return reason
    arrivals_per_s = step.rate_tps / transactions_per_arrival
    healthy = healthy_in_flight(slo, arrivals_per_s, transactions_per_arrival, healthy_arrival_s)
    return _overload(step, slo, seconds, arrivals_per_s, healthy, transactions_per_arrival) or _slo_lost(
        step, slo, seconds
    )


def _faulty_load(second: FleetSecond) -> str | None:
    if second.guard:
        return stop(GUARD, second.guard)
    if second.missing:
        return stop(SHARD, f"shard {_numbers(second.missing)} did not report for second {second.second}.")
    if second.restarted:
        return stop(SHARD, f"shard {_numbers(second.restarted)} was started anew in second {second.second}.")
    return None


def _numbers(shards: tuple[int, ...]) -> str:
    return ", ".join(str(shard) for shard in shards)


def _overload(
    step: Step,
    slo: Slo,
    seconds: Sequence[FleetSecond],
    arrivals_per_s: float,
    healthy: float,
    transactions_per_arrival: float,
) -> str | None:
    in_flight = seconds[-1].in_flight
    if hard_overload(in_flight, arrivals_per_s, healthy):
        return stop(
            OVERLOAD,
            f"{in_flight} arrivals in flight, more than a second of the offered {step.rate_tps:.4g} tps beyond "
            f"the {healthy:.0f} that a healthy service has.",
        )
    if len(seconds) < SLIDING_S:
        return None
    sliding = seconds[-SLIDING_S:]
    # what is in flight beyond the healthy level has been under way for longer than the limit
    late = max(in_flight - healthy - 3 * math.sqrt(healthy), 0.0) * transactions_per_arrival
    for condition in slo.conditions:
        if condition.metric not in QUANTILES:
            continue
        slow, total = sums.slow_and_all(sliding, condition.label, condition.limit)
        share, q = (slow + late) / max(total + late, 1), QUANTILES[condition.metric]
        if total + late >= MIN_SLIDING_SAMPLES and share > (1 - q) + q / 2:
            return stop(
                OVERLOAD, f"{share:.0%} of the transactions were slower than {condition.limit:g} ms for {SLIDING_S} s."
            )
    return _errors(slo, sliding)


def _errors(slo: Slo, sliding: Sequence[FleetSecond]) -> str | None:
    limits = {condition.label: condition.limit for condition in slo.conditions if condition.metric == "error_ratio"}
    thresholds = {label: limit + ERROR_MARGIN for label, limit in limits.items()}
    thresholds.setdefault(ALL_LABELS, ERRORS_WITHOUT_LIMIT)
    for label, threshold in thresholds.items():
        good, bad = sums.good_and_bad(sliding, label)
        if good + bad >= MIN_SLIDING_SAMPLES and bad > threshold * (good + bad):
            return stop(OVERLOAD, f"{bad / (good + bad):.0%} of the transactions failed for {SLIDING_S} s.")
    return None


def _slo_lost(step: Step, slo: Slo, seconds: Sequence[FleetSecond]) -> str | None:
    """A condition that would be missed even if every transaction from now on were good."""
    measured = seconds[1 + math.ceil(step.discard_s) :]
    planned_s = step.hold_s - step.discard_s
    if step.kind not in ("probe", "soak") or not measured or planned_s <= len(measured):
        return None
    for condition in slo.conditions:
        if not asked(condition, step):
            continue
        if condition.window_s is None:
            if _budget_spent(condition, step, measured, planned_s):
                return stop(
                    SLO, f"{describe(judge_condition(condition, measured))} Its budget for the hold is used up."
                )
            continue
        if len(measured) < condition.window_s:
            continue
        whole = len(measured) - len(measured) % max(round(condition.window_s), 1)
        result = judge_condition(condition, measured[:whole])
        planned = math.ceil(planned_s / condition.window_s)
        if result.windows_missed > condition.may_fail_ratio * planned * BUDGET_SLACK + 1e-9:
            return stop(SLO, describe(result))
    return None


def _budget_spent(condition: SloCondition, step: Step, measured: Sequence[FleetSecond], planned_s: float) -> bool:
    bad, total = bad_and_total(condition, measured)
    allowed = allowed_share(condition)
    if allowed is None:
        return False  # what was not completed yet may still be made up for
    everything = samples(measured, ALL_LABELS)
    planned = step.rate_tps * planned_s * (total / everything if everything else 0.0)
    return bad > allowed * max(planned, total) * BUDGET_SLACK + 3
