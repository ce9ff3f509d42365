"""Clocks: only what the delays cannot explain is a skew."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from include.capacity.models import FleetSecond
from include.capacity.validity.clocks import ahead_between, clock_problems
from tests.unit.capacity.examples import LIMITS, second, seconds, shard

DELAYS = st.lists(st.floats(0.0, 3.0), min_size=1, max_size=12)
LIMIT_S = LIMITS.max_clock_skew_s


def talk(offset_s: float, reports: list[float], orders: list[float]) -> list[FleetSecond]:
    """What is seen of a shard whose clock is `offset_s` ahead when reports and orders take these times."""
    return [
        second(
            1000 + index,
            shards=[
                shard(
                    0,
                    delay_s=reports[index % len(reports)] - offset_s,
                    in_force_after_s=orders[index % len(orders)] + offset_s,
                )
            ],
        )
        for index in range(12)
    ]


@given(st.floats(-5.0, 5.0), DELAYS, DELAYS)
def test_the_bounds_hold_whatever_the_delays(offset_s: float, reports: list[float], orders: list[float]) -> None:
    held = talk(offset_s, reports, orders)
    low, high = ahead_between([each.shards[0] for each in held])
    assert low is not None
    assert high is not None
    assert low - 1e-9 <= offset_s <= high + 1e-9


@given(st.floats(-LIMIT_S, LIMIT_S), DELAYS, DELAYS)
def test_a_clock_within_the_limit_is_never_called_skewed(
    offset_s: float, reports: list[float], orders: list[float]
) -> None:
    problems = clock_problems(talk(offset_s, reports, orders), LIMITS)
    assert not any("ahead" in problem or "is at least" in problem for problem in problems)


@given(st.floats(-5.0, 5.0).filter(lambda offset: abs(offset) > LIMIT_S + 0.31))
def test_a_clock_off_by_more_than_limit_and_delay_is_found(offset_s: float) -> None:
    (problem,) = clock_problems(talk(offset_s, [0.9, 0.3, 0.5], [0.2, 0.3]), LIMITS)
    assert ("ahead of" if offset_s > 0 else "behind") in problem
    assert "synchronise" in problem


def test_slow_reports_are_late_and_not_skewed() -> None:
    (problem,) = clock_problems(talk(0.0, [2.6, 3.0], [0.1]), LIMITS)
    assert problem.startswith("The reports of shard 0 come 2.8 s after the time")
    assert clock_problems(talk(0.0, [2.1], [2.9]), LIMITS) == []


def test_nothing_known_is_no_finding() -> None:
    assert clock_problems(seconds(5), LIMITS) == []
    assert clock_problems([], LIMITS) == []
    assert ahead_between([]) == (None, None)


def test_a_clock_that_is_set_or_slow() -> None:
    steady = [second(index, shards=[shard(0, clock_drift_s=7.0), shard(1)]) for index in range(10)]
    assert clock_problems(steady, LIMITS) == []  # set before the step: that is none of its business
    slow = [second(index, shards=[shard(0), shard(1, clock_drift_s=-0.05 * index)]) for index in range(10)]
    (problem,) = clock_problems(slow, LIMITS)
    assert "clock of shard 1 was set, or does not keep time: it went 0.45 s off" in problem


def test_a_shard_that_was_started_anew_begins_a_new_account() -> None:
    before = second(1, shards=[shard(0, clock_drift_s=9.0)])
    after = [second(2 + index, shards=[shard(0, incarnation="b")]) for index in range(3)]
    assert clock_problems([before, *after], LIMITS) == []
    assert clock_problems([before, *[replace(each, shards=(shard(0),)) for each in after]], LIMITS) != []
