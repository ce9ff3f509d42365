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

from collections.abc import Callable, Sequence

from include.capacity.judgement import sums
from include.capacity.models import FleetSecond, ShardSecond, ValidityLimits

OVERLOAD_LAG_FACTOR = 5.0
MIN_LAG_SAMPLES = 20


def without_idle_threads(second: FleetSecond, limits: ValidityLimits) -> bool:
    """Whether a shard had fewer idle threads than it must have."""
    return any(shard.threads > 0 and shard.threads_idle < limits.min_idle_threads for shard in second.shards)


def lag_problems(seconds: Sequence[FleetSecond], limits: ValidityLimits, *, overloaded: bool) -> list[str]:
    """Schedule lag in the seconds in which threads were idle."""
    lag = sums.lag(second for second in seconds if not without_idle_threads(second, limits))
    p99 = lag.quantile_ms(0.99)
    limit = limits.max_lag_p99_ms * (OVERLOAD_LAG_FACTOR if overloaded else 1.0)
    if p99 is None or lag.total < MIN_LAG_SAMPLES or p99 <= limit:
        return []
    return [
        f"The load generator was late although it had idle threads: the schedule lag's p99 was {p99:.0f} ms "
        f"(limit {limit:g} ms). Use more shards or CPU, or free the machine it runs on."
    ]


def thread_problems(
    seconds: Sequence[FleetSecond], limits: ValidityLimits, *, healthy_arrival_s: float, missed: bool
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
    return [
        f"All threads of a shard were busy in {len(starved)} of {len(seconds)} seconds although the service held each "
        f"for only {threads / ended * 1e3:.0f} ms: {threads:.0f} threads are too few for the rate. Raise "
        "load.fleet.threads_per_shard or use more shards."
    ]


def saturation_problems(seconds: Sequence[FleetSecond], limits: ValidityLimits) -> list[str]:
    """CPU and garbage collection of each shard, on average over the seconds."""
    problems = []
    for shard in sorted({entry.shard for second in seconds for entry in second.shards}):
        cpu = _mean(seconds, shard, lambda entry: entry.generator.jmeter_cpu_cores)
        if cpu > limits.max_generator_cpu_cores:
            problems.append(
                f"Shard {shard} used {cpu:.2f} cores (limit {limits.max_generator_cpu_cores:g}): the load generator is "
                "saturated. Use more shards."
            )
        gc = _mean(seconds, shard, lambda entry: entry.generator.gc_ratio)
        if gc > limits.max_gc_ratio:
            problems.append(
                f"Shard {shard} spent {gc:.0%} of its time in garbage collection (limit {limits.max_gc_ratio:.0%}). "
                "Raise load.fleet.heap_mib or use more shards."
            )
    return problems


def _mean(seconds: Sequence[FleetSecond], shard: int, read: Callable[[ShardSecond], float]) -> float:
    values = [read(entry) for second in seconds for entry in second.shards if entry.shard == shard]
    return sum(values) / len(values) if values else 0.0
