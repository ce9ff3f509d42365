"""The kinds of values that a service profile holds: quantities with units, counts, texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from include.capacity.guard.addresses import network_problem
from include.capacity.profile_errors import contradiction
from include.capacity.units import MILLISECONDS, RATIO, SECONDS, TPS, parse_quantity

BASE_UNITS = {"base_units": True}  # validation context: numbers without a unit are in the model's own unit


def _quantity(units: Mapping[str, float]) -> Callable[[object, ValidationInfo], float]:
    def parse(value: object, info: ValidationInfo) -> float:
        return parse_quantity(value, units, bare=info.context == BASE_UNITS)

    return parse


Seconds = Annotated[float, BeforeValidator(_quantity(SECONDS)), Field(ge=0, allow_inf_nan=False)]
Milliseconds = Annotated[float, BeforeValidator(_quantity(MILLISECONDS)), Field(gt=0, allow_inf_nan=False)]
Ratio = Annotated[float, BeforeValidator(_quantity(RATIO)), Field(ge=0, le=1, allow_inf_nan=False)]
Tps = Annotated[float, BeforeValidator(_quantity(TPS)), Field(gt=0, allow_inf_nan=False)]
Positive = Annotated[int, Field(gt=0, strict=True)]
Text = Annotated[str, Field(min_length=1)]
Texts = Annotated[tuple[Text, ...], Field(min_length=1)]
Switch = Annotated[bool, Field(strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Score = Annotated[float, Field(strict=True, gt=0, le=1, allow_inf_nan=False)]


def _network(value: str) -> str:
    if (problem := network_problem(value)) is not None:
        raise contradiction(f"{value!r} is no network: {problem}.", "Write one such as 10.20.0.0/16.", "")
    return value


Networks = tuple[Annotated[str, AfterValidator(_network)], ...]


class Section(BaseModel):
    """A mapping of the profile: unknown keys are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=False)
