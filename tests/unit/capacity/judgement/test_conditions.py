import pytest

from include.capacity.judgement.conditions import describe, judge_condition, min_samples, value_of, windows_of
from include.capacity.models import SloCondition
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
