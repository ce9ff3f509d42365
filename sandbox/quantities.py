"""Numbers with units, as plant files write them: "40 ms", "1 kB", "200 tps", "1 %"."""

from __future__ import annotations

import re
from collections.abc import Mapping

DURATION_UNITS_S: Mapping[str, float] = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
SIZE_UNITS_BYTES: Mapping[str, int] = {"B": 1, "kB": 1000, "KiB": 1024, "MB": 1_000_000, "MiB": 1_048_576}
RATE_UNITS_TPS: Mapping[str, float] = {"tps": 1.0}
RATIO_UNITS: Mapping[str, float] = {"%": 0.01}

_NUMBER_AND_UNIT = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(\S*)\s*", re.ASCII)


def parse_duration_s(value: object) -> float:
    """Seconds from a duration such as "40 ms". Raises ValueError that says what to write."""
    return _parse(value, "a duration", "40 ms", DURATION_UNITS_S)


def parse_size_bytes(value: object) -> int:
    """Bytes from a size such as "1 kB". Raises ValueError that says what to write."""
    return round(_parse(value, "a size", "1 kB", SIZE_UNITS_BYTES))


def parse_tps(value: object) -> float:
    """Transactions per second from a rate such as "200 tps". Raises ValueError that says what to write."""
    return _parse(value, "a rate", "200 tps", RATE_UNITS_TPS)


def parse_ratio(value: object) -> float:
    """A ratio (1.0 is all) from a percentage such as "1 %". Raises ValueError that says what to write."""
    return _parse(value, "a percentage", "1 %", RATIO_UNITS)


def _parse(value: object, kind: str, example: str, units: Mapping[str, float]) -> float:
    cure = f'write {kind} such as "{example}" (units: {", ".join(units)})'
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"this is not {kind}; {cure}")
    match = _NUMBER_AND_UNIT.fullmatch(str(value))
    if match is None:
        raise ValueError(f"this is not {kind}; {cure}")
    number, unit = match.groups()
    if not unit:
        raise ValueError(f"the unit is missing; {cure}")
    if unit not in units:
        raise ValueError(f'the unit "{unit}" is unknown; {cure}')
    return float(number) * units[unit]
