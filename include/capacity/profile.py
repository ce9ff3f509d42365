"""Reads service profiles: one YAML file describes one service, its environment, its SLO and how it is tested.

Everything has a unit in the file (`250 ms`, `1 %`, `120 tps`, `10 min`) and a suffix in the model (`_s`, `_ms`,
`_ratio`, `_tps`). Wrong keys, units and contradictions raise ConfigError with file, key and cure.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from include.capacity.errors import ConfigError
from include.capacity.profile_errors import first_mistake
from include.capacity.profile_models import Prices, ServiceProfile
from include.capacity.profile_types import BASE_UNITS

__all__ = ["Prices", "ServiceProfile", "load_profile", "parse_profile", "validate_profile", "with_overrides"]


def parse_profile(text: str, source: str) -> ServiceProfile:
    """Reads a profile from YAML text. `source` is the file's name for error messages. Raises ConfigError."""
    try:
        raw = yaml.load(text, Loader=_UniqueKeys)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigError(source, place, f"is not YAML: {problem}.", "Mend the syntax.") from None
    if not isinstance(raw, dict):
        raise ConfigError(source, "", "holds no mapping.", "Start from include/services/checkout.yaml.")
    return validate_profile(raw, source)


def load_profile(path: Path) -> ServiceProfile:
    """Reads and validates a profile file. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(str(path), "", f"cannot be read: {reason}.", "Name a readable YAML file.") from None
    return parse_profile(text, str(path))


def validate_profile(raw: Mapping[str, Any], source: str) -> ServiceProfile:
    """Validates a profile given as nested mappings. Raises ConfigError for the first mistake and counts the others."""
    try:
        return ServiceProfile.model_validate(dict(raw))
    except ValidationError as error:
        key, problem, cure, _ = first_mistake(error, ServiceProfile)
        more = error.error_count() - 1
        told = f" ({more} more mistake{'s' * (more > 1)} in this file.)" if more else ""
        raise ConfigError(source, key, problem, cure + told) from None


# Param -> key of the profile that its value replaces
_PLACES = {
    "lower_tps": "search.lower",
    "upper_tps": "search.upper",
    "probe_s": "search.probe",
    "soak_s": "search.soak",
    "instances": "prescale.instances",
    "shards": "load.fleet.shards",
}
_SLO_PARAMS = ("slo_latency_percentile", "slo_latency_ms", "slo_error_percent")
_LATENCIES = ("latency_p50", "latency_p90", "latency_p95", "latency_p99")


def with_overrides(profile: ServiceProfile, overrides: Mapping[str, Any]) -> ServiceProfile:
    """The profile with the Params of one run in place of its own values; None keeps what the profile says.

    Keys: slo_latency_percentile (`p50`, `p90`, `p95`, `p99`) with slo_latency_ms, slo_error_percent, lower_tps,
    upper_tps, instances, shards, probe_s, soak_s. Raises ConfigError with the Param's name.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    if unknown := sorted(set(given) - {*_PLACES, *_SLO_PARAMS}):
        known = ", ".join(sorted((*_PLACES, *_SLO_PARAMS)))
        raise ConfigError("Params", unknown[0], "is no known Param.", f"Known: {known}.")
    for name, value in given.items():
        if name != "slo_latency_percentile" and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ConfigError("Params", name, f"{value!r} is no number.", "Give a number, or leave it empty.")
    raw = profile.model_dump(by_alias=True)
    for name, place in _PLACES.items():
        if name in given:
            *sections, key = place.split(".")
            section = raw
            for part in sections:
                section = section[part]
            section[key] = given[name]
    conditions, params = _slo_with(profile, given)
    raw["slo"] = conditions
    try:
        return ServiceProfile.model_validate(raw, context=BASE_UNITS)
    except ValidationError as error:
        key, problem, cure, keys = first_mistake(error, ServiceProfile)
        to_blame = [name for name, place in _PLACES.items() if name in given and place in keys]
        to_blame += [param for place, param in params.items() if any(key.startswith(place) for key in keys)]
        if to_blame and to_blame[0] in _PLACES and key != _PLACES[to_blame[0]]:
            problem = f"{given[to_blame[0]]:g} contradicts {key} of the profile: {problem}"
        raise ConfigError("Params", to_blame[0] if to_blame else key, problem, cure) from None


def _slo_with(profile: ServiceProfile, given: Mapping[str, Any]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The conditions with those of the Params in place of the profile's, and key -> Param that it came from."""
    percentile, limit_ms = given.get("slo_latency_percentile"), given.get("slo_latency_ms")
    if (percentile is None) != (limit_ms is None):
        missing = "slo_latency_ms" if limit_ms is None else "slo_latency_percentile"
        raise ConfigError("Params", missing, "is empty, but its partner is not.", "Give both of them, or none.")
    if percentile is not None and f"latency_{percentile}" not in _LATENCIES:
        known = ", ".join(name.removeprefix("latency_") for name in _LATENCIES)
        raise ConfigError("Params", "slo_latency_percentile", f"{percentile!r} is unknown.", f"Use one of {known}.")
    if not 0 <= given.get("slo_error_percent", 0) <= 100:
        problem = f"{given['slo_error_percent']:g} is out of range."
        raise ConfigError("Params", "slo_error_percent", problem, "It must be from 0 to 100.")
    entries = [entry.model_dump(by_alias=True, exclude_none=True) for entry in profile.slo]
    params: dict[str, str] = {}
    if percentile is not None:
        entries = [entry for entry in entries if not set(_LATENCIES) & set(entry)]
        entries.insert(0, {f"latency_{percentile}": limit_ms})
        params["slo[0]"] = "slo_latency_ms"
    if "slo_error_percent" in given:
        entries = [entry for entry in entries if "error_ratio" not in entry]
        entries.append({"error_ratio": given["slo_error_percent"] / 100})
        params[f"slo[{len(entries) - 1}]"] = "slo_error_percent"
    return entries, params


class _UniqueKeys(yaml.SafeLoader):
    """YAML silently keeps the last of two equal keys; a profile must not."""


def _mapping(loader: _UniqueKeys, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    seen: set[Hashable] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, Hashable):
            raise yaml.constructor.ConstructorError(None, None, "a key is a list or a mapping", key_node.start_mark)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", key_node.start_mark)
        seen.add(key)
    return yaml.SafeLoader.construct_mapping(loader, node, deep)


_UniqueKeys.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
