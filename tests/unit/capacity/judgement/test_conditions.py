import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.capacity.judgement.conditions import (
    allowed_share,
    asked,
    bad_and_total,
    describe,
    judge_condition,
    min_samples,
    samples,
    value_of,
    windows_of,
)
from include.capacity.models import SloCondition, Step
from include.capacity.protocol import OUTCOMES, Outcome
from tests.unit.capacity.examples import histogram, same, second, seconds

P95 = SloCondition("latency_p95_ms", 250.0)
ERRORS = SloCondition("error_ratio", 0.01)


def test_percentiles_come_from_merged_seconds_and_are_not_averaged() -> None:
    slow = second(1, rows={("shop", "ok"): same(900, 10)})
    fast = second(2, rows={("shop", "ok"): same(10, 190)})
    assert value_of(P95, [slow, fast]) == pytest.approx(10, rel=0.004)  # the mean of the two p95 would be 455
    assert value_of(SloCondition("latency_p99_ms", 250.0), [slow, fast]) == pytest.approx(900, rel=0.004)


def test_a_condition_of_a_label_looks_at_that_label_only() -> None:
    rows = {("browse", "ok"): same(10, 500), ("pay", "ok"): same(700, 50)}
    result = judge_condition(SloCondition("latency_p95_ms", 250.0, label="pay"), [second(1, rows=rows)])
    assert result.value == pytest.approx(700, rel=0.004)
    assert not result.met
    assert judge_condition(SloCondition("latency_p50_ms", 250.0), [second(1, rows=rows)]).met


def test_failed_transactions_count_to_latencies_and_to_the_error_ratio() -> None:
    rows = {("shop", "ok"): same(10, 90), ("shop", "timeout"): same(5000, 10)}
    assert value_of(P95, [second(1, rows=rows)]) == pytest.approx(5000, rel=0.004)
    assert value_of(ERRORS, [second(1, rows=rows)]) == pytest.approx(0.1)


def test_errors_of_the_generator_do_not_count() -> None:
    rows = {("shop", "ok"): same(10, 90), ("shop", "generator_error"): same(5000, 10)}
    assert value_of(P95, [second(1, rows=rows)]) == pytest.approx(10, rel=0.004)
    assert value_of(ERRORS, [second(1, rows=rows)]) == 0


def test_limits_are_inclusive() -> None:
    rows = {("shop", "ok"): same(10, 99), ("shop", "service_error"): same(10, 1)}
    assert judge_condition(ERRORS, [second(1, rows=rows)]).met


def test_unfinished_transactions_are_slow_ones() -> None:
    held = seconds(2)  # 200 transactions of 50 ms
    assert judge_condition(P95, held, unfinished=5).met
    result = judge_condition(P95, held, unfinished=20)
    assert (result.met, result.value) == (False, None)
    assert "endless" in describe(result)


def test_windows_are_consecutive_and_the_last_one_covers_the_remainder() -> None:
    cut = windows_of(seconds(25), 10)
    assert [(window[0].second - 1000, len(window)) for window in cut] == [(0, 10), (10, 10), (15, 10)]
    assert [len(window) for window in windows_of(seconds(4), 10)] == [4]
    assert [len(window) for window in windows_of(seconds(25), None)] == [25]


@pytest.mark.parametrize(("share", "met"), [(0.0, False), (0.24, False), (0.25, True)])
def test_a_share_of_the_windows_may_fail(share: float, met: bool) -> None:
    held = seconds(15) + [second(1015 + index, latency_ms=400) for index in range(5)]
    result = judge_condition(SloCondition("latency_p95_ms", 250.0, window_s=5, may_fail_ratio=share), held)
    assert (result.windows, result.windows_missed) == (4, 1)
    assert result.value == pytest.approx(400, rel=0.004)
    assert result.met is met


def test_a_failure_in_the_last_seconds_is_seen() -> None:
    held = seconds(22) + [second(1022 + index, latency_ms=400) for index in range(2)]
    assert not judge_condition(SloCondition("latency_p95_ms", 250.0, window_s=10), held).met


def test_too_few_transactions_are_not_judged() -> None:
    few = [second(1, offered=19)]
    result = judge_condition(P95, few)
    assert (result.windows, result.value) == (0, None)
    assert "fewer than 20" in describe(result)
    assert judge_condition(P95, [second(1, offered=20)]).windows == 1
    assert min_samples(SloCondition("latency_p99_ms", 1.0)) == 100


def test_nothing_to_judge() -> None:
    assert value_of(P95, []) is None
    assert value_of(ERRORS, [second(1, rows={})]) is None
    assert judge_condition(P95, []).windows == 0
    assert value_of(P95, [second(1, rows={("shop", "ok"): histogram()})]) is None


APDEX = SloCondition("apdex", 0.9, target_ms=100.0)
THROUGHPUT = SloCondition("throughput_tps", 90.0)


