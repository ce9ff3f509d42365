"""The simulation against queueing theory, and against the balanced plant played through event by event."""

from __future__ import annotations

import heapq
import math

import numpy as np
import pytest

from sandbox.plantfile import ServiceTime
from sandbox.simulation import BINS, Effort, Outcome, System, _Lanes, simulate

MEAN_S = 0.04


def service(distribution: str, mean_s: float = MEAN_S, spread: float | None = None) -> ServiceTime:
    values = {"distribution": distribution, "mean": f"{1000 * mean_s:g} ms"}
    return ServiceTime.model_validate(values if spread is None else {**values, "spread": spread})


def system(time: ServiceTime, slots: int, queue_limit: int = 2000, instances: int = 1) -> System:
    return System(instances, slots, queue_limit, ((1.0, time),))


def erlang_b(slots: int, offered: float) -> float:
    """The part of requests that finds all slots busy when none can wait."""
    blocked = 1.0
    for slot in range(1, slots + 1):
        blocked = offered * blocked / (slot + offered * blocked)
    return blocked


def erlang_c(slots: int, offered: float) -> float:
    """The part of requests that must wait when all may wait."""
    blocked = erlang_b(slots, offered)
    return blocked / (1 - offered / slots * (1 - blocked))


@pytest.mark.parametrize(("slots", "load"), [(4, 0.85), (1, 0.8)])
def test_response_times_of_exponential_service_follow_erlang_c(slots: int, load: float) -> None:
    service_rate = 1 / MEAN_S
    rate = load * slots * service_rate
    outcome = simulate(system(service("exponential"), slots), [rate], Effort(512, 1500, 8000), seed=1)[0]
    waits = erlang_c(slots, rate / service_rate)
    drain = slots * service_rate - rate

    def slower_than(limit_s: float) -> float:
        served_at_once = (1 - waits) * math.exp(-service_rate * limit_s)
        if math.isclose(drain, service_rate):
            return served_at_once + waits * (1 + service_rate * limit_s) * math.exp(-service_rate * limit_s)
        both = service_rate * math.exp(-drain * limit_s) - drain * math.exp(-service_rate * limit_s)
        return served_at_once + waits * both / (service_rate - drain)

    for limit_s in (0.02, 0.05, 0.1, 0.2):
        assert outcome.slow_ratios(limit_s).mean() == pytest.approx(slower_than(limit_s), rel=0.03)
    assert slower_than(outcome.percentile_s(95)) == pytest.approx(0.05, rel=0.03)
    assert outcome.mean_s() == pytest.approx(MEAN_S + waits / drain, rel=0.02)


@pytest.mark.parametrize(
    ("time", "squared_spread"),
    [(service("constant"), 0.0), (service("lognormal", spread=0.5), 0.25), (service("lognormal", spread=1.5), 2.25)],
    ids=["M/D/1", "M/G/1", "M/G/1 wide"],
)
def test_mean_of_one_slot_follows_pollaczek_and_khinchine(time: ServiceTime, squared_spread: float) -> None:
    load = 0.7
    outcome = simulate(system(time, 1), [load / MEAN_S], Effort(256, 1500, 5000), seed=2)[0]
    expected = MEAN_S + load * MEAN_S * (1 + squared_spread) / (2 * (1 - load))
    assert outcome.mean_s() == pytest.approx(expected, rel=0.02)


def test_mean_of_a_mix_follows_pollaczek_and_khinchine() -> None:
    mixed = System(1, 1, 2000, ((0.7, service("constant", 0.02)), (0.3, service("exponential", 0.08))))
    assert mixed.mean_service_s == pytest.approx(0.038)
    second_moment = 0.7 * 0.02**2 + 0.3 * 2 * 0.08**2
    assert mixed.squared_spread == pytest.approx(second_moment / 0.038**2 - 1)
    rate = 0.7 / 0.038
    outcome = simulate(mixed, [rate], Effort(256, 1500, 5000), seed=3)[0]
    assert outcome.mean_s() == pytest.approx(0.038 + rate * second_moment / (2 * (1 - 0.7)), rel=0.02)


@pytest.mark.parametrize("distribution", ["exponential", "constant"])
def test_without_a_waiting_room_the_refused_part_follows_erlang_b(distribution: str) -> None:
    slots, offered = 4, 3.5
    plant = system(service(distribution), slots, queue_limit=0)
    outcome = simulate(plant, [offered / MEAN_S], Effort(256, 200, 3000), seed=4)[0]
    assert outcome.error_ratio() == pytest.approx(erlang_b(slots, offered), rel=0.02)


@pytest.mark.parametrize("load", [0.9, 1.0, 1.2])
def test_with_a_small_waiting_room_the_refused_part_follows_theory(load: float) -> None:
    slots, places = 2, 5
    offered = load * slots
    weights = [offered**n / math.factorial(n) for n in range(slots + 1)]
    weights += [weights[-1] * load**n for n in range(1, places + 1)]
    plant = system(service("exponential"), slots, queue_limit=places)
    outcome = simulate(plant, [offered / MEAN_S], Effort(256, 500, 4000), seed=5)[0]
    assert outcome.error_ratio() == pytest.approx(weights[-1] / sum(weights), rel=0.03)


