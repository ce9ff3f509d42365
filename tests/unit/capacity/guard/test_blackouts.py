"""Blackouts on the wall clock of a place, across daylight saving and a skipped day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.capacity.guard.blackouts import (
    HORIZON,
    WEEK_MINUTES,
    Blackout,
    Dates,
    Recurring,
    Weekly,
    next_free,
    refusal,
    windows,
)
from include.capacity.guard.cron import Cron
from include.capacity.guard.local_time import first_instant, last_instant

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia"]
# around every change of these zones' clocks in some years, and in between
moments = st.one_of(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)),
    st.datetimes(datetime(2026, 3, 7), datetime(2026, 4, 7)),
    st.datetimes(datetime(2026, 10, 3), datetime(2026, 11, 3)),
    st.datetimes(datetime(2011, 12, 28), datetime(2012, 1, 2)),  # Apia had no 30 December 2011
).map(lambda moment: moment.replace(microsecond=0, tzinfo=UTC))
weekly = st.builds(Weekly, st.integers(0, WEEK_MINUTES - 1), st.integers(0, WEEK_MINUTES - 1))
durations = st.timedeltas(timedelta(minutes=1), timedelta(hours=30))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def blackout(*rules: object, zone: str = "Europe/Berlin") -> Blackout:
    return Blackout(rules, zone, "a sale", "blackouts[0]")  # type: ignore[arg-type]


def shown(moment: datetime, zone: str) -> datetime:
    """What the clocks there show."""
    return moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def is_black(moment: datetime, black: Blackout) -> bool:
    return bool(windows([black], moment, moment + timedelta(seconds=1)))


def clocks_change_near(moment: datetime, zone: str, near: timedelta) -> bool:
    place = ZoneInfo(zone)
    offsets = {(moment + near * part / 8).astimezone(place).utcoffset() for part in range(-8, 9)}
    return len(offsets) > 1


@given(moments, st.sampled_from(ZONES))
def test_instants_enclose_what_the_clock_shows(moment: datetime, zone: str) -> None:
    local, place = shown(moment, zone), ZoneInfo(zone)
    assert first_instant(local, place) <= moment <= last_instant(local, place)
    assert shown(first_instant(local, place), zone) == local == shown(last_instant(local, place), zone)


@pytest.mark.parametrize(
    ("zone", "skipped", "minutes", "change"),
    [
        ("Europe/Berlin", "2026-03-29T02:00", 60, "2026-03-29T01:00"),
        ("America/New_York", "2026-03-08T02:00", 60, "2026-03-08T07:00"),
        ("Australia/Lord_Howe", "2026-10-04T02:00", 30, "2026-10-03T15:30"),
        ("Pacific/Apia", "2011-12-30T00:00", 24 * 60, "2011-12-30T10:00"),  # the day that was not
    ],
)
@given(data=st.data())
def test_a_skipped_time_is_the_moment_of_the_change(
    data: st.DataObject, zone: str, skipped: str, minutes: int, change: str
) -> None:
    seconds = data.draw(st.integers(0, 60 * minutes - 1))
    local, place = datetime.fromisoformat(skipped) + timedelta(seconds=seconds), ZoneInfo(zone)
    assert first_instant(local, place) == last_instant(local, place) == at(change)


@given(weekly, moments, st.sampled_from(ZONES))
def test_a_moment_whose_clock_is_in_a_weekly_blackout_is_black(rule: Weekly, moment: datetime, zone: str) -> None:
    local = shown(moment, zone)
    minute = local.weekday() * 1440 + local.hour * 60 + local.minute
    inside = (minute - rule.start) % WEEK_MINUTES < rule.reach / timedelta(minutes=1)
    black = is_black(moment, blackout(rule, zone=zone))
    if inside:
        # a window that begins or ends in skipped days of the calendar has none of its own days left
        assert black or (zone == "Pacific/Apia" and moment.year < 2013)
    elif black:
        assert clocks_change_near(moment, zone, timedelta(hours=3)) or (zone == "Pacific/Apia" and moment.year < 2013)


@given(st.lists(weekly, min_size=1, max_size=3), moments, durations, st.sampled_from(ZONES))
def test_the_next_free_time_is_free_and_the_first(
    rules: list[Weekly], now: datetime, duration: timedelta, zone: str
) -> None:
    blackouts = [blackout(rule, zone=zone) for rule in rules]
    free = next_free(blackouts, now, duration)
    if free is None:
        assert windows(blackouts, now, now + timedelta(days=7))
        return
    assert free >= now
    assert windows(blackouts, free, free + duration) == []
    assert refusal(blackouts, free, duration) is None
    if free > now:
        assert windows(blackouts, free - timedelta(seconds=1), free - timedelta(seconds=1) + duration)
        step = (free - now) / 40
        for number in range(40):  # nor is there any earlier one
            earlier = now + number * step
            assert windows(blackouts, earlier, earlier + duration)


long_enough = st.timedeltas(timedelta(hours=26), timedelta(hours=80))


@given(moments, long_enough, st.integers(1, 300), st.integers(0, 30), st.integers(0, 23))
def test_a_recurring_blackout_is_black_for_its_length(
    now: datetime, duration: timedelta, minutes: int, minute: int, hour: int
) -> None:
    length = timedelta(minutes=minutes)
    black = blackout(Recurring(Cron.parse(f"{minute} {hour} * * *"), length))
    found = windows([black], now, now + duration)
    for window in found:
        assert window.end - window.start >= length
        local = shown(window.start, "Europe/Berlin")
        assert (local.hour, local.minute) == (hour, minute) or clocks_change_near(
            window.start, "Europe/Berlin", timedelta(minutes=1)
        )
    assert found


def test_the_night_of_the_longer_hour_is_black_both_times() -> None:
    """Berlin, 25 October 2026: 02:00 to 03:00 comes twice."""
    (window,) = windows([blackout(Weekly(6 * 1440 + 120, 6 * 1440 + 150))], at("2026-10-24T12:00"), at("2026-10-26"))
    assert (window.start, window.end) == (at("2026-10-25T00:00"), at("2026-10-25T01:30"))


def test_a_blackout_that_begins_in_the_skipped_hour_begins_with_the_change() -> None:
    """Berlin, 29 March 2026: 02:00 to 03:00 does not exist."""
    rule = Weekly(6 * 1440 + 150, 6 * 1440 + 240)
    (window,) = windows([blackout(rule)], at("2026-03-28T12:00"), at("2026-03-30"))
    assert (window.start, window.end) == (at("2026-03-29T01:00"), at("2026-03-29T02:00"))
    inside = Weekly(6 * 1440 + 130, 6 * 1440 + 170)
    assert windows([blackout(inside)], at("2026-03-28T12:00"), at("2026-03-30")) == []


def test_a_run_is_refused_with_what_it_meets_and_the_next_free_time() -> None:
    black = blackout(Dates(datetime(2026, 11, 27), datetime(2026, 12, 1)))
    why = refusal([black], at("2026-11-26T22:30"), timedelta(hours=1))
    assert why == (
        "The run may take until 2026-11-26 23:30 UTC and would meet the blackout 'a sale' (blackouts[0]: Fri "
        "2026-11-27 00:00 to Tue 2026-12-01 00:00, Europe/Berlin). Start it from 2026-11-30 23:00 UTC on (Tue 00:00 "
        "Europe/Berlin). The blackouts are in the service profile."
    )
    assert refusal([black], at("2026-11-26T22:00"), timedelta(hours=1)) is None  # it ends as the blackout begins
    assert refusal([black], at("2026-11-30T23:00"), timedelta(hours=1)) is None


def test_where_nothing_is_free_the_refusal_says_so() -> None:
    always = blackout(Weekly(0, 0))
    why = refusal([always], at("2026-08-03T03:00"), timedelta(hours=1))
    assert why is not None
    assert f"No time within {HORIZON.days} days is free" in why


@pytest.mark.parametrize(
    ("text", "day", "times"),
    [
        ("0 3 * * 1", "2026-08-03", ["03:00"]),
        ("0 3 * * 1", "2026-08-04", []),
        ("*/30 8-9 * * mon-fri", "2026-08-03", ["08:00", "08:30", "09:00", "09:30"]),
        ("15 0 1 jan,jul *", "2026-07-01", ["00:15"]),
        ("15 0 1 jan,jul *", "2026-08-01", []),
        ("0 0 13 * fri", "2026-08-13", ["00:00"]),  # two restricted fields widen each other
        ("0 0 13 * fri", "2026-08-14", ["00:00"]),
        ("0 0 13 * fri", "2026-08-15", []),
        ("0 12 * * 7", "2026-08-02", ["12:00"]),
        ("50/5 23 * * *", "2026-08-02", ["23:50", "23:55"]),
    ],
)
def test_cron_expressions(text: str, day: str, times: list[str]) -> None:
    assert [f"{moment:%H:%M}" for moment in Cron.parse(text).on(datetime.fromisoformat(day).date())] == times


@pytest.mark.parametrize(
    "text", ["", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "a * * * *", "5-1 * * * *", "*/0 * * * *"]
)
def test_what_is_no_cron_expression_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"fields|minute|hour|day|step"):
        Cron.parse(text)
