"""A fleet without processes: shards on a simulated clock that read commands from, and report to, a real store."""

from __future__ import annotations

import math

import numpy as np

from include.capacity.errors import InvalidData
from include.capacity.histogram import Histogram
from include.capacity.protocol import (
    COMMAND_PATH,
    Command,
    Counters,
    GeneratorHealth,
    SecondRow,
    ShardReport,
    report_path,
)
from include.pipeline.conductor import Clock
from include.store.artefacts import ArtefactStore

TICK_S = 0.1


class SimulatedFleet:
    """`shards` shards before a service that answers in `service_ms` below `capacity_tps` and queues beyond.

    `clock()` gives the conductor's clock: sleeping lets the simulation run. Faults: `silent` (numbers of shards that
    report nothing), `lag_ms`, `error_ratio`, `restart(shard)`, `ahead_s` (shard -> how far its clock is ahead), `sizes`
    (bytes of the good responses).
    """

    def __init__(
        self,
        store: ArtefactStore,
        shards: int = 2,
        capacity_tps: float = 100.0,
        service_ms: float = 40.0,
        seed: int = 1,
    ) -> None:
        self.store, self.shards = store, shards
        self.capacity_tps, self.service_ms = capacity_tps, service_ms
        self.now = 1_000_000.3
        self.silent: set[int] = set()
        self.lag_ms, self.error_ratio = 1.0, 0.0
        self.ahead_s: dict[int, float] = {}
        self.sizes = [2048]
        self.rates: list[tuple[float, float]] = []
        self._rng = np.random.default_rng(seed)
        self._incarnation = ["00000000000000000001-1"] * shards
        self._number = [0] * shards
        self._counters = [{"dispatched": 0, "completed": 0} for _ in range(shards)]
        self._second = math.floor(self.now)
        self._arrivals = 0
        self._queue = 0.0
        self._command: Command | None = None
        self._command_at = -math.inf
        self._in_force = (0.0, -math.inf)  # a rate, and since when

    def clock(self) -> Clock:
        return Clock(now=lambda: self.now, sleep=self.advance)

    def restart(self, shard: int) -> None:
        self._incarnation[shard] = f"{int(self._incarnation[shard][:20]) + 1:020d}-1"
        self._number[shard] = 0
        self._counters[shard] = {"dispatched": 0, "completed": 0}

    def rate(self) -> float:
        """In force now: zero when the lease has run out."""
        if self._command is None or self.now - self._command_at > self._command.lease_s:
            return 0.0
        return self._command.rate_per_s

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.now = min(self.now + TICK_S, end)
            self._read_command()
            rate = self.rate()
            if not self.rates or self.rates[-1][1] != rate:
                self.rates.append((self.now, rate))
            if self._command is not None and self._in_force[0] != self._command.rate_per_s:
                self._in_force = (self._command.rate_per_s, self.now)
            self._arrivals += int(self._rng.poisson(rate * TICK_S))
            if math.floor(self.now) > self._second:
                self._report(self._second)
                self._second = math.floor(self.now)

    def _read_command(self) -> None:
        data = self.store.read_or_none(COMMAND_PATH)
        try:
            command = Command.loads(data) if data else None
        except InvalidData:
            return
        if command is not None and (self._command is None or command.order > self._command.order):
            self._command, self._command_at = command, self.now

    def _report(self, second: int) -> None:
        arrivals, self._arrivals = self._arrivals, 0
        waiting = self._queue
        done = int(
            min(arrivals + waiting, self._rng.poisson(self.capacity_tps) if waiting else arrivals, self.capacity_tps)
        )
        self._queue = waiting + arrivals - done
        load = min(arrivals / self.capacity_tps, 0.98)
        wait_ms = 1e3 * waiting / self.capacity_tps + 0.3 * self.service_ms * load**4 / (1 - load)
        for shard in range(self.shards):
            part = slice(shard, None, self.shards)
            offered, completed = len(range(arrivals)[part]), len(range(done)[part])
            counters = self._counters[shard]
            counters["dispatched"] += offered
            counters["completed"] += completed
            if shard in self.silent:
                continue
            self._publish(shard, second, offered, completed, wait_ms)

    def _publish(self, shard: int, second: int, offered: int, completed: int, wait_ms: float) -> None:
        latency, failed = Histogram(), Histogram()
        for value in self._rng.lognormal(math.log(self.service_ms), 0.4, completed):
            target = failed if self._rng.random() < self.error_ratio else latency
            target.add(int(1e3 * (value + wait_ms + self.lag_ms)))
        lag = Histogram()
        if offered:
            lag.add(int(self.lag_ms * 1e3), offered)
        sizes = Histogram()
        for index in range(latency.total):
            sizes.add(self.sizes[index % len(self.sizes)])
        counters = self._counters[shard]
        ahead_s = self.ahead_s.get(shard, 0.0)
        report = ShardReport(
            shard=shard,
            incarnation=self._incarnation[shard],
            number=self._number[shard],
            published_at=self.now + ahead_s,
            state="ready",
            command_epoch=self._command.epoch if self._command else 0,
            command_seq=self._command.seq if self._command else 0,
            rate_per_s=self.rate() / self.shards,
            in_force_at=self._in_force[1] + ahead_s if self._in_force[1] > 0 else None,
            in_force_order=self._command.order if self._command else (0, 0),
            counters=Counters(
                dispatched=counters["dispatched"],
                taken=counters["dispatched"],
                completed=counters["completed"],
                in_flight=max(counters["dispatched"] - counters["completed"], 0),
                threads=100,
                threads_idle=90,
            ),
            generator=GeneratorHealth(
                jmeter_cpu_cores=0.2, heap_used_mb=50, heap_max_mb=384, open_fds=50, max_fds=1000
            ),
            offered={second: offered},
            completed={second: completed},
            lag={second: lag},
            sizes={second: {"browse": sizes}} if sizes.total else {},
            rows=tuple(
                SecondRow(second, "browse", outcome, histogram)
                for outcome, histogram in (("ok", latency), ("service_error", failed))
                if histogram.total
            ),
        )
        self.store.write(report_path(shard, self._incarnation[shard], self._number[shard]), report.dumps())
        self._number[shard] += 1
