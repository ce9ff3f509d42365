"""What makes a plant hard, on a virtual clock: each rule by itself, and all of them beside the simulation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from sandbox.admission import Admission, Admitted, Episodes, Refusal, TokenBucket, episode_key
from sandbox.plant_characters import NoisyNeighbour, RateLimit
from sandbox.plantfile import Plant, parse_plant
from sandbox.simulation import Effort, Lane, System

CONNECTION = {"distribution": "exponential", "mean": "30 ms"}
NOISY = {"every": "2 s", "lasts": "500 ms", "slowdown": 3}
LIMIT = {"rate": "60 tps", "burst": 5}
UNEVEN = [{"slots": 4}, {"slots": 2, "speed": "50 %"}, {"slots": 3, "speed": "120 %"}]
COSTLY = {"backlog": 4, "relief": 1, "cost_factor": 2.5}


def plant(**changes: Any) -> Plant:
    def endpoint(path: str, method: str, share: float) -> dict[str, Any]:
        time = {"distribution": "lognormal", "mean": "40 ms", "spread": 0.6}
        return {"path": path, "method": method, "service_time": time, "share": share}

    return parse_plant(
        {
            "schema": 1,
            "name": "shop",
            "time_scale": 1,
            "instances": {"min": 1, "max": 9, "desired": 1},
            "instances_under_test": 1,
            "slots": 3,
            "queue_limit": 20,
            "endpoints": {
                "browse": endpoint("/products", "GET", 0.5),
                "search": endpoint("/search", "GET", 0.5),
                "checkout": endpoint("/checkout", "POST", 0),
            },
            "slo": {"latency_p95": "1 s"},
            **changes,
        }
    )


def ends(admission: Admission, now: float, count: int, own_s: float, connection_s: float = 0.0) -> list[float | int]:
    """When so many requests that arrive at once end; the status of those that are refused."""
    answers = [admission.admit(now, own_s, connection_s) for _ in range(count)]
    return [answer.end if isinstance(answer, Admitted) else answer.status for answer in answers]


def test_a_plain_instance_is_slots_and_a_waiting_room() -> None:
    assert ends(Admission(plant(slots=2, queue_limit=1), 0, "1/i"), 5.0, 4, 1.0) == [6.0, 6.0, 7.0, 503]


def test_the_place_decides_slots_and_speed_and_begins_anew() -> None:
    uneven = plant(instance_kinds=UNEVEN)
    assert [Admission(uneven, place, "1/i").queue.slots for place in range(4)] == [4, 2, 3, 4]
    assert ends(Admission(uneven, 1, "1/i"), 0.0, 3, 1.0) == [2.0, 2.0, 4.0]


def test_a_request_keeps_its_slot_while_it_waits_for_a_connection() -> None:
    admission = Admission(plant(slots=3, pool={"connections": 1, "service_time": CONNECTION}), 0, "1/i")
    # Three hold the slots, one after the other the connection; the fourth gets the first slot that is free.
    assert ends(admission, 0.0, 4, own_s=10.0, connection_s=1.0) == [11.0, 12.0, 13.0, 22.0]
    answer = admission.admit(100.0, 10.0, 1.0)
    assert answer == Admitted(111.0, 10.0)
    assert admission.queue.admitted_s == pytest.approx(11 + 12 + 13 + 11 + 11)


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = TokenBucket(RateLimit.model_validate({"rate": "10 tps", "burst": 3}))
    assert [bucket.take(1000.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(1000.05), bucket.take(1000.1), bucket.take(1000.15)] == [False, True, False]
    assert [bucket.take(2000.0) for _ in range(4)] == [True, True, True, False]


@pytest.mark.parametrize("status", [429, 503])
def test_beyond_the_rate_limit_requests_are_refused_and_cost_no_slot(status: int) -> None:
    admission = Admission(plant(rate_limit={"rate": "1 tps", "burst": 2, "status": status}), 0, "1/i")
    assert ends(admission, 0.0, 3, 1.0) == [1.0, 1.0, status]
    assert admission.queue.admitted_s == 2
    assert admission.admit(0.0, 1.0) == Refusal(status, "the rate limit is reached")


def test_a_backlog_makes_work_cost_more_until_it_has_drained() -> None:
    admission = Admission(plant(slots=1, metastable={"backlog": 2, "relief": 0, "cost_factor": 3}), place=0, key="1/i")
    assert ends(admission, 0.0, 5, 1.0) == [1, 2, 3, 6, 9]  # the fourth finds two waiting
    assert admission.is_costly()
    assert ends(admission, 5.0, 1, 1.0) == [12]  # fewer wait than when it began, but one still does
    assert ends(admission, 9.5, 1, 1.0) == [13]  # nobody waits any more
    assert not admission.is_costly()


def test_an_episode_lies_in_each_period_and_slows_work_down() -> None:
    noisy = NoisyNeighbour.model_validate({"hits": "each", "every": "24 s", "lasts": "6 s", "slowdown": 4})
    episodes = Episodes(noisy, time_scale=12, key=episode_key("a"))
    places = []
    for number in range(500):
        begin, end = episodes.episode(number)
        assert number * 2 <= begin < end <= number * 2 + 2
        assert end - begin == pytest.approx(0.5)
        places.append((begin - number * 2) / 1.5)
    assert np.mean(places) == pytest.approx(0.5, abs=0.05)
    assert np.std(places) == pytest.approx(math.sqrt(1 / 12), abs=0.03)
    begin, end = episodes.episode(7)
    assert episodes.finish(begin, 0.1) == pytest.approx(begin + 0.4)
    assert episodes.finish(begin - 0.1, 0.2) == pytest.approx(begin + 0.4)
    assert episodes.finish(begin, 0.2) == pytest.approx(end + 0.2 - 0.125)
    assert episodes.finish(0.0, 1000 * (1.5 + 0.125)) == pytest.approx(2000)  # over a thousand periods


def test_episodes_hit_each_instance_for_itself_or_all_at_once() -> None:
    def first(hits: str, key: str) -> float:
        admission = Admission(plant(noisy_neighbour={**NOISY, "hits": hits}), 0, key)
        assert admission._episodes is not None
        return admission._episodes.episode(0)[0]

    assert first("all", "1/i-a") == first("all", "1/i-b") != first("all", "2/i-a")
    assert len({first("each", key) for key in ("1/i-a", "1/i-b", "2/i-a")}) == 3
    assert first("each", "1/i-a") == first("each", "1/i-a")


EVERYTHING = {
    "pool": {"connections": 1, "service_time": CONNECTION},
    "rate_limit": LIMIT,
    "metastable": COSTLY,
    "instance_kinds": UNEVEN,
    "noisy_neighbour": {**NOISY, "hits": "each"},
}


@pytest.mark.parametrize("balancing", ["least_connections", "round_robin"])
@pytest.mark.parametrize(
    ("changes", "rate_tps"),
    [
        ({}, 200.0),
        ({"instance_kinds": UNEVEN}, 170.0),
        ({"pool": {"connections": 2, "service_time": CONNECTION}}, 170.0),
        ({"rate_limit": LIMIT}, 190.0),
        ({"metastable": COSTLY}, 190.0),
        ({"noisy_neighbour": {**NOISY, "hits": "all"}}, 180.0),
        ({"noisy_neighbour": {**NOISY, "hits": "each"}}, 180.0),
        (EVERYTHING, 85.0),
    ],
)
def test_the_simulation_agrees_with_the_instances_latency_for_latency(
    balancing: str, changes: dict[str, Any], rate_tps: float
) -> None:
    instances = 3
    shop = plant(balancing=balancing, **changes)
    admissions = [Admission(shop, place, f"1/{place}") for place in range(instances)]
    lane = Lane(System.of(shop, instances), rate_tps, np.random.default_rng(3), Effort(1, 0, 0, gentle=True))
    for place, admission in enumerate(admissions):
        if admission._episodes is not None:
            lane._rules.noise_keys[place] = admission._episodes._key
    seen = lane.advance(3000)
    expected = balanced(admissions, balancing, seen.times_s, seen.own_s, seen.connection_s)
    np.testing.assert_allclose(seen.latencies_s, expected, rtol=1e-7, atol=1e-9)
    refused = np.isnan(seen.latencies_s).mean()
    assert refused < 0.9
    assert ("rate_limit" in changes) <= (refused > 0)


def balanced(admissions: list[Admission], balancing: str, times_s: Any, own_s: Any, connection_s: Any) -> list[float]:
    """Latencies (NaN: refused) behind a balancer that is told by events: requests that come and go."""
    in_flight: list[list[float]] = [[] for _ in admissions]
    changed_at = [-math.inf] * len(admissions)
    latencies = []
    for number, now in enumerate(times_s):
        for instance, running in enumerate(in_flight):
            over = [end for end in running if end <= now]
            changed_at[instance] = max([changed_at[instance], *over])
            in_flight[instance] = [end for end in running if end > now]
        chosen = number % len(admissions)
        if balancing == "least_connections":
            chosen = min(range(len(admissions)), key=lambda i: (len(in_flight[i]), changed_at[i]))
        changed_at[chosen] = now
        answer = admissions[chosen].admit(now, own_s[number], connection_s[number])
        if isinstance(answer, Refusal):
            latencies.append(math.nan)
            continue
        in_flight[chosen].append(answer.end)
        latencies.append(answer.end - now)
    return latencies
