"""A load fleet that holds a rate against a simulated service and reports it second by second, as the real one does."""

from __future__ import annotations

import heapq
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from include.capacity.histogram import Histogram
from include.capacity.models import FleetSecond, ShardSecond
from include.capacity.protocol import GeneratorHealth, Outcome
from tests.unit.capacity.simulators.services import Service


@dataclass(slots=True)
class Generator:
    """What the fleet can do. While more than `late_above_tps` are offered, arrivals are late by `late_s` on average."""

    shards: int = 2
    threads: int = 300  # of all shards together
    lag_s: float = 0.001
    late_above_tps: float = float("inf")
    late_s: float = 0.0
    cpu_cores: float = 0.3


class SimulatedFleet:
    """Seconds of load, one after the other.

    Args:
        lost: second -> numbers of the shards that do not report for it (their load is lost, too).
    """

    def __init__(
        self,
        service: Service,
        rng: random.Random,
        generator: Generator | None = None,
        lost: dict[int, tuple[int, ...]] | None = None,
    ) -> None:
        self._service, self._rng = service, rng
        self._generator = generator or Generator()
        self._lost = lost or {}
        self._threads = [0.0] * self._generator.threads
        self._ending: dict[int, list[tuple[int, float, Outcome]]] = defaultdict(list)  # by second of the end
        self._rows: dict[int, dict[tuple[str, Outcome], Histogram]] = {}
        self._in_flight = 0
        self.now = 1000  # whole seconds

    def replace(self) -> None:
        """These services are not worth replacing: what hurts them is over when their queue is."""

    def second(self, rate_tps: float) -> FleetSecond:
        """Holds the rate for one second. The rows of earlier seconds fill up as their transactions end."""
        now, generator = self.now, self._generator
        lost = self._lost.get(now, ())
        rate = rate_tps * (1 - len(lost) / generator.shards)
        rows = self._rows[now] = {}
        lag = Histogram()
        offered = 0
        for at in self._arrivals(rate):
            offered += 1
            wait = self._rng.expovariate(1 / generator.lag_s)
            if rate_tps > generator.late_above_tps:
                wait += generator.late_s * self._rng.random() * 2
            start = max(at + wait, self._threads[0])
            end, outcome = self._service.answer(start)
            heapq.heapreplace(self._threads, end)
            lag.add(round((start - at) * 1e6))
            self._ending[int(end)].append((now, end - at, outcome))
        completed = self._ending.pop(now, [])
        for second, latency, outcome in completed:
            self._rows[second].setdefault(("shop", outcome), Histogram()).add(round(latency * 1e6))
        self._in_flight += offered - len(completed)
        busy = min(sum(end > now + 1 for end in self._threads), generator.threads)
        self.now += 1
        shards = [shard for shard in range(generator.shards) if shard not in lost]
        return FleetSecond(
            second=now,
            offered=offered,
            completed=len(completed),
            rows=rows,
            lag=lag,
            in_flight=self._in_flight,
            shards=tuple(self._shard(shard, rate_tps, busy) for shard in shards),
            missing=lost,
        )

    def _arrivals(self, rate: float) -> Iterator[float]:
        at = self.now + (self._rng.expovariate(rate) if rate > 0 else 2.0)
        while at < self.now + 1:
            yield at
            at += self._rng.expovariate(rate)

    def _shard(self, shard: int, rate_tps: float, busy: int) -> ShardSecond:
        generator = self._generator
        threads = generator.threads // generator.shards
        idle = max(threads - busy // generator.shards, 0)
        health = GeneratorHealth(jmeter_cpu_cores=generator.cpu_cores, heap_max_mb=384.0)
        return ShardSecond(shard, "first", rate_tps / generator.shards, health, threads, idle)
