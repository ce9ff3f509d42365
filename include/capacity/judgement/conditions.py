"""Judges the SLO's conditions on the seconds of a step."""

from __future__ import annotations

import math
from collections.abc import Sequence

from include.capacity.judgement import sums
from include.capacity.models import ALL_LABELS, QUANTILES, ConditionResult, FleetSecond, SloCondition

MIN_ERROR_SAMPLES = 20


def min_samples(condition: SloCondition) -> int:
    """Fewer transactions than this do not tell the condition's metric: p95 needs 20, p99 needs 100."""
    if condition.metric in QUANTILES:
        return math.ceil(1 / (1 - QUANTILES[condition.metric]) - 1e-9)
    return MIN_ERROR_SAMPLES


def samples(seconds: Sequence[FleetSecond], label: str) -> int:
    good, bad = sums.good_and_bad(seconds, label)
    return good + bad


def value_of(condition: SloCondition, seconds: Sequence[FleetSecond], unfinished: int = 0) -> float | None:
    """The metric over the seconds; None without any transaction.

    Args:
        unfinished: transactions of these seconds that are still on their way and must be slow; they count as endless,
            so a quantile among them is infinite.
    """
    if condition.metric in QUANTILES:
        latency = sums.latency(seconds, condition.label)
        total = latency.total
        if total == 0:
            return None
        q = QUANTILES[condition.metric] * (total + unfinished) / total
        return math.inf if q > 1 else latency.quantile_ms(q)
    good, bad = sums.good_and_bad(seconds, condition.label)
    return bad / (good + bad) if good + bad else None


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
    missed = sum(value > condition.limit for value in values)
    return ConditionResult(
        condition=condition,
        value=max(values) if values and not math.isinf(max(values)) else None,
        met=missed <= condition.may_fail_ratio * len(values) + 1e-9,
        windows=len(values),
        windows_missed=missed,
    )


def describe(result: ConditionResult) -> str:
    """A sentence on one condition: its name, value, limit and windows."""
    condition = result.condition
    error = condition.metric == "error_ratio"
    name = "error ratio" if error else f"{condition.metric.removeprefix('latency_').removesuffix('_ms')} latency"
    of = "" if condition.label == ALL_LABELS else f" of {condition.label}"
    limit = f"{condition.limit:.2%}" if error else f"{condition.limit:g} ms"
    if result.windows == 0:
        return f"The {name}{of} could not be judged: fewer than {min_samples(condition)} transactions."
    if result.value is None:
        value = "endless (too many transactions did not come back)"
    else:
        value = f"{result.value:.2%}" if error else f"{result.value:.0f} ms"
    text = f"The {name}{of} was {value}, {'within' if result.met else 'beyond'} the limit of {limit}"
    if condition.window_s is not None:
        text += f" ({result.windows_missed} of {result.windows} windows missed it)"
    return text + "."
