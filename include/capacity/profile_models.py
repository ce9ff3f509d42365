"""The service profile as models: what each key of the YAML file means, its unit and limits, and what contradicts what.
Read it through `include.capacity.profile`; docs/service-profile.md explains every key.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from include.capacity.guard.blackouts import Blackout
from include.capacity.guard.duration import Durations, longest
from include.capacity.models import METRICS, QUANTILES, Metric, SearchSettings, Slo, SloCondition, ValidityLimits
from include.capacity.profile_errors import contradiction
from include.capacity.profile_guard import BlackoutEntry, Budget, Guard, blackouts_of
from include.capacity.profile_types import (
    Milliseconds,
    Networks,
    Number,
    Positive,
    Ratio,
    Score,
    Seconds,
    Section,
    Switch,
    Text,
    Texts,
    Tps,
)

_URL_FORM = "an address such as http://shop:8080"
_SERVICE_FORM = "lower-case letters, digits, - and _, at most 40, a letter first"
_SCHEDULE_FORM = 'a cron expression of five fields, such as "0 3 * * 1", or null'


class Aws(Section):
    """Where the environment is. `connection` is an Airflow connection; its endpoint decides between AWS and sandbox."""

    connection: Text = "aws_default"
    region: Text
    account: Annotated[str, Field(pattern=r"^\d{12}$", description="the 12 digits of the account, in quotes")]
    autoscaling_group: Text
    load_balancer: Text
    target_group: Text
    metric_period_s: Annotated[Seconds, Field(alias="metric_period", ge=1)] = 60.0


class Target(Section):
    """What the load is sent to: the load balancer's address unless `url` says otherwise."""

    url: Annotated[Annotated[str, Field(pattern=r"^https?://[^/\s]+")] | None, Field(description=_URL_FORM)] = None
    scheme: Literal["http", "https"] = "http"
    allow_hosts: Texts
    allow_addresses: Networks = ()
    health_path: Annotated[str, Field(pattern=r"^/\S*$", description="a path such as /health")] = "/health"


class Fleet(Section):
    """The ECS tasks that make the load."""

    shards: Positive = 1
    threads_per_shard: Positive = 200
    heap_mb: Annotated[int, Field(alias="heap_mib", ge=128, strict=True)] = 384
    cluster: Text
    task_definition: Text
    container: Text
    launch_type: Literal["FARGATE", "EC2"] = "FARGATE"
    subnets: Texts
    security_groups: Texts
    assign_public_ip: Switch = False
    log_group: Text
    log_stream_prefix: Text = "ecs"


class Load(Section):
    """The user's JMeter plan and the load model that replaces its own."""

    plan: Annotated[str, Field(pattern=r"\.jmx$", description="the path of a .jmx file")]
    properties: dict[str, str] = Field({})
    weights: dict[str, Annotated[Number, Field(gt=0)]] = Field({})
    arrivals: Literal["poisson", "even"] = "poisson"
    fleet: Fleet


class EcsServiceSize(Section):
    """An ECS service of the system under test, and how many tasks it has during the run."""

    cluster: Text
    service: Text
    tasks: Positive


class Prescale(Section):
    instances: Positive
    ready_within_s: Annotated[Seconds, Field(alias="ready_within")]
    warm_up_s: Annotated[Seconds, Field(alias="warm_up")]
    ecs_services: tuple[EcsServiceSize, ...] = ()
    silence_alarms: tuple[Text, ...] = ()


