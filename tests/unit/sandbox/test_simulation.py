"""The simulation against queueing theory, and against the balanced plant played through arrival by arrival."""

from __future__ import annotations

import heapq
import math
from dataclasses import replace

import numpy as np
import pytest

from sandbox.plant_characters import InstanceKind, Metastable, NoisyNeighbour, Pool, RateLimit
from sandbox.plantfile import ServiceTime
from sandbox.simulation import BINS, Effort, Floats, Lane, Outcome, System, simulate

MEAN_S = 0.04


def service(distribution: str, mean_s: float = MEAN_S, spread: float | None = None) -> ServiceTime:
    values = {"distribution": distribution, "mean": f"{1e6 * mean_s:.6f} us"}
    return ServiceTime.model_validate(values if spread is None else {**values, "spread": spread})


def system(time: ServiceTime, slots: int, queue_limit: int = 2000, instances: int = 1) -> System:
    return System.alike(instances, slots, queue_limit, ((1.0, time),))


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
    mixed = System.alike(1, 1, 2000, ((0.7, service("constant", 0.02)), (0.3, service("exponential", 0.08))))
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
    ends: list[list[float]] = [[] for _ in range(system.instances)]
    starts: list[list[float]] = [[] for _ in range(system.instances)]
    free_at = [[0.0] * slots for slots in system.slots]
    latencies = []
    for now, service_s in zip(arrivals, services, strict=True):
        in_flight = [sum(end > now for end in of_one) for of_one in ends]
        # When the number in flight has changed last: by an arrival (an end that was kept for it) or by an end.
        best = min(
            range(system.instances), key=lambda i: (in_flight[i], max([-1.0, *changes(ends[i], starts[i], now)]))
        )
        start = max(now, min(free_at[best]))
        if start > now and sum(other > now for other in starts[best]) >= system.queue_limit:
            latencies.append(math.nan)
            starts[best].append(-now)  # it came and went at once
            continue
        starts[best] += [start, -now]
        heapq.heapreplace(free_at[best], start + service_s)
        ends[best].append(start + service_s)
        latencies.append(start + service_s - now)
    return latencies


def changes(ends: list[float], starts: list[float], now: float) -> list[float]:
    """The times up to now at which requests ended or came (those are kept as negative numbers)."""
    return [end for end in ends if end <= now] + [-arrival for arrival in starts if arrival <= 0]


@pytest.mark.parametrize(
    ("instances", "slots", "queue_limit", "load"),
    [(2, 4, 400, 0.9), (3, 2, 50, 0.95), (2, 2, 3, 1.1), (4, 1, 0, 0.8), (1, 3, 8, 1.3)],
)
def test_every_latency_agrees_with_an_event_by_event_simulation(
    instances: int, slots: int, queue_limit: int, load: float
) -> None:
    mix = ((0.5, service("lognormal", spread=0.8)), (0.5, service("exponential", 0.1)))
    plant = System.alike(instances, slots, queue_limit, mix)
    lane = Lane(plant, load * plant.saturation_tps, np.random.default_rng(10), Effort(1, 0, 0, gentle=True))
    seen = lane.advance(700)
    expected = played_through(plant, seen.times_s.tolist(), seen.own_s.tolist())
    np.testing.assert_allclose(seen.latencies_s, expected, rtol=1e-9)
    assert np.isnan(seen.latencies_s).any() == (queue_limit <= 8)


def test_two_instances_in_turn_follow_the_theory_of_regular_arrivals() -> None:
    # Every second Poisson arrival: E2/M/1. Its time in the system is exponential with the rate mu (1 - sigma).
    plant = replace(system(service("exponential"), 1, instances=2), balancing="round_robin")
    rate = 0.8 * plant.saturation_tps
    sigma, service_rate = 0.5, 1 / MEAN_S
    for _ in range(200):
        sigma = (rate / (rate + service_rate * (1 - sigma))) ** 2
    outcome = simulate(plant, [rate], Effort(64, 3000, 40_000), seed=11)[0]
    assert outcome.mean_s() == pytest.approx(MEAN_S / (1 - sigma), rel=0.02)
    assert outcome.percentile_s(95) == pytest.approx(math.log(20) * MEAN_S / (1 - sigma), rel=0.02)


def test_a_pool_with_enough_slots_is_a_queue_with_as_many_servers_as_connections() -> None:
    pool = Pool.model_validate({"connections": 3, "service_time": {"distribution": "exponential", "mean": "40 ms"}})
    plant = replace(system(service("constant", 1e-9), 200), pool=pool)
    rate = 0.85 * 3 / MEAN_S
    outcome = simulate(plant, [rate], Effort(64, 3000, 40_000), seed=12)[0]
    assert outcome.mean_s() == pytest.approx(MEAN_S + erlang_c(3, rate * MEAN_S) / (3 / MEAN_S - rate), rel=0.02)


