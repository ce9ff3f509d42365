"""Did the load generator keep up? The difference between a slow service and a slow generator.

In an open load model every arrival that finds no free thread waits, and its latency counts from the intended start.
Schedule lag therefore has two causes, and they are told apart by the idle threads:

* Lag while threads are idle: the generator itself was late (CPU, GC, a busy machine). Beyond `max_lag_p99_ms` the step
  is invalid, whether it looked good or bad.
* Lag while no thread is idle: the arrivals queue in the generator because all threads wait for answers. If the service
  holds each of them longer than the SLO allows, the service is the slow one and the queue is rightly its own. If it
  does not, then the pool of threads is too small for the rate: a missed SLO says nothing about the service, and the
  step is invalid. A met SLO stands: latencies include the wait.

An overload beyond doubt (more than a second of arrivals in flight beyond the healthy level) stands up to a lag of five
times the limit: on a machine that generator and service share, overload itself makes the generator late.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from include.capacity.judgement import sums
from include.capacity.models import FleetSecond, ValidityLimits
from include.capacity.protocol import GeneratorHealth
from include.capacity.validity import cures

OVERLOAD_LAG_FACTOR = 5.0
MIN_LAG_SAMPLES = 20
MIN_HEAP_SAMPLES = 5
MORE_HEAP = 1.5
THREAD_RESERVE = 1.3


def without_idle_threads(second: FleetSecond, limits: ValidityLimits) -> bool:
    """Whether a shard had fewer idle threads than it must have."""
    return any(shard.threads > 0 and shard.threads_idle < limits.min_idle_threads for shard in second.shards)


def lag_problems(
    seconds: Sequence[FleetSecond], limits: ValidityLimits, commanded_per_s: float, *, overloaded: bool
) -> list[str]:
    """Schedule lag in the seconds in which threads were idle."""
    lag = sums.lag(second for second in seconds if not without_idle_threads(second, limits))
    p99 = lag.quantile_ms(0.99)
    limit = limits.max_lag_p99_ms * (OVERLOAD_LAG_FACTOR if overloaded else 1.0)
    if p99 is None or lag.total < MIN_LAG_SAMPLES or p99 <= limit:
        return []
    return [
        f"The load generator was late although it had idle threads: the schedule lag's p99 was {p99:.0f} ms "
        f"(limit {limit:g} ms). {cures.for_lateness(seconds, limits, commanded_per_s)}"
    ]


def thread_problems(
    seconds: Sequence[FleetSecond],
    limits: ValidityLimits,
    commanded_per_s: float,
    *,
    healthy_arrival_s: float,
    missed: bool,
) -> list[str]:
    """Too small a pool of threads, told from a slow service by how long a thread was held.

    Args:
        healthy_arrival_s: the longest that a service within its SLO holds a thread for one arrival.
        missed: whether the SLO was missed; a met one stands.
    """
    starved = [second for second in seconds if without_idle_threads(second, limits)]
    if not missed or not starved:
        return []
    threads = sum(shard.threads for second in starved for shard in second.shards) / len(starved)
    # in a closed loop threads = arrivals per second that end x time for which each holds its thread
    in_flight = starved[-1].in_flight - starved[0].in_flight
    ended = (sums.offered(starved) - in_flight) / len(starved)
    if ended <= 0 or threads / ended > healthy_arrival_s:
        return []
    shards = max(len(cures.shards_of(starved)), 1)
    needed = math.ceil(commanded_per_s * healthy_arrival_s * THREAD_RESERVE / shards) + limits.min_idle_threads
    return [
        f"All threads of a shard were busy in {len(starved)} of {len(seconds)} seconds although the service held each "
        f"for only {threads / ended * 1e3:.0f} ms: {threads:.0f} threads are too few for the rate. Set "
        f"load.fleet.threads_per_shard to {needed} or more, or use more shards."
    ]


def saturation_problems(seconds: Sequence[FleetSecond], limits: ValidityLimits, commanded_per_s: float) -> list[str]:
    """CPU (and the quota's brake on it), garbage collection, heap and open files of each shard."""
    problems = []
    for shard in cures.shards_of(seconds):
        cpu = cures.mean(seconds, shard, lambda entry: entry.generator.jmeter_cpu_cores)
        limit = cures.cpu_limit(seconds, shard, limits)
        if cpu > limit:
            problems.append(
                f"Shard {shard} used {cpu:.2f} cores (limit {limit:.2g}): the load generator is saturated. "
                + cures.more_shards(seconds, limits, commanded_per_s)
            )
        throttled = cures.mean(seconds, shard, lambda entry: entry.generator.throttled_ratio)
        if throttled > limits.max_throttled_ratio:
            problems.append(
                f"The container of shard {shard} was held back by its CPU quota in {throttled:.0%} of the periods "
                f"(limit {limits.max_throttled_ratio:.0%}). Give it more CPU, or: "
                + cures.more_shards(seconds, limits, commanded_per_s)
            )
        problems += _memory_problems(seconds, limits, shard) + _file_problems(seconds, limits, shard)
    return problems


def _memory_problems(seconds: Sequence[FleetSecond], limits: ValidityLimits, shard: int) -> list[str]:
    problems = []
    entries = [entry.generator for second in seconds for entry in second.shards if entry.shard == shard]
    gc = sum(health.gc_ratio for health in entries) / len(entries)
    heap_mb = max(health.heap_max_mb for health in entries)
    raised = f"Set load.fleet.heap_mib to {math.ceil(MORE_HEAP * heap_mb / 64) * 64} or more, or use more shards."
    if gc > limits.max_gc_ratio:
        problems.append(
            f"Shard {shard} spent {gc:.0%} of its time in garbage collection (limit {limits.max_gc_ratio:.0%}). "
            + (raised if heap_mb else "Raise load.fleet.heap_mib or use more shards.")
        )
    # what is used falls with each collection: the lowest value is close to what is really needed
    floor = min((health.heap_used_mb / health.heap_max_mb for health in entries if health.heap_max_mb), default=0.0)
    if floor > limits.max_heap_ratio and len(entries) >= MIN_HEAP_SAMPLES:
        problems.append(
            f"The heap of shard {shard} was never less than {floor:.0%} full (limit {limits.max_heap_ratio:.0%} of "
            f"{heap_mb:.0f} MiB). {raised}"
        )
    return problems


def _file_problems(seconds: Sequence[FleetSecond], limits: ValidityLimits, shard: int) -> list[str]:
    entries = [entry.generator for second in seconds for entry in second.shards if entry.shard == shard]
    fullest = max((health for health in entries if health.max_fds), key=_open_share, default=None)
    if fullest is None or _open_share(fullest) <= limits.max_open_files_ratio:
        return []
    return [
        f"Shard {shard} had {fullest.open_fds} of at most {fullest.max_fds} files and connections open (limit "
        f"{limits.max_open_files_ratio:.0%}). Raise the container's limit (ulimit nofile of the task definition), let "
        "the plan keep connections alive, or use more shards."
    ]


def _open_share(health: GeneratorHealth) -> float:
    return health.open_fds / health.max_fds
