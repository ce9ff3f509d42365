"""What a demonstration asks of the DAG: the Params that fit the plant file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from include.capacity.errors import ConfigError
from include.capacity.profile import ServiceProfile, parse_profile
from sandbox.plantfile import Plant, PlantFileError, load_plant
from tools.errors import ToolError
from tools.stack.layout import ROOT


class UsageError(ToolError):
    """What was typed cannot be used; nothing was started."""


def read_plant(path: Path) -> Plant:
    """Read and check a plant file. Raises UsageError."""
    try:
        return load_plant(path)
    except PlantFileError as error:
        raise UsageError(str(error)) from None


def service_of(dag_id: str) -> str:
    """The service that a DAG belongs to: the part behind the two underscores. Raises UsageError."""
    kind, separator, service = dag_id.partition("__")
    if not (kind and separator and service):
        raise UsageError(f"--dag {dag_id}: write the DAG of one service, such as capacity_weekly__checkout.")
    return service


def read_profile(service: str, root: Path = ROOT) -> ServiceProfile:
    """The profile of a service. Raises UsageError."""
    path = root / "include" / "services" / f"{service}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml")))
        raise UsageError(f"There is no service profile {path}; there are: {known}.")
    try:
        return parse_profile(path.read_text(encoding="utf-8"), str(path))
    except (ConfigError, OSError, UnicodeDecodeError) as error:
        raise UsageError(str(error)) from None


def check_plant_fits(plant: Plant, source: str, profile: ServiceProfile) -> None:
    """Raise UsageError if the sandbox would not make the resources that the profile names."""
    if plant.group_name != profile.aws.autoscaling_group:
        fitting = profile.aws.autoscaling_group.removesuffix("-web")
        raise UsageError(
            f"{source}: name: the sandbox makes the Auto Scaling group {plant.group_name} for the plant {plant.name}, "
            f"but the profile of {profile.service} tests {profile.aws.autoscaling_group}; write name: {fitting}"
        )


def run_params(plant: Plant, source: str) -> dict[str, Any]:
    """The DAG's Params that say what the plant file says; what it leaves open stays the profile's.

    Raises UsageError where the Params form cannot say it.
    """
    limits = plant.slo.latency_limits_s()
    if len(limits) > 1:
        raise UsageError(
            f"{source}: slo: the form of the DAG takes one latency percentile, and here are {len(limits)}; "
            "leave one, or change the service profile instead."
        )
    params: dict[str, Any] = {"instances": plant.instances_under_test}
    for percentile, limit_s in limits.items():
        params |= {"slo_latency_percentile": f"p{percentile}", "slo_latency_ms": round(limit_s * 1000, 6)}
    if plant.slo.error_ratio is not None:
        params["slo_error_percent"] = round(plant.slo.error_ratio * 100, 6)
    if plant.search is not None:
        params |= {"lower_tps": plant.search.lower_tps, "upper_tps": plant.search.upper_tps}
    return params


def parse_overrides(text: str) -> Mapping[str, Any]:
    """Params given by hand, as one JSON object. Raises UsageError."""
    try:
        values = json.loads(text)
    except ValueError as error:
        raise UsageError(f"""--params: this is not JSON ({error}); write, for example, '{{"soak_s": 30}}'.""") from None
    if not isinstance(values, dict):
        raise UsageError("""--params: write a JSON object, for example '{"soak_s": 30}'.""")
    return values
