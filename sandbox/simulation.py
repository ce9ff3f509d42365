"""A simulation of the plant: Poisson arrivals, a balancer, instances with worker slots and a waiting room, and whatever
else the plant file gives them (connections, rate limit, noisy neighbour, costly backlog).

Each rate is simulated in many independent copies of the plant (lanes). What a lane draws, it draws in the order of its
arrivals, so that the same seed at two rates means the same customers, only closer together.

The balancer is HAProxy's. `leastconn`: an arrival goes to the instance with the fewest requests in flight; among equals
to the one where that number changed longest ago. `roundrobin`: one after the other. An instance serves first come,
first served, and refuses an arrival when `queue_limit` wait already.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sandbox.plant_characters import InstanceKind, Metastable, NoisyNeighbour, Pool, RateLimit
from sandbox.plantfile import Plant, ServiceTime
from sandbox.service_times import lognormal_parameters
from sandbox.simulation_kernel import PlantState, Rules, play

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BLOCK = 100_000  # arrivals
BIN_WIDTH = 0.001  # of the latency's natural logarithm: a bin is 0.1 % wide
SHORTEST_S = 1e-5
LONGEST_S = 1e5
BINS = math.ceil(math.log(LONGEST_S / SHORTEST_S) / BIN_WIDTH)
SATURATED_ARRIVALS = 1_000_000
GENTLE_PART = 0.5  # of the rate, where a gentle start begins


@dataclass(frozen=True, slots=True)
class System:
    """What is simulated. `mix` holds the service times with their shares, which add up to 1; times are real seconds."""

    kinds: tuple[InstanceKind, ...]
    """One for each instance; their slots are given."""
    queue_limit: int
    mix: tuple[tuple[float, ServiceTime], ...]
    balancing: str = "least_connections"
    pool: Pool | None = None
    rate_limit: RateLimit | None = None
    metastable: Metastable | None = None
    noisy_neighbour: NoisyNeighbour | None = None
    time_scale: float = 1.0
    """By which the times of the noisy neighbour are divided."""

    @classmethod
    def of(cls, plant: Plant, instances: int) -> System:
        """The plant with a number of instances, all warm."""
        return cls(
            kinds=tuple(plant.kind(place) for place in range(instances)),
            queue_limit=plant.queue_limit,
            mix=tuple((e.share, e.service_time) for e in plant.endpoints.by_name().values() if e.share > 0),
            balancing=plant.balancing,
            pool=plant.pool,
            rate_limit=plant.rate_limit,
            metastable=plant.metastable,
            noisy_neighbour=plant.noisy_neighbour,
            time_scale=plant.time_scale,
        )

    @classmethod
    def alike(cls, instances: int, slots: int, queue_limit: int, mix: tuple[tuple[float, ServiceTime], ...]) -> System:
        """A plain plant whose instances are all the same."""
        return cls((InstanceKind(slots=slots),) * instances, queue_limit, mix)

    @property
    def instances(self) -> int:
        return len(self.kinds)

    @property
    def slots(self) -> tuple[int, ...]:
        """How many each instance has."""
        return tuple(kind.slots or 1 for kind in self.kinds)

    @property
    def mean_service_s(self) -> float:
        return sum(share * time.mean_s for share, time in self.mix)

    @property
    def squared_spread(self) -> float:
        """The squared coefficient of variation of the service time over the whole mix."""
        second_moment = sum(share * time.mean_s**2 * (1 + time.spread**2) for share, time in self.mix)
        return second_moment / self.mean_service_s**2 - 1

    @property
    def has_memory(self) -> bool:
        """Whether it may stay in a bad state for ever: only a time held from a gentle start tells what it can do."""
        return self.metastable is not None

    def costly(self) -> System:
        """The system as it is while a backlog makes work cost more, for good."""
        factor = self.metastable.cost_factor if self.metastable is not None else 1.0
        mix = tuple((share, time.model_copy(update={"mean_s": time.mean_s * factor})) for share, time in self.mix)
        return replace(self, mix=mix, metastable=None)

    @property
    def saturation_tps(self) -> float:
        """The rate above which a backlog grows for ever: the slots (or connections) have no time left.

        With round robin the first instance that is saturated decides. Not looked at: rate limit and costly backlog.
        """
        quiet = 1.0
        if (noise := self.noisy_neighbour) is not None:
            quiet = 1 - noise.lasts_s / noise.every_s * (1 - 1 / noise.slowdown)
        each = [
            _pooled_tps(self, kind)
            if self.pool is not None
            else quiet * kind.speed_ratio * (kind.slots or 1) / self.mean_service_s
            for kind in self.kinds
        ]
        return len(each) * min(each) if self.balancing == "round_robin" else sum(each)


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is simulated per rate: `lanes` copies, `steps` arrivals in each after `warm_up_steps` uncounted ones.

    `gentle`: the plant is empty at first, and over the first half of the warm-up the rate rises to what it shall be.
    Otherwise it begins about as full as it is in the long run.
    """

    lanes: int
    warm_up_steps: int
    steps: int
    gentle: bool = False


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
    outcomes = []
    for index, rate_tps in enumerate(rates_tps):
        histogram = np.zeros((batches, BINS))
        refused = np.zeros(batches)
        for lane in range(effort.lanes):
            generator = np.random.default_rng([seed, 0 if common else index, lane])
            run = Lane(system, float(rate_tps), generator, effort)
            run.advance(effort.warm_up_steps)
            done = 0
            while done < effort.steps:
                latencies_s = run.advance(min(BLOCK, effort.steps - done)).latencies_s
                done += len(latencies_s)
                answered = latencies_s[~np.isnan(latencies_s)]
                bins = (np.log(answered) - math.log(SHORTEST_S)) / BIN_WIDTH
                histogram[lane % batches] += np.bincount(np.clip(bins, 0, BINS - 1).astype(np.int64), minlength=BINS)
                refused[lane % batches] += len(latencies_s) - len(answered)
        outcomes.append(Outcome(float(rate_tps), histogram, refused))
    return outcomes