def test_overload_fills_the_queue_from_the_start() -> None:
    slots, places, load = 4, 400, 1.05
    plant = system(service("constant"), slots, queue_limit=places)
    outcome = simulate(plant, [load * plant.saturation_tps], Effort(64, 200, 1000), seed=6)[0]
    assert outcome.percentile_s(50) == pytest.approx((places / slots + 1) * MEAN_S, rel=0.05)
    assert outcome.error_ratio() == pytest.approx(1 - 1 / load, rel=0.15)


def test_every_arrival_is_counted_once() -> None:
    plant = system(service("exponential"), 2, queue_limit=3, instances=2)
    outcomes = simulate(plant, [50.0, 120.0], Effort(30, 10, 777), seed=7, batches=7)
    for outcome in outcomes:
        assert outcome.arrivals == 30 * 777
        per_batch = outcome.histogram.sum(axis=1) + outcome.refused
        assert per_batch.tolist() == [777 * len(range(batch, 30, 7)) for batch in range(7)]
    assert outcomes[0].refused.sum() < outcomes[1].refused.sum()


def test_same_seed_same_outcome() -> None:
    plant = system(service("lognormal", spread=0.5), 3, instances=2)
    first, again, other = (simulate(plant, [100.0], Effort(8, 50, 500), seed=seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(first.histogram, again.histogram)
    assert not np.array_equal(first.histogram, other.histogram)


def played_through(system: System, arrivals: list[float], services: list[float]) -> list[float]:
    """The latencies (NaN: refused) of one plant, one arrival after the other: the same rules, told with plain lists."""
    in_flight: list[list[float]] = [[] for _ in range(system.instances)]
    starts: list[list[float]] = [[] for _ in range(system.instances)]
    free_at = [[0.0] * system.slots for _ in range(system.instances)]
    chosen_at = [0] * system.instances
    latencies = []
    for number, (now, service_s) in enumerate(zip(arrivals, services, strict=True)):
        in_flight = [[end for end in ends if end > now] for ends in in_flight]
        best = min(range(system.instances), key=lambda i: (len(in_flight[i]), chosen_at[i]))
        chosen_at[best] = number + 1
        start = max(now, min(free_at[best]))
        if start > now and sum(other > now for other in starts[best]) >= system.queue_limit:
            latencies.append(math.nan)
            continue
        starts[best].append(start)
        heapq.heapreplace(free_at[best], start + service_s)
        in_flight[best].append(start + service_s)
        latencies.append(start + service_s - now)
    return latencies


@pytest.mark.parametrize(
    ("instances", "slots", "queue_limit", "load"),
    [(2, 4, 400, 0.9), (3, 2, 50, 0.95), (2, 2, 3, 1.1), (4, 1, 0, 0.8), (1, 3, 8, 1.3)],
)
def test_every_latency_agrees_with_an_event_by_event_simulation(
    instances: int, slots: int, queue_limit: int, load: float
) -> None:
    plant = System(
        instances, slots, queue_limit, ((0.5, service("lognormal", spread=0.8)), (0.5, service("exponential", 0.1)))
    )
    rates = np.array([0.9, 1.0]) * load * plant.saturation_tps
    # The same seed draws the same gaps and services: once to be simulated, once to be played through.
    lanes, twin = (_Lanes(plant, rates, 2, seed=10, common=True) for _ in range(2))
    latencies_s = lanes.advance(400)
    gaps, services_s = twin._draw(400)
    for lane in range(4):
        expected = played_through(plant, np.cumsum(gaps[:, lane]).tolist(), services_s[:, lane].tolist())
        np.testing.assert_allclose(latencies_s[:, lane], expected, rtol=1e-9)
    assert (np.isnan(latencies_s).any()) == (queue_limit <= 8)


def test_percentiles_and_slow_ratios_of_a_known_histogram() -> None:
    histogram = np.zeros((2, BINS))
    histogram[0, 5000] = 90
    histogram[1, 6000] = 10
    outcome = Outcome(10.0, histogram, np.array([0.0, 10.0]))
    fast_s, slow_s = (1e-5 * math.exp(0.001 * bin) for bin in (5000, 6000))
    assert outcome.percentile_s(50) == pytest.approx(fast_s, rel=0.001)
    assert outcome.percentile_s(95) == pytest.approx(slow_s, rel=0.001)
    assert outcome.slow_ratios(fast_s * 1.01).tolist() == [0, 1]
    assert outcome.slow_ratios(fast_s * 0.99).tolist() == [1, 1]
    assert outcome.slow_ratios(-1).tolist() == [1, 1]
    assert outcome.error_ratio() == pytest.approx(10 / 110)
    assert outcome.error_ratios().tolist() == [0, 0.5]


def test_when_nothing_is_answered_the_percentile_is_infinite() -> None:
    assert Outcome(1.0, np.zeros((1, BINS)), np.array([5.0])).percentile_s(95) == math.inf
