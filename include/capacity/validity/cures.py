"""What a person can do about a load generator at its limit, in numbers where what was measured gives them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from include.capacity.judgement import sums
from include.capacity.models import FleetSecond, ShardSecond, ValidityLimits

SPARE = 0.8  # of a limit that is planned with: rates vary, and a JVM has work of its own
SATURATED = 0.9  # of the CPUs that a shard may use at all
WAITED = 0.2  # share of the time in which processes waited for a CPU that speaks of a crowded machine


def shards_of(seconds: Sequence[FleetSecond]) -> list[int]:
    return sorted({entry.shard for second in seconds for entry in second.shards})


def mean(seconds: Sequence[FleetSecond], shard: int, read: Callable[[ShardSecond], float]) -> float:
    """Over the seconds for which the shard reported; 0 without any."""
    values = [read(entry) for second in seconds for entry in second.shards if entry.shard == shard]
    return sum(values) / len(values) if values else 0.0


def cpu_limit(seconds: Sequence[FleetSecond], shard: int, limits: ValidityLimits) -> float:
    """CPU in cores beyond which a shard counts as saturated: the profile's limit, or most of what it may use at all."""
    available = mean(seconds, shard, lambda entry: entry.generator.cpu_limit_cores)
    own = limits.max_generator_cpu_cores
    return min(own, SATURATED * available) if available > 0 else own


def shards_needed(seconds: Sequence[FleetSecond], limits: ValidityLimits, commanded_per_s: float) -> int | None:
    """With so many shards each would use at most 80 % of its CPU limit at the commanded rate.

    From the CPU per arrival that ended, measured here; None when nothing ended or no CPU was seen.

    Args:
        commanded_per_s: arrivals per second of the fleet.
    """
    shards = shards_of(seconds)
    ended = sums.offered(seconds) - (seconds[-1].in_flight - seconds[0].in_flight if seconds else 0)
    cores = sum(mean(seconds, shard, lambda entry: entry.generator.jmeter_cpu_cores) for shard in shards)
    if ended <= 0 or cores <= 0:
        return None
    cores_per_arrival = cores / (ended / len(seconds))
    least = min(cpu_limit(seconds, shard, limits) for shard in shards)
    return math.ceil(commanded_per_s * cores_per_arrival / (SPARE * least) - 1e-9)


def more_shards(seconds: Sequence[FleetSecond], limits: ValidityLimits, commanded_per_s: float) -> str:
    """Such as `Use 3 shards (load.fleet.shards).`: more than there are, in any case."""
    now = len(shards_of(seconds))
    needed = max(shards_needed(seconds, limits, commanded_per_s) or 0, now + 1)
    return f"Use {needed} shards (load.fleet.shards)."


def for_lateness(seconds: Sequence[FleetSecond], limits: ValidityLimits, commanded_per_s: float) -> str:
    """For a generator that was late: evidence of what held it up most, and the cure for that."""
    shards = shards_of(seconds)
    for shard in shards:
        throttled = mean(seconds, shard, lambda entry: entry.generator.throttled_ratio)
        if throttled > limits.max_throttled_ratio:
            return (
                f"The container of shard {shard} was held back by its CPU quota in {throttled:.0%} of the periods. "
                + (f"Give it more CPU, or: {more_shards(seconds, limits, commanded_per_s)}")
            )
    for shard in shards:
        cpu, limit = (
            mean(seconds, shard, lambda entry: entry.generator.jmeter_cpu_cores),
            cpu_limit(seconds, shard, limits),
        )
        if cpu > SPARE * limit:
            return f"Shard {shard} used {cpu:.2f} of at most {limit:.2f} cores. " + more_shards(
                seconds, limits, commanded_per_s
            )
    waited = max((mean(seconds, shard, lambda entry: entry.generator.cpu_wait_ratio) for shard in shards), default=0.0)
    if waited > WAITED:
        return (
            f"Processes waited for a CPU in {waited:.0%} of the time: free the machine that the load generator runs "
            "on, or give the shards CPUs of their own."
        )
    return "Use more shards or CPU, or free the machine it runs on."
