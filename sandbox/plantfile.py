"""The plant file: a YAML description of the service that the sandbox runs and of the SLO that it is measured against.

`load_plant` is the way in. Every number that has a unit is written with it ("40 ms", "1 %", "200 tps") and is held here
in the base unit that the attribute's name ends with (`_s`, `_bytes`, `_tps`, `_ratio`). docs/plant-file.md explains
each key.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from sandbox.plant_characters import InstanceKind, Metastable, NoisyNeighbour, Pool, RateLimit
from sandbox.plant_errors import PlantFileError, describe_errors
from sandbox.plant_values import Count, Duration, Flag, Number, PlantModel, Rate, Ratio, ServiceTime, Size, Text

__all__ = ["DEFAULT_PLANT", "Plant", "PlantFileError", "ServiceTime", "Slo", "load_plant", "parse_plant", "parse_slo"]

DEFAULT_PLANT = Path(__file__).parent / "plants" / "checkout.yaml"
RESERVED_PATHS = frozenset({"/health", "/_stats"})
SHARE_TOLERANCE = 1e-6

Metric = Literal["cpu", "requests_per_target"]


class Instances(PlantModel):
    """The Auto Scaling group's size limits and how long an instance takes to become useful (real seconds here)."""

    min: Annotated[Count, Field(ge=0, le=100, examples=["1"])]
    max: Annotated[Count, Field(ge=1, le=100, examples=["4"])]
    desired: Annotated[Count, Field(ge=0, le=100, examples=["1"])]
    type: Annotated[Text, Field(pattern=r"^[a-z][a-z0-9-]*\.[a-z0-9-]+$", examples=["t3.medium"])] = "t3.medium"
    boot_s: Annotated[Duration, Field(alias="boot", ge=0, le=3600, examples=["1.5 s"])] = 1.5
    warm_up_s: Annotated[Duration, Field(alias="warm_up", ge=0, le=3600, examples=["3 s"])] = 3.0

    @model_validator(mode="after")
    def _sizes_are_ordered(self) -> Instances:
        if not self.min <= self.desired <= self.max:
            raise ValueError(
                f"min {self.min}, desired {self.desired}, max {self.max} are not in order; choose min <= desired <= max"
            )
        return self


class Endpoint(PlantModel):
    """One kind of request: where it is found, what it costs, and its share of the transactions."""

    path: Annotated[Text, Field(pattern=r"^/[A-Za-z0-9/_.~-]*$", examples=["/products"])]
    method: Annotated[Literal["GET", "POST"], Field(examples=["GET"])]
    service_time: ServiceTime
    share: Annotated[Number, Field(ge=0, le=1, examples=["0.5"])]
    response_size_bytes: Annotated[Size, Field(alias="response_size", ge=0, le=10_000_000, examples=["1 kB"])] = 1000


class Endpoints(PlantModel):
    """The shop's three endpoints. A plan that never uses one of them gives it the share 0."""

    browse: Endpoint
    search: Endpoint
    checkout: Endpoint

    @model_validator(mode="after")
    def _routes_are_usable(self) -> Endpoints:
        seen: dict[str, str] = {}
        for name, endpoint in self.by_name().items():
            if endpoint.path in RESERVED_PATHS:
                raise ValueError(f"{name}: the path {endpoint.path} is the app's own; choose another path")
            if endpoint.path in seen:
                raise ValueError(f"{name} and {seen[endpoint.path]} share the path {endpoint.path}; give each its own")
            seen[endpoint.path] = name
        if self.checkout.method != "POST":
            raise ValueError("checkout takes the order in the request body; write method: POST")
        total = sum(endpoint.share for endpoint in self.by_name().values())
        if abs(total - 1) > SHARE_TOLERANCE:
            raise ValueError(f"the shares of all endpoints add up to {total:g}; make them add up to 1")
        return self

    def by_name(self) -> dict[str, Endpoint]:
        """The endpoints by their names, in a fixed order."""
        return {"browse": self.browse, "search": self.search, "checkout": self.checkout}


class Slo(PlantModel):
    """The limits that the service must keep: latency percentiles in seconds, failed answers as a ratio of all."""

    latency_p50_s: Annotated[Duration | None, Field(alias="latency_p50", gt=0, examples=["100 ms"])] = None
    latency_p90_s: Annotated[Duration | None, Field(alias="latency_p90", gt=0, examples=["200 ms"])] = None
    latency_p95_s: Annotated[Duration | None, Field(alias="latency_p95", gt=0, examples=["250 ms"])] = None
    latency_p99_s: Annotated[Duration | None, Field(alias="latency_p99", gt=0, examples=["500 ms"])] = None
    error_ratio: Annotated[Ratio | None, Field(ge=0, lt=1, examples=["1 %"])] = None

    @model_validator(mode="after")
    def _says_something(self) -> Slo:
        if not self.latency_limits_s() and self.error_ratio is None:
            raise ValueError("an SLO needs at least one limit; add, for example, latency_p95: 250 ms")
        return self

    def latency_limits_s(self) -> dict[int, float]:
        """The latency limits in seconds by percentile (50, 90, 95, 99); only those that are set."""
        limits = {50: self.latency_p50_s, 90: self.latency_p90_s, 95: self.latency_p95_s, 99: self.latency_p99_s}
        return {percentile: limit for percentile, limit in limits.items() if limit is not None}


