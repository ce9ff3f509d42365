"""Three queueing services of different character with the truth about them, and how that truth is found."""

from __future__ import annotations

import random
from dataclasses import dataclass

from include.capacity.models import Slo, SloCondition
from tests.unit.capacity.simulators.services import QueueingService


@dataclass(frozen=True, slots=True)
class Plant:
    """A plant and `truth_tps`: the highest rate at which its p95 stays within the limit in the long run."""

    name: str
    instances: int
    slots: int
    mean_s: float
    cv: float
    limit_ms: float
    truth_tps: float

    def service(self, rng: random.Random) -> QueueingService:
        return QueueingService(rng, instances=self.instances, slots=self.slots, mean_s=self.mean_s, cv=self.cv)

    @property
    def slo(self) -> Slo:
        return Slo((SloCondition("latency_p95_ms", self.limit_ms), SloCondition("error_ratio", 0.01)))


PLANTS = (
    Plant("2 x 4 slots of 40 ms", 2, 4, 0.040, 0.5, 250.0, truth_tps=192.0),
    Plant("3 x 4 slots of 60 ms, more spread", 3, 4, 0.060, 0.7, 300.0, truth_tps=190.6),
    Plant("2 x 8 slots of 80 ms, less spread", 2, 8, 0.080, 0.3, 400.0, truth_tps=195.9),
)


def long_run_p95_ms(plant: Plant, rate_tps: float, requests: int, seed: int) -> float:
    """The p95 over many requests at one rate, the first twentieth (an empty service) left out."""
    rng = random.Random(seed)
    service = plant.service(rng)
    at, latencies = 0.0, []
    for _ in range(requests):
        at += rng.expovariate(rate_tps)
        latencies.append(service.answer(at)[0] - at)
    settled = sorted(latencies[requests // 20 :])
    return settled[int(0.95 * len(settled))] * 1e3
