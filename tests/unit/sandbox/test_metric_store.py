"""Metric data: periods, statistics, percentiles, and the arithmetic over them."""

from __future__ import annotations

import pytest

from sandbox.aws.metric_math import MathError, evaluate
from sandbox.aws.metric_store import Datum, MetricKey, MetricStore, dimension_set, is_statistic, percentile, statistic

KEY = MetricKey("Own", "latency", dimension_set([{"Name": "service", "Value": "checkout"}]))


def values(time_s: float, *numbers: float, counts: tuple[float, ...] | None = None) -> Datum:
    return Datum(time_s, None, numbers, counts or (1.0,) * len(numbers))


def test_periods_begin_at_their_multiples() -> None:
    store = MetricStore()
    for second in range(100, 112):
        store.put(KEY, values(float(second), float(second)))
    points = store.points(KEY, 103.0, 111.0, 5.0)
    assert [(point.start_s, [d.time_s for d in point.data]) for point in points] == [
        (100.0, [100.0, 101.0, 102.0, 103.0, 104.0]),
        (105.0, [105.0, 106.0, 107.0, 108.0, 109.0]),
        (110.0, [110.0]),
    ]


def test_a_period_that_is_not_a_whole_second_keeps_its_own_data() -> None:
    store, period_s = MetricStore(), 60 / 7
    for number in range(50):
        store.put(KEY, values(number * period_s, float(number)))
    points = store.points(KEY, 0.0, 50 * period_s, period_s)
    assert [statistic("Sum", point.data) for point in points] == list(range(50))


def test_data_that_arrive_late_are_put_in_order() -> None:
    store = MetricStore()
    for second in (10.0, 30.0, 20.0):
        store.put(KEY, values(second, second))
    assert [d.time_s for point in store.points(KEY, 0, 100, 100) for d in point.data] == [10.0, 20.0, 30.0]


def test_other_namespaces_and_other_dimensions_are_other_metrics() -> None:
    store = MetricStore()
    store.put(KEY, values(1.0, 1.0))
    store.put(MetricKey("Other", KEY.name, KEY.dimensions), values(1.0, 2.0))
    store.put(MetricKey(KEY.namespace, KEY.name, frozenset()), values(1.0, 4.0))
    (point,) = store.points(KEY, 0, 10, 10)
    assert statistic("Sum", point.data) == 1.0
    assert len(list(store)) == 3


def test_old_data_are_dropped() -> None:
    store = MetricStore()
    store.put(KEY, values(0.0, 1.0))
    store.put(KEY, values(7 * 3600.0, 1.0))
    assert [d.time_s for point in store.points(KEY, 0, 1e6, 1e6) for d in point.data] == [7 * 3600.0]


def test_statistics_weigh_values_by_their_counts_and_add_summaries() -> None:
    data = [values(0.0, 1.0, 3.0, counts=(3.0, 1.0)), Datum(0.0, None, (), (), (40.0, 5.0, 15.0, 4.0))]
    found = {name: statistic(name, data) for name in ("Sum", "SampleCount", "Minimum", "Maximum", "Average")}
    assert found == {"Sum": 46.0, "SampleCount": 8.0, "Minimum": 1.0, "Maximum": 15.0, "Average": 5.75}


@pytest.mark.parametrize(
    ("percent", "wanted"), [(0, 1.0), (1, 1.0), (50, 50.0), (95, 95.0), (99.5, 100.0), (100, 100.0)]
)
def test_percentiles_are_the_smallest_value_that_covers_them(percent: float, wanted: float) -> None:
    assert percentile(percent, [values(0.0, *(float(n) for n in range(100, 0, -1)))]) == wanted


def test_percentiles_of_counted_values() -> None:
    assert percentile(90, [values(0.0, 1.0, 9.0, counts=(90.0, 10.0))]) == 1.0
    assert percentile(91, [values(0.0, 1.0, 9.0, counts=(90.0, 10.0))]) == 9.0


def test_a_summary_hides_its_percentiles_unless_all_its_values_are_equal() -> None:
    assert percentile(95, [Datum(0.0, None, (), (), (40.0, 5.0, 15.0, 4.0))]) is None
    assert percentile(95, [Datum(0.0, None, (), (), (20.0, 5.0, 5.0, 4.0))]) == 5.0


def test_what_is_a_statistic() -> None:
    assert [is_statistic(name) for name in ("Sum", "p95", "p99.9", "p100", "TM99", "p101", "sum")] == [
        True,
        True,
        True,
        True,
        False,
        False,
        False,
    ]


SERIES = {"a": {0.0: 6.0, 60.0: 8.0}, "b": {0.0: 2.0, 60.0: 0.0, 120.0: 5.0}}


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("a", {0.0: 6.0, 60.0: 8.0}),
        ("a / b", {0.0: 3.0}),
        ("100 * (a - b) / a", {0.0: pytest.approx(200 / 3), 60.0: 100.0}),
        ("-a + 1", {0.0: -5.0, 60.0: -7.0}),
        ("SUM([a, b])", {0.0: 8.0, 60.0: 8.0, 120.0: 5.0}),
        ("MAX(METRICS())", {0.0: 6.0, 60.0: 8.0, 120.0: 5.0}),
        ("FILL(a, 0)", {0.0: 6.0, 60.0: 8.0, 120.0: 0.0}),
        ("RATE(a)", {60.0: pytest.approx(2 / 60)}),
    ],
)
def test_metric_math(expression: str, wanted: dict[float, float]) -> None:
    assert evaluate(expression, SERIES) == wanted


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("c", "there is no query with the id c"),
        ("a +", "cannot be read"),
        ("ANOMALY_DETECTION_BAND(a)", "cannot be used like this"),
        ("__import__('os')", "is not supported"),
        ("1 / 0", "division by zero"),
        ("2", "does not give a time series"),
        ("a if b else a", "is not supported"),
    ],
)
def test_wrong_expressions(expression: str, problem: str) -> None:
    with pytest.raises(MathError, match=problem):
        evaluate(expression, SERIES)
