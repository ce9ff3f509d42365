"""The clockwork of the simulated services: requests in the order of time, compiled by numba.

A request is settled when it comes in: slots are served first come first served, so its start is the time at which the
first slot gets free. What was settled but has not ended yet stays in a list; a pause of an instance moves the ends.
Retries wait in a heap and come in between the arrivals. Random numbers come from xoshiro256++ (D. Blackman, S. Vigna),
four words of state, so that a seed gives the same requests with every version of numpy.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from tests.simulators.service import (
    BIMODAL,
    ERLANG,
    EXPONENTIAL,
    FEWER_OPEN_OF_TWO,
    FEWEST_OPEN,
    LOGNORMAL,
    PARETO,
    PARETO_CUT,
    ROUND_ROBIN,
    UNIFORM,
)

VERSION = 1  # of the behaviour: a change makes the stored truths stale

OK, SERVICE_ERROR, TIMEOUT = 0, 1, 2
NEVER = 1e18

STATE = np.dtype(
    [
        ("now", np.float64),
        ("offered", np.int64),  # arrivals so far
        ("pending", np.int64),  # settled, not ended
        ("retrying", np.int64),
        ("turn", np.int64),  # of round robin
        ("tokens", np.float64),
        ("tokens_at", np.float64),
        ("window", np.float64),
        ("used", np.float64),
        ("heat", np.float64),  # of the cache
    ]
)
INSTANCE = np.dtype(
    [
        ("slots", np.float64),
        ("slowness", np.float64),
        ("weight", np.float64),  # cumulative
        ("served", np.float64),
        ("born", np.float64),  # time of the first request, -1 before it
        ("open", np.int64),
        ("minor_at", np.float64),  # request counts at which the next pauses come
        ("major_at", np.float64),
        ("lose_at", np.float64),
        ("lost", np.float64),
        ("noisy", np.float64),
        ("noisy_until", np.float64),
        ("tripped", np.float64),
        ("credit", np.float64),
        ("credit_at", np.float64),
    ]
)

_njit: Any = numba.njit(cache=True, nogil=True, error_model="numpy")


# ------------------------------------------------------------------------------------------------ random numbers


@_njit
def _rotate(word: Any, bits: Any) -> Any:
    return (word << np.uint64(bits)) | (word >> np.uint64(64 - bits))


@_njit
def uniform(rng: Any) -> float:
    """In (0, 1]."""
    s0, s1, s2, s3 = rng[0], rng[1], rng[2], rng[3]
    result = _rotate(s0 + s3, 23) + s0
    shifted = s1 << np.uint64(17)
    s2 ^= s0
    s3 ^= s1
    s1 ^= s2
    s0 ^= s3
    s2 ^= shifted
    rng[0], rng[1], rng[2], rng[3] = s0, s1, s2, _rotate(s3, 45)
    return (np.float64(result >> np.uint64(11)) + 1.0) * (1.0 / 9007199254740992.0)


@_njit
def exponential(rng: Any) -> float:
    return -math.log(uniform(rng))


@_njit
def normal(rng: Any) -> float:
    return math.sqrt(-2.0 * math.log(uniform(rng))) * math.cos(2.0 * math.pi * uniform(rng))


@_njit
def lognormal(rng: Any, mean: float, sigma: float) -> float:
    return mean * math.exp(sigma * normal(rng) - 0.5 * sigma * sigma)


# ------------------------------------------------------------------------------------------------ heaps


@_njit
def _sink(heap: Any, row: int, size: int, value: float) -> None:
    """Replaces the smallest value of a heap."""
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and heap[row, child + 1] < heap[row, child]:
            child += 1
        if heap[row, child] >= value:
            break
        heap[row, at] = heap[row, child]
        at = child
    heap[row, at] = value


@_njit
def _rise(heap: Any, row: int, size: int, value: float) -> None:
    """Adds a value to a heap of this size."""
    at = size
    while at > 0:
        parent = (at - 1) // 2
        if heap[row, parent] <= value:
            break
        heap[row, at] = heap[row, parent]
        at = parent
    heap[row, at] = value


@_njit
def _push_retry(retries: Any, size: int, due: float, start: float, tries: float) -> None:
    at = size
    while at > 0:
        parent = (at - 1) // 2
        if retries[parent, 0] <= due:
            break
        retries[at] = retries[parent]
        at = parent
    retries[at, 0], retries[at, 1], retries[at, 2] = due, start, tries


@_njit
def _pop_retry(retries: Any, size: int) -> None:
    """Removes the first of a heap of this size."""
    last = size - 1
    due, start, tries = retries[last, 0], retries[last, 1], retries[last, 2]
    at = 0
    while True:
        child = 2 * at + 1
        if child >= last:
            break
        if child + 1 < last and retries[child + 1, 0] < retries[child, 0]:
            child += 1
        if retries[child, 0] >= due:
            break
        retries[at] = retries[child]
        at = child
    retries[at, 0], retries[at, 1], retries[at, 2] = due, start, tries


# ------------------------------------------------------------------------------------------------ one request


@_njit
def _service_time(p: Any, rng: Any) -> float:
    if p.law == EXPONENTIAL:
        return p.mean_s * exponential(rng)
    if p.law == LOGNORMAL:
        return lognormal(rng, p.mean_s, p.sigma)
    if p.law == UNIFORM:
        return p.mean_s * (1.0 + p.shape * (2.0 * uniform(rng) - 1.0))
    if p.law == BIMODAL:
        time = p.common_s * (0.5 + uniform(rng))
        return time * p.rare_factor if uniform(rng) <= p.rare_share else time
    if p.law == PARETO:
        return p.smallest_s * min(uniform(rng) ** (-1.0 / p.shape), PARETO_CUT)
    if p.law == ERLANG:
        stages = int(p.shape)
        product = 1.0
        for _ in range(stages):
            product *= uniform(rng)
        return -p.mean_s / stages * math.log(product)
    return p.mean_s


@_njit
def _limiter(p: Any, s: Any, t: float) -> float:
    """The delay before the request goes on; negative: refused."""
    if p.limit_window_s > 0:
        window = math.floor(t / p.limit_window_s)
        if window != s.window:
            s.window, s.used = window, 0.0
        s.used += 1.0
        return 0.0 if s.used <= p.limit_tps * p.limit_window_s else -1.0
    s.tokens = min(p.limit_burst, s.tokens + (t - s.tokens_at) * p.limit_tps)
    s.tokens_at = t
    if s.tokens >= 1.0:
        s.tokens -= 1.0
        return 0.0
    delay = (1.0 - s.tokens) / p.limit_tps
    if delay > p.limit_delay_s:
        return -1.0
    s.tokens -= 1.0
    return delay


@_njit
def _ended(instances: Any, opens: Any, k: int, t: float) -> None:
    """Forgets the requests of an instance that have ended by now."""
    size = instances[k].open
    while size > 0 and opens[k, 0] <= t:
        size -= 1
        _sink(opens, k, size, opens[k, size])
    instances[k].open = size


@_njit
def _balance(p: Any, s: Any, instances: Any, opens: Any, rng: Any, t: float) -> int:
    n = len(instances)
    if n == 1:
        return 0
    if p.policy == ROUND_ROBIN:
        s.turn = (s.turn + 1) % n
        return s.turn
    if p.policy == FEWEST_OPEN:
        best, fewest = 0, 1 << 60
        first = int(uniform(rng) * n) % n
        for i in range(n):
            k = (first + i) % n
            _ended(instances, opens, k, t)
            if instances[k].open < fewest:
                best, fewest = k, instances[k].open
        return best
    if p.policy == FEWER_OPEN_OF_TWO:
        one = int(uniform(rng) * n) % n
        other = int(uniform(rng) * n) % n
        _ended(instances, opens, one, t)
        _ended(instances, opens, other, t)
        return one if instances[one].open <= instances[other].open else other
    drawn = uniform(rng) * instances[n - 1].weight
    for k in range(n - 1):
        if drawn <= instances[k].weight:
            return k
    return n - 1


@_njit
def _pause(
    s: Any, instances: Any, free: Any, pool: Any, opens: Any, ends: Any, owners: Any, k: int, t: float, d: float
) -> None:
    """The instance stands still from now: everything in it ends later."""
    for i in range(int(instances[k].slots)):
        free[k, i] = max(free[k, i], t) + d
    for i in range(pool.shape[1]):
        pool[k, i] = max(pool[k, i], t) + d
    for i in range(instances[k].open):
        opens[k, i] += d
    for i in range(s.pending):
        if owners[i] == k and ends[i] > t:
            ends[i] += d


@_njit
def _neighbour(p: Any, i: Any, rng: Any, t: float) -> None:
    while t >= i.noisy_until:
        i.noisy = 1.0 - i.noisy
        mean = p.noisy_on_s if i.noisy > 0 else p.noisy_off_s
        i.noisy_until += mean if p.noisy_regular > 0 else mean * exponential(rng)


@_njit
def _slowness(p: Any, s: Any, i: Any, rng: Any, t: float) -> float:
    """Factor on the service time of a request that this instance takes now."""
    factor = i.slowness
    if p.cold_factor > 1:
        if p.warm_up_requests > 0:
            factor *= 1.0 + (p.cold_factor - 1.0) * math.exp(-i.served / p.warm_up_requests)
        else:
            factor *= 1.0 + (p.cold_factor - 1.0) * math.exp(-(t - i.born) / p.warm_up_s)
    if p.leak_requests > 0:
        factor *= 1.0 + i.served / p.leak_requests
    if p.leak_s > 0:
        factor *= 1.0 + (t - i.born) / p.leak_s
    if i.noisy > 0:
        factor *= p.noisy_factor
    if p.usl_contention > 0 or p.usl_coherence > 0:
        n = min(i.open + 1.0, i.slots)
        factor *= 1.0 + (p.usl_contention + p.usl_coherence * n) * (n - 1.0)
    if p.cliff_open > 0 and i.open >= p.cliff_open:
        factor *= p.cliff_factor
    if p.trip_open > 0:
        if i.open >= p.trip_open:
            i.tripped = 1.0
        elif i.open < p.reset_open:
            i.tripped = 0.0
        if i.tripped > 0:
            factor *= p.tripped_factor
    if p.cache_cost > 0:
        factor *= 1.0 + (1.0 - s.heat) * p.cache_cost
    return factor


@_njit
def _credits(p: Any, i: Any, t: float, work: float) -> float:
    """Pays for the work; without credits it takes longer."""
    i.credit = min(p.credit_s, i.credit + (t - i.credit_at) * p.credit_earn * i.slots)
    i.credit_at = t
    if i.credit < work:
        return work * p.spent_factor
    i.credit -= work
    return work


@_njit
def _attempt(
    p: Any, s: Any, instances: Any, free: Any, pool: Any, opens: Any, ends: Any, owners: Any, rng: Any, t: float
) -> Any:
    """Settles one request that comes in now.

    Returns:
        When it ends, how, and the number of its instance (-1: none).
    """
    if p.limit_tps > 0:
        delay = _limiter(p, s, t)
        if delay < 0:
            return t + p.reject_s, SERVICE_ERROR, -1
    else:
        delay = 0.0
    k = _balance(p, s, instances, opens, rng, t)
    i = instances[k]
    if i.born < 0:
        i.born = t
    if p.counts_open > 0:
        _ended(instances, opens, k, t)
    if p.queue_limit >= 0 and i.open >= i.slots + p.queue_limit:
        return t + p.reject_s, SERVICE_ERROR, -1
    if p.noisy_off_s > 0:
        if p.noisy_together > 0:
            _neighbour(p, instances[0], rng, t)
            i.noisy = instances[0].noisy
        else:
            _neighbour(p, i, rng, t)
    i.served += 1.0
    if p.minor_gc_every > 0 and i.served >= i.minor_at:
        i.minor_at += p.minor_gc_every * (0.8 + 0.4 * uniform(rng))
        _pause(s, instances, free, pool, opens, ends, owners, k, t, lognormal(rng, p.minor_gc_s, p.gc_sigma))
    if p.major_gc_every > 0 and i.served >= i.major_at:
        i.major_at += p.major_gc_every * (0.8 + 0.4 * uniform(rng))
        _pause(s, instances, free, pool, opens, ends, owners, k, t, lognormal(rng, p.major_gc_s, p.gc_sigma))
    if p.lose_slot_every > 0 and i.served >= i.lose_at and i.lost < i.slots - 1:
        i.lose_at += p.lose_slot_every
        i.lost += 1.0
        _sink(free, k, int(i.slots), NEVER)

    outcome = SERVICE_ERROR if p.error_ratio > 0 and uniform(rng) <= p.error_ratio else OK
    if p.cliff_error_ratio > 0 and i.open >= p.cliff_open and uniform(rng) <= p.cliff_error_ratio:
        outcome = SERVICE_ERROR
    comes = t + delay
    start = max(comes, free[k, 0])
    if p.max_wait_s > 0 and start - comes > p.max_wait_s:
        return comes + p.max_wait_s, SERVICE_ERROR, k
    factor = _slowness(p, s, i, rng, t)
    work = _service_time(p, rng) * factor
    if p.credit_s > 0:
        work = _credits(p, i, t, work)
    if p.pool_slots > 0:
        size = int(p.pool_slots)
        got = max(start, pool[k, 0])
        if p.pool_max_wait_s > 0 and got - start > p.pool_max_wait_s:
            outcome = SERVICE_ERROR
            end = start + p.pool_max_wait_s
        else:
            held = lognormal(rng, p.pool_mean_s, p.pool_sigma)
            if p.pool_contention > 0:
                busy = 0
                for j in range(size):
                    busy += pool[k, j] > got
                held *= 1.0 + p.pool_contention * busy
            _sink(pool, k, size, got + held)
            end = got + held + work
    else:
        end = start + work
    _sink(free, k, int(i.slots), end)
    if p.counts_open > 0:
        _rise(opens, k, i.open, end)
        i.open += 1
    if p.cache_cost > 0:
        if start - comes <= p.cache_wait_s:
            s.heat += (1.0 - s.heat) / p.cache_fill_requests
        else:
            s.heat -= s.heat / p.cache_spill_requests
    return end + p.network_s, outcome, k


# ------------------------------------------------------------------------------------------------ a stretch of time


@_njit
def advance(
    params: Any,
    state: Any,
    instances: Any,
    free: Any,
    pool: Any,
    opens: Any,
    retries: Any,
    starts: Any,
    ends: Any,
    outcomes: Any,
    owners: Any,
    rng: Any,
    until: float,
    rate: float,
) -> int:
    """Runs Poisson arrivals up to a time.

    Returns:
        1 when an array is nearly full: make it larger and call again; else 0.
    """
    p, s = params[0], state[0]
    next_arrival = s.now + exponential(rng) / rate if rate > 0 else NEVER
    while True:
        due = retries[0, 0] if s.retrying > 0 else NEVER
        if min(next_arrival, due) >= until:
            s.now = until
            return 0
        if next_arrival <= due:
            t = next_arrival
            start, tries = t, 0.0
            s.offered += 1
            next_arrival += exponential(rng) / rate
        else:
            t, start, tries = due, retries[0, 1], retries[0, 2]
            _pop_retry(retries, s.retrying)
            s.retrying -= 1
        s.now = t
        end, outcome, k = _attempt(p, s, instances, free, pool, opens, ends, owners, rng, t)
        if p.retries > 0 and p.try_timeout_s > 0 and end - t > p.try_timeout_s:
            end, outcome = t + p.try_timeout_s, TIMEOUT
        if outcome != OK and tries < p.retries:
            wait = p.backoff_s * 2.0**tries * (0.5 + uniform(rng))
            _push_retry(retries, s.retrying, end + wait, start, tries + 1.0)
            s.retrying += 1
        else:
            n = s.pending
            starts[n], ends[n], outcomes[n], owners[n] = start, end, outcome, k
            s.pending = n + 1
        # the next arrival may be drawn anew: the time to it has no memory
        if s.pending >= len(starts) or s.retrying >= len(retries) or instances[max(k, 0)].open >= opens.shape[1]:
            return 1


@_njit
def collect(
    params: Any, state: Any, starts: Any, ends: Any, outcomes: Any, owners: Any, started: Any, took: Any, how: Any
) -> int:
    """Takes out what the clients have seen end by now.

    Args:
        started, took, how: receive start, latency and outcome; as long as `starts`.

    Returns:
        How many.
    """
    p, s = params[0], state[0]
    n, at = 0, 0
    while at < s.pending:
        end, outcome = ends[at], outcomes[at]
        if p.timeout_s > 0 and end - starts[at] > p.timeout_s:
            end, outcome = starts[at] + p.timeout_s, TIMEOUT
        if end >= s.now:
            at += 1
            continue
        started[n], took[n], how[n] = starts[at], end - starts[at], outcome
        n += 1
        last = s.pending - 1
        starts[at], ends[at], outcomes[at], owners[at] = starts[last], ends[last], outcomes[last], owners[last]
        s.pending = last
    return n


@_njit
def buckets(started: Any, took: Any, how: Any, n: int, first: int, keys: Any) -> None:
    """Writes a number for each transaction that sorts by second of the start, outcome and bucket of the histogram.

    The buckets are those of include.capacity.histogram: 128 an octave, each microsecond its own below 256.
    """
    for at in range(n):
        value = int(took[at] * 1e6 + 0.5)
        shift = 0
        while value >> shift >= 256:
            shift += 1
        bucket = (shift << 7) + (value >> shift)
        keys[at] = ((np.int64(started[at]) - first) * 4 + how[at]) * 8192 + bucket


@_njit
def runs(keys: Any, values: Any, counts: Any) -> int:
    """Counts equal neighbours; returns how many different ones there are."""
    n = 0
    for at in range(len(keys)):
        if at == 0 or keys[at] != values[n - 1]:
            values[n], counts[n] = keys[at], 0
            n += 1
        counts[n - 1] += 1
    return n


@_njit
def score(started: Any, took: Any, how: Any, n: int, since: float, limit_s: float) -> Any:
    """Transactions that started at or after a time: all of them, those beyond the limit, those that failed."""
    total = slow = failed = 0
    for at in range(n):
        if started[at] >= since:
            total += 1
            slow += took[at] > limit_s
            failed += how[at] != OK
    return total, slow, failed
