"""Second by second: must, or may, the step that runs now be ended before its hold is complete?"""

from __future__ import annotations

import math
from collections.abc import Sequence

from include.capacity.judgement import sequential, sums
from include.capacity.judgement.conditions import (
    allowed_share,
    asked,
    bad_and_total,
    describe,
    judge_condition,
    min_samples,
)
from include.capacity.judgement.overload import backlog, hard_overload, healthy_in_flight
from include.capacity.judgement.stops import BEYOND_DOUBT, GUARD, MET, OVERLOAD, SHARD, SLO, WELL, stop
from include.capacity.models import ALL_LABELS, QUANTILES, FleetSecond, Slo, Step, ValidityLimits

SLIDING_S = 3  # seconds looked at for a sudden failure
ERROR_MARGIN = 0.10  # errors beyond the limit (or 0) by this share of the transactions are an overload
ERRORS_WITHOUT_LIMIT = 0.5
MIN_SLIDING_SAMPLES = 20
ALL_SLOW = 0.95
BUDGET_SLACK = 1.1  # the step's number of transactions is a forecast
MIN_WELL_SAMPLES = 10
TREND = 1.1
WELL_S = 3  # seconds of a rest that must look healthy

# Of all probes at exactly the limit, so many are called met (or missed) before their end. A soak is never cut short for
# being good, and is given up late: it is the last word.
MET_ERROR_RATE = 0.08
MISSED_ERROR_RATE = 0.08
SOAK_MISSED_ERROR_RATE = 0.02


class Watch:
    """Watches one step. `see` is a function of the seconds alone; what is settled of them is not added up again.

    Args:
        transactions_per_arrival: transactions that an arrival makes on average.
        healthy_arrival_s: how long an arrival takes at low load, think times included; None if not known.
    """

    def __init__(
        self,
        step: Step,
        slo: Slo,
        limits: ValidityLimits,
        *,
        transactions_per_arrival: float,
        healthy_arrival_s: float | None = None,
    ) -> None:
        self._step, self._slo, self._limits = step, slo, limits
        self._transactions_per_arrival = transactions_per_arrival
        self._arrivals_per_s = step.rate_tps / transactions_per_arrival
        self._healthy = healthy_in_flight(slo, self._arrivals_per_s, transactions_per_arrival, healthy_arrival_s)
        self._tallies: dict[int, tuple[int, tuple[tuple[float, int], ...]]] = {}
        self._asked = [condition for condition in slo.conditions if asked(condition, step)]
        self._whole = [condition for condition in self._asked if condition.window_s is None]

    def see(self, seconds: Sequence[FleetSecond]) -> str | None:
        """Returns the reason to end the step now (see `stops`), or None to go on.

        Args:
            seconds: of this step so far, the first being the one in which its rate came into force.

        A rest is only watched for what makes the load itself faulty, and for its good end: it begins with what the
        probe before left in flight.
        """
        seconds = sums.in_order(seconds)
        if not seconds:
            return None
        reason = _faulty_load(seconds[-1])
        if reason is not None:
            return reason
        if self._step.kind == "rest":
            return _well(self._step, seconds)
        return (
            _overload(
                self._step, self._slo, seconds, self._arrivals_per_s, self._healthy, self._transactions_per_arrival
            )
            or self._windows_lost(seconds)
            or self._decided(seconds)
        )

    def _measured(self, seconds: Sequence[FleetSecond]) -> Sequence[FleetSecond]:
        return seconds[1 + math.ceil(self._step.discard_s) :]

    def _windows_lost(self, seconds: Sequence[FleetSecond]) -> str | None:
        """A condition on windows that would be missed even if every window from now on were good."""
        step, measured = self._step, self._measured(seconds)
        planned_s = step.hold_s - step.discard_s
        if step.kind not in ("probe", "soak") or planned_s <= len(measured):
            return None
        for condition in self._asked:
            if condition.window_s is None or len(measured) < condition.window_s:
                continue
            whole = len(measured) - len(measured) % max(round(condition.window_s), 1)
            result = judge_condition(condition, measured[:whole])
            planned = math.ceil(planned_s / condition.window_s)
            if result.windows_missed > condition.may_fail_ratio * planned * BUDGET_SLACK + 1e-9:
                return stop(SLO, describe(result))
        return None

    def _decided(self, seconds: Sequence[FleetSecond]) -> str | None:
        """A whole hold's conditions: met or missed beyond doubt, or their allowance used up already."""
        step, measured = self._step, self._measured(seconds)
        planned_s = step.hold_s - step.discard_s
        if step.kind not in ("probe", "soak") or not measured or planned_s <= len(measured):
            return None
        tallies = [self._tally(second) for second in measured]
        everything = sum(second_all for second_all, _ in tallies)
        met = 0
        for place, condition in enumerate(self._whole):
            allowed = allowed_share(condition)
            if allowed is None:
                continue
            values = [shares[place] for _, shares in tallies]
            bad, total = sum(value[0] for value in values), sum(value[1] for value in values)
            if total < min_samples(condition):
                continue
            planned = step.rate_tps * planned_s * (total / everything if everything else 0.0)
            if bad > allowed * max(planned, total) * BUDGET_SLACK + 3:
                sentence = describe(judge_condition(condition, measured))
                return stop(SLO, f"{sentence} Its budget for the hold is used up.")
            verdict = sequential.clear(
                sequential.blocks_of(values),
                allowed,
                met_error_rate=MET_ERROR_RATE,
                missed_error_rate=MISSED_ERROR_RATE if step.kind == "probe" else SOAK_MISSED_ERROR_RATE,
            )
            if verdict == "missed":
                return stop(SLO, f"{describe(judge_condition(condition, measured))} {BEYOND_DOUBT}")
            met += verdict == "met"
        early = step.kind == "probe" or (step.least_s is not None and len(seconds) >= step.least_s)
        if early and met and met == len(self._asked) and not self._grows(measured):
            return stop(MET, f"every condition is met beyond doubt after {len(measured)} of {planned_s:g} s.")
        return None

    def _grows(self, measured: Sequence[FleetSecond]) -> bool:
        if self._step.kind == "soak" and _trend(measured):
            return True
        return backlog(self._slo, measured, measured[0].in_flight)[2]

    def _tally(self, second: FleetSecond) -> tuple[int, tuple[tuple[float, int], ...]]:
        """All transactions of a second, and (bad, all) for each whole-hold condition."""
        everything = sum(part.total for _, part in sums.rows_of((second,), ALL_LABELS))
        known = self._tallies.get(second.second)
        if known is None or known[0] != everything:
            known = (everything, tuple(bad_and_total(condition, (second,)) for condition in self._whole))
            self._tallies[second.second] = known
        return known


