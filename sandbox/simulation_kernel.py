"""The plant played through, arrival by arrival, as one function that numba compiles.

Times are seconds on the plant's clock. When a request starts and ends follows from what was admitted before it, so one
pass over the arrivals in their order is exact: nothing has to be kept in an event list.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Words = NDArray[np.uint64]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST_FACTOR = np.uint64(0xBF58476D1CE4E5B9)
SECOND_FACTOR = np.uint64(0x94D049BB133111EB)


class Rules(NamedTuple):
    """How a plant behaves; all arrays by instance. What a plant does not have is 0."""

    slots: Ints
    speeds: Floats
    queue_limit: int
    least_connections: bool
    connections: int
    period_s: float
    """One episode of a noisy neighbour in each, `lasts_s` long, in which work takes `slowdown` times as long."""
    lasts_s: float
    slowdown: float
    noise_keys: Words
    token_rate: float
    burst: float
    backlog: int
    """From so many waiting requests on, work costs `cost_factor` times as much, until no more than `relief` wait."""
    relief: int
    cost_factor: float


class PlantState(NamedTuple):
    """What changes while a plant runs; all arrays by instance first. `turn` holds one number."""

    free_at: Floats
    """Shape (instances, most slots): when each slot has done all that it was given; infinite where there is none."""
    connection_free_at: Floats
    starts: Floats
    """Shape (instances, 2^n): when those that wait start, in a ring: the oldest at `head`, `waiting` of them."""
    head: Ints
    waiting: Ints
    changed_at: Floats
    tokens: Floats
    tokens_at: Floats
    costly: Ints
    turn: Ints


def _compile(function: Callable[..., Any]) -> Callable[..., Any]:
    try:
        return numba.njit(cache=True)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # neither the cache's folder nor the module's can be written
        return numba.njit(function)  # type: ignore[no-any-return]


def _finish(rules: Rules, instance: int, begin: float, work_s: float) -> float:
    """When `work_s` seconds of work that begin at `begin` are done, with the episodes of the noisy neighbour."""
    if rules.period_s <= 0:
        return begin + work_s
    number = int(np.floor(begin / rules.period_s))
    now, left = begin, work_s
    while True:
        word = rules.noise_keys[instance] + GOLDEN * np.uint64(number + 1)
        word = (word ^ (word >> np.uint64(30))) * FIRST_FACTOR
        word = (word ^ (word >> np.uint64(27))) * SECOND_FACTOR
        word = word ^ (word >> np.uint64(31))
        place = float(word >> np.uint64(11)) / 9007199254740992.0
        slow_from = number * rules.period_s + place * (rules.period_s - rules.lasts_s)
        slow_to = slow_from + rules.lasts_s
        if now < slow_from:
            if left <= slow_from - now:
                return now + left
            left -= slow_from - now
            now = slow_from
        if now < slow_to:
            if left * rules.slowdown <= slow_to - now:
                return now + left * rules.slowdown
            left -= (slow_to - now) / rules.slowdown
            now = slow_to
        number += 1
        if now + left <= number * rules.period_s:
            return now + left
        if now < number * rules.period_s:
            left -= number * rules.period_s - now
            now = number * rules.period_s


finish = _compile(_finish)


def _play(
    rules: Rules, state: PlantState, times: Floats, own_s: Floats, connection_s: Floats, latencies_s: Floats
) -> None:
    """Let requests arrive at `times` (in order), and write their latencies in seconds; NaN where one is refused.

    `own_s` is the work of each in a slot of an instance of speed 1, `connection_s` what it takes of a connection.
    """
    instances = len(rules.slots)
    mask = state.starts.shape[1] - 1
    for arrival in range(len(times)):
        now = times[arrival]
        # Which instance: HAProxy's round robin, or the fewest in flight and among equals the one that changed first.
        chosen = 0
        if instances > 1 and not rules.least_connections:
            chosen = state.turn[0] % instances
            state.turn[0] += 1
        fewest, oldest = np.inf, np.inf
        for instance in range(instances):
            if instance != chosen and not rules.least_connections:
                continue
            waiting = state.waiting[instance]
            while waiting > 0 and state.starts[instance, state.head[instance] & mask] <= now:
                # The slot of one that starts has just been left by another one.
                state.changed_at[instance] = max(
                    state.changed_at[instance], state.starts[instance, state.head[instance] & mask]
                )
                state.head[instance] += 1
                waiting -= 1
            state.waiting[instance] = waiting
            if instances == 1 or not rules.least_connections:
                continue
            in_flight = float(waiting)
            changed_at = state.changed_at[instance]
            for slot in range(rules.slots[instance]):
                free_at = state.free_at[instance, slot]
                if free_at > now:
                    in_flight += 1
                elif free_at > changed_at:
                    changed_at = free_at
            if in_flight < fewest or (in_flight == fewest and changed_at < oldest):
                chosen, fewest, oldest = instance, in_flight, changed_at
        state.changed_at[chosen] = now

        if rules.token_rate > 0:
            tokens = state.tokens[chosen] + (now - state.tokens_at[chosen]) * rules.token_rate
            tokens = min(tokens, rules.burst)
            state.tokens_at[chosen] = now
            if tokens < 1:
                state.tokens[chosen] = tokens
                latencies_s[arrival] = np.nan
                continue
            state.tokens[chosen] = tokens - 1

        waiting = state.waiting[chosen]
        if rules.backlog > 0:
            if waiting >= rules.backlog:
                state.costly[chosen] = 1
            elif waiting <= rules.relief:
                state.costly[chosen] = 0

        slot = 0
        for other in range(1, rules.slots[chosen]):
            if state.free_at[chosen, other] < state.free_at[chosen, slot]:
                slot = other
        start = state.free_at[chosen, slot]
        if start > now:
            if waiting >= rules.queue_limit:
                latencies_s[arrival] = np.nan
                continue
            state.starts[chosen, (state.head[chosen] + waiting) & mask] = start
            state.waiting[chosen] = waiting + 1
        else:
            start = now

        if rules.connections > 0:
            connection = 0
            for other in range(1, rules.connections):
                if state.connection_free_at[chosen, other] < state.connection_free_at[chosen, connection]:
                    connection = other
            start = max(start, state.connection_free_at[chosen, connection]) + connection_s[arrival]
            state.connection_free_at[chosen, connection] = start
        work_s = own_s[arrival] / rules.speeds[chosen]
        if state.costly[chosen]:
            work_s *= rules.cost_factor
        end = finish(rules, chosen, start, work_s)
        state.free_at[chosen, slot] = end
        latencies_s[arrival] = end - now


play = _compile(_play)