class SloEntry(Section):
    """One condition: exactly one of the metrics, for one label or all, over the whole probe or windows of it."""

    latency_p50_ms: Annotated[Milliseconds | None, Field(alias="latency_p50")] = None
    latency_p90_ms: Annotated[Milliseconds | None, Field(alias="latency_p90")] = None
    latency_p95_ms: Annotated[Milliseconds | None, Field(alias="latency_p95")] = None
    latency_p99_ms: Annotated[Milliseconds | None, Field(alias="latency_p99")] = None
    error_ratio: Ratio | None = None
    apdex: Annotated[Score | None, Field(description="a score above 0 and at most 1, such as 0.9")] = None
    apdex_target_ms: Annotated[Milliseconds | None, Field(alias="apdex_target")] = None
    throughput_tps: Annotated[Tps | None, Field(alias="throughput")] = None
    label: str = "all"
    window_s: Annotated[Seconds | None, Field(alias="window")] = None
    may_fail_ratio: Annotated[Ratio, Field(alias="may_fail")] = 0.0

    @model_validator(mode="after")
    def _one_metric(self) -> SloEntry:
        given = [_key(name) for name in self._given()]
        if not given:
            raise contradiction("names no metric.", f"Write one of {', '.join(map(_key, METRICS))}.", "")
        if len(given) > 1:
            raise contradiction(f"stands beside {given[0]}.", "Write one metric a condition.", *reversed(given))
        if self.may_fail_ratio and self.window_s is None:
            raise contradiction("needs a window.", "Add one, such as `window: 10 s`.", "may_fail", "window")
        if self.apdex is not None and self.apdex_target_ms is None:
            raise contradiction(
                "needs a target.", "Add the wait that satisfies, such as `apdex_target: 200 ms`.", "apdex"
            )
        if self.apdex is None and self.apdex_target_ms is not None:
            raise contradiction("belongs to apdex.", "Add one, such as `apdex: 0.9`.", "apdex_target", "apdex")
        return self

    def _given(self) -> dict[Metric, float]:
        values: dict[Metric, float | None] = {name: getattr(self, name) for name in METRICS}
        return {name: value for name, value in values.items() if value is not None}

    def condition(self) -> SloCondition:
        ((metric, limit),) = self._given().items()
        return SloCondition(metric, limit, self.label, self.window_s, self.may_fail_ratio, self.apdex_target_ms)


def _key(metric: str) -> str:
    """The profile's key of a metric: units stand in its value."""
    return metric.removesuffix("_ms").removesuffix("_tps")


class Search(Section):
    lower_tps: Annotated[Tps, Field(alias="lower")]
    upper_tps: Annotated[Tps, Field(alias="upper")]
    resolution_ratio: Annotated[Ratio, Field(alias="resolution", gt=0)] = 0.03
    ramp_factor: Annotated[Number, Field(gt=1, le=3)] = 1.3
    ramp_step_s: Annotated[Seconds, Field(alias="ramp_step", ge=2)]
    probe_s: Annotated[Seconds, Field(alias="probe", ge=5)]
    probe_discard_s: Annotated[Seconds, Field(alias="probe_discard")]
    soak_s: Annotated[Seconds, Field(alias="soak", ge=10)]
    soak_discard_s: Annotated[Seconds, Field(alias="soak_discard")]
    rest_s: Annotated[Seconds, Field(alias="rest")]
    max_load_s: Annotated[Seconds, Field(alias="max_load", gt=0)]
    max_invalid_repeats: Annotated[int, Field(ge=0, strict=True)] = 3
    safe: Switch = False
    use_prior: Switch = True
    replace_instances: Switch = False

    @model_validator(mode="after")
    def _bounds(self) -> Search:
        if self.upper_tps <= self.lower_tps:
            problem = f"{self.upper_tps:g} tps is not above lower, which is {self.lower_tps:g} tps."
            raise contradiction(problem, "Raise upper or lower lower.", "upper", "lower")
        for hold in ("probe", "soak"):
            hold_s, discard_s = getattr(self, f"{hold}_s"), getattr(self, f"{hold}_discard_s")
            if discard_s > hold_s - 2:
                problem = f"{discard_s:g} s of {hold_s:g} s leave less than 2 s to judge."
                raise contradiction(problem, f"Lengthen {hold} or discard less.", f"{hold}_discard", hold)
        return self


class ValidityRules(Section):
    max_lag_p99_ms: Annotated[Milliseconds, Field(alias="max_lag_p99")]
    max_generator_cpu_cores: Annotated[Number, Field(alias="max_generator_cpu", gt=0)] = 0.9
    max_gc_ratio: Annotated[Ratio, Field(alias="max_gc")] = 0.1
    min_idle_threads: Annotated[int, Field(ge=0, strict=True)] = 1
    max_rejected_ratio: Annotated[Ratio, Field(alias="max_rejected")] = 0.001
    max_offered_deviation: Annotated[Ratio, Field(alias="max_offered_deviation")] = 0.02
    max_throttled_ratio: Annotated[Ratio, Field(alias="max_throttled")] = 0.1
    max_heap_ratio: Annotated[Ratio, Field(alias="max_heap")] = 0.9
    max_open_files_ratio: Annotated[Ratio, Field(alias="max_open_files")] = 0.9
    max_clock_skew_s: Annotated[Seconds, Field(alias="max_clock_skew", gt=0)] = 0.5
    max_odd_sizes_ratio: Annotated[Ratio, Field(alias="max_odd_sizes")] = 0.05


