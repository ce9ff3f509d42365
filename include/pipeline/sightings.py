"""What the conductor learns of the shards' clocks from the talk with them (see `include.capacity.validity.clocks`)."""

from __future__ import annotations

from bisect import bisect_right

from include.capacity.fleet import Sighting
from include.capacity.protocol import ShardReport


class ClockWatch:
    """Of one conductor. All times are epoch seconds: `at` by the conductor's clock, those of reports by the shard's."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self._changes: list[tuple[int, float]] = []  # (seq, at) of the commands of another rate than the one before
        self._rate: float | None = None
        self._taken_at: dict[int, float] = {}
        self._in_force_after: dict[int, float] = {}

    def commanded(self, seq: int, rate_per_s: float, at: float) -> None:
        """Called before a command is written. A first one is left out: the fleet may have had its rate already, and a
        command that is written again tells the time of its first writing, which is the earlier one."""
        if self._rate is not None and rate_per_s != self._rate:
            self._changes.append((seq, at))
        self._rate = rate_per_s

    def saw(self, report: ShardReport, at: float) -> Sighting:
        """Called when a report has been read. A rate that was in force before, or by another conductor's command,
        tells nothing new."""
        taken_at, (epoch, seq) = report.in_force_at, report.in_force_order
        if taken_at is not None and taken_at != self._taken_at.get(report.shard):
            self._taken_at[report.shard] = taken_at
            place = bisect_right(self._changes, seq, key=lambda change: change[0])
            if epoch == self._epoch and place:
                self._in_force_after[report.shard] = taken_at - self._changes[place - 1][1]
        return Sighting(at - report.published_at, self._in_force_after.get(report.shard))
