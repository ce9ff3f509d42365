"""Everything that a run's result says, as data: what `build_result` turns into result.json. All frozen.

The publishing task fills `RunFacts` from stored artefacts; `codec` turns it into JSON and back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from include.capacity.baseline.comparison import Comparison
from include.capacity.cost import Cost
from include.capacity.models import Answer, ProbeResult, SearchSettings, Slo, ValidityLimits

Mode = Literal["weekly", "release"]
Severity = Literal["warn", "fail"]


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """The user's JMeter plan: its path, the sha256 of its bytes, and what was changed in it, as sentences."""

    path: str
    sha256: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Versions:
    """What measured, by version; empty where unknown."""

    headroom: str
    airflow: str
    jmeter: str
    python: str
    java: str


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of an Auto Scaling group, in instances."""

    minimum: int
    desired: int
    maximum: int


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance that served during the run."""

    id: str
    type: str
    zone: str = ""


@dataclass(frozen=True, slots=True)
class Environment:
    """What was measured. `instance_type` names all types, comma-separated, if the group mixes them.

    Attributes:
        before: sizes of the group before the run, None when it was never read.
        during: sizes set for the test, None when the run did not get that far.
        instances: those seen in service during the probes.
        target: address that the load went to.
    """

    region: str
    account: str
    autoscaling_group: str
    instance_type: str
    load_balancer: str
    target: str
    before: Sizes | None = None
    during: Sizes | None = None
    instances: tuple[Instance, ...] = ()


@dataclass(frozen=True, slots=True)
class Restored:
    """Whether the environment was found equal to the snapshot after the run; differences are sentences."""

    equal: bool
    differences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Method:
    """How it was measured: the settings of the search, the limits of validity and the load fleet."""

    search: SearchSettings
    limits: ValidityLimits
    arrivals: Literal["poisson", "even"]
    shards: int
    threads_per_shard: int


@dataclass(frozen=True, slots=True)
class ExpectationOutcome:
    """How one expectation about the collected data came out.

    Attributes:
        name: short and unique, such as `completed_matches_probes`.
        meaning: what it says and why it matters, in plain words.
        severity: `fail` makes the run's data unfit for an answer, `warn` is told to the reader.
        observed: what was seen, as a phrase.
    """

    name: str
    meaning: str
    severity: Severity
    success: bool
    observed: str


@dataclass(frozen=True, slots=True)
class RunFacts:
    """One run.

    Attributes:
        started_at, ended_at: epoch seconds.
        answer: None when the search never answered; the result is then inconclusive, for the reason in `failure`.
        failure: why there is no answer, as a sentence; empty if there is one.
        transactions_per_arrival: top-level samples that one arrival makes.
        probes: of all stages, in the order of their start.
        artefacts: name -> path relative to the run's folder in the artefact store.
    """

    service: str
    description: str
    owner: str
    run_id: str
    mode: Mode
    started_at: float
    ended_at: float
    slo: Slo
    answer: Answer | None
    transactions_per_arrival: float
    probes: tuple[ProbeResult, ...]
    method: Method
    plan: PlanFacts
    versions: Versions
    environment: Environment
    restored: Restored
    comparison: Comparison | None = None
    cost: Cost | None = None
    data_quality: tuple[ExpectationOutcome, ...] = ()
    artefacts: Mapping[str, str] = field(default_factory=dict)
    sandbox_truth: Mapping[str, float] | None = None
    failure: str = ""