class SearchBounds(PlantModel):
    """The rates between which a run should look for the maximum."""

    lower_tps: Annotated[Rate, Field(alias="lower", gt=0, examples=["20 tps"])]
    upper_tps: Annotated[Rate, Field(alias="upper", gt=0, examples=["600 tps"])]

    @model_validator(mode="after")
    def _bounds_are_ordered(self) -> SearchBounds:
        if self.lower_tps >= self.upper_tps:
            raise ValueError(
                f"lower {self.lower_tps:g} tps is not below upper {self.upper_tps:g} tps; choose lower < upper"
            )
        return self


class TargetTracking(PlantModel):
    """A target tracking policy: hold the metric's mean at the target (cpu in percent, requests per AWS minute)."""

    type: Literal["target_tracking"]
    metric: Annotated[Metric, Field(examples=["cpu"])]
    target: Annotated[Number, Field(gt=0, examples=["60"])]
    scale_in: Flag = True

    @model_validator(mode="after")
    def _target_is_possible(self) -> TargetTracking:
        if self.metric == "cpu" and self.target > 100:
            raise ValueError(f"target {self.target:g} for the metric cpu is above 100 percent; choose 1 to 100")
        return self


class Step(PlantModel):
    """One step: while the metric is `from` to `to` beyond the threshold, the size changes by `change`."""

    from_distance: Annotated[Number, Field(alias="from", ge=0, examples=["0"])]
    to_distance: Annotated[Number | None, Field(alias="to", gt=0, examples=["20"])] = None
    change: Annotated[Count, Field(ge=-100, le=100, examples=["1"])]


class StepScaling(PlantModel):
    """A step scaling policy: an alarm on one side of a threshold, and how far the size moves by how far beyond it."""

    type: Literal["step"]
    metric: Annotated[Metric, Field(examples=["cpu"])]
    above: Annotated[Number | None, Field(gt=0, examples=["70"])] = None
    below: Annotated[Number | None, Field(gt=0, examples=["30"])] = None
    periods: Annotated[Count, Field(ge=1, le=100, examples=["3"])] = 3
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _steps_cover_one_side(self) -> StepScaling:
        if (self.above is None) == (self.below is None):
            raise ValueError("a step policy needs one threshold; write either above: 70 or below: 30")
        expected: float | None = 0.0
        for step in self.steps:
            if step.from_distance != expected:
                raise ValueError(
                    f"the steps must begin at 0 and follow one another without a gap; a step has from: "
                    f"{step.from_distance:g} where {'no further step' if expected is None else f'{expected:g}'} can be"
                )
            expected = step.to_distance
            if expected is not None and expected <= step.from_distance:
                raise ValueError(f"to: {expected:g} is not above from: {step.from_distance:g}; choose from < to")
        if expected is not None:
            raise ValueError(f"nothing is said beyond {expected:g}; leave out the key to of the last step")
        return self

    @property
    def threshold(self) -> float:
        """The alarm's threshold, in the metric's unit."""
        return self.above if self.above is not None else self.below  # type: ignore[return-value]