def test_apdex_counts_tolerating_half_and_frustrated_or_failed_not_at_all() -> None:
    rows = {
        ("shop", "ok"): histogram(*[20] * 60, *[250] * 20, *[900] * 10),
        ("shop", "service_error"): same(1, 10),  # fast, and yet nobody is satisfied
    }
    assert value_of(APDEX, [second(1, rows=rows)]) == pytest.approx(0.7)
    result = judge_condition(APDEX, [second(1, rows=rows)])
    assert (result.met, result.value) == (False, pytest.approx(0.7))
    assert describe(result) == "The Apdex score was 0.700, below the limit of 0.9 at 100 ms."


def test_the_target_and_four_times_it_still_count() -> None:
    # 0.1 ms and 0.2 ms have buckets of their own: the edges are exact there
    condition = SloCondition("apdex", 0.75, target_ms=0.05)
    rows = {("shop", "ok"): histogram(*[0.05] * 50, *[0.2] * 50)}
    result = judge_condition(condition, [second(1, rows=rows)])
    assert (result.value, result.met) == (0.75, True)


def test_unfinished_transactions_frustrate() -> None:
    assert judge_condition(APDEX, seconds(2)).value == 1.0
    assert judge_condition(APDEX, seconds(2), unfinished=50).value == pytest.approx(0.8)


def test_an_apdex_of_a_small_group_is_not_judged() -> None:
    assert judge_condition(APDEX, [second(1, offered=99)]).windows == 0
    assert judge_condition(APDEX, [second(1, offered=100)]).windows == 1


def test_the_worst_window_of_a_throughput_is_the_lowest() -> None:
    held = [*seconds(5), *[second(1005 + index, completed=40) for index in range(5)]]
    result = judge_condition(SloCondition("throughput_tps", 90.0, window_s=5, may_fail_ratio=0.5), held)
    assert (result.value, result.windows, result.windows_missed, result.met) == (40.0, 2, 1, True)
    whole = judge_condition(THROUGHPUT, held)
    assert (whole.value, whole.met) == (70.0, False)
    assert describe(whole) == "The throughput was 70 tps, below the limit of 90 tps."
    assert judge_condition(THROUGHPUT, [second(1, completed=90)]).met


def test_a_service_that_completes_nothing_has_a_throughput_of_zero() -> None:
    result = judge_condition(THROUGHPUT, [second(1, completed=0, rows={})])
    assert (result.value, result.windows, result.met) == (0.0, 1, False)
    assert judge_condition(THROUGHPUT, []).windows == 0


def test_a_throughput_is_not_asked_of_a_rate_that_cannot_show_it() -> None:
    assert not asked(THROUGHPUT, Step("warm", 90.0, 5, 1, ""))
    assert asked(THROUGHPUT, Step("probe", 90.1, 5, 1, ""))
    assert asked(P95, Step("warm", 1.0, 5, 1, ""))


def test_a_throughput_of_a_label() -> None:
    rows = {("browse", "ok"): same(10, 60), ("pay", "ok"): same(10, 20), ("pay", "timeout"): same(900, 5)}
    assert value_of(SloCondition("throughput_tps", 20.0, "pay"), [second(1, rows=rows)]) == 25


CONDITIONS = [
    P95,
    ERRORS,
    SloCondition("error_ratio", 0.25, "pay"),
    SloCondition("latency_p50_ms", 250.0, "pay"),
    SloCondition("latency_p99_ms", 250.0),
    APDEX,
    SloCondition("apdex", 0.5, "pay", target_ms=60.0),
]
latencies = st.lists(st.integers(1, 2_000_000), min_size=0, max_size=60)


@given(
    st.sampled_from(CONDITIONS),
    st.dictionaries(st.tuples(st.sampled_from(["browse", "pay"]), st.sampled_from(OUTCOMES)), latencies, max_size=6),
)
def test_a_condition_is_met_while_the_bad_keep_within_the_allowed_share(
    condition: SloCondition, rows: dict[tuple[str, Outcome], list[int]]
) -> None:
    filled = {key: histogram(*(value / 1e3 for value in values)) for key, values in rows.items()}
    held = [second(1, rows=filled)]
    bad, total = bad_and_total(condition, held)
    share = allowed_share(condition)
    assert share is not None
    assert 0 <= bad <= total == samples(held, condition.label)
    value = value_of(condition, held)
    if value is None:
        assert total == 0
    else:
        assert condition.missed_by(value - 1e-9 if condition.higher_is_better else value + 1e-9) is (
            bad > share * total + 1e-6
        ) or math.isclose(value, condition.limit, abs_tol=1e-6)


def test_nothing_spends_a_throughput() -> None:
    assert bad_and_total(THROUGHPUT, seconds(2)) == (0, 200)
    assert allowed_share(THROUGHPUT) is None
