from dataclasses import replace

import pytest

from include.capacity.judgement.light_load import healthy_arrival_s
from include.capacity.judgement.stops import OVERLOAD, SLO, stop
from include.capacity.models import Slo, SloCondition, Step
from tests.unit.capacity.examples import FIRST, STEP, judged, same, second, seconds


def test_a_healthy_probe() -> None:
    result = judged(seconds(13))
    assert (result.validity.status, result.sustainable, result.misses) == ("valid", True, ())
    assert (result.measured_s, result.offered_tps, result.achieved_tps) == (10, 100.0, 100.0)
    assert result.latency_ms["p95"] == pytest.approx(50, rel=0.004)
    assert result.errors["ok"] == 1000
    assert (result.error_ratio, result.goodput_tps, result.load_s) == (0.0, 100.0, 13.0)
    assert result.in_flight_mean == 5


def test_only_whole_seconds_after_the_discarded_start_count() -> None:
    held = [second(FIRST - 1, latency_ms=900), *seconds(3, latency_ms=900), *seconds(13)[3:], second(FIRST + 13)]
    result = judged(held, ended_at=FIRST + 13.4)
    assert result.measured_s == 10
    assert result.latency_ms["max"] < 60


def test_the_order_of_the_seconds_does_not_matter() -> None:
    held = [*seconds(6), *[second(FIRST + 6 + index, latency_ms=90, in_flight=9) for index in range(7)]]
    assert judged(held[::-1], ended_at=FIRST + 13.0) == judged(held)


def test_a_slow_service_misses_its_slo() -> None:
    result = judged(seconds(13, latency_ms=260))
    assert (result.validity.status, result.sustainable, result.overloaded) == ("valid", False, False)
    assert result.misses == ("The p95 latency was 260 ms, beyond the limit of 250 ms.",)


def test_edge_noise_of_a_short_probe_is_no_shortfall() -> None:
    # 2 % fewer completions than arrivals, since 20 more are in flight at the end
    held = [second(FIRST + index, completed=98, in_flight=10 + 2 * index) for index in range(13)]
    assert judged(held).sustainable is True


def test_completing_less_than_is_offered_is_not_sustainable() -> None:
    slo = Slo((SloCondition("error_ratio", 0.01),))
    held = [second(FIRST + index, completed=80, in_flight=10 + 20 * index) for index in range(13)]
    result = judged(held, slo=slo)
    assert (result.validity.status, result.sustainable, result.overloaded) == ("valid", False, True)
    assert result.misses[0].startswith("Only 80.0% of the offered transactions were completed")
    assert result.misses[1].startswith("A backlog built up")


def test_an_uncertain_number_of_transactions_per_arrival_makes_no_shortfall() -> None:
    step = replace(STEP, hold_s=60.0, rate_tps=320.0)
    result = judged(seconds(60, completed=300), step=step, transactions_per_arrival=3.2)
    assert (result.sustainable, result.misses) == (True, ())


def test_transactions_that_never_come_back_are_slow() -> None:
    held = [second(FIRST + index, completed=91, in_flight=10 + 9 * index) for index in range(13)]
    result = judged(held)
    assert result.conditions[0].met is False
    assert result.sustainable is False


def test_an_arrival_of_three_transactions() -> None:
    held = seconds(13, offered=100, completed=300)
    step = replace(STEP, rate_tps=300.0)
    result = judged(held, step=step, transactions_per_arrival=3.0)
    assert (result.offered_tps, result.achieved_tps, result.sustainable) == (300.0, 300.0, True)
    assert judged(held, step=step, transactions_per_arrival=4.0).sustainable is None  # 75 arrivals/s were commanded


def test_an_overload_abort_in_the_discarded_start_is_judged() -> None:
    held = seconds(2, completed=20, latency_ms=900, in_flight=160)
    result = judged(held, stop=stop(OVERLOAD, "too much in flight"))
    assert (result.validity.status, result.sustainable, result.overloaded) == ("valid", False, True)
    assert result.misses[0] == "overload: too much in flight"
    assert result.measured_s == 2


def test_an_overload_abort_before_the_first_whole_second() -> None:
    result = judged([], stop=stop(OVERLOAD, "too much in flight"))
    assert (result.validity.status, result.sustainable, result.measured_s) == ("valid", False, 0)
    assert result.latency_ms == {}


def test_an_abort_for_the_slo_is_valid() -> None:
    result = judged(seconds(8, latency_ms=300), stop=stop(SLO, "budget"))
    assert (result.validity.status, result.sustainable) == ("valid", False)


def test_an_early_end_for_another_reason_is_not_a_pass() -> None:
    result = judged(seconds(9), stop="the task was cancelled")
    assert (result.validity.status, result.sustainable) == ("inconclusive", None)
    assert "cancelled" in result.validity.reasons[0]


@pytest.mark.parametrize("count", [0, 1, 3, 4])
def test_too_few_seconds_are_inconclusive(count: int) -> None:
    result = judged(seconds(count))
    assert (result.validity.status, result.sustainable) == ("inconclusive", None)


def test_too_few_transactions_are_inconclusive() -> None:
    step = replace(STEP, rate_tps=1.0)
    result = judged(seconds(13, offered=1, in_flight=0), step=step)
    assert result.validity.status == "inconclusive"
    assert "fewer than 20 transactions" in result.validity.reasons[0]


def test_seconds_without_any_transaction_are_inconclusive() -> None:
    result = judged(seconds(13, offered=0, rows={}, in_flight=0), step=replace(STEP, rate_tps=0.1))
    assert result.validity.status == "inconclusive"
    assert result.latency_ms == {}


def test_a_missed_condition_counts_although_another_could_not_be_judged() -> None:
    slo = Slo((SloCondition("latency_p95_ms", 250.0), SloCondition("latency_p95_ms", 250.0, label="rare")))
    assert judged(seconds(13), slo=slo).validity.status == "inconclusive"
    assert judged(seconds(13, latency_ms=300), slo=slo).sustainable is False


def test_errors_are_told_apart() -> None:
    rows = {("shop", "ok"): same(20, 95), ("shop", "timeout"): same(20, 3), ("shop", "connection_error"): same(20, 2)}
    result = judged(seconds(13, rows=rows))
    assert result.errors == {
        "ok": 950,
        "service_error": 0,
        "connection_error": 20,
        "timeout": 30,
        "generator_error": 0,
    }
    assert result.error_ratio == pytest.approx(0.05)
    assert result.sustainable is False


def test_a_rest_is_judged_on_a_single_second() -> None:
    rest = Step("rest", 100.0, 3.0, 1.5, "")
    assert judged(seconds(3), step=rest, ended_at=FIRST + 3.0).sustainable is True


def test_the_light_load_duration_of_an_arrival() -> None:
    # 100 arrivals/s and 5 in flight: 50 ms each
    light = judged(seconds(13))
    heavy = judged(seconds(13, offered=200, in_flight=40), step=replace(STEP, rate_tps=200.0))
    failed = judged(seconds(13, latency_ms=900, offered=20), step=replace(STEP, rate_tps=20.0))
    assert healthy_arrival_s([heavy, light, failed]) == pytest.approx(0.05)
    assert healthy_arrival_s([failed]) is None
    assert healthy_arrival_s([]) is None
