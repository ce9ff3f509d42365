"""What conductor and shards say to each other: small JSON objects in the artefact store.

Paths are relative to the run's folder. A command is one object that the conductor replaces; a report is a new object
each second. "Dismissed" is an object of its own that is only ever created: a late renewal by an older conductor cannot
undo it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from include.capacity.errors import InvalidData
from include.capacity.histogram import Histogram

SCHEMA = 1

COMMAND_PATH = "fleet/command.json"
DISMISSED_PATH = "fleet/dismissed.json"
SPEC_PATH = "fleet/spec.json"

Outcome = Literal["ok", "service_error", "connection_error", "timeout", "generator_error"]
OUTCOMES: tuple[Outcome, ...] = ("ok", "service_error", "connection_error", "timeout", "generator_error")

ShardState = Literal["starting", "ready", "ending"]


def shard_folder(shard: int) -> str:
    return f"fleet/shard-{shard:03d}"


def incarnation_folder(shard: int, incarnation: str) -> str:
    """Each start of a shard works in a folder of its own; incarnations sort by the time of their start."""
    return f"{shard_folder(shard)}/{incarnation}"


def report_path(shard: int, incarnation: str, number: int) -> str:
    return f"{incarnation_folder(shard, incarnation)}/reports/{number:06d}.json"


def results_folder(shard: int, incarnation: str) -> str:
    return f"{incarnation_folder(shard, incarnation)}/results"


def results_part(shard: int, incarnation: str, number: int) -> str:
    """A piece of JMeter's results file, gzip; all pieces in the order of their names are the whole."""
    return f"{results_folder(shard, incarnation)}/{number:06d}.jtl.gz"


