"""Cron expressions of five fields, as crontab(5) reads them: minute, hour, day of month, month, day of week."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time

_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}
_DAYS = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_FIELDS: tuple[tuple[str, int, int, Mapping[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 7, _DAYS),
)
_PART = re.compile(r"(\*|(\w+)(?:-(\w+))?)(?:/(\d+))?")


@dataclass(frozen=True, slots=True)
class Cron:
    """The times of an expression, on the wall clock. `any_day` and `any_weekday`: the field began with `*`."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool

    @classmethod
    def parse(cls, text: str) -> Cron:
        """Raises ValueError that says which field is wrong and how."""
        parts = text.split()
        if len(parts) != len(_FIELDS):
            raise ValueError(f"it has {len(parts)} fields, not 5")
        minutes, hours, days, months, weekdays = (
            _numbers(part, *field) for part, field in zip(parts, _FIELDS, strict=True)
        )
        sundays = frozenset(day % 7 for day in weekdays)
        return cls(minutes, hours, days, months, sundays, parts[2][0] == "*", parts[4][0] == "*")

    def on(self, day: date) -> Iterator[datetime]:
        """The times on a day, naive, in order."""
        if day.month not in self.months or not self._is_day(day):
            return
        for hour in sorted(self.hours):
            for minute in sorted(self.minutes):
                yield datetime.combine(day, time(hour, minute))

    def _is_day(self, day: date) -> bool:
        by_day, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        if self.any_day or self.any_weekday:
            return by_day and by_weekday
        return by_day or by_weekday  # cron's rule: two restricted fields widen each other


def _numbers(text: str, name: str, low: int, high: int, names: Mapping[str, int]) -> frozenset[int]:
    found: set[int] = set()
    for part in text.lower().split(","):
        matched = _PART.fullmatch(part)
        if matched is None:
            raise ValueError(f"{part!r} is no {name}")
        whole, first, last, step = matched.groups()
        if whole == "*":
            start, end = low, high
        else:
            start = _number(first, name, names)
            end = _number(last, name, names) if last else (high if step else start)
        if not low <= start <= end <= high:
            raise ValueError(f"{part!r} is no {name} from {low} to {high}")
        if step == "0":
            raise ValueError(f"{part!r} has a step of 0")
        found.update(range(start, end + 1, int(step or 1)))
    return frozenset(found)


def _number(text: str, name: str, names: Mapping[str, int]) -> int:
    if text in names:
        return names[text]
    if not text.isdigit():
        raise ValueError(f"{text!r} is no {name}")
    return int(text)
