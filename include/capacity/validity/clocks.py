"""Do the clocks of shards and conductor agree? Shards say in which second of theirs something happened, and the
conductor compares that with its own times.

Both directions of the talk bound how far a shard's clock is ahead of the conductor's, whatever the delays: a report is
never seen before it was written, and no rate is in force before it was commanded (as in NTP, RFC 5905). So

    -(smallest delay of a report)  <=  clock ahead  <=  (smallest time until a rate was in force)

and only what these bounds exclude is called a skew: slow reports are not mistaken for one.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from include.capacity.models import FleetSecond, ShardSecond, ValidityLimits

LATE_S = 2.2  # reports come each second; later ones delay the abort of an overload
DRIFT_SHARE = 0.5  # of the allowed skew by which a shard's own two clocks may part during one step

_CURE = "Let the machines synchronise their clocks (chrony, on AWS with Amazon Time Sync), then run again."


def ahead_between(entries: Sequence[ShardSecond]) -> tuple[float | None, float | None]:
    """Bounds of how many seconds a shard's clock is ahead of the conductor's; negative: behind. None: unbounded."""
    delays = [entry.delay_s for entry in entries if entry.delay_s is not None]
    starts = [entry.in_force_after_s for entry in entries if entry.in_force_after_s is not None]
    return (-min(delays) if delays else None), (min(starts) if starts else None)


def clock_problems(seconds: Sequence[FleetSecond], limits: ValidityLimits) -> list[str]:
    """A shard's clock that is ahead, behind, set, or unlike its monotonic clock; and reports that come late."""
    problems = []
    for shard, entries in by_shard(seconds).items():
        low, high = ahead_between(entries)
        if low is not None and low > limits.max_clock_skew_s:
            problems.append(
                f"The clock of shard {shard} is at least {low:.2f} s ahead of the conductor's: its reports were seen "
                f"before the time that they bear (limit {limits.max_clock_skew_s:g} s). {_CURE}"
            )
        elif high is not None and high < -limits.max_clock_skew_s:
            problems.append(
                f"The clock of shard {shard} is at least {-high:.2f} s behind the conductor's: a rate was in force "
                f"before it was commanded (limit {limits.max_clock_skew_s:g} s). {_CURE}"
            )
        elif (late := _lateness(entries)) > LATE_S:
            problems.append(
                f"The reports of shard {shard} come {late:.1f} s after the time that they bear (limit {LATE_S:g} s), "
                "so an overload would be seen too late: its clock is behind, or the artefact store is slow. Compare "
                "the clocks; look for errors of the store in the shard's log."
            )
        drifts = [entry.generator.clock_drift_s for entry in entries]
        spread = max(drifts) - min(drifts)
        allowed = DRIFT_SHARE * limits.max_clock_skew_s
        if spread > allowed:
            problems.append(
                f"The clock of shard {shard} was set, or does not keep time: it went {spread:.2f} s off the monotonic "
                f"clock of the same machine during the step (limit {allowed:g} s). {_CURE}"
            )
    return problems


def by_shard(seconds: Sequence[FleetSecond]) -> dict[int, list[ShardSecond]]:
    """Each incarnation's clocks start anew; that a shard was started anew is told elsewhere, so the last one counts."""
    found: dict[int, list[ShardSecond]] = {}
    for second in seconds:
        for entry in second.shards:
            entries = found.setdefault(entry.shard, [])
            if entries and entries[-1].incarnation != entry.incarnation:
                entries.clear()
            entries.append(entry)
    return dict(sorted(found.items()))


def _lateness(entries: Sequence[ShardSecond]) -> float:
    delays = [entry.delay_s for entry in entries if entry.delay_s is not None]
    return median(delays) if delays else 0.0
