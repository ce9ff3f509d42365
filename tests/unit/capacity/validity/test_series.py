"""Gaps in CloudWatch's series, and whether the load balancer saw the load."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.capacity.validity.series import LoadSecond, expected_periods, load_seconds, seen_ratio, series_row

# load from 1203 to 1441, none from 1260 to 1264
LOAD = [LoadSecond(second, 0.0 if 1260 <= second < 1265 else 50.0) for second in range(1203, 1442)]


def points(*periods: int, value: float = 1.0, period_s: float = 60.0) -> list[tuple[float, float]]:
    return [(period * period_s, value) for period in periods]


def test_periods_in_which_there_must_be_a_point() -> None:
    # minutes 20 to 23 begin at 1200, 1260, 1320, 1380; the load covers all of 21, 22 and 23
    assert expected_periods(LOAD, 60.0, "always") == [21, 22, 23]
    assert expected_periods(LOAD, 60.0, "under load") == [22, 23]
    assert expected_periods(LOAD, 60.0, "when it happens") == []
    assert expected_periods([], 60.0, "always") == []


def test_a_gap_is_told_with_its_place() -> None:
    row = series_row("cpu_percent", points(20, 21, 23), LOAD, period_s=60.0, presence="always")
    assert (row["expected_points"], row["missing_points"], row["first_missing"]) == (3, 1, 1320.0)
    assert (row["lowest"], row["highest"], row["repeated_points"]) == (1.0, 1.0, 0)


def test_what_cloudwatch_has_not_delivered_yet_is_no_gap() -> None:
    row = series_row("cpu_percent", points(21), LOAD, period_s=60.0, presence="always")
    assert (row["expected_points"], row["missing_points"]) == (1, 0)
    nothing = series_row("cpu_percent", [], LOAD, period_s=60.0, presence="always")
    assert (nothing["points"], nothing["missing_points"], nothing["lowest"]) == (0, 0, None)


def test_basic_monitoring_tells_each_fifth_minute_only() -> None:
    load = [LoadSecond(second, 9.0) for second in range(1200, 2400)]
    row = series_row("cpu_percent", points(20, 25, 30, 35), load, period_s=60.0, presence="always")
    assert row["missing_points"] == 12


def test_a_point_that_is_told_twice() -> None:
    row = series_row("requests", points(22, 22), LOAD, period_s=60.0, presence="under load")
    assert row["repeated_points"] == 1


@pytest.mark.parametrize(("per_second", "ratio"), [(50, 1.0), (0, 0.0), (150, 3.0)])
def test_requests_per_transaction(per_second: int, ratio: float) -> None:
    requests = points(20, 22, 23, value=60.0 * per_second)  # minute 20 is not fully under load and does not count
    assert seen_ratio(requests, LOAD, period_s=60.0) == pytest.approx(ratio)


def test_without_a_period_of_full_load_nothing_is_known() -> None:
    assert seen_ratio([], LOAD, period_s=60.0) is None
    assert seen_ratio(points(22), LOAD[:30], period_s=60.0) is None
    assert seen_ratio(points(22), [], period_s=60.0) is None


def test_seconds_without_numbers_are_left_out() -> None:
    rows = [{"second": 5, "completed_tps": 2.0}, {"second": None, "completed_tps": 1}, {"second": 6}, {}]
    assert load_seconds(rows) == [LoadSecond(5, 2.0)]


@given(
    st.sets(st.integers(0, 60), max_size=40),
    st.sets(st.integers(0, 25), max_size=26),
    st.sampled_from([1.0, 2.5, 5.0, 60.0]),
    st.sampled_from(["always", "under load", "when it happens"]),
)
def test_missing_and_known_points_add_up(seconds: set[int], stamped: set[int], period_s: float, presence: str) -> None:
    load = [LoadSecond(second, 1.0) for second in sorted(seconds)]
    row = series_row("x", points(*stamped, period_s=period_s), load, period_s=period_s, presence=presence)  # type: ignore[arg-type]
    known = set(stamped) & set(expected_periods(load, period_s, presence))  # type: ignore[arg-type]
    assert row["missing_points"] == row["expected_points"] - len(known) >= 0