@pytest.mark.parametrize(("slots", "connections"), [(3, 2), (6, 2)])
def test_saturation_with_a_pool_follows_the_theory_of_closed_networks(slots: int, connections: int) -> None:
    own_s, connection_s = 0.03, 0.02
    time = {"distribution": "exponential", "mean": "20 ms"}
    pool = Pool.model_validate({"connections": connections, "service_time": time})
    plant = replace(system(service("exponential", own_s), slots), pool=pool)
    # n of the slots at the connections, the others at work: product form (Gordon and Newell 1967).
    weights = [
        connection_s**n
        / math.prod(min(k, connections) for k in range(1, n + 1))
        * own_s ** (slots - n)
        / math.factorial(slots - n)
        for n in range(slots + 1)
    ]
    busy = sum(weight * min(n, connections) for n, weight in enumerate(weights)) / sum(weights)
    assert plant.saturation_tps == pytest.approx(busy / connection_s, rel=0.003)


@pytest.mark.parametrize("load", [0.5, 1.0, 2.0])
def test_a_bucket_for_one_token_refuses_as_one_slot_with_constant_service_would(load: float) -> None:
    limit = RateLimit.model_validate({"rate": "50 tps", "burst": 1})
    plant = replace(system(service("constant", 1e-6), 4), rate_limit=limit)
    outcome = simulate(plant, [50 * load], Effort(32, 100, 20_000), seed=13)[0]
    assert outcome.error_ratio() == pytest.approx(erlang_b(1, load), rel=0.02)


def test_a_deep_bucket_lets_its_rate_through() -> None:
    plant = replace(
        system(service("constant"), 8), rate_limit=RateLimit.model_validate({"rate": "50 tps", "burst": 50})
    )
    below, above = simulate(plant, [45.0, 60.0], Effort(32, 20_000, 20_000), seed=14)
    assert below.error_ratio() < 0.001
    assert above.error_ratio() == pytest.approx(1 - 50 / 60, rel=0.02)


def test_work_slows_down_as_much_as_the_episodes_say() -> None:
    noisy = NoisyNeighbour.model_validate({"hits": "each", "every": "4 s", "lasts": "1 s", "slowdown": 3})
    plant = replace(system(service("constant", 0.001), 50), noisy_neighbour=noisy, time_scale=2)
    outcome = simulate(plant, [50.0], Effort(16, 100, 20_000), seed=15)[0]
    # Short requests, nearly none of which lies over an edge: a quarter of them takes three times as long.
    assert outcome.slow_ratios(0.0015).mean() == pytest.approx(0.25, abs=0.01)
    assert outcome.percentile_s(99) == pytest.approx(0.003, rel=0.01)
    assert plant.saturation_tps == pytest.approx(50 / 0.001 * (0.75 + 0.25 / 3))


def test_saturation_counts_slots_speeds_and_the_weakest_in_turn() -> None:
    kinds = (InstanceKind(slots=8), InstanceKind.model_validate({"slots": 4, "speed": "50 %"}))
    plant = replace(system(service("constant"), 1), kinds=kinds)
    assert plant.saturation_tps == pytest.approx((8 + 2) / MEAN_S)
    assert replace(plant, balancing="round_robin").saturation_tps == pytest.approx(2 * 2 / MEAN_S)


def test_a_gently_warmed_plant_holds_what_a_shocked_one_does_not() -> None:
    rule = Metastable.model_validate({"backlog": 40, "cost_factor": 1.5})
    plant = replace(system(service("lognormal", spread=0.5), 6, instances=2), metastable=rule)
    rate = 0.85 * plant.saturation_tps

    def last_p50_s(times_s: Floats) -> float:
        lane = Lane(plant, rate, np.random.default_rng(16), Effort(1, 0, 0, gentle=True))
        seen = lane.serve(times_s)
        return float(np.nanmedian(seen.latencies_s[seen.times_s > times_s[-1] - 30]))

    gentle = np.cumsum(np.random.default_rng(17).exponential(size=20_000)) / rate
    shock = np.sort(np.concatenate([gentle, np.linspace(20, 21, 300)]))
    pause = shock[(shock < 40) | (shock > 50)]  # time to drain
    assert last_p50_s(gentle) < 0.06
    assert last_p50_s(shock) > 1
    assert last_p50_s(pause) < 0.06


def test_a_gentle_start_rises_in_a_straight_line_from_half_the_rate() -> None:
    lane = Lane(system(service("constant"), 250), 1000.0, np.random.default_rng(18), Effort(1, 40_000, 0, gentle=True))
    times_s = lane.advance(40_000).times_s
    counts = np.histogram(times_s, bins=[0, 5, 10, 15, 20, 25, 30])[0] / 5
    assert counts == pytest.approx([562.5, 687.5, 812.5, 937.5, 1000, 1000], rel=0.05)


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
