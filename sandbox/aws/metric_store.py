"""CloudWatch's data: indexed by metric, so that a question costs what its own metric holds, with percentiles."""

from __future__ import annotations

import bisect
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

KEPT_S = 6 * 3600.0
DimensionSet = frozenset[tuple[str, str]]
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d{1,10})?|100)")


@dataclass(frozen=True, slots=True)
class MetricKey:
    """What makes a metric: its namespace, name and all of its dimensions."""

    namespace: str
    name: str
    dimensions: DimensionSet


@dataclass(frozen=True, slots=True)
class Datum:
    """What was published at one time: single values with their counts, or the summary of a set without its values."""

    time_s: float
    unit: str | None
    values: tuple[float, ...]
    counts: tuple[float, ...]
    summary: tuple[float, float, float, float] | None = None  # sum, minimum, maximum, sample count

    @property
    def total(self) -> float:
        return (
            self.summary[0] if self.summary else math.fsum(v * c for v, c in zip(self.values, self.counts, strict=True))
        )

    @property
    def minimum(self) -> float:
        return self.summary[1] if self.summary else min(self.values)

    @property
    def maximum(self) -> float:
        return self.summary[2] if self.summary else max(self.values)

    @property
    def sample_count(self) -> float:
        return self.summary[3] if self.summary else math.fsum(self.counts)


@dataclass(frozen=True, slots=True)
class Point:
    """One period of a metric. `start_s` is its beginning in seconds since 1970."""

    start_s: float
    data: tuple[Datum, ...]

    @property
    def unit(self) -> str | None:
        return self.data[-1].unit


def is_statistic(name: str) -> bool:
    """Whether the sandbox can compute a statistic."""
    return name in {"Sum", "SampleCount", "Minimum", "Maximum", "Average"} or _PERCENTILE.fullmatch(name) is not None


def statistic(name: str, data: Sequence[Datum]) -> float | None:
    """A statistic over data of one period; None if the data do not allow it. `name` is one that `is_statistic`."""
    match name:
        case "Sum":
            return math.fsum(d.total for d in data)
        case "SampleCount":
            return math.fsum(d.sample_count for d in data)
        case "Minimum":
            return min(d.minimum for d in data)
        case "Maximum":
            return max(d.maximum for d in data)
        case "Average":
            count = math.fsum(d.sample_count for d in data)
            return math.fsum(d.total for d in data) / count if count else None
    match = _PERCENTILE.fullmatch(name)
    if match is None:
        raise ValueError(f"unknown statistic {name}")
    return percentile(float(match[1]), data)


def percentile(percent: float, data: Sequence[Datum]) -> float | None:
    """The smallest value that at least `percent` of all values do not exceed.

    None if a summary hides its values: like AWS, only one whose minimum and maximum are equal can be used.
    """
    weighted: list[tuple[float, float]] = []
    for datum in data:
        if datum.summary is None:
            weighted.extend(zip(datum.values, datum.counts, strict=True))
        elif datum.minimum == datum.maximum:
            weighted.append((datum.minimum, datum.sample_count))
        else:
            return None
    weighted.sort()
    needed = percent / 100 * math.fsum(count for _, count in weighted)
    seen = 0.0
    for value, count in weighted:
        seen += count
        if seen >= needed - 1e-9 and count > 0:
            return value
    return None


class MetricStore:
    """All metrics of one account and region, each ordered by time."""

    def __init__(self) -> None:
        self._series: dict[MetricKey, list[Datum]] = {}

    def put(self, key: MetricKey, datum: Datum) -> None:
        """Add a datum. Data more than six hours older than the newest of their metric are dropped."""
        series = self._series.setdefault(key, [])
        if not series or series[-1].time_s <= datum.time_s:
            series.append(datum)
        else:
            bisect.insort(series, datum, key=lambda d: d.time_s)
        oldest = series[-1].time_s - KEPT_S
        if series[0].time_s < oldest:
            del series[: bisect.bisect_left(series, oldest, key=lambda d: d.time_s)]

    def __iter__(self) -> Iterator[MetricKey]:
        """All metrics that hold data."""
        return iter(list(self._series))

    def points(
        self, key: MetricKey, start_s: float, end_s: float, period_s: float, unit: str | None = None
    ) -> list[Point]:
        """The metric's periods that hold data, the oldest first.

        Periods begin at multiples of `period_s`; the first one is the one that holds `start_s`, `end_s` is excluded.
        """
        series = self._series.get(key, [])
        first = period_index(start_s, period_s) * period_s
        low = bisect.bisect_left(series, first - 1e-6, key=lambda d: d.time_s)
        high = bisect.bisect_left(series, end_s, key=lambda d: d.time_s)
        buckets: dict[int, list[Datum]] = {}
        for datum in series[low:high]:
            if unit is None or datum.unit == unit:
                buckets.setdefault(period_index(datum.time_s, period_s), []).append(datum)
        return [Point(index * period_s, tuple(buckets[index])) for index in sorted(buckets)]


def period_index(time_s: float, period_s: float) -> int:
    """The number of the period that holds a time; a microsecond before the next one counts as the next one."""
    return math.floor((time_s + 1e-6) / period_s)


def dimension_set(dimensions: Iterable[dict[str, str]]) -> DimensionSet:
    """The dimensions of an API call as a key."""
    return frozenset((d["Name"], d["Value"]) for d in dimensions)
