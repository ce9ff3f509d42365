"""A discrete-event simulation of the plant: Poisson arrivals, a balancer, instances with worker slots and a waiting
room.

Many independent copies of the plant (lanes) are stepped together, one arrival per lane and step, so that numpy does the
work: for a long-run percentile ten thousand arrivals in a thousand lanes say as much as ten million in one.

The balancer is HAProxy's `leastconn`: an arrival goes to the instance with the fewest requests in flight; among equals
to the one that was chosen longest ago. An instance serves first come, first served, and refuses an arrival when
`queue_limit` wait already.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sandbox.plantfile import Plant, ServiceTime
from sandbox.service_times import lognormal_parameters

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BLOCK_STEPS = 500
BIN_WIDTH = 0.001  # of the latency's natural logarithm: a bin is 0.1 % wide
SHORTEST_S = 1e-5
LONGEST_S = 1e5
BINS = math.ceil(math.log(LONGEST_S / SHORTEST_S) / BIN_WIDTH)


@dataclass(frozen=True, slots=True)
class System:
    """What is simulated. `mix` holds the service times with their shares, which add up to 1."""

    instances: int
    slots: int
    queue_limit: int
    mix: tuple[tuple[float, ServiceTime], ...]

    @classmethod
    def of(cls, plant: Plant, instances: int) -> System:
        """The plant with a number of instances, all warm."""
        mix = tuple((e.share, e.service_time) for e in plant.endpoints.by_name().values() if e.share > 0)
        return cls(instances, plant.slots, plant.queue_limit, mix)

    @property
    def mean_service_s(self) -> float:
        return sum(share * time.mean_s for share, time in self.mix)

    @property
    def squared_spread(self) -> float:
        """The squared coefficient of variation of the service time over the whole mix."""
        second_moment = sum(share * time.mean_s**2 * (1 + time.spread**2) for share, time in self.mix)
        return second_moment / self.mean_service_s**2 - 1

    @property
    def saturation_tps(self) -> float:
        return self.instances * self.slots / self.mean_service_s


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is simulated per rate: `lanes` copies, `steps` arrivals in each after `warm_up_steps` uncounted ones."""

    lanes: int
    warm_up_steps: int
    steps: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the lanes of one rate saw, kept apart by batch (independent groups of lanes), for error estimates."""

    rate_tps: float
    histogram: Floats
    """Shape (batches, BINS): answered requests by latency."""
    refused: Floats
    """Shape (batches,): requests answered with 503."""

    @property
    def arrivals(self) -> int:
        """How many requests were counted."""
        return int(self.histogram.sum() + self.refused.sum())

    def error_ratio(self) -> float:
        """The refused part of all requests."""
        return float(self.refused.sum() / (self.refused.sum() + self.histogram.sum()))

    def error_ratios(self) -> Floats:
        """The refused part of the requests of each batch."""
        return self.refused / (self.refused + self.histogram.sum(axis=1))

    def slow_ratios(self, limit_s: float) -> Floats:
        """The part of each batch's answered requests that took longer than `limit_s` seconds."""
        place = (math.log(max(limit_s, SHORTEST_S) / SHORTEST_S)) / BIN_WIDTH
        index = min(int(place), BINS - 1)
        beyond = self.histogram[:, index + 1 :].sum(axis=1) + self.histogram[:, index] * (1 - min(place - index, 1))
        return beyond / np.maximum(self.histogram.sum(axis=1), 1)

    def percentile_s(self, percentile: float) -> float:
        """A percentile (0 to 100) in seconds of the answered requests' latencies; infinite if none was answered."""
        counts = self.histogram.sum(axis=0)
        cumulative = np.cumsum(counts)
        if cumulative[-1] == 0:
            return math.inf
        wanted = cumulative[-1] * percentile / 100
        index = int(np.searchsorted(cumulative, wanted))
        below = cumulative[index] - counts[index]
        part = (wanted - below) / counts[index] if counts[index] else 0.0
        return SHORTEST_S * math.exp((index + part) * BIN_WIDTH)

    def mean_s(self) -> float:
        """The mean latency in seconds of the answered requests."""
        middles = SHORTEST_S * np.exp((np.arange(BINS) + 0.5) * BIN_WIDTH)
        counts = self.histogram.sum(axis=0)
        return float((counts * middles).sum() / counts.sum())


