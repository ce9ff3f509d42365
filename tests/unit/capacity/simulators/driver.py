"""Drives a search against a simulated fleet, as the conductor drives it against the real one."""

from __future__ import annotations

from include.capacity.models import SearchSettings, Slo, SloCondition, ValidityLimits
from include.capacity.search.driving import SearchRun, run_search
from tests.unit.capacity.simulators.fleet import SimulatedFleet

SLO = Slo((SloCondition("latency_p95_ms", 250.0), SloCondition("error_ratio", 0.01)))
LIMITS = ValidityLimits(
    max_lag_p99_ms=40.0,
    max_generator_cpu_cores=0.9,
    max_gc_ratio=0.1,
    min_idle_threads=1,
    max_rejected_ratio=0.001,
    max_offered_deviation=0.02,
)
SETTINGS = SearchSettings(
    lower_tps=20.0,
    upper_tps=600.0,
    resolution=0.03,
    ramp_factor=1.35,
    ramp_step_s=5.0,
    probe_s=14.0,
    probe_discard_s=3.0,
    soak_s=60.0,
    soak_discard_s=5.0,
    rest_s=3.0,
    max_load_s=600.0,
    max_invalid_repeats=3,
)


def drive(
    fleet: SimulatedFleet,
    settings: SearchSettings = SETTINGS,
    slo: Slo = SLO,
    limits: ValidityLimits = LIMITS,
    *,
    shards: int = 2,
) -> SearchRun:
    """Runs a whole search."""
    return run_search(fleet, settings, slo, limits, shards=shards, max_steps=200)
