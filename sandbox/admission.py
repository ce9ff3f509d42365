"""How one instance of the shop takes requests: rate limit, waiting room, slots, connections, neighbours.

All on a virtual clock (sandbox.slot_queue): when an admitted request ends is known as soon as it has arrived. No clock
is read here, and nothing is drawn: what happens follows from the times and service times that callers give.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from dataclasses import dataclass

from sandbox.plant_characters import Metastable, NoisyNeighbour, RateLimit
from sandbox.plantfile import Plant
from sandbox.slot_queue import SlotQueue

MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that got in: when it ends, and how long its own work takes until then."""

    end: float
    work_s: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """The status and the reason that a refused request is answered with."""

    status: int
    reason: str


class Admission:
    """One instance's decisions about requests, in the order of their arrival.

    Args:
        place: the instance's place in its group, which decides its kind.
        key: what its own episodes of a noisy neighbour are drawn from; where they hit all instances, only its part up
            to the first "/" counts.
    """

    def __init__(self, plant: Plant, place: int, key: str) -> None:
        kind = plant.kind(place)
        self.queue = SlotQueue(kind.slots or plant.slots, plant.queue_limit)
        self._speed_ratio = kind.speed_ratio
        self._connections = [-math.inf] * plant.pool.connections if plant.pool else []
        self._bucket = TokenBucket(plant.rate_limit) if plant.rate_limit else None
        self._backlog = Backlog(plant.metastable) if plant.metastable else None
        self._episodes: Episodes | None = None
        if plant.noisy_neighbour is not None:
            source = key.partition("/")[0] if plant.noisy_neighbour.hits == "all" else key
            self._episodes = Episodes(plant.noisy_neighbour, plant.time_scale, episode_key(source))

    def admit(self, now: float, own_s: float, connection_s: float = 0.0) -> Admitted | Refusal:
        """When a request that has arrived now will end; or why it is refused.

        `own_s` is its work on an instance of full speed, `connection_s` what it takes of a connection of the pool.
        """
        if self._bucket is not None and not self._bucket.take(now):
            return Refusal(self._bucket.status, "the rate limit is reached")
        work_s = own_s / self._speed_ratio
        if self._backlog is not None:
            work_s *= self._backlog.cost_factor(self.queue.waiting(now))

        begin = now

        def end_of(start: float) -> float:
            nonlocal begin
            begin = self._use_connection(start, connection_s) if self._connections else start
            return begin + work_s if self._episodes is None else self._episodes.finish(begin, work_s)

        end = self.queue.admit_until(now, end_of)
        return Refusal(503, "the queue is full") if end is None else Admitted(end, end - begin)

    def is_costly(self) -> bool:
        """Whether a backlog makes work cost more at present."""
        return self._backlog is not None and self._backlog.costly

    def _use_connection(self, start: float, connection_s: float) -> float:
        done = max(start, self._connections[0]) + connection_s
        heapq.heapreplace(self._connections, done)
        return done


class TokenBucket:
    """Full at the beginning, whenever that is."""

    def __init__(self, limit: RateLimit) -> None:
        self.status = limit.status
        self._rate_tps = limit.rate_tps
        self._burst = float(limit.burst)
        self._tokens = self._burst
        self._filled_at = 0.0

    def take(self, now: float) -> bool:
        """Take a token if there is one."""
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate_tps)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Backlog:
    """What a metastable instance's work costs: more from some backlog on, until that has drained."""

    def __init__(self, rule: Metastable) -> None:
        self.costly = False
        self._rule = rule

    def cost_factor(self, waiting: int) -> float:
        """For a request that finds so many waiting."""
        if waiting >= self._rule.backlog:
            self.costly = True
        elif waiting <= self._rule.relief:
            self.costly = False
        return self._rule.cost_factor if self.costly else 1.0


class Episodes:
    """When a noisy neighbour is active: in each period once, at a place that follows from key and period.

    So all processes that share a key and a clock agree, without talking to each other.
    """

    def __init__(self, rule: NoisyNeighbour, time_scale: float, key: int) -> None:
        self._period_s = rule.every_s / time_scale
        self._lasts_s = rule.lasts_s / time_scale
        self._slowdown = rule.slowdown
        self._key = key

    def episode(self, number: int) -> tuple[float, float]:
        """Begin and end of the episode in a period, in seconds on the clock."""
        begin = number * self._period_s + _fraction(self._key, number) * (self._period_s - self._lasts_s)
        return begin, begin + self._lasts_s

    def finish(self, begin: float, work_s: float) -> float:
        """When `work_s` seconds of work that begin at `begin` are done."""
        number, now, left = math.floor(begin / self._period_s), begin, work_s
        while True:
            slow_from, slow_to = self.episode(number)
            number += 1
            for until, slowdown in ((slow_from, 1.0), (slow_to, self._slowdown), (number * self._period_s, 1.0)):
                if now + left * slowdown <= until:
                    return now + left * slowdown
                left -= max(until - now, 0.0) / slowdown
                now = max(now, until)


def episode_key(text: str) -> int:
    """A 64-bit key from any text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _fraction(key: int, number: int) -> float:
    """A number from 0 to below 1, as good as random: SplitMix64 (Steele, Lea, Flood 2014) at a place of its stream."""
    word = (key + 0x9E3779B97F4A7C15 * (number + 1)) & MASK
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
    return ((word ^ (word >> 31)) >> 11) / float(1 << 53)
