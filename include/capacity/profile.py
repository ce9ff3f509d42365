"""The service profile: one YAML file describes one service, its environment, its SLO and how it is tested.

Everything has a unit in the file (`250 ms`, `1 %`, `120 tps`, `10 min`) and a suffix in the model (`_s`, `_ms`, `_ratio`,
`_tps`). Wrong keys, units and contradictions raise ConfigError with file, dotted key and cure.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from include.capacity.errors import ConfigError
from include.capacity.models import SearchSettings, Slo, SloCondition, ValidityLimits
from include.capacity.units import MILLISECONDS, RATIO, SECONDS, TPS, parse_quantity

_BASE_UNITS = {"base_units": True}  # validation context: numbers without a unit are in the model's own unit


def _quantity(units: Mapping[str, float]) -> Callable[[object, ValidationInfo], float]:
    def parse(value: object, info: ValidationInfo) -> float:
        return parse_quantity(value, units, bare=info.context == _BASE_UNITS)

    return parse


Seconds = Annotated[float, BeforeValidator(_quantity(SECONDS)), Field(ge=0, allow_inf_nan=False)]
Milliseconds = Annotated[float, BeforeValidator(_quantity(MILLISECONDS)), Field(gt=0, allow_inf_nan=False)]
Ratio = Annotated[float, BeforeValidator(_quantity(RATIO)), Field(ge=0, le=1, allow_inf_nan=False)]
Tps = Annotated[float, BeforeValidator(_quantity(TPS)), Field(gt=0, allow_inf_nan=False)]
Positive = Annotated[int, Field(gt=0)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=False)


class Aws(_Model):
    """Where the environment is. `connection` is an Airflow connection id; its endpoint decides between AWS and sandbox."""

    connection: str = "aws_default"
    region: str
    account: Annotated[str, Field(pattern=r"^\d{12}$")]
    autoscaling_group: str
    load_balancer: str
    target_group: str


class Target(_Model):
    """What the load is sent to: the load balancer's address unless `url` says otherwise; only hosts on the allow-list."""

    url: str | None = None
    scheme: Literal["http", "https"] = "http"
    allow_hosts: Annotated[tuple[str, ...], Field(min_length=1)]
    health_path: str = "/health"


class Fleet(_Model):
    """The ECS tasks that make the load."""

    shards: Positive = 1
    threads_per_shard: Positive = 200
    heap_mb: Annotated[int, Field(alias="heap_mib", ge=128)] = 384
    cluster: str
    task_definition: str
    container: str
    launch_type: Literal["FARGATE", "EC2"] = "FARGATE"
    subnets: Annotated[tuple[str, ...], Field(min_length=1)]
    security_groups: Annotated[tuple[str, ...], Field(min_length=1)]
    assign_public_ip: bool = False
    log_group: str
    log_stream_prefix: str = "ecs"


class Load(_Model):
    """The user's JMeter plan and the load model that replaces its own."""

    plan: str
    properties: dict[str, str] = {}
    weights: dict[str, Annotated[float, Field(gt=0)]] = {}
    arrivals: Literal["poisson", "even"] = "poisson"
    fleet: Fleet


class Prescale(_Model):
    instances: Positive
    ready_within_s: Annotated[Seconds, Field(alias="ready_within")]
    warm_up_s: Annotated[Seconds, Field(alias="warm_up")]


