"""Services with a known behaviour, request by request: a request goes in at a time and comes out at another.

Each service is asked in the order of time. Times are seconds on the simulation's clock.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from include.capacity.protocol import Outcome


class Service(Protocol):
    def answer(self, at: float) -> tuple[float, Outcome]:
        """When the request that comes in at this time is answered, and how."""


@dataclass(slots=True)
class _Instance:
    slots: list[float]  # when each slot is free again (a heap)
    open: list[float] = field(default_factory=list)  # when each request in it ends (a heap)


class QueueingService:
    """Instances with worker slots behind a load balancer that picks the one with the fewest open requests.

    Args:
        mean_s, cv: service time, lognormal.
        queue_limit: requests that may wait per instance; more are refused at once.
        warm_up_s: so long after the first request the service time falls linearly from `cold_factor` x to 1 x.
    """

    def __init__(
        self,
        rng: random.Random,
        *,
        instances: int = 2,
        slots: int = 4,
        mean_s: float = 0.04,
        cv: float = 0.5,
        queue_limit: int | None = None,
        warm_up_s: float = 0.0,
        cold_factor: float = 2.0,
    ) -> None:
        self._rng = rng
        self._instances = [_Instance([0.0] * slots) for _ in range(instances)]
        self._sigma = math.sqrt(math.log(1 + cv * cv))
        self._mu = math.log(mean_s) - self._sigma**2 / 2
        self._slots, self._queue_limit = slots, queue_limit
        self._warm_up_s, self._cold_factor = warm_up_s, cold_factor
        self._first: float | None = None

    def answer(self, at: float) -> tuple[float, Outcome]:
        for instance in self._instances:
            while instance.open and instance.open[0] <= at:
                heapq.heappop(instance.open)
        fewest = min(len(instance.open) for instance in self._instances)
        chosen = self._rng.choice([entry for entry in self._instances if len(entry.open) == fewest])
        if self._queue_limit is not None and fewest >= self._slots + self._queue_limit:
            return at + 0.001, "service_error"
        start = max(at, chosen.slots[0])
        end = start + self._rng.lognormvariate(self._mu, self._sigma) * self._cold(at)
        heapq.heapreplace(chosen.slots, end)
        heapq.heappush(chosen.open, end)
        return end, "ok"

    def _cold(self, at: float) -> float:
        if not self._warm_up_s:
            return 1.0
        if self._first is None:
            self._first = at
        share = min((at - self._first) / self._warm_up_s, 1.0)
        return self._cold_factor + (1.0 - self._cold_factor) * share


class ErrorCliff:
    """Answers quickly at any rate, but fails a share of the requests above `limit_tps`, and all of them far above."""

    def __init__(self, rng: random.Random, *, limit_tps: float, failing: float = 0.3) -> None:
        self._rng, self._limit, self._failing = rng, limit_tps, failing
        self._recent: deque[float] = deque()

    def answer(self, at: float) -> tuple[float, Outcome]:
        self._recent.append(at)
        while self._recent[0] <= at - 2:
            self._recent.popleft()
        rate = len(self._recent) / 2
        failed = rate > self._limit * 1.15 or (rate > self._limit and self._rng.random() < self._failing)
        return at + self._rng.uniform(0.01, 0.02), "service_error" if failed else "ok"


class FixedLatency:
    """The same latency at every rate: a service that never breaks, or one that never meets its SLO."""

    def __init__(self, latency_s: float, outcome: Outcome = "ok") -> None:
        self._latency_s, self._outcome = latency_s, outcome

    def answer(self, at: float) -> tuple[float, Outcome]:
        return at + self._latency_s, self._outcome


class TokenBucket:
    """Passes short tests and fails long ones: fast while the bucket has tokens, refusing when it is empty."""

    def __init__(self, *, refill_tps: float, burst: float, latency_s: float = 0.02) -> None:
        self._refill, self._burst, self._latency_s = refill_tps, burst, latency_s
        self._tokens, self._then = burst, 0.0

    def answer(self, at: float) -> tuple[float, Outcome]:
        self._tokens = min(self._burst, self._tokens + (at - self._then) * self._refill)
        self._then = at
        if self._tokens < 1:
            return at + 0.001, "service_error"
        self._tokens -= 1
        return at + self._latency_s, "ok"


class Paused:
    """Another service that stands still now and then.

    Args:
        pauses: (start, end) in seconds of the simulation's clock.
    """

    def __init__(self, service: Service, pauses: tuple[tuple[float, float], ...]) -> None:
        self._service, self._pauses = service, pauses

    def answer(self, at: float) -> tuple[float, Outcome]:
        delay = max((end - at for start, end in self._pauses if start <= at < end), default=0.0)
        end, outcome = self._service.answer(at)
        return end + delay, outcome