class Arrivals(NamedTuple):
    """Some arrivals in their order: when (seconds), what each takes of a slot and of a connection, and its latency."""

    times_s: Floats
    own_s: Floats
    connection_s: Floats
    latencies_s: Floats
    """NaN where it was refused."""


@dataclass(slots=True)
class Lane:
    """One copy of the plant at one rate, and its state."""

    system: System
    rate_tps: float
    generator: np.random.Generator
    effort: Effort
    _rules: Rules = field(init=False)
    _state: PlantState = field(init=False)
    _unit_time: float = 0.0  # the sum of all gaps so far, each of mean 1
    _start_with: int = 0

    def __post_init__(self) -> None:
        keys = self.generator.integers(0, 1 << 63, self.system.instances).astype(np.uint64)
        if self.system.noisy_neighbour is not None and self.system.noisy_neighbour.hits == "all":
            keys[:] = keys[0]
        self._rules = rules_of(self.system, keys)
        self._state = empty_state(self._rules)
        if not self.effort.gentle:
            self._state.tokens[:] *= self.generator.random(self.system.instances)
            self._begin_full()

    def _begin_full(self) -> None:
        """Let as many requests in as the plant holds in the long run.

        Near saturation an empty plant takes hundreds of thousands of arrivals to fill its queue. So the queue begins
        where the heavy-traffic diffusion has it: exponentially distributed with the decay 2 (1 - load) / (1 + squared
        spread) per request, cut off where all waiting rooms are full. The warm-up wears off what this rule gets wrong.
        """
        system = self.system
        load = self.rate_tps / saturation_tps(system)
        room = system.instances * system.queue_limit
        decay = 2 * (1 - load) / (1 + system.squared_spread)
        decay = decay if abs(decay) > 1e-9 else 1e-9
        uniform, queues = self.generator.random(2)
        exponent = max(-decay * room, -700.0)
        queued = -math.log1p(uniform * math.expm1(exponent)) / decay if exponent < 700.0 else room
        in_service = min(load, 1) * sum(system.slots)
        count = round(in_service + (min(max(queued, 0), room) if queues < load else 0))
        own_s, connection_s = self._draw(count)
        # Those that are being served at the beginning have only a part of their service before them.
        begun = min(count, sum(system.slots))
        own_s[:begun] *= self.generator.random(begun)
        unlimited = self._rules._replace(token_rate=0.0)
        play(unlimited, self._state, np.zeros(count), own_s, connection_s, np.empty(count))

    def advance(self, arrivals: int) -> Arrivals:
        """Let so many requests arrive at the lane's rate."""
        return self.serve(self._next_times(arrivals))

    def serve(self, times_s: Floats) -> Arrivals:
        """Let requests arrive at these times (seconds, in order, not before those of any call so far)."""
        own_s, connection_s = self._draw(len(times_s))
        latencies_s = np.empty(len(times_s))
        play(self._rules, self._state, times_s, own_s, connection_s, latencies_s)
        return Arrivals(times_s, own_s, connection_s, latencies_s)

    def _next_times(self, arrivals: int) -> Floats:
        units = self._unit_time + np.cumsum(self.generator.exponential(size=arrivals))
        self._unit_time = float(units[-1]) if arrivals else self._unit_time
        ramp_s = self.effort.warm_up_steps / 2 / self.rate_tps if self.effort.gentle else 0.0
        if ramp_s <= 0:
            return units / self.rate_tps
        # The expected arrivals up to t are rate * (begin * t + (1 - begin) / 2 * t^2 / ramp) while the rate rises.
        begin, bend = GENTLE_PART, (1 - GENTLE_PART) / 2 / ramp_s
        rising = (np.sqrt(begin**2 + 4 * bend * units / self.rate_tps) - begin) / (2 * bend)
        return np.where(rising < ramp_s, rising, units / self.rate_tps + ramp_s * (1 - (begin + 1) / 2))

    def _draw(self, arrivals: int) -> tuple[Floats, Floats]:
        """What each of so many requests takes of a slot and of a connection, in seconds."""
        mix = self.system.mix
        kinds = np.searchsorted(np.cumsum([share for share, _ in mix])[:-1], self.generator.random(arrivals))
        normal = self.generator.standard_normal(arrivals)
        exponential = self.generator.exponential(size=arrivals)
        own_s = np.empty(arrivals)
        for kind, (_, time) in enumerate(mix):
            chosen = kinds == kind
            own_s[chosen] = _service_s(time, normal[chosen], exponential[chosen])
        if self.system.pool is None:
            return own_s, own_s
        normal, exponential = self.generator.standard_normal(arrivals), self.generator.exponential(size=arrivals)
        return own_s, _service_s(self.system.pool.service_time, normal, exponential)