class Prices(Section):
    """Prices per hour, in `currency`."""

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="three capital letters, such as USD")] = "USD"
    instance_hour: Annotated[Number, Field(ge=0)]
    shard_hour: Annotated[Number, Field(ge=0)]


class ServiceProfile(Section):
    """One service: what it is, where it runs, what it promises and how it is tested."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    service: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$", description=_SERVICE_FORM)]
    description: Text
    owner: Text
    schedule: Annotated[
        Annotated[str, Field(pattern=r"^(@\w+|\S+( +\S+){4})$")] | None, Field(description=_SCHEDULE_FORM)
    ]
    aws: Aws
    target: Target
    slo: Annotated[tuple[SloEntry, ...], Field(min_length=1)]
    load: Load
    prescale: Prescale
    search: Search
    guard: Guard
    validity: ValidityRules
    prices: Prices
    budget: Budget | None = None
    blackouts: tuple[BlackoutEntry, ...] = ()
    production: Switch = False

    @model_validator(mode="after")
    def _consistent(self) -> ServiceProfile:
        if self.production and self.schedule is not None:
            problem = f"{self.schedule!r} would start runs by itself, but production is true."
            cure = "Write null: each run of a production target is started, allowed and approved by a person."
            raise contradiction(problem, cure, "schedule", "production")
        search, guard, validity = self.search, self.guard, self.validity
        if search.upper_tps > guard.max_rate_tps:
            problem = f"{search.upper_tps:g} tps is above guard.max_rate, which is {guard.max_rate_tps:g} tps."
            raise contradiction(problem, "Lower it, or raise the guard.", "search.upper", "guard.max_rate")
        if guard.max_duration_s < search.max_load_s:
            problem = (
                f"{guard.max_duration_s:g} s end the fleet before search.max_load ({search.max_load_s:g} s) is over."
            )
            raise contradiction(problem, "Lengthen it.", "guard.max_duration", "search.max_load")
        if validity.min_idle_threads >= self.load.fleet.threads_per_shard:
            problem = f"{validity.min_idle_threads} threads cannot be idle of {self.load.fleet.threads_per_shard}."
            cure = "Lower it, or raise load.fleet.threads_per_shard."
            raise contradiction(problem, cure, "validity.min_idle_threads", "load.fleet.threads_per_shard")
        self._check_slo(search.probe_s - search.probe_discard_s, search.lower_tps)
        return self

    def _check_slo(self, measured_s: float, lower_tps: float) -> None:
        seen: dict[tuple[str, str], int] = {}
        for place, entry in enumerate(self.slo):
            condition, key = entry.condition(), f"slo[{place}]"
            first = seen.setdefault((condition.metric, condition.label), place)
            if first != place:
                problem = f"limits {_key(condition.metric)} of {condition.label} again."
                raise contradiction(problem, f"Keep it or slo[{first}].", key, f"slo[{first}]")
            if condition.window_s is not None and not 1 <= condition.window_s <= measured_s:
                problem = f"{condition.window_s:g} s does not fit into the {measured_s:g} s that a probe is judged."
                raise contradiction(problem, "Shorten it, or lengthen search.probe.", f"{key}.window", "search.probe")
            lag_ms = self.validity.max_lag_p99_ms
            limit_ms = condition.limit if condition.metric in QUANTILES else condition.target_ms
            if limit_ms is not None and lag_ms >= limit_ms:
                problem = f"a lag of {lag_ms:g} ms hides a latency limit of {limit_ms:g} ms ({key})."
                raise contradiction(problem, "Set it well below every latency limit.", "validity.max_lag_p99", key)
            if condition.metric == "throughput_tps" and condition.limit >= lower_tps:
                problem = f"{condition.limit:g} tps is not below search.lower, which is {lower_tps:g} tps."
                cure = "No more can complete than is offered: lower it, or raise search.lower."
                raise contradiction(problem, cure, f"{key}.throughput", "search.lower")

    def slo_conditions(self) -> Slo:
        return Slo(tuple(entry.condition() for entry in self.slo))

    def black_times(self) -> tuple[Blackout, ...]:
        return blackouts_of(self.blackouts)

    def longest(self) -> Durations:
        """How long a run may take at most, by the limits that stand here."""
        return longest(
            ready_within_s=self.prescale.ready_within_s,
            warm_up_s=self.prescale.warm_up_s,
            max_load_s=self.search.max_load_s,
            max_duration_s=self.guard.max_duration_s,
        )

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
            safe=search.safe,
            can_replace=search.replace_instances,
        )

    def validity_limits(self) -> ValidityLimits:
        return ValidityLimits(**self.validity.model_dump())
