"""What the preparation of a plan needs, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """How a plan is to be run.

    Attributes:
        threads: the pool of threads of one shard, over all thread groups.
        dispatcher_script: the Groovy file that schedules the arrivals (include/jmeter/arrivals.groovy).
        allow_hosts: hosts that the plan may address, as patterns with `*` and `?`.
        weights: thread group name -> share of the arrivals, in any unit; empty: as the plan's own thread counts.
        properties: the JMeter properties that the plan gets: the user's, and host, port and scheme of the target.
        plan_folder: where data files lie, the only folder that travels with the plan; None: the plan's own.
        jmeter_home: the installation that will run the plan, for its plug-ins; None: stock JMeter 5.6.3.
    """

    threads: int
    dispatcher_script: Path
    allow_hosts: tuple[str, ...]
    weights: Mapping[str, float] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    plan_folder: Path | None = None
    jmeter_home: Path | None = None


@dataclass(frozen=True, slots=True)
class GroupInfo:
    """A thread group that takes arrivals.

    Attributes:
        index: the number under which its threads ask the dispatcher for arrivals: 0, 1, … in the order of the plan.
        weight: share of all arrivals that go to this group; the weights of a plan add up to 1.
        threads: its part of the shard's pool.
    """

    name: str
    index: int
    weight: float
    threads: int


@dataclass(frozen=True, slots=True)
class PreparedPlan:
    """A plan that is ready to be started.

    Attributes:
        path: the prepared plan.
        groups: the groups that take arrivals, by index.
        data_files: every file beside the plan that it reads, absolute, each once (included plans, too).
        notes: what was changed or dropped, and what to know; one sentence each.
        targets: hosts that the plan addresses, sorted.
        jmeter_arguments: arguments with which JMeter must be started: they make each transaction one line of the
            results, which names its arrival, and keep redirects from leading to hosts that are not allowed.
    """

    path: Path
    groups: tuple[GroupInfo, ...]
    data_files: tuple[Path, ...]
    notes: tuple[str, ...]
    targets: tuple[str, ...]
    jmeter_arguments: tuple[str, ...] = ()