@dataclass(frozen=True, slots=True)
class Command:
    """A rate order to the whole fleet, valid for its lease only.

    Attributes:
        epoch: grows with every conductor (stage number * 1000 + try number); shards ignore lower epochs.
        seq: grows within an epoch.
        rate_per_s: arrivals per second of the whole fleet; each shard takes its equal part.
        lease_s: without renewal for this long a shard drops to rate zero.
        issued_at: wall clock of the conductor, epoch seconds. Only for the record.
        by: the stage that commands, such as `search`.
    """

    epoch: int
    seq: int
    rate_per_s: float
    lease_s: float
    issued_at: float
    by: str

    @property
    def order(self) -> tuple[int, int]:
        return self.epoch, self.seq

    def dumps(self) -> bytes:
        return json.dumps({"schema": SCHEMA, **asdict(self)}).encode()

    @classmethod
    def loads(cls, data: bytes) -> Command:
        """Raises InvalidData for anything but a complete, sane command: such a thing is no command."""
        try:
            raw = json.loads(data)
            command = cls(
                int(raw["epoch"]),
                int(raw["seq"]),
                float(raw["rate_per_s"]),
                float(raw["lease_s"]),
                float(raw["issued_at"]),
                str(raw["by"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidData(f"{COMMAND_PATH} is not a command: {error!r}.") from None
        if not (0 <= command.rate_per_s < 1e7 and 0 < command.lease_s <= 60):
            raise InvalidData(f"{COMMAND_PATH} holds an impossible rate or lease: {command}.")
        return command


@dataclass(frozen=True, slots=True)
class FleetSpec:
    """What every shard needs to know; written once by `open_fleet`, before any shard starts.

    Attributes:
        plan_path, data_folder: the user's JMX in the store (`plan/plan.jmx`) and the folder of the files beside it.
        target_host, target_port, target_scheme: handed to the plan as properties `host`, `port`, `scheme`.
        allow_hosts: hosts (fnmatch patterns) that samplers may address.
        properties: further JMeter properties of the user.
        weights: thread group name -> weight; empty means: in proportion to the thread counts of the user's plan.
        arrivals: distribution of the gaps between arrivals.
        seed: base of the dispatchers' random streams; each shard and incarnation derives its own.
        max_rate_per_s: arrivals per second of the fleet that no command may exceed.
        max_error_ratio, guard_window_s: a shard drops to zero for good when this share of errors is exceeded over the
            window.
        max_in_flight: arrivals in flight per shard at which it drops to zero for good.
        idle_limit_s: without any valid command for this long a shard ends itself.
        hard_limit_s: a shard never lives longer than this.
        addresses: host -> the addresses that it had when the run was checked (empty where it had none then); the load
            may resolve these names and no others. None at all: any name.
        allow_addresses: networks that every address must lie in; empty: the load keeps to `addresses`.
    """

    shards: int
    threads_per_shard: int
    plan_path: str
    data_folder: str
    target_scheme: str
    target_host: str
    target_port: int
    allow_hosts: tuple[str, ...]
    properties: Mapping[str, str]
    weights: Mapping[str, float]
    arrivals: Literal["poisson", "even"]
    seed: int
    max_rate_per_s: float
    max_error_ratio: float
    guard_window_s: float
    max_in_flight: int
    idle_limit_s: float
    hard_limit_s: float
    heap_mb: int = 384
    addresses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    allow_addresses: tuple[str, ...] = ()

    def dumps(self) -> bytes:
        raw = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        raw |= {key: dict(raw[key]) for key in ("properties", "weights", "addresses")}
        raw["schema"] = SCHEMA
        return json.dumps(raw, indent=1).encode()

    @classmethod
    def loads(cls, data: bytes) -> FleetSpec:
        try:
            raw = json.loads(data)
            raw.pop("schema")
            raw |= {key: tuple(raw.get(key, ())) for key in ("allow_hosts", "allow_addresses")}
            raw["addresses"] = {host: tuple(known) for host, known in raw.get("addresses", {}).items()}
            return cls(**raw)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidData(f"{SPEC_PATH} is not a fleet specification: {error!r}.") from None


@dataclass(frozen=True, slots=True)
class Counters:
    """Arrivals since the start of this incarnation, as JMeter's dispatcher counts them (cumulative), and threads now.

    dispatched = taken + backlog + dropped; in_flight = taken - completed. An arrival is dropped only when it waits
    without a thread at the moment the rate goes to zero.
    """

    dispatched: int = 0
    taken: int = 0
    completed: int = 0
    dropped: int = 0
    backlog: int = 0
    in_flight: int = 0
    threads: int = 0
    threads_idle: int = 0


@dataclass(frozen=True, slots=True)
class GeneratorHealth:
    """The load generator's own state over the last report interval. CPU in cores (1.0 = one core busy).

    Attributes:
        cpu_limit_cores: CPUs that the shard may use at once, by affinity and the container's quota; 0: unknown.
        throttled_ratio: share of the quota's periods in which the container was held back; 0 without a quota.
        cpu_wait_ratio: share of the time in which a process of the container (or machine) waited for a CPU.
        clock_drift_s: how far the wall clock has run off the monotonic clock since the start of the shard's program:
            positive when it was set forward or runs fast.
    """

    jmeter_cpu_cores: float = 0.0
    shard_cpu_cores: float = 0.0
    heap_used_mb: float = 0.0
    heap_max_mb: float = 0.0
    gc_ratio: float = 0.0
    open_fds: int = 0
    max_fds: int = 0
    cpu_limit_cores: float = 0.0
    throttled_ratio: float = 0.0
    cpu_wait_ratio: float = 0.0
    clock_drift_s: float = 0.0


@dataclass(frozen=True, slots=True)
class SecondRow:
    """Completed transactions of one label and outcome whose *intended start* lies in one second.

    Attributes:
        second: epoch second of the intended start.
        latency: from the intended start to the end (schedule lag included), for every outcome.
        bytes: received.
    """

    second: int
    label: str
    outcome: Outcome
    latency: Histogram
    bytes: int = 0

    @property
    def count(self) -> int:
        return self.latency.total

    def to_json(self) -> dict[str, Any]:
        return {
            "second": self.second,
            "label": self.label,
            "outcome": self.outcome,
            "latency": self.latency.to_json(),
            "bytes": self.bytes,
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> SecondRow:
        if raw["outcome"] not in OUTCOMES:
            raise ValueError(f"unknown outcome {raw['outcome']!r}")
        return cls(
            int(raw["second"]),
            str(raw["label"]),
            raw["outcome"],
            Histogram.from_json(raw["latency"]),
            int(raw["bytes"]),
        )


@dataclass(frozen=True, slots=True)
class ShardReport:
    """What one incarnation of a shard publishes about once a second. Maps of seconds hold only what is new since the
    last report (they are added up by the reader); counters are cumulative.

    Attributes:
        number: 0, 1, 2, … without gaps within an incarnation.
        published_at: wall clock of the shard, epoch seconds.
        command_epoch, command_seq: of the last accepted command; 0, 0 before the first.
        rate_per_s: the rate this shard has in force now (its own part); 0 when the lease has run out.
        in_force_at: wall clock at which JMeter's dispatcher took the last command's rate; None before the first.
        in_force_order: (epoch, seq) of the last command that the dispatcher has taken: `in_force_at` is that of the
            first command with its rate.
        offered: second -> arrivals dispatched in it. completed: second -> transactions that *ended* in it.
        lag: second of dispatch -> histogram of the schedule lag of its arrivals.
        sizes: second of the intended start -> label -> bytes received by each `ok` transaction (a histogram of bytes,
            not of time).
        own_errors: what of the generator's own failed -> transactions with that cause since the last report.
        rows: see SecondRow. rejected: JTL lines that could not be read since the last report, with a few examples in
            `rejects`.
        guard: why the shard's guard stopped the load for good; empty while it has not.
        final, end_reason: set in the last report of an incarnation.
    """

    shard: int
    incarnation: str
    number: int
    published_at: float
    state: ShardState
    command_epoch: int
    command_seq: int
    rate_per_s: float
    in_force_at: float | None
    counters: Counters
    generator: GeneratorHealth
    offered: Mapping[int, int] = field(default_factory=dict)
    completed: Mapping[int, int] = field(default_factory=dict)
    lag: Mapping[int, Histogram] = field(default_factory=dict)
    rows: tuple[SecondRow, ...] = ()
    rejected: int = 0
    rejects: tuple[str, ...] = ()
    guard: str = ""
    final: bool = False
    end_reason: str = ""
    in_force_order: tuple[int, int] = (0, 0)
    sizes: Mapping[int, Mapping[str, Histogram]] = field(default_factory=dict)
    own_errors: Mapping[str, int] = field(default_factory=dict)

    def dumps(self) -> bytes:
        raw = {
            "schema": SCHEMA,
            "shard": self.shard,
            "incarnation": self.incarnation,
            "number": self.number,
            "published_at": self.published_at,
            "state": self.state,
            "command_epoch": self.command_epoch,
            "command_seq": self.command_seq,
            "rate_per_s": self.rate_per_s,
            "in_force_at": self.in_force_at,
            "counters": asdict(self.counters),
            "generator": asdict(self.generator),
            "offered": {str(second): count for second, count in self.offered.items()},
            "completed": {str(second): count for second, count in self.completed.items()},
            "lag": {str(second): lag.to_json() for second, lag in self.lag.items()},
            "rows": [row.to_json() for row in self.rows],
            "rejected": self.rejected,
            "rejects": list(self.rejects),
            "guard": self.guard,
            "final": self.final,
            "end_reason": self.end_reason,
            "in_force_order": list(self.in_force_order),
            "sizes": {
                str(second): {label: sizes.to_json() for label, sizes in labels.items()}
                for second, labels in self.sizes.items()
            },
            "own_errors": dict(self.own_errors),
        }
        return json.dumps(raw, separators=(",", ":")).encode()

    @classmethod
    def loads(cls, data: bytes) -> ShardReport:
        """Raises InvalidData when the object is not a complete report."""
        try:
            raw = json.loads(data)
            return cls(
                shard=int(raw["shard"]),
                incarnation=str(raw["incarnation"]),
                number=int(raw["number"]),
                published_at=float(raw["published_at"]),
                state=raw["state"],
                command_epoch=int(raw["command_epoch"]),
                command_seq=int(raw["command_seq"]),
                rate_per_s=float(raw["rate_per_s"]),
                in_force_at=None if raw["in_force_at"] is None else float(raw["in_force_at"]),
                counters=Counters(**raw["counters"]),
                generator=GeneratorHealth(**raw["generator"]),
                offered={int(second): int(count) for second, count in raw["offered"].items()},
                completed={int(second): int(count) for second, count in raw["completed"].items()},
                lag={int(second): Histogram.from_json(lag) for second, lag in raw["lag"].items()},
                rows=tuple(SecondRow.from_json(row) for row in raw["rows"]),
                rejected=int(raw["rejected"]),
                rejects=tuple(str(text) for text in raw["rejects"]),
                guard=str(raw["guard"]),
                final=bool(raw["final"]),
                end_reason=str(raw["end_reason"]),
                in_force_order=(int(raw["in_force_order"][0]), int(raw["in_force_order"][1])),
                sizes={
                    int(second): {str(label): Histogram.from_json(sizes) for label, sizes in labels.items()}
                    for second, labels in raw["sizes"].items()
                },
                own_errors={str(cause): int(count) for cause, count in raw["own_errors"].items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise InvalidData(f"not a shard report: {error!r}.") from None
