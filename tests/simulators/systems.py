"""Families of simulated systems, each with random parameters drawn from a seed.

A system is a service and the SLO that it is measured against. What a search may know besides, its lower and upper
bound, depends on the truth and is in `cases`.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import dataclass
from functools import cache

from include.capacity.models import QUANTILES, Slo, SloCondition
from tests.simulators import effects, engine
from tests.simulators.effects import Dice, Effect
from tests.simulators.running import Running
from tests.simulators.service import Service

TUNE: dict[str, Effect] = {
    "mgc": effects.general_queue,
    "usl": effects.contention,
    "gc": effects.gc_pauses,
    "leak": effects.leak,
    "noisy": effects.noisy_neighbour,
    "hysteresis": effects.hysteresis,
    "limiter": effects.rate_limiter,
    "uneven": effects.uneven_instances,
}
HELD_OUT: dict[str, Effect] = {
    "bimodal": effects.bimodal,
    "pool": effects.pool,
    "warmup": effects.warm_up,
    "cliff": effects.cliff,
    "retry": effects.retry_storm,
    "credits": effects.burst_credits,
    "timeouts": effects.client_timeouts,
    "mixed": effects.mixed,
}
FAMILIES = TUNE | HELD_OUT

LIGHT = 0.12  # of the nominal rate: light load
EASE = 0.6  # at light load a system stays below this share of what the SLO allows


@dataclass(frozen=True, slots=True)
class System:
    """Attributes: nominal_tps: what its slots could do without effects; a hint to find the truth, not for a search."""

    family: str
    seed: int
    service: Service
    slo: Slo
    nominal_tps: float

    @property
    def name(self) -> str:
        return f"{self.family}/{self.seed}"

    @property
    def quantile(self) -> float:
        """Of the latency condition."""
        return QUANTILES[self.slo.conditions[0].metric]

    @property
    def limit_s(self) -> float:
        return self.slo.conditions[0].limit / 1e3

    @property
    def error_limit(self) -> float:
        return self.slo.conditions[1].limit

    def digest(self) -> str:
        """Changes with everything that the truth depends on."""
        slo = [(condition.metric, condition.limit) for condition in self.slo.conditions]
        text = json.dumps([self.service.as_json(), slo, self.nominal_tps, engine.VERSION], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@cache
def draw(family: str, seed: int) -> System:
    """The system of this family and seed; always the same one. Raises KeyError for an unknown family."""
    effect = FAMILIES[family]
    for attempt in range(100):
        dice = Dice(zlib.crc32(family.encode()), seed, attempt)
        draft = effects.plain(dice)
        effect(draft, dice)
        metric = dice.one(("latency_p90_ms", "latency_p95_ms", "latency_p99_ms"), (1, 2, 1))
        errors = dice.one((0.001, 0.005, 0.01, 0.02, 0.05), (1, 2, 4, 2, 1))
        if dice.chance(0.4):
            draft.more["error_ratio"] = errors * dice.spread(0.02, 0.3)
        service = draft.service()
        quantile = _light_quantile_s(service, draft.tps, QUANTILES[metric], seed)
        limit_ms = float(f"{quantile * dice.spread(1.2, 6.0) * 1e3:.3g}")
        slo = Slo((SloCondition(metric, limit_ms), SloCondition("error_ratio", errors)))
        system = System(family, seed, service, slo, draft.tps)
        if _sensible(system):
            return system
    raise AssertionError(f"no system of family {family} and seed {seed} meets its SLO at light load")


def _light(service: Service, nominal_tps: float, seed: int) -> Running:
    """Warm, at light load."""
    running = Running(service, seed + 1)
    running.hold(LIGHT * nominal_tps, max(60.0, 300 / nominal_tps))
    return running


def _light_quantile_s(service: Service, nominal_tps: float, quantile: float, seed: int) -> float:
    rate = LIGHT * nominal_tps
    latency = sorted(_light(service, nominal_tps, seed).hold(rate, max(30.0, 2000 / rate)).latency_s)
    return float(latency[int(quantile * (len(latency) - 1))])


def _sensible(system: System) -> bool:
    """Whether the SLO is met with ease at light load and missed far above the nominal rate."""
    rate = LIGHT * system.nominal_tps
    light = _light(system.service, system.nominal_tps, system.seed + 1).hold(rate, max(30.0, 2000 / rate))
    slow = (light.latency_s > system.limit_s).mean()
    failed = (light.outcome != engine.OK).mean()
    if slow > EASE * (1 - system.quantile) or failed > EASE * system.error_limit:
        return False
    return _breaks(system)


def _breaks(system: System) -> bool:
    """Whether it misses its SLO within 30 s far above the nominal rate."""
    running = Running(system.service, system.seed + 2)
    rate = 3 * system.nominal_tps
    ended = slow = failed = offered = 0
    for _ in range(10):
        seen = running.hold(rate, 3.0)
        offered += seen.offered
        ended += len(seen.latency_s)
        slow += int((seen.latency_s > system.limit_s).sum())
        failed += int((seen.outcome != engine.OK).sum())
        if slow > (1 - system.quantile) * 33 * rate or failed > system.error_limit * 33 * rate:
            return True  # whatever comes
    return (
        slow > (1 - system.quantile) * ended or failed > system.error_limit * ended or running.in_flight > 0.1 * offered
    )
