"""What makes a probe invalid: each reason on its own, and the cases that must not be blamed on the generator."""

from dataclasses import replace

import pytest

from include.capacity.judgement.stops import GUARD, OVERLOAD, SHARD, stop
from include.capacity.models import FleetSecond, ProbeResult
from tests.unit.capacity.examples import FIRST, judged, same, second, seconds, shard


def with_one(number: int, **changes: object) -> list[FleetSecond]:
    held = seconds(13)
    held[number] = second(FIRST + number, **changes)  # type: ignore[arg-type]
    return held


def assert_invalid(result: ProbeResult, words: str) -> None:
    assert (result.validity.status, result.sustainable) == ("invalid", None)
    assert any(words in reason for reason in result.validity.reasons), result.validity.reasons


@pytest.mark.parametrize(
    ("held", "words"),
    [
        (with_one(7, missing=(1,), shards=[shard(0)]), "Shard 1 did not report"),
        (with_one(0, missing=(1,), shards=[shard(0)]), "Shard 1 did not report"),
        (with_one(7, shards=[shard(0)]), "Only 1 of 2 shards reported"),
        (with_one(7, restarted=(0,)), "Shard 0 was started anew"),
        (with_one(7, guard="errors above 50 %"), "errors above 50 %"),
        (with_one(7, rejected=2), "2 of 1002 result lines could not be read"),
        (with_one(7, rows={("shop", "ok"): same(50, 98), ("shop", "generator_error"): same(1, 2)}), "2 of 1000"),
        ([each for each in seconds(13) if each.second != FIRST + 6], "1 seconds of the step were reported by no shard"),
        ([each for each in seconds(13) if each.second > FIRST], "reported by no shard"),
        (seconds(13, lag_ms=60), "the schedule lag's p99 was 60 ms"),
        (seconds(13, shards=[shard(0), shard(1, cpu=0.95)]), "Shard 1 used 0.95 cores (limit 0.9)"),
        (seconds(13, shards=[shard(0, cpu=0.48, cpu_limit_cores=0.5)]), "Shard 0 used 0.48 cores (limit 0.45)"),
        (seconds(13, shards=[shard(0), shard(1, throttled_ratio=0.4)]), "held back by its CPU quota in 40% of the"),
        (
            seconds(13, shards=[shard(0, heap_used_mb=370, heap_max_mb=384), shard(1)]),
            "The heap of shard 0 was never less than 96% full (limit 90% of 384 MiB). Set load.fleet.heap_mib to 576",
        ),
        (seconds(13, shards=[shard(0, open_fds=950, max_fds=1024), shard(1)]), "Shard 0 had 950 of at most 1024 files"),
        (seconds(13, shards=[shard(0, gc=0.2), shard(1)]), "Shard 0 spent 20% of its time in garbage collection"),
        (seconds(13, offered=80), "800 arrivals were dispatched where 1000 were commanded"),
        (with_one(7, shards=[shard(0), shard(1, clock_drift_s=0.4)]), "The clock of shard 1 was set, or does not"),
        (seconds(13, shards=[shard(0), shard(1, delay_s=-0.7)]), "The clock of shard 1 is at least 0.70 s ahead"),
        (
            seconds(13, shards=[shard(0, delay_s=0.2, in_force_after_s=-0.9), shard(1)]),
            "The clock of shard 0 is at least 0.90 s behind",
        ),
        (seconds(13, shards=[shard(0), shard(1, delay_s=2.9)]), "The reports of shard 1 come 2.9 s after the time"),
        (seconds(13, offered=120), "1200 arrivals were dispatched where 1000 were commanded"),
    ],
)
def test_reasons(held: list[FleetSecond], words: str) -> None:
    assert_invalid(judged(held), words)


def test_causes_of_the_generators_own_errors_are_told() -> None:
    rows = {("shop", "ok"): same(50, 98), ("shop", "generator_error"): same(1, 2)}
    held = with_one(7, rows=rows, own_errors={"too many open files": 2})
    assert_invalid(judged(held), "2 of 1000 transactions failed in the load generator itself: too many open files (2)")


def test_an_invalid_probe_is_never_read_as_slow_or_good() -> None:
    assert judged(seconds(13, lag_ms=60, latency_ms=400)).sustainable is None
    assert judged(seconds(13, lag_ms=60, latency_ms=80)).sustainable is None


@pytest.mark.parametrize("reason", [GUARD, SHARD])
def test_a_stop_for_faulty_load_is_invalid_although_no_whole_second_shows_it(reason: str) -> None:
    assert_invalid(judged(seconds(8), stop=stop(reason, "gone")), "gone")  # type: ignore[arg-type]


def test_poisson_noise_is_no_deviation() -> None:
    assert judged(seconds(13, offered=89)).validity.status == "valid"  # 890 of 1000: 2 % + 4 sigma are 146
    assert judged(seconds(13, offered=85)).validity.status == "invalid"


def test_a_single_late_second_within_the_percentile_is_valid() -> None:
    lag = same(1, 995).merge(same(500, 5))
    assert judged([replace(each, lag=lag) for each in seconds(13)]).validity.status == "valid"


def test_lag_without_idle_threads_belongs_to_a_service_that_holds_them_for_too_long() -> None:
    # 200 threads and 100 arrivals/s that end: each thread is held for 2 s
    busy = [shard(0, idle=0), shard(1, idle=0)]
    result = judged(seconds(13, lag_ms=400, latency_ms=2400, in_flight=240, shards=busy))
    assert (result.validity.status, result.sustainable) == ("valid", False)


def test_too_few_threads_for_a_quick_service_are_the_generators_fault() -> None:
    # 10 threads and 100 arrivals/s that end: each thread is held for 100 ms only, the lag makes the latency
    busy = [shard(0, threads=5, idle=0), shard(1, threads=5, idle=0)]
    assert_invalid(judged(seconds(13, lag_ms=400, latency_ms=500, in_flight=50, shards=busy)), "threads are too few")


def test_a_met_slo_stands_although_all_threads_were_busy() -> None:
    busy = [shard(0, threads=5, idle=0), shard(1, threads=5, idle=0)]
    assert judged(seconds(13, lag_ms=90, latency_ms=190, in_flight=20, shards=busy)).sustainable is True


def test_a_hard_overload_stands_with_some_lag_but_not_with_much() -> None:
    overload = stop(OVERLOAD, "too much in flight")
    assert judged(seconds(5, lag_ms=150, latency_ms=900, in_flight=200), stop=overload).sustainable is False
    assert_invalid(judged(seconds(5, lag_ms=250, latency_ms=900, in_flight=200), stop=overload), "schedule lag")
