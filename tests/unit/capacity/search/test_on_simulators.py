"""Whole searches against request-level simulations of services with a known truth."""

import random
import statistics
from dataclasses import replace

import pytest

from include.capacity.search.driving import SearchRun
from tests.unit.capacity.simulators.driver import SETTINGS, drive
from tests.unit.capacity.simulators.fleet import Generator, SimulatedFleet
from tests.unit.capacity.simulators.plants import PLANTS, Plant, long_run_p95_ms
from tests.unit.capacity.simulators.services import (
    ErrorCliff,
    FixedLatency,
    Paused,
    QueueingService,
    TokenBucket,
)


def searched(plant: Plant, seed: int, **settings: float | None) -> SearchRun:
    rng = random.Random(seed)
    fleet = SimulatedFleet(plant.service(rng), rng)
    return drive(fleet, replace(SETTINGS, **settings), plant.slo)  # type: ignore[arg-type]


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_the_answer_is_near_the_truth(plant: Plant) -> None:
    searches = [searched(plant, seed) for seed in range(5)]
    errors = [search.answer.tps / plant.truth_tps - 1 for search in searches if search.answer.tps is not None]
    assert len(errors) == 5
    assert all(search.answer.verified for search in searches)
    assert max(map(abs, errors)) < 0.08
    assert abs(statistics.median(errors)) < 0.04
    assert statistics.median(search.load_s for search in searches) < 260


@pytest.mark.slow
@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_the_distribution_of_the_errors(plant: Plant) -> None:
    """40 seeds: what the documentation claims."""
    searches = [searched(plant, 7 * seed + 1) for seed in range(40)]
    answers = [search.answer for search in searches]
    errors = sorted(abs((answer.tps or 0.0) / plant.truth_tps - 1) for answer in answers)
    assert all(answer.verified for answer in answers)
    assert errors[20] <= 0.03
    assert errors[35] <= 0.055
    assert errors[-1] <= 0.08
    covered = sum((answer.low or 0.0) <= plant.truth_tps <= (answer.high or 0.0) for answer in answers)
    assert covered >= 36
    assert statistics.median(search.load_s for search in searches) <= 240


@pytest.mark.slow
@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_the_truth_is_the_truth(plant: Plant) -> None:
    """The long-run p95 is within the limit 1 % below the stated truth, and beyond it 1 % above."""
    below = statistics.mean(long_run_p95_ms(plant, 0.99 * plant.truth_tps, 150_000, seed) for seed in (1, 2, 3))
    above = statistics.mean(long_run_p95_ms(plant, 1.01 * plant.truth_tps, 150_000, seed) for seed in (1, 2, 3))
    assert below < plant.limit_ms < above


def test_a_prior_saves_load() -> None:
    plant = PLANTS[0]
    without = statistics.median(searched(plant, seed).load_s for seed in range(5))
    with_prior = [searched(plant, seed, prior_tps=185.0) for seed in range(5)]
    assert statistics.median(search.load_s for search in with_prior) < without - 15
    assert all(abs((search.answer.tps or 0.0) / plant.truth_tps - 1) < 0.08 for search in with_prior)


def test_a_service_that_never_breaks() -> None:
    answer = drive(SimulatedFleet(FixedLatency(0.02), random.Random(1))).answer
    assert (answer.tps, answer.bound, answer.verified) == (600, "at_least", True)


@pytest.mark.parametrize("service", [FixedLatency(0.5), FixedLatency(0.02, "service_error")])
def test_a_service_that_never_meets_its_slo(service: FixedLatency) -> None:
    search = drive(SimulatedFleet(service, random.Random(1)))
    assert (search.answer.tps, search.answer.bound, search.answer.high) == (None, "at_most", 20)
    assert search.load_s < 40


def test_an_error_cliff() -> None:
    rng = random.Random(1)
    answer = drive(SimulatedFleet(ErrorCliff(rng, limit_tps=150), rng)).answer
    assert answer.verified
    assert answer.tps is not None
    assert 125 < answer.tps < 150  # the Poisson peaks above 150 fail at lower mean rates already


