"""From the wall clock of a place to instants, across the hours that daylight saving skips and repeats."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo


def first_instant(local: datetime, zone: ZoneInfo) -> datetime:
    """The first instant, in UTC, at which clocks in `zone` show `local` (naive) or have just skipped it."""
    early, late = _instants(local, zone)
    if late < early:  # the clocks skip it: both offsets give a wrong side of the change
        return _change(late, early, zone)
    return early


def last_instant(local: datetime, zone: ZoneInfo) -> datetime:
    """The last instant, in UTC, at which clocks in `zone` show `local` (naive) or have just skipped it."""
    early, late = _instants(local, zone)
    return _change(late, early, zone) if late < early else late


def _instants(local: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """By the offset before a change and by the one after it; equal where there is no change."""
    early, late = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return early, late


def _change(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The instant of the one change of offset in (before, after], to the second."""
    offset = after.astimezone(zone).utcoffset()
    low, high = 0, int((after - before).total_seconds())
    while high - low > 1:
        middle = (low + high) // 2
        if (before + timedelta(seconds=middle)).astimezone(zone).utcoffset() == offset:
            high = middle
        else:
            low = middle
    return before + timedelta(seconds=high)
