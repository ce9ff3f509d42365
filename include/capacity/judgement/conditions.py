"""Judges the SLO's conditions on the seconds of a step."""

from __future__ import annotations

import math
from collections.abc import Sequence

from include.capacity.judgement import sums
from include.capacity.models import (
    ALL_LABELS,
    METRICS,
    QUANTILES,
    ConditionResult,
    FleetSecond,
    SloCondition,
    Step,
)

MIN_ERROR_SAMPLES = 20
MIN_APDEX_SAMPLES = 100  # the Apdex Technical Specification marks a score of fewer as one of a small group


def min_samples(condition: SloCondition) -> int:
    """Fewer transactions than this do not tell the condition's metric: p95 needs 20, p99 and Apdex need 100.

    A throughput needs none: that nothing was completed is the worst throughput, and known for sure.
    """
    if condition.metric in QUANTILES:
        return math.ceil(1 / (1 - QUANTILES[condition.metric]) - 1e-9)
    if condition.metric == "throughput_tps":
        return 0
    return MIN_APDEX_SAMPLES if condition.metric == "apdex" else MIN_ERROR_SAMPLES


def samples(seconds: Sequence[FleetSecond], label: str) -> int:
    good, bad = sums.good_and_bad(seconds, label)
    return good + bad


def bad_and_total(condition: SloCondition, seconds: Sequence[FleetSecond]) -> tuple[float, int]:
    """Weight of the transactions that spend the condition's allowance, and all transactions of its label.

    The condition holds over the seconds while bad <= allowed_share x total. A quantile counts those slower than its
    limit (failed ones by the time they took, as in `value_of`), the error ratio the failed ones, Apdex the frustrated
    ones and half of the tolerating. Nothing spends a throughput.
    """
    if condition.metric in QUANTILES:
        return sums.slow_and_all(seconds, condition.label, condition.limit)
    if condition.metric == "apdex":
        return sums.unhappy_and_all(seconds, condition.label, _target_ms(condition))
    good, bad = sums.good_and_bad(seconds, condition.label)
    return (0 if condition.metric == "throughput_tps" else bad), good + bad


def allowed_share(condition: SloCondition) -> float | None:
    """The largest bad ÷ total of `bad_and_total` within the limit; None for a throughput, which has no such share."""
    if condition.metric in QUANTILES:
        return 1 - QUANTILES[condition.metric]
    if condition.metric == "throughput_tps":
        return None
    return 1 - condition.limit if condition.metric == "apdex" else condition.limit


def asked(condition: SloCondition, step: Step) -> bool:
    """Whether a step can tell the condition: no service completes more transactions a second than it is offered."""
    return not (condition.metric == "throughput_tps" and condition.label == ALL_LABELS) or (
        step.rate_tps > condition.limit
    )


def value_of(condition: SloCondition, seconds: Sequence[FleetSecond], unfinished: int = 0) -> float | None:
    """The metric over the seconds; None without any transaction (a throughput then is 0).

    Latencies are those of all transactions, failed ones included: an error that comes at once makes the error ratio
    worse, not the latency better than it was.

    Args:
        unfinished: transactions of these seconds that are still on their way and must be slow; they count as endless,
            so a quantile among them is infinite, and as frustrated.
    """
    if condition.metric == "throughput_tps":
        return sums.completed(seconds, condition.label) / len(seconds) if seconds else None
    if condition.metric in QUANTILES:
        latency = sums.latency(seconds, condition.label)
        total = latency.total
        if total == 0:
            return None
        q = QUANTILES[condition.metric] * (total + unfinished) / total
        return math.inf if q > 1 else latency.quantile_ms(q)
    bad, total = bad_and_total(condition, seconds)
    if total == 0:
        return None
    if condition.metric == "apdex":
        return 1 - (bad + unfinished) / (total + unfinished)
    return bad / total


def _target_ms(condition: SloCondition) -> float:
    if condition.target_ms is None:
        raise ValueError("an Apdex condition needs target_ms")
    return condition.target_ms


def windows_of(seconds: Sequence[FleetSecond], window_s: float | None) -> list[Sequence[FleetSecond]]:
    """Cuts the seconds into consecutive windows; one more, overlapping, covers a remainder at the end.

    Seconds shorter than one window are one window.
    """
    length = len(seconds) if window_s is None else max(round(window_s), 1)
    if len(seconds) <= length:
        return [seconds]
    windows = [seconds[start : start + length] for start in range(0, len(seconds) - length + 1, length)]
    if len(seconds) % length:
        windows.append(seconds[-length:])
    return windows


def judge_condition(condition: SloCondition, seconds: Sequence[FleetSecond], unfinished: int = 0) -> ConditionResult:
    """Judges one condition.

    `value` is the worst window's, None (and not met) if that one falls on an unfinished transaction.
    Windows with too few transactions are not judged. `met` is True when no window could be judged: whoever asks must
    look at `windows` first.
    """
    cut = windows_of(seconds, condition.window_s)
    values: list[float] = []
    for index, window in enumerate(cut):
        late = unfinished if index == len(cut) - 1 and condition.label == ALL_LABELS else 0
        if samples(window, condition.label) + late < min_samples(condition):
            continue
        value = value_of(condition, window, late)
        if value is not None:
            values.append(value)
    missed = sum(map(condition.missed_by, values))
    worst = (min if condition.higher_is_better else max)(values, default=math.inf)
    return ConditionResult(
        condition=condition,
        value=None if math.isinf(worst) else worst,
        met=missed <= condition.may_fail_ratio * len(values) + 1e-9,
        windows=len(values),
        windows_missed=missed,
    )


def describe(result: ConditionResult) -> str:
    """A sentence on one condition: its name, value, limit and windows."""
    condition = result.condition
    facts = METRICS[condition.metric]
    name = facts.name if condition.label == ALL_LABELS else f"{facts.name} of {condition.label}"
    if result.windows == 0:
        return f"The {name} could not be judged: fewer than {min_samples(condition)} transactions."
    if result.value is None:
        value = "endless (too many transactions did not come back)"
    else:
        value = _shown(condition, result.value, exact=False)
    side = "within" if result.met else ("below" if condition.higher_is_better else "beyond")
    text = f"The {name} was {value}, {side} the limit of {_shown(condition, condition.limit, exact=True)}"
    if condition.window_s is not None:
        text += f" ({result.windows_missed} of {result.windows} windows missed it)"
    return text + "."


def _shown(condition: SloCondition, value: float, *, exact: bool) -> str:
    """A value of the condition's metric with its unit; limits are shown as they were written."""
    unit = METRICS[condition.metric].unit
    if unit == "ratio":
        return f"{value:.2%}"
    if unit == "score":
        return f"{value:g} at {condition.target_ms:g} ms" if exact else f"{value:.3f}"
    return f"{value:g} {unit}" if exact else f"{value:.0f} {unit}" if unit == "ms" else f"{value:.4g} {unit}"
