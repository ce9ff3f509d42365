"""The guard rails of a service profile: what a run must never do, whatever else the profile says."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, Field, model_validator

from include.capacity.guard.blackouts import WEEK_MINUTES, Blackout, Dates, Recurring, Rule, Weekly
from include.capacity.guard.cron import Cron
from include.capacity.profile_errors import contradiction
from include.capacity.profile_types import Number, Positive, Ratio, Seconds, Section, Text, Texts, Tps

Day = Literal["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
DAYS: tuple[Day, ...] = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
LONGEST_BLACKOUT = timedelta(days=400)

_CLOCK = r"(?:[01]\d|2[0-4]):[0-5]\d"
_WEEKLY = re.compile(rf"({'|'.join(DAYS)}) +({_CLOCK}) *- *({'|'.join(DAYS)}) +({_CLOCK})")
_DAILY = re.compile(rf"({_CLOCK}) *- *({_CLOCK})")


def _as_text(value: object) -> object:
    """YAML reads a date as a date, with or without a time."""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M")
    return value.isoformat() if isinstance(value, date) else value


Moment = Annotated[str, BeforeValidator(_as_text), Field(pattern=r"^\d{4}-\d\d-\d\d( \d\d:\d\d)?$")]
_MOMENT_FORM = "a date, or a date and time: 2026-11-27 18:00"


class Allow(Section):
    """What a run may touch, beside the account and the region that `aws` names. `*` stands for any characters."""

    accounts: Texts | None = None
    regions: Texts | None = None
    resources: Texts | None = None
    tags: dict[str, Text] = Field(default={})


class Guard(Section):
    """Hard limits that each shard keeps by itself, without asking, and how long it lives without orders."""

    max_rate_tps: Annotated[Tps, Field(alias="max_rate")]
    max_error_ratio: Annotated[Ratio, Field(alias="max_errors")] = 0.5
    window_s: Annotated[Seconds, Field(alias="window", ge=1)] = 3.0
    max_in_flight: Positive
    lease_s: Annotated[Seconds, Field(alias="lease", ge=1, le=5)] = 3.0
    idle_limit_s: Annotated[Seconds, Field(alias="idle_limit", ge=10)]
    max_duration_s: Annotated[Seconds, Field(alias="max_duration", gt=0)]
    wait_for_environment_s: Annotated[Seconds, Field(alias="wait_for_environment")] = 0.0
    stop_alarms: tuple[Text, ...] = ()
    approvers: tuple[Text, ...] = ()
    approval_within_s: Annotated[Seconds, Field(alias="approval_within", ge=60)] = 8 * 3600.0
    allow: Allow = Allow()


class Budget(Section):
    """What a run, and all runs of the service in a calendar month (UTC), may cost, in prices.currency."""

    per_run: Annotated[Number, Field(gt=0)] | None = None
    per_month: Annotated[Number, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _some(self) -> Budget:
        if self.per_run is None and self.per_month is None:
            raise contradiction("is empty.", "Write per_run, per_month or both, or leave budget out.", "")
        return self


class BlackoutEntry(Section):
    """Times at which no run may be under way; exactly one of weekly, daily, cron and from."""

    reason: Text
    zone: Text = "UTC"
    weekly: Text | None = None
    daily: Text | None = None
    days: Annotated[tuple[Day, ...], Field(min_length=1)] = DAYS
    cron: Text | None = None
    lasts_s: Annotated[Seconds | None, Field(alias="lasts")] = None
    from_: Annotated[Moment | None, Field(alias="from", description=_MOMENT_FORM)] = None
    until: Annotated[Moment | None, Field(description=_MOMENT_FORM)] = None

    @model_validator(mode="after")
    def _whole(self) -> BlackoutEntry:
        kinds = {"weekly": self.weekly, "daily": self.daily, "cron": self.cron, "from": self.from_}
        given = [name for name, value in kinds.items() if value is not None]
        if len(given) != 1:
            problem = f"stands beside {given[0]}." if given else "names no time."
            key = given[1] if given else ""
            raise contradiction(problem, "Write one of weekly, daily, cron and from in each entry.", key)
        for partner, owner in (("lasts", "cron"), ("until", "from")):
            value = self.lasts_s if partner == "lasts" else self.until
            if (value is not None) != (owner in given):
                here, there = (owner, partner) if value is None else (partner, owner)
                raise contradiction(f"needs {there}.", "Write both, or none.", here, there)
        if self.days != DAYS and "daily" not in given:
            raise contradiction("needs daily.", "Days restrict `daily: 08:00 - 18:00`.", "days", "daily")
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            problem = f"{self.zone!r} is no time zone."
            raise contradiction(problem, "Write a name such as Europe/Berlin or UTC.", "zone") from None
        self.rules()
        return self

    def rules(self) -> tuple[Rule, ...]:
        if self.weekly is not None:
            return (self._weekly(self.weekly),)
        if self.daily is not None:
            return self._daily(self.daily)
        if self.cron is not None:
            return (self._recurring(self.cron, self.lasts_s or 0.0),)
        return (self._dates(self.from_ or "", self.until or ""),)

    def _weekly(self, text: str) -> Weekly:
        found = _WEEKLY.fullmatch(text)
        if found is None:
            raise contradiction(f"{text!r} has the wrong form.", "Write it as `Fri 22:00 - Mon 06:00`.", "weekly")
        start_day, start, end_day, end = found.groups()
        return Weekly(
            (24 * 60 * DAYS.index(start_day) + _minutes(start, "weekly")) % WEEK_MINUTES,
            (24 * 60 * DAYS.index(end_day) + _minutes(end, "weekly")) % WEEK_MINUTES,
        )

    def _daily(self, text: str) -> tuple[Rule, ...]:
        found = _DAILY.fullmatch(text)
        if found is None:
            raise contradiction(f"{text!r} has the wrong form.", "Write it as `08:00 - 18:00`.", "daily")
        start, end = (_minutes(part, "daily") for part in found.groups())
        length = (end - start - 1) % (24 * 60) + 1  # until the same time is a whole day
        first = [24 * 60 * DAYS.index(day) + start for day in self.days]
        return tuple(Weekly(minute % WEEK_MINUTES, (minute + length) % WEEK_MINUTES) for minute in first)

    def _recurring(self, text: str, lasts_s: float) -> Recurring:
        try:
            cron = Cron.parse(text)
        except ValueError as error:
            cure = 'Write five fields, such as "0 8 1 * *" for the first of each month at 08:00.'
            raise contradiction(f"{text!r} is no cron expression: {error}.", cure, "cron") from None
        length = timedelta(seconds=lasts_s)
        if not timedelta() < length <= LONGEST_BLACKOUT:
            raise contradiction(f"{lasts_s:g} s is out of range.", "Write a time such as 10 h.", "lasts")
        return Recurring(cron, length)

    def _dates(self, start: str, end: str) -> Dates:
        begins, _ = _moment(start, "from")
        ends, whole_day = _moment(end, "until")
        ends += timedelta(days=whole_day)  # `until: 2026-11-30` includes that day
        if not begins < ends <= begins + LONGEST_BLACKOUT:
            problem = f"{end} is not after from, which is {start}, by at most {LONGEST_BLACKOUT.days} days."
            raise contradiction(problem, "Mend the dates.", "until", "from")
        return Dates(begins, ends)


def blackouts_of(entries: tuple[BlackoutEntry, ...]) -> tuple[Blackout, ...]:
    """The profile's blackouts as the pure functions take them."""
    return tuple(
        Blackout(entry.rules(), entry.zone, entry.reason, f"blackouts[{place}]") for place, entry in enumerate(entries)
    )


def _minutes(clock: str, key: str) -> int:
    hours, minutes = map(int, clock.split(":"))
    if hours == 24 and minutes:
        raise contradiction(f"{clock} is no time.", "A day ends at 24:00.", key)
    return 60 * hours + minutes


def _moment(text: str, key: str) -> tuple[datetime, bool]:
    """The moment on the wall clock, and whether it is a date without a time."""
    try:
        return datetime.fromisoformat(text), " " not in text
    except ValueError as error:
        raise contradiction(f"{text!r} is no date: {error}.", "Write one such as 2026-11-27 18:00.", key) from None
