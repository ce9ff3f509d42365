"""Times at which a run must not be under way. Pure: the present is an argument.

A blackout is written on the wall clock of a place. It begins at the first instant at which the clocks there show its
start and ends at the last at which they show its end, so an hour that is repeated belongs to it both times; a time that
the clocks skip counts as the moment of the change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from include.capacity.guard.cron import Cron
from include.capacity.guard.local_time import first_instant, last_instant

HORIZON = timedelta(days=400)
"""So far ahead a free time is looked for."""
_CHUNK = timedelta(days=8)
WEEK_MINUTES = 7 * 24 * 60


class Rule(Protocol):
    @property
    def reach(self) -> timedelta:
        """The longest window, on the wall clock."""

    def starting(self, day: date, zone: ZoneInfo) -> Iterator[tuple[datetime, datetime]]:
        """The windows that begin on a day of the zone, as instants in UTC (start, end)."""


@dataclass(frozen=True, slots=True)
class Weekly:
    """From one minute of the week (0 is Monday 00:00) to another; an end at or before the start is in the next week."""

    start: int
    end: int

    @property
    def reach(self) -> timedelta:
        return timedelta(minutes=(self.end - self.start - 1) % WEEK_MINUTES + 1)

    def starting(self, day: date, zone: ZoneInfo) -> Iterator[tuple[datetime, datetime]]:
        if day.weekday() == self.start // (24 * 60):
            start = datetime.combine(day, time()) + timedelta(minutes=self.start % (24 * 60))
            yield first_instant(start, zone), last_instant(start + self.reach, zone)


@dataclass(frozen=True, slots=True)
class Dates:
    """From one date and time to another, both naive."""

    start: datetime
    end: datetime

    @property
    def reach(self) -> timedelta:
        return self.end - self.start

    def starting(self, day: date, zone: ZoneInfo) -> Iterator[tuple[datetime, datetime]]:
        if day == self.start.date():
            yield first_instant(self.start, zone), last_instant(self.end, zone)


@dataclass(frozen=True, slots=True)
class Recurring:
    """From each time of a cron expression on, for a length of time."""

    cron: Cron
    length: timedelta

    @property
    def reach(self) -> timedelta:
        return self.length

    def starting(self, day: date, zone: ZoneInfo) -> Iterator[tuple[datetime, datetime]]:
        for start in self.cron.on(day):
            yield first_instant(start, zone), last_instant(start, zone) + self.length


@dataclass(frozen=True, slots=True)
class Blackout:
    """`rules` in the time of `zone`. `key` and `reason` are for people: where it stands, and what it is for."""

    rules: tuple[Rule, ...]
    zone: str
    reason: str
    key: str


@dataclass(frozen=True, slots=True)
class Window:
    """From `start` up to and without `end`, in UTC."""

    start: datetime
    end: datetime
    blackout: Blackout

    def __str__(self) -> str:
        zone = ZoneInfo(self.blackout.zone)
        start, end = (f"{moment.astimezone(zone):%a %Y-%m-%d %H:%M}" for moment in (self.start, self.end))
        return f"{self.blackout.reason!r} ({self.blackout.key}: {start} to {end}, {self.blackout.zone})"


def windows(blackouts: Iterable[Blackout], start: datetime, end: datetime) -> list[Window]:
    """All windows that overlap [start, end), by their start."""
    found = []
    for blackout in blackouts:
        zone = ZoneInfo(blackout.zone)
        for rule in blackout.rules:
            day = (start - rule.reach).astimezone(zone).date() - timedelta(days=2)
            last = end.astimezone(zone).date() + timedelta(days=1)
            if isinstance(rule, Dates):
                day = last = rule.start.date()
            while day <= last:
                for begins, ends in rule.starting(day, zone):
                    if begins < end and ends > start and begins < ends:  # one in a skipped hour is empty
                        found.append(Window(begins, ends, blackout))
                day += timedelta(days=1)
    return sorted(found, key=lambda window: (window.start, window.end, window.blackout.key))


def next_free(blackouts: Sequence[Blackout], now: datetime, duration: timedelta) -> datetime | None:
    """The first moment from `now` on at which a run of this length meets no blackout; None within HORIZON."""
    moment = now
    while moment <= now + HORIZON:
        until = moment + duration + _CHUNK
        for window in windows(blackouts, moment, until):
            if window.start >= moment + duration:
                break
            moment = max(moment, window.end)
        if moment + duration <= until:
            return moment
    return None


def refusal(blackouts: Sequence[Blackout], now: datetime, duration: timedelta) -> str | None:
    """Why a run must not start now, with the next free time; None when it may."""
    met = windows(blackouts, now, now + duration)
    if not met:
        return None
    free = next_free(blackouts, now, duration)
    if free is None:
        cure = f"No time within {HORIZON.days} days is free for it: shorten the run or the blackouts."
    else:
        local = free.astimezone(ZoneInfo(met[0].blackout.zone))
        cure = f"Start it from {_utc(free)} on ({local:%a %H:%M} {met[0].blackout.zone})."
    return (
        f"The run may take until {_utc(now + duration)} and would meet the blackout {met[0]}. {cure} "
        "The blackouts are in the service profile."
    )


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
