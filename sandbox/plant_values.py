"""What all parts of a plant file are made of: values with units, the model that they share, and service times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from sandbox.quantities import parse_duration_s, parse_ratio, parse_size_bytes, parse_tps

Duration = Annotated[float, BeforeValidator(parse_duration_s)]
Size = Annotated[int, BeforeValidator(parse_size_bytes)]
Rate = Annotated[float, BeforeValidator(parse_tps)]
Ratio = Annotated[float, BeforeValidator(parse_ratio)]
Count = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Flag = Annotated[bool, Field(strict=True)]
Text = Annotated[str, Field(strict=True)]


class PlantModel(BaseModel):
    """What all parts of a plant file share: frozen, unknown keys refused, keys as the file spells them."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ServiceTime(PlantModel):
    """How long a request holds a worker slot. `spread` is the coefficient of variation (standard deviation / mean)."""

    distribution: Annotated[Literal["constant", "exponential", "lognormal"], Field(examples=["lognormal"])]
    mean_s: Annotated[Duration, Field(alias="mean", gt=0, le=60, examples=["40 ms"])]
    spread: Annotated[Number, Field(ge=0, le=5, examples=["0.5"])] = 0.0

    IMPLIED_SPREAD: ClassVar[Mapping[str, float]] = {"constant": 0.0, "exponential": 1.0}

    @model_validator(mode="before")
    @classmethod
    def _fill_implied_spread(cls, data: Any) -> Any:
        if isinstance(data, dict) and "spread" not in data and data.get("distribution") in cls.IMPLIED_SPREAD:
            return {**data, "spread": cls.IMPLIED_SPREAD[data["distribution"]]}
        return data

    @model_validator(mode="after")
    def _spread_fits(self) -> ServiceTime:
        implied = self.IMPLIED_SPREAD.get(self.distribution)
        if implied is None and self.spread == 0:
            raise ValueError("a lognormal service time needs a spread above 0; add, for example, spread: 0.5")
        if implied is not None and self.spread != implied:
            raise ValueError(
                f"a service time that is {self.distribution} has the spread {implied:g}, not {self.spread:g}; "
                "remove the key spread, or use distribution: lognormal"
            )
        return self
