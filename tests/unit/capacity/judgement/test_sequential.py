"""The sequential tests: their arithmetic, and their error rates by simulation."""

import math
import random

import numpy as np
import pytest

from include.capacity.judgement import sequential
from include.capacity.judgement.watching import MET_ERROR_RATE, MISSED_ERROR_RATE
from include.capacity.models import Step
from include.capacity.search.driving import hold
from tests.unit.capacity.examples import LIMITS
from tests.unit.capacity.simulators.fleet import SimulatedFleet
from tests.unit.capacity.simulators.plants import PLANTS

ALLOWED = 0.05


def decided(rng: np.random.Generator, share: float, rate: int, seconds: int = 45) -> str | None:
    """What independent transactions with this share of bad ones lead to, looked at each second."""
    values: list[tuple[float, int]] = []
    for _ in range(seconds):
        total = int(rng.poisson(rate))
        values.append((float(rng.binomial(total, share)), total))
        verdict = sequential.clear(
            sequential.blocks_of(values),
            ALLOWED,
            met_error_rate=MET_ERROR_RATE,
            missed_error_rate=MISSED_ERROR_RATE,
        )
        if verdict is not None:
            return verdict
    return None


@pytest.mark.parametrize("rate", [30, 300])
def test_at_the_limit_a_verdict_is_as_rare_as_stated(rate: int) -> None:
    rng = np.random.default_rng(rate)
    verdicts = [decided(rng, ALLOWED, rate) for _ in range(400)]
    noise = 3 * math.sqrt(MET_ERROR_RATE * (1 - MET_ERROR_RATE) / 400)
    assert verdicts.count("met") / 400 <= MET_ERROR_RATE + noise
    assert verdicts.count("missed") / 400 <= MISSED_ERROR_RATE + noise


def test_far_from_the_limit_the_verdict_is_right_and_early() -> None:
    rng = np.random.default_rng(3)
    assert [decided(rng, 0.005, 200, 14) for _ in range(100)] == ["met"] * 100
    assert [decided(rng, 0.15, 200, 14) for _ in range(100)] == ["missed"] * 100


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "passes", "fails"), [(0.90, 0.97, 0.03), (1.08, 0.05, 0.95)])
def test_a_probe_of_a_queue_tells_ten_per_cent_apart(rate: float, passes: float, fails: float) -> None:
    """What docs/search.md states: transactions of a queue are correlated, so the rates are those of whole probes."""
    plant, outcomes = PLANTS[0], []
    step = Step("probe", rate * plant.truth_tps, 45.0, 4.0, "an example")
    for seed in range(80):
        rng = random.Random(seed)
        fleet = SimulatedFleet(plant.service(rng), rng)
        for _ in range(5):
            fleet.second(0.8 * plant.truth_tps)
        outcomes.append(hold(fleet, step, plant.slo, LIMITS, number=0, shards=2)[0].sustainable)
    passed, failed = outcomes.count(True) / 80, outcomes.count(False) / 80
    if rate < 1:
        assert passed >= passes
        assert failed <= fails
    else:
        assert passed <= passes
        assert failed >= fails


def test_blocks_leave_out_a_remainder() -> None:
    assert sequential.blocks_of([(1.0, 10), (0.0, 10), (5.0, 10)]) == [(1.0, 20)]
    assert sequential.blocks_of([]) == []


def test_an_estimate_needs_transactions_and_two_blocks() -> None:
    assert sequential.estimate([], ALLOWED) is None
    assert sequential.estimate([(0.0, 0), (0.0, 0)], ALLOWED) is None
    assert sequential.estimate([(1.0, 20)], ALLOWED) is None


def test_correlated_blocks_have_a_larger_error() -> None:
    runs = [(10.0, 100)] * 6 + [(0.0, 100)] * 6
    mixed = [(10.0, 100), (0.0, 100)] * 6
    together, apart = sequential.estimate(runs, ALLOWED), sequential.estimate(mixed, ALLOWED)
    assert together is not None
    assert apart is not None
    assert together.share == apart.share == pytest.approx(0.05)
    assert together.error > 1.5 * apart.error


def test_no_bad_transaction_is_not_known_without_error() -> None:
    found = sequential.estimate([(0.0, 100)] * 6, ALLOWED)
    assert found is not None
    assert found.share == 0
    assert found.error > 0


def test_the_boundary_is_wider_for_a_smaller_error_rate_and_few_blocks() -> None:
    assert sequential.boundary(10, 0.02) > sequential.boundary(10, 0.08) > 1.6
    assert sequential.boundary(5, 0.08) > sequential.boundary(10, 0.08)