def test_a_saturated_generator_gives_no_number_but_the_reason() -> None:
    rng = random.Random(1)
    generator = Generator(late_above_tps=100, late_s=0.1)
    answer = drive(SimulatedFleet(PLANTS[0].service(rng), rng, generator)).answer
    assert (answer.tps, answer.bound, answer.validity.status) == (None, "unknown", "inconclusive")
    assert "schedule lag" in answer.validity.reasons[0]


def test_a_saturated_cpu_gives_no_number_but_the_reason() -> None:
    rng = random.Random(1)
    answer = drive(SimulatedFleet(PLANTS[0].service(rng), rng, Generator(cpu_cores=0.97))).answer
    assert answer.tps is None
    assert "0.97 cores" in answer.validity.reasons[0]


def test_too_few_threads_give_no_number_but_the_reason() -> None:
    rng = random.Random(1)
    service = QueueingService(rng, instances=4, slots=8)
    answer = drive(SimulatedFleet(service, rng, Generator(threads=8))).answer
    assert answer.tps is None
    assert "threads are too few" in answer.validity.reasons[0]


def test_a_shard_that_is_lost_for_a_while_costs_a_repeat_only() -> None:
    rng = random.Random(1)
    lost = dict.fromkeys(range(1060, 1065), (1,))
    search = drive(SimulatedFleet(PLANTS[0].service(rng), rng, lost=lost))
    assert sum(each.validity.status == "invalid" for each in search.history) >= 1
    assert search.answer.tps == pytest.approx(PLANTS[0].truth_tps, rel=0.08)


def test_a_shard_that_is_lost_for_good_gives_no_number() -> None:
    rng = random.Random(1)
    lost = dict.fromkeys(range(1060, 9000), (1,))
    answer = drive(SimulatedFleet(PLANTS[0].service(rng), rng, lost=lost)).answer
    assert (answer.tps, answer.validity.status) == (None, "inconclusive")
    assert "Shard 1" in answer.validity.reasons[0]


def test_pauses_of_the_service_do_not_make_the_answer_far_too_low() -> None:
    rng = random.Random(1)
    service = Paused(PLANTS[0].service(rng), ((1020.0, 1023.0), (1090.0, 1093.0)))
    answer = drive(SimulatedFleet(service, rng)).answer
    assert answer.tps == pytest.approx(PLANTS[0].truth_tps, rel=0.08)


def test_a_cold_service_is_warmed_by_the_ramp() -> None:
    rng = random.Random(1)
    service = QueueingService(rng, warm_up_s=40.0, cold_factor=2.5)
    answer = drive(SimulatedFleet(service, rng)).answer
    assert answer.tps == pytest.approx(PLANTS[0].truth_tps, rel=0.08)


def test_a_burst_that_passes_short_probes_fails_the_soak() -> None:
    search = drive(SimulatedFleet(TokenBucket(refill_tps=100.0, burst=4000.0), random.Random(1)))
    passed = [each.step.rate_tps for each in search.history if each.step.kind in ("ramp", "probe") and each.sustainable]
    assert max(passed) > 120
    assert search.answer.verified
    assert search.answer.tps is not None
    assert search.answer.tps < 112  # the 60 s of the soak, not the short probes, decide


def test_a_low_rate_service_is_held_for_longer() -> None:
    rng = random.Random(1)
    plant = Plant("one slot of 200 ms", 1, 1, 0.2, 0.3, 1000.0, truth_tps=3.9)
    settings = replace(SETTINGS, lower_tps=0.5, upper_tps=50.0, max_load_s=3000.0)
    search = drive(SimulatedFleet(plant.service(rng), rng), settings, plant.slo)
    assert all(each.validity.status == "valid" for each in search.history if each.step.kind != "rest")
    assert search.answer.tps == pytest.approx(3.9, rel=0.2)