class SloEntry(_Model):
    """One condition: exactly one of the metrics, for one label or all, over the whole probe or windows of it."""

    latency_p50_ms: Annotated[Milliseconds | None, Field(alias="latency_p50")] = None
    latency_p90_ms: Annotated[Milliseconds | None, Field(alias="latency_p90")] = None
    latency_p95_ms: Annotated[Milliseconds | None, Field(alias="latency_p95")] = None
    latency_p99_ms: Annotated[Milliseconds | None, Field(alias="latency_p99")] = None
    error_ratio: Ratio | None = None
    label: str = "all"
    window_s: Annotated[Seconds | None, Field(alias="window")] = None
    may_fail_ratio: Annotated[Ratio, Field(alias="may_fail")] = 0.0

    @model_validator(mode="after")
    def _one_metric(self) -> SloEntry:
        if len(self._given()) != 1:
            raise ValueError(
                "each condition names exactly one of latency_p50, latency_p90, latency_p95, latency_p99, error_ratio."
            )
        if self.may_fail_ratio and self.window_s is None:
            raise ValueError("may_fail needs a window; add one, such as `window: 10 s`.")
        return self

    def _given(self) -> dict[str, float]:
        values = {
            name: getattr(self, name)
            for name in ("latency_p50_ms", "latency_p90_ms", "latency_p95_ms", "latency_p99_ms", "error_ratio")
        }
        return {name: value for name, value in values.items() if value is not None}

    def condition(self) -> SloCondition:
        ((metric, limit),) = self._given().items()
        return SloCondition(metric, limit, self.label, self.window_s, self.may_fail_ratio)  # type: ignore[arg-type]


class Search(_Model):
    lower_tps: Annotated[Tps, Field(alias="lower")]
    upper_tps: Annotated[Tps, Field(alias="upper")]
    resolution_ratio: Annotated[Ratio, Field(alias="resolution", gt=0)] = 0.03
    ramp_factor: Annotated[float, Field(gt=1, le=3)] = 1.3
    ramp_step_s: Annotated[Seconds, Field(alias="ramp_step", ge=2)]
    probe_s: Annotated[Seconds, Field(alias="probe", ge=5)]
    probe_discard_s: Annotated[Seconds, Field(alias="probe_discard")]
    soak_s: Annotated[Seconds, Field(alias="soak", ge=10)]
    soak_discard_s: Annotated[Seconds, Field(alias="soak_discard")]
    rest_s: Annotated[Seconds, Field(alias="rest")]
    max_load_s: Annotated[Seconds, Field(alias="max_load", gt=0)]
    max_invalid_repeats: Annotated[int, Field(ge=0)] = 3

    @model_validator(mode="after")
    def _bounds(self) -> Search:
        if self.upper_tps <= self.lower_tps:
            raise ValueError(f"upper ({self.upper_tps:g} tps) must be above lower ({self.lower_tps:g} tps).")
        for hold, discard in (("probe", "probe_discard"), ("soak", "soak_discard")):
            if getattr(self, f"{discard}_s") > getattr(self, f"{hold}_s") - 2:
                raise ValueError(f"{discard} must leave at least 2 s of {hold} to judge.")
        return self


class Guard(_Model):
    """Hard limits that each shard keeps by itself, without asking, and how long it lives without orders."""

    max_rate_tps: Annotated[Tps, Field(alias="max_rate")]
    max_error_ratio: Annotated[Ratio, Field(alias="max_errors")] = 0.5
    window_s: Annotated[Seconds, Field(alias="window", ge=1)] = 3.0
    max_in_flight: Positive
    lease_s: Annotated[Seconds, Field(alias="lease", ge=1, le=5)] = 3.0
    idle_limit_s: Annotated[Seconds, Field(alias="idle_limit", ge=10)]
    max_duration_s: Annotated[Seconds, Field(alias="max_duration", gt=0)]


class ValidityRules(_Model):
    max_lag_p99_ms: Annotated[Milliseconds, Field(alias="max_lag_p99")]
    max_generator_cpu_cores: Annotated[float, Field(alias="max_generator_cpu", gt=0)] = 0.9
    max_gc_ratio: Annotated[Ratio, Field(alias="max_gc")] = 0.1
    min_idle_threads: Annotated[int, Field(ge=0)] = 1
    max_rejected_ratio: Annotated[Ratio, Field(alias="max_rejected")] = 0.001
    max_offered_deviation: Annotated[Ratio, Field(alias="max_offered_deviation")] = 0.02


class Prices(_Model):
    """Prices per hour, in `currency`."""

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "USD"
    instance_hour: Annotated[float, Field(ge=0)]
    shard_hour: Annotated[float, Field(ge=0)]