def watch(
    step: Step,
    slo: Slo,
    limits: ValidityLimits,
    seconds: Sequence[FleetSecond],
    *,
    transactions_per_arrival: float,
    healthy_arrival_s: float | None = None,
) -> str | None:
    """`Watch.see` for one look."""
    watching = Watch(
        step, slo, limits, transactions_per_arrival=transactions_per_arrival, healthy_arrival_s=healthy_arrival_s
    )
    return watching.see(seconds)


def _trend(measured: Sequence[FleetSecond]) -> bool:
    """Whether transactions take longer at the end than at the start: what wears out must be held to the end."""
    third = max(len(measured) // 3, 1)
    first, last = (sums.mean_in_flight(part) for part in (measured[:third], measured[-third:]))
    return last > TREND * first + 1


def _well(step: Step, seconds: Sequence[FleetSecond]) -> str | None:
    """A rest may end: the last seconds answer as a healthy service does, and nothing is left in flight."""
    if step.well_p50_ms is None or len(seconds) < WELL_S + 1:
        return None
    recent = seconds[-WELL_S:]
    latency = sums.latency(recent)
    p50 = latency.quantile_ms(0.5)
    if p50 is None or latency.total < MIN_WELL_SAMPLES or p50 > step.well_p50_ms:
        return None
    good, bad = sums.good_and_bad(recent, ALL_LABELS)
    if bad > ERROR_MARGIN * (good + bad) or recent[-1].in_flight > max(latency.total / WELL_S, MIN_WELL_SAMPLES):
        return None
    return stop(WELL, f"the median latency is {p50:.0f} ms again after {len(seconds)} s.")


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
    # In a hold near the limit queues of a few seconds come and go; there the condition's own allowance decides, and
    # here only what cannot be such a queue.
    near_limit = step.kind in ("probe", "soak")
    for condition in slo.conditions:
        if condition.metric not in QUANTILES or (near_limit and len(seconds) > 1 + step.discard_s + SLIDING_S):
            continue
        slow, total = sums.slow_and_all(sliding, condition.label, condition.limit)
        share, q = (slow + late) / max(total + late, 1), QUANTILES[condition.metric]
        most = ALL_SLOW if near_limit else (1 - q) + q / 2
        if total + late >= MIN_SLIDING_SAMPLES and share > most:
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
