"""Is what the fleet reported complete and as commanded? Each check returns sentences: evidence and cure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from include.capacity.judgement import sums
from include.capacity.models import FleetSecond, ValidityLimits
from include.capacity.validity import cures

POISSON_SIGMAS = 4.0


def shard_problems(seconds: Sequence[FleetSecond], expected_shards: int) -> list[str]:
    """A shard that was missing, restarted, or stopped by its guard at any time of the step."""
    problems = []
    missing = sorted({shard for second in seconds for shard in second.missing})
    if missing:
        first = next(second.second for second in seconds if second.missing)
        problems.append(
            f"Shard {_numbers(missing)} did not report (first in second {first}), so part of the load is unknown; "
            "see the shard's log."
        )
    restarted = sorted({shard for second in seconds for shard in second.restarted})
    if restarted:
        problems.append(f"Shard {_numbers(restarted)} was started anew during the step; see the shard's log.")
    fewest = min((len(second.shards) for second in seconds), default=expected_shards)
    if fewest < expected_shards and not missing:
        problems.append(f"Only {fewest} of {expected_shards} shards reported; see the logs of the load fleet.")
    guard = next((second.guard for second in seconds if second.guard), "")
    if guard:
        problems.append(f"The guard of a shard stopped the load: {guard}")
    return problems


def gap_problems(seconds: Sequence[FleetSecond], first: int) -> list[str]:
    """Seconds from `first` on that nobody reported, although later ones were."""
    numbers = {second.second for second in seconds}
    absent = sorted(set(range(first, max(numbers, default=first))) - numbers)
    if not absent:
        return []
    return [f"{len(absent)} seconds of the step were reported by no shard (first {absent[0]})."]


def data_problems(seconds: Sequence[FleetSecond], limits: ValidityLimits) -> list[str]:
    """Result lines that could not be read, and errors that the load generator itself made."""
    counts = sums.outcomes(seconds)
    total = sum(counts.values())
    rejected = sum(second.rejected for second in seconds)
    problems = []
    if rejected > limits.max_rejected_ratio * (total + rejected):
        problems.append(
            f"{rejected} of {total + rejected} result lines could not be read (limit {limits.max_rejected_ratio:.2%}); "
            "the shards' reports hold examples."
        )
    own = counts["generator_error"]
    if own > limits.max_rejected_ratio * total:
        causes: dict[str, int] = {}
        for second in seconds:
            for cause, count in second.own_errors.items():
                causes[cause] = causes.get(cause, 0) + count
        told = ", ".join(f"{cause} ({count})" for cause, count in sorted(causes.items(), key=lambda each: -each[1]))
        problems.append(
            f"{own} of {total} transactions failed in the load generator itself{f': {told}' if told else ''} "
            f"(limit {limits.max_rejected_ratio:.2%}); see jmeter.log of the shards."
        )
    return problems


def offered_problems(seconds: Sequence[FleetSecond], limits: ValidityLimits, commanded_per_s: float) -> list[str]:
    """Dispatched arrivals that differ from the commanded rate by more than the limit and Poisson noise (4 sigma)."""
    commanded = commanded_per_s * len(seconds)
    dispatched = sums.offered(seconds)
    allowed = limits.max_offered_deviation * commanded + POISSON_SIGMAS * math.sqrt(commanded)
    if abs(dispatched - commanded) <= allowed:
        return []
    cure = (
        cures.for_lateness(seconds, limits, commanded_per_s)
        if dispatched < commanded
        else "Another conductor may command the same fleet; see the shards' logs."
    )
    return [
        f"{dispatched} arrivals were dispatched where {commanded:.0f} were commanded (allowed: +-{allowed:.0f}); "
        f"the load generator does not keep its rate. {cure}"
    ]


def _numbers(shards: Sequence[int]) -> str:
    return ", ".join(str(shard) for shard in shards)