def simulate(
    system: System,
    rates_tps: Sequence[float],
    effort: Effort,
    *,
    seed: int,
    batches: int = 8,
    common: bool = True,
) -> list[Outcome]:
    """Simulate the system at each rate (transactions per second, > 0).

    Lane i counts to batch i modulo `batches`. `common` makes all rates use the same random numbers: right for telling
    which of two rates is slower, wrong for a fit through many rates, in which independent errors cancel out.
    """
    lanes = _Lanes(system, np.asarray(rates_tps, dtype=float), effort.lanes, seed, common)
    histogram = np.zeros(len(rates_tps) * batches * BINS, dtype=np.int64)
    refused = np.zeros(len(rates_tps) * batches, dtype=np.int64)
    lane_batch = np.arange(effort.lanes) % batches
    cell = (np.arange(len(rates_tps))[:, None] * batches + lane_batch).ravel()
    lanes.advance(effort.warm_up_steps + lanes.longest_start)
    done = 0
    while done < effort.steps:
        latencies_s = lanes.advance(min(BLOCK_STEPS, effort.steps - done))
        done += len(latencies_s)
        answered = np.isfinite(latencies_s)
        bins = np.log(latencies_s, where=answered, out=np.zeros_like(latencies_s))
        bins = np.clip((bins - math.log(SHORTEST_S)) / BIN_WIDTH, 0, BINS - 1).astype(np.int64)
        histogram += np.bincount((bins + cell * BINS)[answered], minlength=histogram.size)
        refused += np.bincount(np.broadcast_to(cell, answered.shape)[~answered], minlength=refused.size)
    by_rate = histogram.reshape(len(rates_tps), batches, BINS)
    return [
        Outcome(float(rate), by_rate[index].astype(float), refused.reshape(-1, batches)[index].astype(float))
        for index, rate in enumerate(rates_tps)
    ]


