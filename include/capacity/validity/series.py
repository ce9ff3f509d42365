"""CloudWatch's series against the run: what is missing, and whether the load balancer saw the load.

CloudWatch stamps each point with the start of its period. Some metrics are only there when there is something to tell:
requests and response times while requests come, errors when there are any. So a period without a point is a gap only
where there must be one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Presence = Literal["always", "under load", "when it happens"]


@dataclass(frozen=True, slots=True)
class LoadSecond:
    """A second of load: epoch second, and transactions that ended in it."""

    second: int
    completed: float


def series_row(
    name: str, points: Sequence[tuple[float, float]], load: Sequence[LoadSecond], *, period_s: float, presence: Presence
) -> dict[str, Any]:
    """What the expectations look at, of one series.

    Args:
        points: (epoch seconds of the period's start, value).
        load: all recorded seconds of load of the run.
        presence: in which periods there must be a point.

    Returns:
        `points`; `expected_points`, `missing_points` and `first_missing` (epoch seconds or None) among the periods in
        which there must be one; `lowest`, `highest` value (None without points); `repeated_points` of a period.
    """
    stamps = [_period(at, period_s) for at, _ in points]
    expected = expected_periods(load, period_s, presence)
    # what lies behind the newest point has not been delivered yet: CloudWatch needs minutes for that
    newest = max(stamps, default=None)
    expected = [period for period in expected if newest is not None and period <= newest]
    known = set(stamps)
    missing = [period for period in expected if period not in known]
    values = [value for _, value in points]
    return {
        "series": name,
        "presence": presence,
        "points": len(points),
        "expected_points": len(expected),
        "missing_points": len(missing),
        "first_missing": missing[0] * period_s if missing else None,
        "lowest": min(values, default=None),
        "highest": max(values, default=None),
        "repeated_points": len(stamps) - len(known),
    }


def expected_periods(load: Sequence[LoadSecond], period_s: float, presence: Presence) -> list[int]:
    """Numbers of the periods (since the epoch) that need a point: between the first and the last second of load, and
    for those that only load brings the ones in which transactions ended in each second."""
    if not load or presence == "when it happens":
        return []
    seconds = {each.second: each.completed for each in load}
    first, last = min(seconds), max(seconds) + 1
    whole = range(math.ceil(first / period_s), math.floor(last / period_s))
    if presence == "always":
        return list(whole)
    return [period for period in whole if all(seconds.get(second, 0) > 0 for second in _seconds(period, period_s))]


def seen_ratio(requests: Sequence[tuple[float, float]], load: Sequence[LoadSecond], *, period_s: float) -> float | None:
    """Requests that the load balancer counted per transaction that ended, over the periods of full load that it told
    of; None without any. A transaction makes at least one request."""
    counts: dict[int, float] = {}
    for at, value in requests:
        counts[_period(at, period_s)] = value
    completed = {each.second: each.completed for each in load}
    periods = [period for period in expected_periods(load, period_s, "under load") if period in counts]
    transactions = sum(completed[second] for period in periods for second in _seconds(period, period_s))
    return sum(counts[period] for period in periods) / transactions if transactions else None


def load_seconds(seconds: Sequence[Mapping[str, Any]]) -> list[LoadSecond]:
    """From the rows of seconds.json; rows without numbers are left out."""
    return [
        LoadSecond(row["second"], float(row["completed_tps"]))
        for row in seconds
        if isinstance(row.get("second"), int) and isinstance(row.get("completed_tps"), int | float)
    ]


def _period(at: float, period_s: float) -> int:
    return round(at / period_s)


def _seconds(period: int, period_s: float) -> range:
    return range(math.ceil(period * period_s), math.ceil((period + 1) * period_s))