class Plant(PlantModel):
    """One service as the sandbox runs it."""

    schema_version: Annotated[Literal[1], Field(alias="schema", examples=["1"])]
    name: Annotated[Text, Field(pattern=r"^[a-z][a-z0-9-]{0,26}[a-z0-9]$", examples=["checkout"])]
    time_scale: Annotated[Number, Field(ge=1, le=60, examples=["12"])] = 12.0
    instances: Instances
    instances_under_test: Annotated[Count, Field(ge=1, le=100, examples=["2"])]
    slots: Annotated[Count, Field(ge=1, le=256, examples=["4"])]
    queue_limit: Annotated[Count, Field(ge=0, le=2000, examples=["400"])] = 400
    warm_up_factor: Annotated[Number, Field(ge=1, le=100, examples=["1.5"])] = 1.0
    balancing: Annotated[Literal["least_connections", "round_robin"], Field(examples=["round_robin"])] = (
        "least_connections"
    )
    instance_kinds: Annotated[tuple[InstanceKind, ...], Field(max_length=100)] = ()
    noisy_neighbour: NoisyNeighbour | None = None
    pool: Pool | None = None
    rate_limit: RateLimit | None = None
    metastable: Metastable | None = None
    endpoints: Endpoints
    slo: Slo
    search: SearchBounds | None = None
    policies: tuple[Annotated[TargetTracking | StepScaling, Field(discriminator="type")], ...] = ()
    faults: tuple[Any, ...] = ()

    @model_validator(mode="after")
    def _parts_fit(self) -> Plant:
        if not self.instances.min <= self.instances_under_test <= self.instances.max:
            raise ValueError(
                f"instances_under_test is {self.instances_under_test}; choose a number from instances.min "
                f"({self.instances.min}) to instances.max ({self.instances.max})"
            )
        fewest_slots = min(self.kind(place).slots or self.slots for place in range(max(len(self.instance_kinds), 1)))
        if self.pool is not None and self.pool.connections >= fewest_slots:
            raise ValueError(
                f"pool.connections is {self.pool.connections} and an instance has {fewest_slots} slots, so that no "
                f"request would ever wait for a connection; choose fewer connections than slots"
            )
        if self.metastable is not None and self.metastable.backlog > self.queue_limit:
            raise ValueError(
                f"metastable.backlog is {self.metastable.backlog}, but only {self.queue_limit} requests may wait "
                "(queue_limit); choose a backlog up to queue_limit"
            )
        return self

    @field_validator("faults")
    @classmethod
    def _no_faults_yet(cls, faults: tuple[Any, ...]) -> tuple[Any, ...]:
        if faults:
            raise ValueError("no fault is supported yet; write faults: [] or leave the key out")
        return faults

    @property
    def group_name(self) -> str:
        """The name of the Auto Scaling group; the load balancer and the target group are named `name`."""
        return f"{self.name}-web"

    @property
    def mean_service_s(self) -> float:
        """The mean service time in seconds over the mix of endpoints."""
        return sum(e.share * e.service_time.mean_s for e in self.endpoints.by_name().values())

    def kind(self, place: int) -> InstanceKind:
        """What the instance at a place (0, 1, ...) of the group is like; its slots are always given."""
        if not self.instance_kinds:
            return InstanceKind(slots=self.slots)
        kind = self.instance_kinds[place % len(self.instance_kinds)]
        return kind if kind.slots is not None else kind.model_copy(update={"slots": self.slots})

    def warm_up_multiplier(self, age_s: float) -> float:
        """By how much service times are longer `age_s` seconds after an instance began to listen."""
        if age_s >= self.instances.warm_up_s:
            return 1.0
        return 1 + (self.warm_up_factor - 1) * (1 - max(age_s, 0.0) / self.instances.warm_up_s)


class _StrictLoader(yaml.SafeLoader):
    """YAML in which a key given twice is an error, not a silent choice of the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f'the key "{key}" is given twice; remove one of them', key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def load_plant(path: str | Path) -> Plant:
    """Read and check a plant file.

    Raises PlantFileError, which names the file, each wrong key with its value, and what to write instead.
    """
    source = str(path)
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise PlantFileError(source, [("", "the file does not exist; check the path of the plant file")]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise PlantFileError(source, [("", f"the file cannot be read: {error}")]) from error
    try:
        data = yaml.load(text, Loader=_StrictLoader)  # a SafeLoader, only stricter
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise PlantFileError(source, [("", f"{where}{error.problem or 'this is not YAML'}")]) from error
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise PlantFileError(source, [("", f"this is not YAML: {error}")]) from error
    return parse_plant(data, source)


def parse_plant(data: object, source: str = "plant") -> Plant:
    """Check a plant that has been read already; `source` is the name that errors begin with. Raises PlantFileError."""
    if not isinstance(data, dict):
        raise PlantFileError(source, [("", "a plant file is a mapping of keys to values; see docs/plant-file.md")])
    try:
        return Plant.model_validate(data)
    except ValidationError as error:
        raise PlantFileError(source, describe_errors(error, Plant)) from error


def parse_slo(text: str, source: str = "--slo") -> Slo:
    """Read an SLO from one line such as "latency_p95=250 ms,error_ratio=1 %". Raises PlantFileError."""
    limits: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not key or not value:
            raise PlantFileError(source, [(part.strip(), 'write key=value, for example "latency_p95=250 ms"')])
        if key in limits:
            raise PlantFileError(source, [(key, "is given twice; remove one of them")])
        limits[key] = value
    try:
        return Slo.model_validate(limits)
    except ValidationError as error:
        raise PlantFileError(source, describe_errors(error, Slo)) from error
