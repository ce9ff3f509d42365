"""A load fleet that holds a rate against a simulated service and reports second by second, as the real one does."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from include.capacity.histogram import Histogram
from include.capacity.models import FleetSecond, ShardSecond
from include.capacity.protocol import GeneratorHealth, Outcome
from tests.simulators import engine
from tests.simulators.running import START, Running
from tests.simulators.service import Service

LABEL = "shop"
OUTCOMES: tuple[Outcome, ...] = ("ok", "service_error", "timeout")  # by the numbers of the engine
SHARDS = 2
THREADS = 1_000_000  # of each shard: they never run out, so that the load model stays open
HEALTH = GeneratorHealth(jmeter_cpu_cores=0.3, shard_cpu_cores=0.05, heap_used_mb=120.0, heap_max_mb=384.0)
LAGS_US = (30, 60, 110, 180, 300, 500, 900, 2000)  # schedule lag of a generator that is at ease
LAG_SHARES = (0.2, 0.25, 0.2, 0.15, 0.1, 0.06, 0.03, 0.01)
FORGET_S = 900  # a row of the table does not change so long after its second


class SimulatedFleet:
    """Seconds of load, one after the other. The rows of earlier seconds fill up as their transactions end."""

    def __init__(self, service: Service, seed: int) -> None:
        self.running = Running(service, seed)
        self._rng = np.random.default_rng([seed, 7])
        self._rows: dict[int, dict[tuple[str, Outcome], Histogram]] = {}
        self.now = int(START)
        self.replaced = 0

    def replace(self) -> None:
        """Fresh instances; what is in flight fails."""
        self.running.replace()
        self.replaced += 1

    def second(self, rate_tps: float) -> FleetSecond:
        """Holds the rate for one second."""
        now = self.now
        rows = self._rows[now] = {}
        self._rows.pop(now - FORGET_S, None)
        self.now += 1
        offered, ended = self.running.advance(rate_tps, float(self.now))
        self._fill(ended)
        in_flight = self.running.in_flight
        idle = max(THREADS - in_flight // SHARDS, 1)
        shards = tuple(ShardSecond(shard, "first", rate_tps / SHARDS, HEALTH, THREADS, idle) for shard in range(SHARDS))
        return FleetSecond(
            second=now,
            offered=offered,
            completed=ended,
            rows=rows,
            lag=self._lag(offered),
            in_flight=in_flight,
            shards=shards,
        )

    def _fill(self, ended: int) -> None:
        """Counts what has ended in the row of the second in which it began."""
        if not ended:
            return
        started, took, how = self.running.ended
        first = int(started[:ended].min())
        keys, counts = np.empty(ended, np.int64), np.empty(ended, np.int64)
        values = np.empty(ended, np.int64)
        engine.buckets(started, took, how, ended, first, keys)
        keys.sort()
        n = engine.runs(keys, values, counts)
        groups = values[:n] >> 13
        edges = [0, *(np.flatnonzero(np.diff(groups)) + 1).tolist(), n]
        numbers, sizes = (values[:n] & 8191).tolist(), counts[:n].tolist()
        for begin, end in pairwise(edges):
            second, outcome = divmod(int(groups[begin]), 4)
            rows = self._rows.get(first + second)
            if rows is None:
                continue  # longer ago than anybody looks
            row = rows.get((LABEL, OUTCOMES[outcome]))
            if row is None:
                rows[LABEL, OUTCOMES[outcome]] = Histogram(dict(zip(numbers[begin:end], sizes[begin:end], strict=True)))
                continue
            total = row.counts
            for number, size in zip(numbers[begin:end], sizes[begin:end], strict=True):
                total[number] = total.get(number, 0) + size

    def _lag(self, offered: int) -> Histogram:
        lag = Histogram()
        for value, count in zip(LAGS_US, self._rng.multinomial(offered, LAG_SHARES).tolist(), strict=True):
            if count:
                lag.add(value, count)
        return lag
