"""The clockwork against queueing theory, and its bookkeeping."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from tests.simulators import engine
from tests.simulators.running import Running
from tests.simulators.service import (
    BIMODAL,
    CONSTANT,
    ERLANG,
    EXPONENTIAL,
    FEWEST_OPEN,
    LOGNORMAL,
    PARETO,
    UNIFORM,
    Instance,
    Service,
)


def erlang_c(servers: int, load: float) -> float:
    """The probability that an arrival of an M/M/c queue must wait; `load` in servers."""
    terms = [load**n / math.factorial(n) for n in range(servers)]
    last = load**servers / math.factorial(servers) * servers / (servers - load)
    return last / (sum(terms) + last)


@pytest.mark.parametrize(("servers", "use"), [(1, 0.5), (1, 0.8), (4, 0.7), (16, 0.9)])
def test_latencies_of_the_m_m_c_queue(servers: int, use: float) -> None:
    mean_s = 0.02
    rate = use * servers / mean_s
    running = Running(Service((Instance(servers),), mean_s), seed=5)
    running.hold(rate, 20)
    seen = running.hold(rate, 400_000 / rate)
    waits = erlang_c(servers, use * servers)
    spare = servers / mean_s - rate
    assert seen.latency_s.mean() == pytest.approx(mean_s + waits / spare, rel=0.03)
    if servers == 1:  # exponential, with the mean above
        assert np.quantile(seen.latency_s, 0.95) == pytest.approx(math.log(20) / spare, rel=0.04)


@pytest.mark.parametrize(
    ("law", "shape", "squared_cv"),
    [
        (CONSTANT, 1.0, 0.0),
        (EXPONENTIAL, 1.0, 1.0),
        (LOGNORMAL, 0.6, 0.36),
        (UNIFORM, 0.9, 0.27),
        (ERLANG, 4.0, 0.25),
        (BIMODAL, 1.0, None),
        (PARETO, 2.5, None),
    ],
)
def test_waits_of_the_m_g_1_queue(law: int, shape: float, squared_cv: float | None) -> None:
    """Pollaczek and Khinchine: the mean wait is load x (1 + cv^2) / 2 / (1 - load) x the service time."""
    service = Service((Instance(1),), 0.01, law=law, shape=shape, rare_share=0.1, rare_factor=5.0)
    alone = Running(service, seed=1).hold(1.0, 50_000).latency_s
    assert alone.mean() == pytest.approx(0.01 * 1.005, rel=0.03)
    if squared_cv is None:
        squared_cv = float(alone.var() / alone.mean() ** 2)
    seen = Running(service, seed=2).hold(60.0, 5_000)
    assert seen.latency_s.mean() == pytest.approx(0.01 * (1 + 0.6 * (1 + squared_cv) / 2 / 0.4), rel=0.06)


def test_the_same_seed_gives_the_same_requests() -> None:
    service = Service(tuple(Instance(3) for _ in range(2)), 0.02, policy=FEWEST_OPEN, retries=2, try_timeout_s=0.1)
    one, same, other = (Running(service, seed).hold(200.0, 20.0) for seed in (1, 1, 2))
    assert np.array_equal(one.latency_s, same.latency_s)
    assert not np.array_equal(one.latency_s[:100], other.latency_s[:100])


@pytest.mark.parametrize(
    "service",
    [
        Service((Instance(2),), 0.02),
        Service((Instance(2),), 0.02, queue_limit=3),
        Service((Instance(2),), 0.02, retries=3, try_timeout_s=0.05, backoff_s=0.05),
        Service((Instance(2),), 0.02, timeout_s=0.2),
        Service((Instance(2), Instance(2, 3.0)), 0.02, policy=FEWEST_OPEN, minor_gc_every=20, minor_gc_s=0.1),
    ],
)
def test_every_arrival_ends_once(service: Service) -> None:
    """Also where it piles up beyond the room that the lists begin with, and where the service is replaced."""
    running = Running(service, seed=3)
    offered = ended = 0
    for rate in (50.0, 400.0, 4000.0, 10.0):
        for _ in range(5):
            seen = running.hold(rate, 1.0)
            offered, ended = offered + seen.offered, ended + len(seen.started)
            assert seen.in_flight == offered - ended
            assert (seen.latency_s >= 0).all()
    assert running.in_flight > 100 or service.queue_limit >= 0 or service.timeout_s or service.retries
    running.replace()
    seen = running.hold(1.0, 5.0)
    assert offered + seen.offered == ended + len(seen.started) + seen.in_flight
    assert seen.in_flight <= 1


@pytest.mark.parametrize(
    ("effect", "worn"),
    [
        (lambda: Service((Instance(4),), 0.02, law=CONSTANT, leak_requests=2000), True),
        (lambda: Service((Instance(4),), 0.02, law=CONSTANT, cold_factor=4.0, warm_up_requests=500), False),
        (lambda: Service((Instance(4),), 0.02, law=CONSTANT, credit_s=20.0, spent_factor=4.0), True),
        (lambda: Service((Instance(8),), 0.02, law=CONSTANT, cache_cost=3.0, cache_fill_requests=500), False),
    ],
)
def test_replacing_gives_fresh_instances(effect: Callable[[], Service], worn: bool) -> None:
    running = Running(effect(), seed=4)
    first = running.hold(40.0, 5.0).latency_s.mean()
    running.hold(40.0, 100.0)
    later = running.hold(40.0, 5.0).latency_s.mean()
    running.replace()
    again = running.hold(40.0, 5.0).latency_s.mean()
    assert (later > 1.5 * first) if worn else (later < first / 1.5)
    assert again == pytest.approx(first, rel=0.25)


def test_a_pause_delays_what_is_under_way() -> None:
    """Every request of an instance that stands still for a second ends at least a second later, or began later."""
    service = Service((Instance(300),), 0.2, law=CONSTANT, minor_gc_every=400, minor_gc_s=1.0, gc_cv=0.001)
    seen = Running(service, seed=5).hold(100.0, 600.0)
    slow = seen.latency_s > 0.3
    # a pause a 400 requests, that is 4 s: it hits the 0.2 s before it and the 1 s of its length
    assert slow.mean() == pytest.approx(1.1 / 4, abs=0.03)
    assert seen.latency_s.max() == pytest.approx(1.2, abs=0.3)
    assert (seen.outcome == engine.OK).all()


def test_a_token_bucket_passes_its_rate() -> None:
    service = Service((Instance(50),), 0.01, limit_tps=50, limit_burst=500)
    running = Running(service, seed=6)
    burst = running.hold(100.0, 5.0)
    assert (burst.outcome == engine.OK).all()
    running.hold(100.0, 20.0)
    assert (running.hold(100.0, 100.0).outcome == engine.OK).sum() == pytest.approx(5000, rel=0.02)
