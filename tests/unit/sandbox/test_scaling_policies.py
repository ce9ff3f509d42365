"""Alarms, target tracking and step policies as AWS documents them, on made-up metrics."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.plant.scaling import (
    AlarmRule,
    AlarmState,
    Decision,
    GroupSize,
    Tracking,
    adjusted,
    evaluate_alarm,
    simple_capacity,
    step_capacity,
    track_targets,
)

X, GOOD, NONE = 90.0, 10.0, None  # a breaching value, a good one, no data


def rule(periods: int = 3, to_alarm: int = 3, missing: Any = "missing") -> AlarmRule:
    return AlarmRule("GreaterThanThreshold", 50.0, periods, to_alarm, missing)


# The tables "how alarm state is evaluated when data is missing" of the CloudWatch user guide; the current state is OK.
THREE_OF_THREE = [
    ([GOOD, NONE, X, NONE, X], "OK", "OK", "OK", "OK"),
    ([GOOD, NONE, NONE, NONE, NONE], "OK", "OK", "OK", "OK"),
    ([NONE] * 5, "INSUFFICIENT_DATA", "OK", "ALARM", "OK"),
    ([GOOD, X, X, NONE, X], "ALARM", "ALARM", "ALARM", "ALARM"),
    ([NONE, NONE, X, NONE, NONE], "ALARM", "OK", "ALARM", "OK"),
]


@pytest.mark.parametrize(("values", "missing", "ignore", "breaching", "not_breaching"), THREE_OF_THREE)
def test_missing_data(
    values: list[float | None], missing: str, ignore: str, breaching: str, not_breaching: str
) -> None:
    for treatment, wanted in (
        ("missing", missing),
        ("ignore", ignore),
        ("breaching", breaching),
        ("notBreaching", not_breaching),
    ):
        assert evaluate_alarm(values, rule(missing=treatment), "OK") == wanted, treatment


def test_ignored_gaps_retain_the_state() -> None:
    assert evaluate_alarm([NONE] * 5, rule(missing="ignore"), "ALARM") == "ALARM"
    assert evaluate_alarm([NONE, NONE, X, NONE, NONE], rule(missing="ignore"), "ALARM") == "ALARM"
    assert evaluate_alarm([NONE, NONE, X, NONE, GOOD], rule(missing="ignore"), "ALARM") == "OK"


@pytest.mark.parametrize(
    ("values", "to_alarm", "wanted"),
    [
        ([GOOD, GOOD, X, X, X], 3, "ALARM"),
        ([X, X, X, X, GOOD], 3, "OK"),
        ([GOOD, GOOD, X, GOOD, X], 2, "ALARM"),
        ([X, X, GOOD, GOOD, X], 2, "OK"),
        ([GOOD, GOOD, NONE, X, X], 2, "ALARM"),
    ],
)
def test_so_many_of_the_last_periods(values: list[float | None], to_alarm: int, wanted: AlarmState) -> None:
    assert evaluate_alarm(values, rule(to_alarm=to_alarm), "OK") == wanted


def test_the_comparison_at_the_threshold() -> None:
    at = [50.0] * 3
    states = {
        comparison: evaluate_alarm(at, AlarmRule(comparison, 50.0, 3, 3), "OK")
        for comparison in (
            "GreaterThanThreshold",
            "GreaterThanOrEqualToThreshold",
            "LessThanThreshold",
            "LessThanOrEqualToThreshold",
        )
    }
    assert list(states.values()) == ["OK", "ALARM", "OK", "ALARM"]


def tracking(value: float | None, *, high: bool = False, low: bool = False, **more: Any) -> Tracking:
    return Tracking("policy", value, 60.0, high, low, **more)


def size(desired: int, ready: int | None = None, warming: int = 0, minimum: int = 1, maximum: int = 10) -> GroupSize:
    return GroupSize(desired, minimum, maximum, desired if ready is None else ready, warming)


@pytest.mark.parametrize(
    ("value", "ready", "wanted"),
    [(90.0, 2, 3), (90.1, 2, 4), (100.0, 1, 2), (61.0, 3, 4)],
)
def test_tracking_scales_out_in_proportion(value: float, ready: int, wanted: int) -> None:
    assert track_targets([tracking(value, high=True)], size(ready)) == Decision(wanted, "policy")


def test_tracking_stops_at_the_maximum() -> None:
    assert track_targets([tracking(600.0, high=True)], size(2, maximum=4)) == Decision(4, "policy")
    assert track_targets([tracking(600.0, high=True)], size(4, maximum=4)) is None


def test_tracking_counts_warming_instances_as_added_already() -> None:
    # One ready instance at 100 % wants two; the second one still warms up.
    assert track_targets([tracking(100.0, high=True)], size(2, ready=1, warming=1)) is None
    assert track_targets([tracking(130.0, high=True)], size(2, ready=1, warming=1)) == Decision(3, "policy")


def test_tracking_waits_for_its_alarm() -> None:
    assert track_targets([tracking(100.0)], size(2)) is None
    assert track_targets([tracking(10.0)], size(2)) is None


def test_any_policy_scales_out_and_the_largest_wish_wins() -> None:
    quiet = Tracking("quiet", 5.0, 60.0, high=False, low=True)
    busy = Tracking("busy", 90.0, 60.0, high=True, low=False)
    busier = Tracking("busier", 150.0, 60.0, high=True, low=False)
    assert track_targets([quiet, busy, busier], size(2)) == Decision(5, "busier")


def test_tracking_scales_in_one_by_one_when_all_agree() -> None:
    low = Tracking("low", 6.0, 60.0, high=False, low=True)
    undecided = Tracking("undecided", 58.0, 60.0, high=False, low=False)
    assert track_targets([low], size(4)) == Decision(3, "low")
    assert track_targets([low, undecided], size(4)) is None
    outward_only = Tracking("outward-only", 58.0, 60.0, high=False, low=False, scales_in=False)
    assert track_targets([low, outward_only], size(4)) == Decision(3, "low")
    assert track_targets([outward_only], size(4)) is None


def test_tracking_never_scales_in_while_instances_warm_up_nor_below_the_minimum() -> None:
    low = tracking(1.0, low=True)
    assert track_targets([low], size(3, ready=2, warming=1)) is None
    assert track_targets([low], size(2, minimum=2)) is None


def test_tracking_does_not_scale_in_below_what_the_metric_needs() -> None:
    # Three instances at 45 need 2.25, so three stay.
    assert track_targets([tracking(45.0, low=True)], size(3)) is None


def test_a_large_group_scales_in_by_a_tenth() -> None:
    assert track_targets([tracking(1.0, low=True)], size(40, maximum=50)) == Decision(36, "policy")


def test_an_empty_group_without_data_stays() -> None:
    assert track_targets([tracking(None, low=True)], size(0, minimum=0)) is None
    assert track_targets([], size(2)) is None


STEPS = [
    {"MetricIntervalLowerBound": 0.0, "MetricIntervalUpperBound": 10.0, "ScalingAdjustment": 1},
    {"MetricIntervalLowerBound": 10.0, "MetricIntervalUpperBound": 20.0, "ScalingAdjustment": 2},
    {"MetricIntervalLowerBound": 20.0, "ScalingAdjustment": 4},
]
STEPS_IN = [
    {"MetricIntervalUpperBound": 0.0, "MetricIntervalLowerBound": -10.0, "ScalingAdjustment": -1},
    {"MetricIntervalUpperBound": -10.0, "ScalingAdjustment": -2},
]


@pytest.mark.parametrize(("breach", "wanted"), [(0.0, 3), (9.9, 3), (10.0, 4), (19.9, 4), (20.0, 6), (500.0, 6)])
def test_the_step_that_covers_the_breach(breach: float, wanted: int) -> None:
    assert step_capacity(STEPS, "ChangeInCapacity", None, breach=breach, ready=2, desired=2) == wanted


@pytest.mark.parametrize(("breach", "wanted"), [(0.0, 4), (-0.1, 4), (-9.9, 4), (-10.0, 3), (-60.0, 3)])
def test_steps_inwards(breach: float, wanted: int) -> None:
    assert step_capacity(STEPS_IN, "ChangeInCapacity", None, breach=breach, ready=5, desired=5) == wanted


def test_a_step_is_not_added_twice_while_its_instances_warm_up() -> None:
    # AWS's own example: after the first breach, one in the same range adds nothing, a larger one adds the rest.
    assert step_capacity(STEPS, "ChangeInCapacity", None, breach=5, ready=10, desired=11) == 11
    assert step_capacity(STEPS, "ChangeInCapacity", None, breach=15, ready=10, desired=11) == 12


def test_no_step_covers_the_breach() -> None:
    assert step_capacity(STEPS, "ChangeInCapacity", None, breach=-5, ready=2, desired=2) == 2


@pytest.mark.parametrize(
    ("adjustment", "base", "magnitude", "wanted"),
    [
        (10, 10, None, 11),
        (25, 10, None, 12),  # 2.5 becomes 2
        (5, 10, None, 11),  # 0.5 becomes 1
        (-5, 10, None, 9),  # -0.5 becomes -1
        (-25, 10, None, 8),  # -2.5 becomes -2
        (5, 10, 3, 13),  # at least 3
        (-5, 10, 3, 7),
        (0, 10, 3, 10),
    ],
)
def test_changes_in_percent(adjustment: int, base: int, magnitude: int | None, wanted: int) -> None:
    assert adjusted("PercentChangeInCapacity", adjustment, magnitude, base) == wanted


def test_simple_policies() -> None:
    assert simple_capacity("ExactCapacity", 7, None, 3) == 7
    assert simple_capacity("ChangeInCapacity", -2, None, 3) == 1
