"""What a simulated service is made of: parameters, all of them numbers, so that compiled code can read them.

Every effect is off by default; a service is a combination of the effects that are on. Rates are per second, times in
seconds. `instances` holds what differs between the instances.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

CONSTANT, EXPONENTIAL, LOGNORMAL, UNIFORM, BIMODAL, PARETO, ERLANG = range(7)  # laws of the service time
RANDOM, ROUND_ROBIN, FEWEST_OPEN, FEWER_OPEN_OF_TWO = range(4)  # policies of the load balancer
PARETO_CUT = 100.0  # a Pareto time is cut off at this multiple of its smallest


@dataclass(frozen=True, slots=True)
class Instance:
    """Attributes: slots: requests worked on at the same time. slowness: factor on the service time. weight: share of
    the arrivals under the policy RANDOM."""

    slots: int
    slowness: float = 1.0
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Service:
    """A service behind a load balancer.

    Attributes:
        law, mean_s, shape: service time at light load. `shape` is the coefficient of variation (LOGNORMAL), the
            half width in means (UNIFORM), the exponent (PARETO) or the number of stages (ERLANG).
        rare_share, rare_factor: BIMODAL: so many requests take `rare_factor` x the time of the others.
        network_s: added to every answer, outside of the slots.
        error_ratio: requests that fail whatever the load.
        reject_s: how long a refused request takes.
        queue_limit: requests that may wait per instance, beyond which they are refused; negative: any number.
        max_wait_s: a request that waited so long in the instance's queue is given up with an error; 0: never.
        usl_contention, usl_coherence: service time x (1 + contention (n-1) + coherence n (n-1)), n requests being
            worked on in the instance (the universal scalability law of N. Gunther).
        pool_slots, pool_mean_s, pool_cv, pool_max_wait_s: connections per instance that each request needs for a
            lognormal time of its own before the rest of its work; waiting for one keeps the slot.
        pool_contention: the time in the pool x (1 + this x busy connections).
        minor_gc_every, minor_gc_s, major_gc_every, major_gc_s, gc_cv: after so many requests an instance stands still.
        cold_factor, warm_up_s, warm_up_requests: a fresh instance is slower by this factor, which fades with the time
            since its first request or with the requests it has answered.
        leak_requests, leak_s: the service time doubles after so many requests / seconds, in a straight line.
        lose_slot_every: after so many requests an instance loses one of its slots for good.
        noisy_on_s, noisy_off_s, noisy_factor, noisy_regular: a neighbour slows each instance by the factor for
            exponential (or regular) spells; `noisy_together`: all instances at the same times.
        cliff_open, cliff_factor, cliff_error_ratio: while more requests than this are open in an instance.
        trip_open, reset_open, tripped_factor: an instance that has more open requests than the first is slower by the
            factor until it has fewer than the second.
        cache_cost, cache_fill_requests, cache_spill_requests, cache_wait_s: a cold or spilt cache costs up to
            `cache_cost` x the service time more; answers within the wait fill it, later ones spill it.
        limit_tps, limit_burst, limit_window_s, limit_delay_s: a limiter before everything else; a token bucket, or
            with a window a counter by fixed windows; with a delay it lets requests wait up to that long.
        credit_s, credit_first, credit_earn, spent_factor: slot seconds that an instance may burn; how full the
            account is at the start; what it earns, as a share of its slots; without credits it is slower by the factor.
        timeout_s: the client gives up; the work goes on.
        retries, try_timeout_s, backoff_s: a failed or late try is repeated by the caller; the transaction ends with
            its last try.
    """

    instances: tuple[Instance, ...]
    mean_s: float
    law: int = EXPONENTIAL
    shape: float = 1.0
    rare_share: float = 0.0
    rare_factor: float = 1.0
    policy: int = RANDOM
    network_s: float = 0.0
    error_ratio: float = 0.0
    reject_s: float = 0.002
    queue_limit: float = -1.0
    max_wait_s: float = 0.0
    usl_contention: float = 0.0
    usl_coherence: float = 0.0
    pool_slots: int = 0
    pool_mean_s: float = 0.0
    pool_cv: float = 1.0
    pool_max_wait_s: float = 0.0
    pool_contention: float = 0.0
    minor_gc_every: float = 0.0
    minor_gc_s: float = 0.0
    major_gc_every: float = 0.0
    major_gc_s: float = 0.0
    gc_cv: float = 0.3
    cold_factor: float = 1.0
    warm_up_s: float = 0.0
    warm_up_requests: float = 0.0
    leak_requests: float = 0.0
    leak_s: float = 0.0
    lose_slot_every: float = 0.0
    noisy_on_s: float = 0.0
    noisy_off_s: float = 0.0
    noisy_factor: float = 1.0
    noisy_regular: bool = False
    noisy_together: bool = False
    cliff_open: float = 0.0
    cliff_factor: float = 1.0
    cliff_error_ratio: float = 0.0
    trip_open: float = 0.0
    reset_open: float = 0.0
    tripped_factor: float = 1.0
    cache_cost: float = 0.0
    cache_fill_requests: float = 1.0
    cache_spill_requests: float = 1.0
    cache_wait_s: float = 0.0
    limit_tps: float = 0.0
    limit_burst: float = 1.0
    limit_window_s: float = 0.0
    limit_delay_s: float = 0.0
    credit_s: float = 0.0
    credit_first: float = 1.0
    credit_earn: float = 0.0
    spent_factor: float = 1.0
    timeout_s: float = 0.0
    retries: int = 0
    try_timeout_s: float = 0.0
    backoff_s: float = 0.0

    @property
    def counts_open(self) -> bool:
        """Whether the requests in each instance must be counted (it costs time)."""
        return (
            self.policy in (FEWEST_OPEN, FEWER_OPEN_OF_TWO)
            or self.queue_limit >= 0
            or self.usl_contention > 0
            or self.usl_coherence > 0
            or self.cliff_open > 0
            or self.trip_open > 0
        )

    def record(self) -> np.ndarray:
        """The parameters as one row of RECORD, for compiled code."""
        row = np.zeros(1, RECORD)
        for name in _NUMBERS:
            row[name] = float(getattr(self, name))
        row["counts_open"] = self.counts_open
        row["sigma"] = math.sqrt(math.log(1 + self.shape**2)) if self.law == LOGNORMAL else 0.0
        row["pool_sigma"] = math.sqrt(math.log(1 + self.pool_cv**2))
        row["gc_sigma"] = math.sqrt(math.log(1 + self.gc_cv**2))
        row["common_s"] = self.mean_s / (1 + self.rare_share * (self.rare_factor - 1))
        row["smallest_s"] = self.mean_s / _pareto_mean(self.shape) if self.law == PARETO else 0.0
        return row

    def as_json(self) -> dict[str, Any]:
        """Only what differs from the defaults."""
        everything = asdict(self)
        defaults = {each.name: each.default for each in fields(self)}
        return {name: value for name, value in everything.items() if value != defaults.get(name)}

    def digest(self) -> str:
        """Changes with every parameter."""
        text = json.dumps(self.as_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def _pareto_mean(exponent: float) -> float:
    """Mean of a Pareto time whose smallest is 1, cut off at PARETO_CUT (its rest lies at the cut)."""
    tail = PARETO_CUT ** (1 - exponent)
    return (exponent - tail) / (exponent - 1)


_NUMBERS = [each.name for each in fields(Service) if each.name != "instances"]
_DERIVED = ["counts_open", "sigma", "pool_sigma", "gc_sigma", "common_s", "smallest_s"]
RECORD = np.dtype([(name, np.float64) for name in _NUMBERS + _DERIVED])
