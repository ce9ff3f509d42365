"""The words of the domain as types: SLO, fleet seconds, steps, probes, answer. All frozen.

Rates are in transactions per second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from include.capacity.histogram import Histogram
from include.capacity.protocol import GeneratorHealth, Outcome

ALL_LABELS = "all"

Metric = Literal[
    "latency_p50_ms", "latency_p90_ms", "latency_p95_ms", "latency_p99_ms", "error_ratio", "apdex", "throughput_tps"
]
QUANTILES: Mapping[str, float] = {
    "latency_p50_ms": 0.50,
    "latency_p90_ms": 0.90,
    "latency_p95_ms": 0.95,
    "latency_p99_ms": 0.99,
}


@dataclass(frozen=True, slots=True)
class MetricFacts:
    """What belongs to a metric whoever limits it: its name in sentences, its unit, and which direction is better."""

    name: str
    unit: Literal["ms", "ratio", "score", "tps"]
    better: Literal["lower", "higher"]


METRICS: Mapping[Metric, MetricFacts] = {
    "latency_p50_ms": MetricFacts("p50 latency", "ms", "lower"),
    "latency_p90_ms": MetricFacts("p90 latency", "ms", "lower"),
    "latency_p95_ms": MetricFacts("p95 latency", "ms", "lower"),
    "latency_p99_ms": MetricFacts("p99 latency", "ms", "lower"),
    "error_ratio": MetricFacts("error ratio", "ratio", "lower"),
    "apdex": MetricFacts("Apdex score", "score", "higher"),
    "throughput_tps": MetricFacts("throughput", "tps", "higher"),
}


@dataclass(frozen=True, slots=True)
class SloCondition:
    """One promise: `metric` of `label` stays on the good side of `limit` over the window; the limit itself is good.

    Attributes:
        limit: milliseconds for latencies, a ratio (0..1) for errors: the most. A score (0..1) for apdex, completed
            transactions per second for the throughput: the least.
        label: transaction label, or `all`.
        window_s: None judges the whole measured part of a probe at once; else each consecutive window of this length.
        may_fail_ratio: share of the windows that may miss the limit (0 without a window).
        target_ms: T of the Apdex: satisfied is who waits at most T, tolerating at most 4 T. None for other metrics.
    """

    metric: Metric
    limit: float
    label: str = ALL_LABELS
    window_s: float | None = None
    may_fail_ratio: float = 0.0
    target_ms: float | None = None

    @property
    def higher_is_better(self) -> bool:
        return METRICS[self.metric].better == "higher"

    def missed_by(self, value: float) -> bool:
        """Whether a value of the metric lies on the wrong side of the limit."""
        return value < self.limit if self.higher_is_better else value > self.limit


@dataclass(frozen=True, slots=True)
class Slo:
    conditions: tuple[SloCondition, ...]


@dataclass(frozen=True, slots=True)
class ShardSecond:
    """One shard's own state as last reported for a second.

    Attributes:
        delay_s: from the time that its report bears (by the shard's clock) until the conductor saw it (by its own
            clock). Never below zero unless the shard's clock is ahead of the conductor's. None: not known.
        in_force_after_s: from the command of its rate (by the conductor's clock) until that was in force (by the
            shard's clock). Never below zero unless the shard's clock is behind. None: not known.
    """

    shard: int
    incarnation: str
    rate_per_s: float
    generator: GeneratorHealth
    threads: int
    threads_idle: int
    delay_s: float | None = None
    in_force_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class FleetSecond:
    """One second of the whole fleet, merged over its shards.

    Attributes:
        second: epoch second.
        offered: arrivals that the dispatchers dispatched in it.
        completed: transactions that ended in it, whatever their outcome.
        rows: (label, outcome) -> latency of the transactions whose intended start lies in it.
        lag: schedule lag of the arrivals of this second.
        in_flight: arrivals dispatched but not completed at its end (waiting for a thread included).
        shards: one entry per shard that reported for it.
        missing: numbers of the shards that did not.
        restarted: numbers of the shards whose incarnation changed in it.
        rejected: result lines that could not be read.
        guard: the reason of a shard's guard that stopped the load; empty if none.
        sizes: label -> bytes received by each `ok` transaction whose intended start lies in it (no times).
        own_errors: what of the generators' own failed -> transactions, as reported for it.
    """

    second: int
    offered: int
    completed: int
    rows: Mapping[tuple[str, Outcome], Histogram]
    lag: Histogram
    in_flight: int
    shards: tuple[ShardSecond, ...]
    missing: tuple[int, ...] = ()
    restarted: tuple[int, ...] = ()
    rejected: int = 0
    guard: str = ""
    sizes: Mapping[str, Histogram] = field(default_factory=dict)
    own_errors: Mapping[str, int] = field(default_factory=dict)


StepKind = Literal["smoke", "warm", "ramp", "probe", "soak", "rest"]


@dataclass(frozen=True, slots=True)
class Step:
    """What to do next: hold a rate for a time. The first `discard_s` seconds are recorded but not judged.

    Attributes:
        well_p50_ms: a rest may end as soon as the median latency is at or below this; None holds it to its end.
        replace_first: the instances are replaced before the rate is held.
        least_s: a soak may end, met beyond doubt and without a trend, after so long; None holds it to its end.
        rise_from_tps, rise_s: the rate rises evenly from the one over the other (part of `discard_s`), since a service
            may break under a sudden rate that it holds for ever when it is warmed gently.
    """

    kind: StepKind
    rate_tps: float
    hold_s: float
    discard_s: float
    why: str
    well_p50_ms: float | None = None
    replace_first: bool = False
    least_s: float | None = None
    rise_from_tps: float = 0.0
    rise_s: float = 0.0

    def rate_at(self, elapsed_s: float) -> float:
        """The rate so long after the step's start, in transactions per second."""
        if not self.rise_s or elapsed_s >= self.rise_s:
            return self.rate_tps
        return self.rise_from_tps + (self.rate_tps - self.rise_from_tps) * max(elapsed_s, 0.0) / self.rise_s


HOLD_COMPLETE = "hold complete"  # the stop of a step that was held to its end

ValidityStatus = Literal["valid", "invalid", "inconclusive"]


@dataclass(frozen=True, slots=True)
class Validity:
    """Whether a probe (or run) says anything about the service; reasons are sentences with evidence and cure."""

    status: ValidityStatus
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ConditionResult:
    """How one SLO condition came out.

    Attributes:
        value: the worst window's; None when there was nothing to judge (`windows` is 0), or when it falls on
            transactions that never came back (`met` is False).
        windows, windows_missed: windows that could be judged, and those beyond the limit.
        share, share_error: share of the transactions that spend the condition's allowance (slow or failed ones) and its
            standard error; None for a metric without such a share, or with too few seconds to tell.
    """

    condition: SloCondition
    value: float | None
    met: bool
    windows: int = 1
    windows_missed: int = 0
    share: float | None = None
    share_error: float | None = None


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One step, executed and judged once.

    Attributes:
        stage, number: which task ran it, and its place in that task (0, 1, …).
        started_at, ended_at: epoch seconds (wall clock of the conductor).
        measured_s: seconds that were judged (after the discarded start).
        offered_tps: dispatched arrivals x transactions per arrival over the measured seconds.
        achieved_tps: completed transactions per second over the measured seconds.
        latency_ms: `p50`, `p90`, `p95`, `p99`, `max` -> ms over the measured seconds (empty if nothing completed).
        errors: outcome -> count, `ok` included.
        lag_p99_ms: schedule lag of the load generator.
        in_flight_start, in_flight_end: arrivals in flight at the start and end of the measured part.
        sustainable: None unless validity is `valid`.
        misses: why it is not sustainable, as sentences.
        stop: what ended it: `hold complete` or the reason of an abort.
        environment: instances in service etc. as observed, by the caller.
        overloaded: the service fell behind the offered rate (backlog, or an abort for overload), so the failure is no
            noise.
        in_flight_mean: mean of the arrivals in flight over the measured seconds.
        changes: what changed in the environment under the step, as sentences.
        tail_goodput_tps: transactions per second that ended well in the last three measured seconds: what a service
            that fell behind still does.
    """

    stage: str
    number: int
    step: Step
    started_at: float
    ended_at: float
    measured_s: int
    offered_tps: float
    achieved_tps: float
    transactions_per_arrival: float
    latency_ms: Mapping[str, float]
    error_ratio: float
    errors: Mapping[str, int]
    conditions: tuple[ConditionResult, ...]
    lag_p99_ms: float | None
    in_flight_start: int
    in_flight_end: int
    validity: Validity
    sustainable: bool | None
    misses: tuple[str, ...]
    stop: str
    environment: Mapping[str, float] = field(default_factory=dict)
    overloaded: bool = False
    in_flight_mean: float = 0.0
    changes: tuple[str, ...] = ()
    tail_goodput_tps: float = 0.0

    @property
    def load_s(self) -> float:
        """Seconds of load that the step took."""
        return max(self.ended_at - self.started_at, 0.0)

    @property
    def goodput_tps(self) -> float:
        """Transactions per second that ended well, over the measured seconds."""
        return self.errors.get("ok", 0) / self.measured_s if self.measured_s else 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The search's answer.

    Attributes:
        tps: the maximum sustainable TPS; None when nothing is known, or when no rate was sustained (`at_most`).
        low, high: 90 % interval in TPS, `tps` inside; None where unbounded or unknown.
        verified: whether a soak at `tps` passed.
        bound: `exact`; `at_least`: never broke up to the upper bound or the budget; `at_most`: every rate that counts
            failed, and `high` is the lowest of them; `unknown`.
        validity: of the run as a whole.
        why: the story in a few sentences.
    """

    tps: float | None
    low: float | None
    high: float | None
    verified: bool
    bound: Literal["exact", "at_least", "at_most", "unknown"]
    validity: Validity
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Done:
    """The search is over."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """Bounds and windows of a search; all from the profile.

    Attributes:
        resolution: the wanted hi/lo - 1 of the bracket.
        prior_tps: an earlier answer; it shortens the way, and is not trusted.
        safe: for those who must not be told too much: longer soaks, a little lower, and a lower report.
        can_replace: instances that do not recover may be replaced.
    """

    lower_tps: float
    upper_tps: float
    resolution: float
    ramp_factor: float
    ramp_step_s: float
    probe_s: float
    probe_discard_s: float
    soak_s: float
    soak_discard_s: float
    rest_s: float
    max_load_s: float
    max_invalid_repeats: int
    prior_tps: float | None = None
    safe: bool = False
    can_replace: bool = False


@dataclass(frozen=True, slots=True)
class ValidityLimits:
    """Beyond any of these a probe is invalid: it measured the load generator, not the service."""

    max_lag_p99_ms: float
    max_generator_cpu_cores: float
    max_gc_ratio: float
    min_idle_threads: int
    max_rejected_ratio: float
    max_offered_deviation: float  # relative gap between commanded and dispatched rate, beyond Poisson noise (4 sigma)
    max_throttled_ratio: float = 0.1  # of the periods of the container's CPU quota
    max_heap_ratio: float = 0.9  # of the heap that is full even at its emptiest
    max_open_files_ratio: float = 0.9
    max_clock_skew_s: float = 0.5
    max_odd_sizes_ratio: float = 0.05  # of a label's good responses, unlike in size to those of the smoke probe
