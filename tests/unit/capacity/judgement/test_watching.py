from dataclasses import replace

import pytest

from include.capacity.judgement.watching import watch
from include.capacity.models import FleetSecond, Slo, SloCondition, Step
from tests.unit.capacity.examples import LIMITS, SLO, STEP, same, second, seconds


def watched(held: list[FleetSecond], step: Step = STEP, slo: Slo = SLO, **more: float) -> str | None:
    return watch(step, slo, LIMITS, held, **({"transactions_per_arrival": 1.0} | more))  # type: ignore[arg-type]


def test_a_healthy_step_goes_on() -> None:
    assert watched([]) is None
    assert watched(seconds(1)) is None
    assert watched(seconds(13)) is None


def test_more_than_a_second_of_arrivals_in_flight_is_an_overload() -> None:
    # healthy: 100/s x 250 ms = 25, noise 4 x sqrt(25) + 3, and one second of arrivals
    assert watched([second(1, in_flight=148)]) is None
    reason = watched([second(1, in_flight=149)])
    assert reason is not None
    assert reason.startswith("overload: 149 arrivals in flight")


def test_think_times_raise_the_healthy_level() -> None:
    held = [second(1, in_flight=400)]
    assert watched(held) is not None
    assert watched(held, healthy_arrival_s=3.0) is None


def test_arrivals_of_several_transactions_are_in_flight_for_longer() -> None:
    held = seconds(3, offered=25, completed=100, in_flight=60)
    assert watched(held, transactions_per_arrival=4.0) is None
    assert watched(held, replace(STEP, rate_tps=25.0), transactions_per_arrival=4.0) is not None


@pytest.mark.parametrize(("slow", "aborts"), [(0.5, False), (0.55, True)])
def test_half_of_the_transactions_slow_over_three_seconds(slow: float, aborts: bool) -> None:
    rows = {("shop", "ok"): same(400, round(100 * slow)).merge(same(20, round(100 * (1 - slow))))}
    step = replace(STEP, kind="ramp")
    assert watched(seconds(2, rows=rows), step) is None
    reason = watched(seconds(3, rows=rows), step)
    assert (reason or "").startswith("overload") is aborts


@pytest.mark.parametrize(("failed", "aborts"), [(11, False), (12, True)])
def test_ten_percent_of_errors_above_the_limit_over_three_seconds(failed: int, aborts: bool) -> None:
    rows = {("shop", "ok"): same(20, 100 - failed), ("shop", "service_error"): same(20, failed)}
    assert (watched(seconds(3, rows=rows), replace(STEP, kind="ramp")) is not None) is aborts


def test_without_an_error_condition_most_must_fail() -> None:
    latency = Slo(SLO.conditions[:1])
    some = {("shop", "ok"): same(20, 60), ("shop", "service_error"): same(20, 40)}
    most = {("shop", "ok"): same(20, 40), ("shop", "service_error"): same(20, 60)}
    assert watched(seconds(3, rows=some), slo=latency) is None
    assert "60% of the transactions failed" in (watched(seconds(3, rows=most), slo=latency) or "")


def test_a_spent_budget_of_slow_transactions_ends_a_soak() -> None:
    soak = replace(STEP, kind="soak", hold_s=65.0, discard_s=5.0)  # 6000 transactions judged: 300 may be slow
    rows = {("shop", "ok"): same(400, 100)}
    held = seconds(8) + [second(1008 + index, rows=rows) for index in range(20)]
    ended_at = next(count for count in range(len(held)) if watched(held[:count], soak))
    assert ended_at == 8 + 4  # 330 + 3 slow ones
    assert (watched(held[:ended_at], soak) or "").startswith("slo: The p95 latency was 400 ms")
    assert (watched(held, replace(soak, kind="ramp")) or "").startswith("overload")  # a ramp step has no such budget


def test_slow_seconds_of_the_discarded_start_do_not_count() -> None:
    rows = {("shop", "ok"): same(400, 45).merge(same(20, 55))}
    assert watched([*seconds(4, rows=rows), second(1004)]) is None
    assert watched(seconds(5, rows=rows)) is None
    assert watched(seconds(6, rows=rows)) is not None


def test_a_missed_window_ends_a_probe_when_none_may_fail() -> None:
    slo = Slo((SloCondition("latency_p95_ms", 250.0, window_s=3),))
    rows = {("shop", "ok"): same(400, 10).merge(same(20, 90))}
    held = seconds(7) + [second(1007 + index, rows=rows) for index in range(2)]
    assert watched(held, slo=slo) is None
    assert "windows missed it" in (watched([*held, second(1009)], slo=slo) or "")
    lax = Slo((SloCondition("latency_p95_ms", 250.0, window_s=3, may_fail_ratio=0.5),))
    assert watched([*held, second(1009)], slo=lax) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"guard": "errors above 50 %"}, "guard: errors above 50 %"),
        ({"missing": (1,)}, "shard: shard 1 did not report for second 1000."),
        ({"restarted": (0,)}, "shard: shard 0 was started anew in second 1000."),
    ],
)
def test_faulty_load_ends_any_step(changes: dict[str, object], reason: str) -> None:
    assert watched(seconds(1, **changes)) == reason
    assert watched(seconds(1, **changes), replace(STEP, kind="rest")) == reason


def test_a_rest_is_not_ended_by_what_it_inherits() -> None:
    assert watched(seconds(4, in_flight=900, latency_ms=2000), replace(STEP, kind="rest")) is None


def test_seconds_without_any_transaction() -> None:
    empty = seconds(5, offered=0, rows={}, in_flight=0)
    assert watched(empty) is None
