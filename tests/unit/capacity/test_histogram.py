import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.capacity.histogram import MAX_US, Histogram, bucket_bounds, bucket_of, bucket_value

VALUES = st.integers(0, MAX_US - 1)
LISTS = st.lists(VALUES, max_size=60)


def filled(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


@given(VALUES)
def test_a_value_lies_in_its_bucket_and_is_read_within_0_4_percent(value: int) -> None:
    low, high = bucket_bounds(bucket_of(value))
    assert low <= value < high
    assert abs(bucket_value(bucket_of(value)) - value) <= 0.004 * value


@given(LISTS, LISTS, LISTS)
def test_merging_is_exact_and_independent_of_order(one: list[int], two: list[int], three: list[int]) -> None:
    together = filled(one + two + three)
    assert Histogram.merged([filled(one), filled(two), filled(three)]) == together
    assert Histogram.merged([filled(three), filled(two).merge(filled(one))]) == together


def test_merging_leaves_the_other_as_it_was() -> None:
    one, two = filled([1, 2]), filled([2])
    one.merge(two)
    one.add(2)
    assert two == filled([2])


@given(st.lists(VALUES, min_size=1, max_size=200), st.integers(0, 100))
def test_quantile_is_the_smallest_value_with_enough_below(values: list[int], percent: int) -> None:
    exact = sorted(values)[max(math.ceil(percent * len(values) / 100) - 1, 0)]
    read = filled(values).quantile_us(percent / 100)
    assert read is not None
    assert abs(read - exact) <= 0.004 * exact + 1e-9


@given(LISTS, st.floats(0, 1e9))
def test_count_above_agrees_with_the_values_that_stand_for_the_buckets(values: list[int], limit: float) -> None:
    histogram = filled(values)
    assert histogram.count_above(limit) == sum(bucket_value(bucket_of(value)) > limit for value in values)


@given(LISTS)
def test_json_round_trip(values: list[int]) -> None:
    assert Histogram.from_json(filled(values).to_json()) == filled(values)


def test_nothing_to_read_in_an_empty_histogram() -> None:
    assert Histogram().quantile_us(0.5) is None
    assert Histogram({5: 0}).quantile_ms(0.5) is None
    assert Histogram().count_above(0) == 0


@pytest.mark.parametrize("value", [-5, 0])
def test_negative_values_count_as_zero(value: int) -> None:
    assert filled([value]).counts == {0: 1}


def test_absurd_values_are_counted_in_the_last_bucket() -> None:
    assert filled([MAX_US * 1000]) == filled([MAX_US])


@pytest.mark.parametrize("q", [-0.1, 1.1, float("nan")])
def test_a_wrong_quantile_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        filled([1]).quantile_us(q)


def test_negative_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="negative count"):
        Histogram.from_json({"5": -1})
