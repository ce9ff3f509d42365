"""Our search on a simulated service: the only place that knows how a search is driven."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from include.capacity.models import Answer, FleetSecond, ProbeResult, SearchSettings, ValidityLimits
from include.capacity.search.driving import run_search
from tests.simulators.cases import Case
from tests.simulators.fleet import SHARDS, SimulatedFleet

SETTINGS = SearchSettings(
    lower_tps=1.0,
    upper_tps=2.0,
    resolution=0.03,
    ramp_factor=1.35,
    ramp_step_s=5.0,
    probe_s=45.0,
    probe_discard_s=4.0,
    soak_s=180.0,
    soak_discard_s=8.0,
    rest_s=20.0,
    max_load_s=1500.0,
    max_invalid_repeats=3,
)
LIMITS = ValidityLimits(
    max_lag_p99_ms=40.0,
    max_generator_cpu_cores=0.9,
    max_gc_ratio=0.1,
    min_idle_threads=1,
    max_rejected_ratio=0.001,
    max_offered_deviation=0.02,
)


@dataclass(slots=True)
class Counting:
    """A fleet that keeps an account of its load: (rate, seconds) of each second."""

    fleet: SimulatedFleet
    seconds: list[tuple[float, float]] = field(default_factory=list)
    replaced: int = 0

    @property
    def now(self) -> int:
        return self.fleet.now

    def second(self, rate_tps: float) -> FleetSecond:
        if rate_tps > 0:
            self.seconds.append((rate_tps, 1.0))
        return self.fleet.second(rate_tps)

    def replace(self) -> None:
        self.replaced += 1
        self.fleet.replace()


@dataclass(frozen=True, slots=True)
class OurSearch:
    answer: Answer
    history: Sequence[ProbeResult]
    seconds: Sequence[tuple[float, float]]
    replaced: int


def search(
    case: Case,
    *,
    safe: bool = False,
    seed: int = 0,
    prior_tps: float | None = None,
    told: Callable[[ProbeResult], None] | None = None,
) -> OurSearch:
    """Runs one search with the settings of a production service and the bounds of the case."""
    target = Counting(case.fleet(seed))
    settings = replace(
        SETTINGS, lower_tps=case.lower_tps, upper_tps=case.upper_tps, prior_tps=prior_tps, safe=safe, can_replace=True
    )
    run = run_search(target, settings, case.system.slo, LIMITS, shards=SHARDS, told=told)
    return OurSearch(run.answer, run.history, target.seconds, target.replaced)
