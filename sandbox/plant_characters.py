"""What makes a plant hard to measure: the keys of a plant file for it. docs/plant-file.md explains each."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sandbox.plant_values import Count, Duration, Number, PlantModel, Rate, Ratio, ServiceTime


class InstanceKind(PlantModel):
    """What one instance is like where instances differ. At a `speed_ratio` of 0.5 its work takes twice as long."""

    slots: Annotated[Count | None, Field(ge=1, le=256, examples=["4"])] = None
    speed_ratio: Annotated[Ratio, Field(alias="speed", gt=0, le=10, examples=["80 %"])] = 1.0


class NoisyNeighbour(PlantModel):
    """Episodes in which work takes `slowdown` times as long: one in each `every_s`, at a random place, `lasts_s` long.

    Both times are of AWS: a plant's time_scale makes them shorter. `hits` says whether each instance has episodes of
    its own or all have the same ones.
    """

    hits: Annotated[Literal["each", "all"], Field(examples=["each"])]
    every_s: Annotated[Duration, Field(alias="every", ge=1, le=86400, examples=["24 s"])]
    lasts_s: Annotated[Duration, Field(alias="lasts", gt=0, examples=["4 s"])]
    slowdown: Annotated[Number, Field(ge=1, le=100, examples=["2"])]

    @model_validator(mode="after")
    def _episodes_end(self) -> NoisyNeighbour:
        if self.lasts_s >= self.every_s:
            raise ValueError(
                f"an episode lasts {self.lasts_s:g} s and there is one every {self.every_s:g} s, so that it would "
                "never be quiet; choose lasts < every"
            )
        return self


class Pool(PlantModel):
    """Each instance's connections to something behind it, fewer than it has slots.

    A request that has got a slot first waits for a connection, holds it for `service_time`, gives it back, and then
    does its own work. It keeps its slot all the time.
    """

    connections: Annotated[Count, Field(ge=1, le=255, examples=["3"])]
    service_time: ServiceTime


class RateLimit(PlantModel):
    """A token bucket in front of each instance: `rate_tps` tokens a second, at most `burst`; without one, `status`."""

    rate_tps: Annotated[Rate, Field(alias="rate", gt=0, examples=["100 tps"])]
    burst: Annotated[Count, Field(ge=1, le=1_000_000, examples=["50"])]
    status: Annotated[Literal[429, 503], Field(examples=["429"])] = 429


class Metastable(PlantModel):
    """Work that costs `cost_factor` times as much once `backlog` requests wait, until no more than `relief` wait."""

    backlog: Annotated[Count, Field(ge=1, le=2000, examples=["40"])]
    relief: Annotated[Count, Field(ge=0, examples=["0"])] = 0
    cost_factor: Annotated[Number, Field(ge=1, le=100, examples=["1.5"])]

    @model_validator(mode="after")
    def _relief_is_below(self) -> Metastable:
        if self.relief >= self.backlog:
            raise ValueError(f"relief {self.relief} is not below backlog {self.backlog}; choose relief < backlog")
        return self
