"""The Params form of the capacity DAGs: null keeps what the service profile says."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param

from include.capacity.profile import ServiceProfile
from include.pipeline.run_plan import ALLOW_PRODUCTION

PERCENTILES = ("p50", "p90", "p95", "p99")


def run_params(profile: ServiceProfile) -> dict[str, Param]:
    """Typed, limited and explained; the form shows the profile's own value in each description."""
    search, guard = profile.search, profile.guard
    slo = "; ".join(f"{entry.condition().metric} <= {entry.condition().limit:g}" for entry in profile.slo)
    allowed = Param(
        False,
        type="boolean",
        title="Load the production target",
        description="production is true in the profile: a run must say so, and a person must approve it.",
    )
    return {
        **({ALLOW_PRODUCTION: allowed} if profile.production else {}),
        "slo_latency_percentile": _optional(
            "string",
            "SLO: latency percentile",
            f"Replaces the profile's latency conditions ({slo}).",
            enum=[None, *PERCENTILES],
        ),
        "slo_latency_ms": _optional(
            "number", "SLO: latency limit in ms", "Goes with the percentile.", exclusiveMinimum=0
        ),
        "slo_error_percent": _optional("number", "SLO: errors in percent", f"Profile: {slo}.", minimum=0, maximum=100),
        "lower_tps": _optional(
            "number", "Lowest rate in TPS", f"Where the ramp starts. Profile: {search.lower_tps:g}.", exclusiveMinimum=0
        ),
        "upper_tps": _optional(
            "number",
            "Highest rate in TPS",
            f"No probe goes beyond. Profile: {search.upper_tps:g}; the guard rail allows {guard.max_rate_tps:g}.",
            exclusiveMinimum=0,
            maximum=guard.max_rate_tps,
        ),
        "instances": _optional(
            "integer", "Instances under test", f"Size during the run. Profile: {profile.prescale.instances}.", minimum=1
        ),
        "shards": _optional(
            "integer", "Load containers", f"Profile: {profile.load.fleet.shards}.", minimum=1, maximum=64
        ),
        "probe_s": _optional("number", "Length of a probe in s", f"Profile: {search.probe_s:g}.", minimum=5),
        "soak_s": _optional("number", "Length of the soak in s", f"Profile: {search.soak_s:g}.", minimum=10),
    }


def _optional(kind: str, title: str, description: str, **limits: Any) -> Param:
    return Param(None, type=["null", kind], title=title, description=description, **limits)