class _Lanes:
    """The state of all lanes. Lanes of one rate lie together; an instance's row is its number * lanes + its lane."""

    def __init__(self, system: System, rates_tps: Floats, lanes_per_rate: int, seed: int, common: bool) -> None:
        self._system = system
        self._generator = np.random.default_rng(seed)
        self._copies = len(rates_tps) if common else 1
        self._drawn = lanes_per_rate if common else lanes_per_rate * len(rates_tps)
        self._rate_tps = np.repeat(rates_tps, lanes_per_rate)
        lanes = self._lanes = len(self._rate_tps)
        rows = system.instances * lanes
        self._lane = np.arange(lanes)
        self._time = np.zeros(lanes)
        self._step = 0
        self._free_at = np.full((system.slots, rows), -np.inf)  # sorted along the slots
        # The starts of those that wait, by row, in a ring: oldest at `head`, `waiting` of them.
        self._ring_size = 1 << max(system.queue_limit, 1).bit_length()
        self._ring = np.zeros(rows * self._ring_size)
        self._head = np.zeros(rows, dtype=np.int64)
        self._waiting = np.zeros(rows, dtype=np.int64)
        self._next_start = np.full(rows, np.inf)  # of the oldest that waits
        self._chosen_at = np.zeros(rows, dtype=np.int64)
        self._start_with = self._initial_requests()
        self.longest_start = int(self._start_with.max())

    def _initial_requests(self) -> Ints:
        """How many requests each lane begins with: about as many as it holds in the long run.

        Near saturation an empty plant takes hundreds of thousands of arrivals to fill its queue. So the queue begins
        where the heavy-traffic diffusion has it: exponentially distributed with the decay 2 (1 - load) / (1 + squared
        spread) per request, cut off where all waiting rooms are full. The warm-up wears off what this rule gets wrong.
        """
        system = self._system
        load = self._rate_tps / system.saturation_tps
        room = system.instances * system.queue_limit
        decay = 2 * (1 - load) / (1 + system.squared_spread)
        decay = np.where(np.abs(decay) < 1e-9, 1e-9, decay)
        uniform = np.tile(self._generator.random(self._drawn), self._copies)
        exponent = np.clip(-decay * room, None, 700.0)
        with np.errstate(over="ignore"):
            queued = -np.log1p(uniform * np.expm1(exponent)) / decay
        queued = np.where(exponent >= 700.0, room, queued)
        queues = np.tile(self._generator.random(self._drawn), self._copies) < load
        busy = np.minimum(load, 1) * system.instances * system.slots
        return np.rint(busy + np.where(queues, np.clip(queued, 0, room), 0)).astype(np.int64)

    def advance(self, steps: int) -> Floats:
        """Let `steps` requests arrive in each lane; their latencies in seconds (NaN: refused), shape (steps, lanes)."""
        latencies_s = np.empty((steps, self._lanes))
        for first in range(0, steps, BLOCK_STEPS):
            block = min(BLOCK_STEPS, steps - first)
            gaps, services_s = self._draw(block)
            for index in range(block):
                self._arrive(gaps[index], services_s[index], latencies_s[first + index])
        return latencies_s

    def _draw(self, steps: int) -> tuple[Floats, Floats]:
        """Gaps between arrivals and service times in seconds, each of shape (steps, lanes)."""
        shape = (steps, self._drawn)
        gaps = np.tile(self._generator.exponential(size=shape), self._copies) / self._rate_tps
        kinds = np.searchsorted(np.cumsum([share for share, _ in self._system.mix])[:-1], self._generator.random(shape))
        normal = self._generator.standard_normal(shape)
        exponential = self._generator.exponential(size=shape)
        services_s = np.empty(shape)
        for kind, (_, time) in enumerate(self._system.mix):
            chosen = kinds == kind
            if time.distribution == "constant":
                services_s[chosen] = time.mean_s
            elif time.distribution == "exponential":
                services_s[chosen] = time.mean_s * exponential[chosen]
            else:
                mu, sigma = lognormal_parameters(time.mean_s, time.spread)
                services_s[chosen] = np.exp(mu + sigma * normal[chosen])
        numbers = np.arange(self._step, self._step + steps)[:, None]
        gaps[numbers < self._start_with] = 0.0
        # The requests that are being served at the beginning have only a part of their service before them.
        begun = numbers < self._system.instances * self._system.slots
        if begun.any():
            services_s = np.where(begun, services_s * self._generator.random(shape), services_s)
        return gaps, np.tile(services_s, self._copies)

    def _arrive(self, gaps: Floats, services_s: Floats, latencies_s: Floats) -> None:
        """One arrival in every lane; writes the latencies to the last argument."""
        time = self._time
        time += gaps
        self._step += 1
        self._start_those_due()
        row = self._choose_rows()
        free_at = self._free_at.take(row, axis=1)
        earliest = free_at[0]
        must_wait = earliest > time
        end = np.maximum(time, earliest) + services_s
        np.subtract(end, time, out=latencies_s)
        waiting = self._waiting[row]
        refused = must_wait & (waiting >= self._system.queue_limit)
        if refused.any():
            latencies_s[refused] = np.nan
            end[refused] = earliest[refused]  # the slot stays as it is
            must_wait &= ~refused
        queued = np.flatnonzero(must_wait)
        if queued.size:
            self._enqueue(row[queued], waiting[queued], earliest[queued])
        # Replace the first (earliest) slot by `end`, and bubble that to its place.
        moving = end
        for slot in range(1, self._system.slots):
            later = np.maximum(moving, free_at[slot])
            np.minimum(moving, free_at[slot], out=free_at[slot - 1])
            moving = later
        free_at[-1] = moving
        self._free_at[:, row] = free_at

    def _start_those_due(self) -> None:
        """Take those whose start has come out of the waiting rooms."""
        time, lanes = self._time, self._lanes
        due = np.flatnonzero(self._next_start.reshape(-1, lanes) <= time)
        while due.size:
            self._head[due] += 1
            left = self._waiting[due] - 1
            self._waiting[due] = left
            upcoming = self._ring.take(due * self._ring_size + (self._head[due] & (self._ring_size - 1)))
            upcoming[left == 0] = np.inf
            self._next_start[due] = upcoming
            due = due[upcoming <= time[due % lanes]]

    def _choose_rows(self) -> Ints:
        """The row that each lane's arrival goes to."""
        instances = self._system.instances
        if instances == 1:
            return self._lane
        by_slot = self._free_at.reshape(self._system.slots, instances, self._lanes)
        in_flight = (by_slot > self._time).sum(axis=0)
        in_flight += self._waiting.reshape(instances, -1)
        # One number that orders by requests in flight first, and by the step of the last choice among equals.
        key = in_flight * (1 << 40) + self._chosen_at.reshape(instances, -1)
        row = key.argmin(axis=0) * self._lanes + self._lane
        self._chosen_at[row] = self._step
        return row

    def _enqueue(self, row: Ints, waiting: Ints, start: Floats) -> None:
        self._ring[row * self._ring_size + ((self._head[row] + waiting) & (self._ring_size - 1))] = start
        self._waiting[row] = waiting + 1
        first = waiting == 0
        self._next_start[row[first]] = start[first]
