"""Builds a shard's reports: what is new since the last one, and the generator's health in between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from include.capacity.jtl.follow import JtlFollower
from include.capacity.protocol import Counters, GeneratorHealth, ShardReport, ShardState
from include.loadgen.engine import DispatcherStatus
from include.loadgen.machine import NOTHING_KNOWN, MachineReading

_MIB = 1 << 20
_KEPT_SECONDS = 120  # longer than the dispatcher shows


@dataclass(frozen=True, slots=True)
class ShardFacts:
    """What the shard itself knows at the time of a report.

    Attributes:
        now: wall clock, epoch seconds.
        monotonic_s: monotonic clock at the same moment.
        cpu_s: CPU time of the shard's own process since its start.
        command: (epoch, seq) of the last accepted command; (0, 0) before the first.
        machine: what the machine tells of itself.
    """

    now: float
    monotonic_s: float
    cpu_s: float
    state: ShardState
    command: tuple[int, int]
    guard: str
    final: bool = False
    end_reason: str = ""
    machine: MachineReading = NOTHING_KNOWN


class Reporter:
    """Numbers the reports of one incarnation without gaps and gives every count exactly once."""

    def __init__(self, shard: int, incarnation: str, follower: JtlFollower) -> None:
        self._shard, self._incarnation, self._follower = shard, incarnation, follower
        self._number = 0
        self._told: dict[int, int] = {}  # second -> arrivals that earlier reports hold
        self._before: tuple[ShardFacts, DispatcherStatus | None] | None = None
        self._clocks_apart_s: float | None = None  # wall minus monotonic clock at the first report
        self.foreign = 0

    def build(self, facts: ShardFacts, status: DispatcherStatus | None) -> ShardReport:
        seconds, rejects = self._follower.drain(), self._follower.drain_rejects()
        self.foreign += seconds.foreign
        report = ShardReport(
            shard=self._shard,
            incarnation=self._incarnation,
            number=self._number,
            published_at=_as_of(facts, status),
            state=facts.state,
            command_epoch=facts.command[0],
            command_seq=facts.command[1],
            rate_per_s=status.rate_per_s if status is not None and not facts.final else 0.0,
            in_force_at=(status.in_force_at or None) if status is not None and facts.command != (0, 0) else None,
            counters=status.counters if status is not None else Counters(),
            generator=self._health(facts, status),
            offered=self._new_arrivals(status.offered if status is not None else {}),
            completed=seconds.completed,
            lag=seconds.lag,
            rows=seconds.rows,
            rejected=rejects.count,
            rejects=rejects.examples,
            guard=facts.guard,
            final=facts.final,
            end_reason=facts.end_reason,
            in_force_order=status.order if status is not None else (0, 0),
            sizes=seconds.sizes,
            own_errors=seconds.own_errors,
        )
        self._number += 1
        self._before = (facts, status)
        return report

    def _new_arrivals(self, offered: Mapping[int, int]) -> dict[int, int]:
        new = {}
        for second, count in offered.items():
            told = self._told.get(second, 0)
            if count > told:
                new[second] = count - told
                self._told[second] = count
        if offered:
            oldest = max(offered) - _KEPT_SECONDS
            self._told = {second: count for second, count in self._told.items() if second >= oldest}
        return new

    def _health(self, facts: ShardFacts, status: DispatcherStatus | None) -> GeneratorHealth:
        facts_before, before = self._before if self._before is not None else (None, None)
        health = self._own_health(facts, facts_before)
        if status is None:
            return health
        jmeter_cores = gc_ratio = 0.0
        if before is not None and status.at > before.at:
            elapsed = status.at - before.at
            jmeter_cores, gc_ratio = (status.cpu_s - before.cpu_s) / elapsed, (status.gc_s - before.gc_s) / elapsed
        return replace(
            health,
            jmeter_cpu_cores=round(jmeter_cores, 4),
            heap_used_mb=round(status.heap_used / _MIB, 1),
            heap_max_mb=round(status.heap_max / _MIB, 1),
            gc_ratio=round(gc_ratio, 4),
            open_fds=status.open_fds,
            max_fds=status.max_fds,
        )

    def _own_health(self, facts: ShardFacts, before: ShardFacts | None) -> GeneratorHealth:
        """What the shard's program knows without JMeter."""
        apart_s = facts.now - facts.monotonic_s
        if self._clocks_apart_s is None:
            self._clocks_apart_s = apart_s
        health = GeneratorHealth(
            cpu_limit_cores=facts.machine.cpu_limit_cores, clock_drift_s=round(apart_s - self._clocks_apart_s, 4)
        )
        elapsed = 0.0 if before is None else facts.monotonic_s - before.monotonic_s
        if before is None or elapsed <= 0:
            return health
        periods = facts.machine.periods - before.machine.periods
        throttled = facts.machine.throttled_periods - before.machine.throttled_periods
        waited = facts.machine.waited_s - before.machine.waited_s
        return replace(
            health,
            shard_cpu_cores=round((facts.cpu_s - before.cpu_s) / elapsed, 4),
            throttled_ratio=round(throttled / periods, 4) if periods > 0 else 0.0,
            cpu_wait_ratio=round(min(max(waited / elapsed, 0.0), 1.0), 4),
        )


def _as_of(facts: ShardFacts, status: DispatcherStatus | None) -> float:
    """The conductor takes every second before a report's time as complete. So a report whose counts come from an
    earlier second than now bears the time of the counts."""
    if status is None or facts.final or int(status.at) >= int(facts.now):
        return facts.now
    return min(status.at, facts.now)