class ServiceProfile(_Model):
    schema_: Annotated[Literal[1], Field(alias="schema")]
    service: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
    description: str
    owner: str
    schedule: str | None
    aws: Aws
    target: Target
    slo: Annotated[tuple[SloEntry, ...], Field(min_length=1)]
    load: Load
    prescale: Prescale
    search: Search
    guard: Guard
    validity: ValidityRules
    prices: Prices

    @model_validator(mode="after")
    def _consistent(self) -> ServiceProfile:
        if self.search.upper_tps > self.guard.max_rate_tps:
            raise ValueError(
                f"search.upper ({self.search.upper_tps:g} tps) exceeds guard.max_rate ({self.guard.max_rate_tps:g} tps)."
            )
        return self

    def slo_conditions(self) -> Slo:
        return Slo(tuple(entry.condition() for entry in self.slo))

    def search_settings(self, prior_tps: float | None = None) -> SearchSettings:
        search = self.search
        return SearchSettings(
            lower_tps=search.lower_tps,
            upper_tps=search.upper_tps,
            resolution=search.resolution_ratio,
            ramp_factor=search.ramp_factor,
            ramp_step_s=search.ramp_step_s,
            probe_s=search.probe_s,
            probe_discard_s=search.probe_discard_s,
            soak_s=search.soak_s,
            soak_discard_s=search.soak_discard_s,
            rest_s=search.rest_s,
            max_load_s=search.max_load_s,
            max_invalid_repeats=search.max_invalid_repeats,
            prior_tps=prior_tps,
        )

    def validity_limits(self) -> ValidityLimits:
        rules = self.validity
        return ValidityLimits(
            max_lag_p99_ms=rules.max_lag_p99_ms,
            max_generator_cpu_cores=rules.max_generator_cpu_cores,
            max_gc_ratio=rules.max_gc_ratio,
            min_idle_threads=rules.min_idle_threads,
            max_rejected_ratio=rules.max_rejected_ratio,
            max_offered_deviation=rules.max_offered_deviation,
        )


def parse_profile(text: str, source: str) -> ServiceProfile:
    """Reads a profile from YAML text. `source` is the file's name for error messages. Raises ConfigError."""
    try:
        raw = yaml.load(text, Loader=_UniqueKeys)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(
            source, place, f"is not YAML: {getattr(error, 'problem', error)}.", "Mend the syntax."
        ) from None
    if not isinstance(raw, dict):
        raise ConfigError(source, "", "holds no mapping.", "Start from include/services/checkout.yaml.")
    return validate_profile(raw, source)


def load_profile(path: Path) -> ServiceProfile:
    """Reads and validates a profile file. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), "", f"cannot be read: {error}.", "Name a readable YAML file.") from None
    return parse_profile(text, str(path))


def with_overrides(profile: ServiceProfile, overrides: Mapping[str, Any]) -> ServiceProfile:
    """The profile with the Params of one run in place of its own values; None keeps what the profile says.

    Keys: slo_latency_percentile (`p50`, `p90`, `p95`, `p99`) with slo_latency_ms, slo_error_percent, lower_tps, upper_tps,
    instances, shards, probe_s, soak_s. Raises ConfigError with the Param's name.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    if unknown := sorted(set(given) - _PARAMS):
        raise ConfigError("Params", unknown[0], "is unknown.", f"Known: {', '.join(sorted(_PARAMS))}.")
    for name, value in given.items():
        if name != "slo_latency_percentile" and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ConfigError("Params", name, f"{value!r} is not a number.", "Give a number, or leave it empty.")
    raw = profile.model_dump(by_alias=True, exclude_none=True)
    for name, (section, key) in _PLACES.items():
        if name in given:
            _section(raw, section)[key] = given[name]
    raw["slo"] = _slo_with(raw["slo"], given)
    try:
        return ServiceProfile.model_validate(raw, context=_BASE_UNITS)
    except ValidationError as error:
        first = error.errors()[0]
        problem, cure = _explain(first)
        raise ConfigError("Params", ", ".join(sorted(given)), problem, cure) from None


