"""The guard rails of a service profile: what a run must never do, whatever else the profile says."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from include.capacity.profile_types import Positive, Ratio, Seconds, Section, Tps


class Guard(Section):
    """Hard limits that each shard keeps by itself, without asking, and how long it lives without orders."""

    max_rate_tps: Annotated[Tps, Field(alias="max_rate")]
    max_error_ratio: Annotated[Ratio, Field(alias="max_errors")] = 0.5
    window_s: Annotated[Seconds, Field(alias="window", ge=1)] = 3.0
    max_in_flight: Positive
    lease_s: Annotated[Seconds, Field(alias="lease", ge=1, le=5)] = 3.0
    idle_limit_s: Annotated[Seconds, Field(alias="idle_limit", ge=10)]
    max_duration_s: Annotated[Seconds, Field(alias="max_duration", gt=0)]
    wait_for_environment_s: Annotated[Seconds, Field(alias="wait_for_environment")] = 0.0