def _service_s(time: ServiceTime, normal: Floats, exponential: Floats) -> Floats:
    if time.distribution == "constant":
        return np.full(len(normal), time.mean_s)
    if time.distribution == "exponential":
        return time.mean_s * exponential
    mu, sigma = lognormal_parameters(time.mean_s, time.spread)
    return np.exp(mu + sigma * normal)


def rules_of(system: System, noise_keys: NDArray[np.uint64]) -> Rules:
    """The system as the kernel takes it."""
    noise, limit, meta = system.noisy_neighbour, system.rate_limit, system.metastable
    return Rules(
        slots=np.array(system.slots, dtype=np.int64),
        speeds=np.array([kind.speed_ratio for kind in system.kinds], dtype=float),
        queue_limit=system.queue_limit,
        least_connections=system.balancing == "least_connections",
        connections=system.pool.connections if system.pool else 0,
        period_s=noise.every_s / system.time_scale if noise else 0.0,
        lasts_s=noise.lasts_s / system.time_scale if noise else 0.0,
        slowdown=noise.slowdown if noise else 1.0,
        noise_keys=noise_keys,
        token_rate=limit.rate_tps if limit else 0.0,
        burst=float(limit.burst) if limit else 0.0,
        backlog=meta.backlog if meta else 0,
        relief=meta.relief if meta else 0,
        cost_factor=float(meta.cost_factor) if meta else 1.0,
    )


def empty_state(rules: Rules) -> PlantState:
    """Nothing is in flight, every bucket is full."""
    instances = len(rules.slots)
    room = 1 << max(rules.queue_limit, 1).bit_length()
    free_at = np.full((instances, int(rules.slots.max())), -np.inf)
    free_at[np.arange(free_at.shape[1]) >= rules.slots[:, None]] = np.inf
    return PlantState(
        free_at=free_at,
        connection_free_at=np.full((instances, max(rules.connections, 1)), -np.inf),
        starts=np.zeros((instances, room)),
        head=np.zeros(instances, dtype=np.int64),
        waiting=np.zeros(instances, dtype=np.int64),
        changed_at=np.full(instances, -np.inf),
        tokens=np.full(instances, rules.burst),
        tokens_at=np.zeros(instances),
        costly=np.zeros(instances, dtype=np.int64),
        turn=np.zeros(1, dtype=np.int64),
    )


@functools.lru_cache(maxsize=64)
def saturation_tps(system: System) -> float:
    """The system's saturation rate, kept: with a pool it takes a simulation."""
    return system.saturation_tps


def _pooled_tps(system: System, kind: InstanceKind) -> float:
    """What an instance with a pool completes in a second when there are always some waiting: simulated, to 0.1 %."""
    alone = System(
        (kind,),
        SATURATED_ARRIVALS,
        system.mix,
        pool=system.pool,
        noisy_neighbour=system.noisy_neighbour,
        time_scale=system.time_scale,
    )
    lane = Lane(alone, 1.0, np.random.default_rng(0), Effort(1, 0, SATURATED_ARRIVALS, gentle=True))
    own_s, connection_s = lane._draw(SATURATED_ARRIVALS)
    ends_s = np.empty(SATURATED_ARRIVALS)
    play(lane._rules, lane._state, np.zeros(SATURATED_ARRIVALS), own_s, connection_s, ends_s)
    return SATURATED_ARRIVALS / float(ends_s.max())