# where a Param's value goes: section of the profile, and key in it
_PLACES = {
    "lower_tps": ("search", "lower"),
    "upper_tps": ("search", "upper"),
    "probe_s": ("search", "probe"),
    "soak_s": ("search", "soak"),
    "instances": ("prescale", "instances"),
    "shards": ("load.fleet", "shards"),
}
_PARAMS = {*_PLACES, "slo_latency_percentile", "slo_latency_ms", "slo_error_percent"}


def _section(raw: dict[str, Any], path: str) -> dict[str, Any]:
    for key in path.split("."):
        raw = raw[key]
    return raw


def _slo_with(entries: Sequence[Mapping[str, Any]], given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The conditions with the latency or error conditions of the Params in place of the profile's."""
    percentile, limit_ms = given.get("slo_latency_percentile"), given.get("slo_latency_ms")
    if (percentile is None) != (limit_ms is None):
        raise ConfigError(
            "Params",
            "slo_latency_percentile, slo_latency_ms",
            "go together.",
            "Give both of them, or leave both empty.",
        )
    changed = [dict(entry) for entry in entries]
    if percentile is not None:
        if f"latency_{percentile}" not in _LATENCIES:
            known = ", ".join(name.removeprefix("latency_") for name in _LATENCIES)
            raise ConfigError("Params", "slo_latency_percentile", f"{percentile!r} is unknown.", f"Use one of {known}.")
        changed = [entry for entry in changed if not _LATENCIES & set(entry)]
        changed.insert(0, {f"latency_{percentile}": limit_ms})
    if "slo_error_percent" in given:
        changed = [entry for entry in changed if "error_ratio" not in entry]
        changed.append({"error_ratio": given["slo_error_percent"] / 100})
    return changed


_LATENCIES = {"latency_p50", "latency_p90", "latency_p95", "latency_p99"}


def validate_profile(raw: Mapping[str, Any], source: str) -> ServiceProfile:
    """Validates a profile given as nested mappings. Raises ConfigError for the first mistake and counts the others."""
    try:
        return ServiceProfile.model_validate(dict(raw))
    except ValidationError as error:
        # a misspelt key is also a missing one: tell the misspelling
        first = min(error.errors(), key=lambda entry: entry["type"] != "extra_forbidden")
        more = error.error_count() - 1
        key = ".".join(str(part) for part in first["loc"])
        problem, cure = _explain(first)
        raise ConfigError(
            source, key, problem, cure + (f" ({more} more mistake{'s' * (more > 1)} in this file.)" if more else "")
        ) from None


def _explain(error: Any) -> tuple[str, str]:
    location, kind = error["loc"], error["type"]
    if kind == "extra_forbidden":
        known = _known_keys(location[:-1])
        close = difflib.get_close_matches(str(location[-1]), known, 1)
        hint = f"Did you mean {close[0]!r}?" if close else f"Known keys here: {', '.join(known)}."
        return f"unknown key {str(location[-1])!r}.", hint
    if kind == "missing":
        return "is missing.", "Add it; docs/service-profile.md explains each key."
    message = re.sub(r"^(Value|Assertion) error, ", "", error["msg"]).strip()
    message = message if message.endswith((".", "?")) else message + "."
    return f"{error['input']!r}: {message}" if not isinstance(
        error["input"], dict
    ) else message, "See docs/service-profile.md."


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    model: Any = ServiceProfile
    for part in location:
        if isinstance(part, int):
            continue
        model = next(
            (info.annotation for name, info in model.model_fields.items() if (info.alias or name) == part), None
        )
        while model is not None and not isinstance(model, type):
            model = next((arg for arg in getattr(model, "__args__", ()) if arg is not type(None)), None)
        while hasattr(model, "__args__"):
            model = model.__args__[0]
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return []
    return [info.alias or name for name, info in model.model_fields.items()]


class _UniqueKeys(yaml.SafeLoader):
    """YAML silently keeps the last of two equal keys; a profile must not."""


def _mapping(loader: _UniqueKeys, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key!r}", key_node.start_mark)
        seen.add(key)
    return yaml.SafeLoader.construct_mapping(loader, node, deep)


_UniqueKeys.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
