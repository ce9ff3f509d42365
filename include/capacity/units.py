"""Quantities with units as people write them: `250 ms`, `1 %`, `120 tps`, `10 min`."""

import re
from collections.abc import Mapping

_QUANTITY = re.compile(r"^\s*([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*([^\d\s].*?)?\s*$")

SECONDS: Mapping[str, float] = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
MILLISECONDS: Mapping[str, float] = {unit: factor * 1e3 for unit, factor in SECONDS.items()}
RATIO: Mapping[str, float] = {"%": 0.01}
TPS: Mapping[str, float] = {"tps": 1.0, "/s": 1.0, "tpm": 1 / 60, "/min": 1 / 60}


def parse_quantity(text: object, units: Mapping[str, float], *, bare: bool = False) -> float:
    """Returns the value of a quantity in the base unit of `units`.

    Args:
        text: such as `"250 ms"`; a plain number is accepted only with `bare` (it is then in the base unit).
        units: accepted unit -> factor to the base unit.
        bare: whether a number without unit is accepted.

    Raises:
        ValueError: with a sentence that names the accepted units.
    """
    accepted = ", ".join(units)
    if isinstance(text, int | float) and not isinstance(text, bool):
        if bare:
            return float(text)
        raise ValueError(
            f"{text!r} has no unit; write it with one of {accepted}, such as '{text} {next(iter(units))}'."
        )
    match = _QUANTITY.match(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{text!r} is not a quantity; write a number and one of {accepted}.")
    number, unit = float(match[1]), match[2]
    if unit is None:
        if bare:
            return number
        raise ValueError(f"{text!r} has no unit; add one of {accepted}.")
    if unit not in units:
        raise ValueError(f"unknown unit {unit!r} in {text!r}; use one of {accepted}.")
    return number * units[unit]
