"""The table of seconds against the plain counts of the same service."""

from collections import Counter

import pytest

from include.capacity.histogram import bucket_of
from tests.simulators.fleet import LABEL, OUTCOMES, SimulatedFleet
from tests.simulators.running import Running
from tests.simulators.service import Instance, Service


@pytest.mark.parametrize("rate_tps", [8.0, 60.0, 150.0])
def test_the_seconds_add_up_to_what_ended(rate_tps: float) -> None:
    service = Service((Instance(2),), 0.02, error_ratio=0.02, timeout_s=0.5)
    fleet, plain = SimulatedFleet(service, 11), Running(service, 11)
    counted: Counter[tuple[int, str, int]] = Counter()
    seconds = []
    for _ in range(30):
        seconds.append(fleet.second(rate_tps))
        seen = plain.hold(rate_tps, 1.0)
        assert (seconds[-1].offered, seconds[-1].completed) == (seen.offered, len(seen.started))
        assert seconds[-1].in_flight == seen.in_flight
        assert seconds[-1].lag.total == seen.offered
        for start, latency, outcome in zip(seen.started, seen.latency_s, seen.outcome, strict=True):
            counted[int(start), OUTCOMES[outcome], bucket_of(int(latency * 1e6 + 0.5))] += 1
    table = Counter(
        {
            (second.second, outcome, bucket): count
            for second in seconds
            for (label, outcome), latency in second.rows.items()
            for bucket, count in latency.counts.items()
            if label == LABEL
        }
    )
    assert table == counted
    assert sum(second.offered for second in seconds) == sum(table.values()) + seconds[-1].in_flight


def test_the_load_generator_is_at_ease() -> None:
    fleet = SimulatedFleet(Service((Instance(1),), 0.1), 1)
    for _ in range(60):
        second = fleet.second(100.0)
    assert second.in_flight > 5000
    assert all(shard.threads_idle > 100_000 for shard in second.shards)
    lag_ms = second.lag.quantile_ms(0.99)
    assert lag_ms is not None
    assert lag_ms < 5
