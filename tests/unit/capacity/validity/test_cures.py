"""Cures in numbers: computed from what was measured."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.capacity.validity import cures
from tests.unit.capacity.examples import LIMITS, judged, second, seconds, shard


def test_as_many_shards_as_the_measured_cpu_asks_for() -> None:
    # 2 shards use 1.9 cores for 100 arrivals/s; each may use 80 % of 0.9 cores: 200/s need 3.8 / 0.72 = 5.3 shards
    held = seconds(10, shards=[shard(0, cpu=0.95), shard(1, cpu=0.95)])
    assert cures.shards_needed(held, LIMITS, 200.0) == 6
    assert cures.more_shards(held, LIMITS, 200.0) == "Use 6 shards (load.fleet.shards)."


def test_what_is_not_handled_costs_no_cpu_yet() -> None:
    # 100/s are dispatched, and half of them pile up: the CPU was spent on 50/s
    held = [second(1000 + index, in_flight=50 * index, shards=[shard(0, cpu=0.9)]) for index in range(11)]
    assert cures.shards_needed(held, LIMITS, 100.0) == pytest.approx(0.9 / (600 / 11) * 100 / 0.72, abs=1)
    assert cures.shards_needed(held, LIMITS, 100.0) == 3


def test_without_a_figure_it_is_one_more() -> None:
    assert cures.shards_needed(seconds(5, shards=[shard(0, cpu=0.0)]), LIMITS, 100.0) is None
    assert cures.shards_needed([], LIMITS, 100.0) is None
    assert cures.more_shards(seconds(5, shards=[shard(0, cpu=0.0)]), LIMITS, 100.0) == (
        "Use 2 shards (load.fleet.shards)."
    )


@given(
    st.integers(1, 6),
    st.floats(0.01, 4.0),
    st.floats(1.0, 5000.0),
    st.sampled_from([0.0, 0.25, 1.0, 2.0]),
)
def test_with_the_advised_shards_each_keeps_within_its_limit(
    count: int, cpu: float, commanded: float, available: float
) -> None:
    held = seconds(10, shards=[shard(number, cpu=cpu, cpu_limit_cores=available) for number in range(count)])
    needed = cures.shards_needed(held, LIMITS, commanded)
    assert needed is not None
    each = count * cpu / 100 * commanded / needed  # 100 arrivals/s were measured
    limit = cures.cpu_limit(held, 0, LIMITS)
    assert each <= cures.SPARE * limit + 1e-6
    if needed > 1:
        assert each * needed / (needed - 1) > cures.SPARE * limit - 1e-6


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (
            {"throttled_ratio": 0.5, "cpu": 0.4},
            "held back by its CPU quota in 50% of the periods. Give it more CPU, or",
        ),
        ({"cpu": 0.88}, "used 0.88 of at most 0.90 cores. Use 3 shards (load.fleet.shards)."),
        ({"cpu_wait_ratio": 0.6}, "Processes waited for a CPU in 60% of the time: free the machine"),
        ({}, "Use more shards or CPU, or free the machine it runs on."),
    ],
)
def test_the_cure_for_lateness_is_that_of_its_cause(state: dict[str, float], words: str) -> None:
    late = judged(seconds(13, lag_ms=60, shards=[shard(0), shard(1, **state)]))  # type: ignore[arg-type]
    assert late.validity.status == "invalid"
    assert words in late.validity.reasons[0]


def test_the_number_of_threads_that_are_needed() -> None:
    busy = [shard(0, threads=5, idle=0), shard(1, threads=5, idle=0)]
    result = judged(seconds(13, lag_ms=400, latency_ms=500, in_flight=50, shards=busy))
    # 100/s, each of which may hold a thread for 250 ms, on two shards with a reserve of 30 %: 16.25, and one idle
    assert any("Set load.fleet.threads_per_shard to 18 or more" in reason for reason in result.validity.reasons)
