"""Prints how far searches on the simulated plants end from the truth.

Usage: python -m tests.unit.capacity.simulators.table [--seeds 40]
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections.abc import Sequence
from dataclasses import replace

from tests.unit.capacity.simulators.driver import SETTINGS, Search, drive
from tests.unit.capacity.simulators.fleet import SimulatedFleet
from tests.unit.capacity.simulators.plants import PLANTS, Plant

OVERLOAD = 1.2  # load above this multiple of the truth hurts the service more than the search needs


def searches(plant: Plant, seeds: int, *, prior: bool) -> list[Search]:
    """One search for each seed; a prior is wrong by up to 10 %."""
    found = []
    for seed in range(seeds):
        rng = random.Random(7 * seed + 1)
        prior_tps = plant.truth_tps * random.Random(seed).uniform(0.9, 1.1) if prior else None
        fleet = SimulatedFleet(plant.service(rng), rng)
        found.append(drive(fleet, replace(SETTINGS, prior_tps=prior_tps), plant.slo))
    return found


def row(plant: Plant, found: Sequence[Search]) -> str:
    """One line of the table, in percent and seconds."""
    answers = [search.answer for search in found]
    errors = [100 * (answer.tps / plant.truth_tps - 1) for answer in answers if answer.tps is not None]
    sizes = sorted(abs(error) for error in errors)
    loads = sorted(search.load_s for search in found)
    covered = sum((answer.low or 0) <= plant.truth_tps <= (answer.high or float("inf")) for answer in answers)
    over = sum(
        each.load_s for search in found for each in search.history if each.step.rate_tps > OVERLOAD * plant.truth_tps
    )
    cells = [
        f"{statistics.mean(errors):+.1f}",
        *(f"{value:.1f}" for value in (statistics.median(sizes), sizes[int(0.9 * len(sizes))], sizes[-1])),
        f"{100 * sum(error > 5 for error in errors) / len(found):.0f}",
        f"{100 * sum(error < -5 for error in errors) / len(found):.0f}",
        f"{100 * covered / len(found):.0f}",
        f"{100 * sum(answer.verified for answer in answers) / len(found):.0f}",
        *(f"{value:.0f}" for value in (statistics.median(loads), loads[int(0.9 * len(loads))])),
        f"{over / len(found):.1f}",
    ]
    return " | ".join([plant.name, f"{plant.truth_tps:.1f}", *cells])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=40)
    seeds = parser.parse_args().seeds
    for prior in (False, True):
        print(f"{'with a prior within 10 %' if prior else 'without a prior'}, {seeds} seeds")
        print(
            "plant | truth | bias % | median % | p90 % | max % | >5 % high % | >5 % low % | covered % | verified % "
            "| load p50 s | p90 s | above 1.2 x s"
        )
        for plant in PLANTS:
            print(row(plant, searches(plant, seeds, prior=prior)), flush=True)


if __name__ == "__main__":
    main()
