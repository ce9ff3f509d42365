"""The fleet as the conductor sees it: shard reports merged into whole seconds.

A second is *covered* by a shard once a report published after the second's end has arrived. Seconds that every expected
shard covers are final for the counts of arrivals; latencies of a second go on growing while its transactions complete.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from include.capacity.histogram import Histogram
from include.capacity.models import FleetSecond, ShardSecond
from include.capacity.protocol import Outcome, ShardReport


@dataclass(slots=True)
class _Bin:
    """One second, added up over shards."""

    offered: int = 0
    completed: int = 0
    rows: dict[tuple[str, Outcome], Histogram] = field(default_factory=dict)
    lag: Histogram = field(default_factory=Histogram)
    sizes: dict[str, Histogram] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sighting:
    """When the conductor saw a report, by its clock; what it knows of both clocks (see `ShardSecond`)."""

    delay_s: float | None = None
    in_force_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class FleetTotals:
    """Since the start of the fleet: arrivals dispatched and completed, and transactions completed."""

    arrivals_dispatched: int
    arrivals_completed: int
    transactions: int

    @property
    def transactions_per_arrival(self) -> float | None:
        """None until an arrival completed."""
        return self.transactions / self.arrivals_completed if self.arrivals_completed else None


class FleetView:
    """Collects reports of `expected` shards (numbers 0 … expected - 1); order and duplicates do not matter."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self._bins: dict[int, _Bin] = {}
        self._reports: dict[int, list[ShardReport]] = {shard: [] for shard in range(expected)}
        self._sightings: dict[tuple[int, str, int], Sighting] = {}
        self._known: set[tuple[int, str, int]] = set()
        self._transactions = 0
        self._sizes: dict[str, Histogram] = {}
        self._forgotten_before = 0

    def add(self, report: ShardReport, sighting: Sighting | None = None) -> bool:
        """Merges a report; False when it was known already or comes from a shard that is not expected."""
        key = _key(report)
        if key in self._known or report.shard not in self._reports:
            return False
        self._known.add(key)
        for second, count in report.offered.items():
            self._bin(second).offered += count
        for second, count in report.completed.items():
            self._bin(second).completed += count
            self._transactions += count
        for second, lag in report.lag.items():
            self._bin(second).lag.merge(lag)
        for row in report.rows:
            self._bin(row.second).rows.setdefault((row.label, row.outcome), Histogram()).merge(row.latency)
        for second, labels in report.sizes.items():
            for label, sizes in labels.items():
                self._bin(second).sizes.setdefault(label, Histogram()).merge(sizes)
                self._sizes.setdefault(label, Histogram()).merge(sizes)
        if sighting is not None:
            self._sightings[key] = sighting
        reports = self._reports[report.shard]
        reports.append(_without_data(report))
        reports.sort(key=lambda entry: (entry.incarnation, entry.number))
        return True

    def latest(self, shard: int) -> ShardReport | None:
        """The newest report of the newest incarnation (without its seconds)."""
        return self._reports[shard][-1] if self._reports[shard] else None

    def covered_until(self) -> int | None:
        """Every second before this one is covered by all expected shards; None when a shard never reported."""
        ends = [self.latest(shard) for shard in range(self.expected)]
        if any(report is None for report in ends):
            return None
        return min(math.floor(report.published_at) for report in ends if report is not None)

    def totals(self) -> FleetTotals:
        last = [_last_of_each_incarnation(self._reports[shard]) for shard in range(self.expected)]
        counters = [report.counters for reports in last for report in reports]
        return FleetTotals(
            sum(counter.dispatched for counter in counters),
            sum(counter.completed for counter in counters),
            self._transactions,
        )

    def sizes(self) -> dict[str, Histogram]:
        """Label -> bytes received by each `ok` transaction since the start of the fleet."""
        return self._sizes

    def seconds(self, start: int, end: int) -> list[FleetSecond]:
        """The seconds start … end - 1, empty ones included; shards that do not cover a second, or whose report of it
        could not be read, are `missing` in it."""
        return [self._second(second) for second in range(start, end)]

    def forget_before(self, second: int) -> None:
        """Drops what lies before a second, so that memory does not grow with the run."""
        self._bins = {key: value for key, value in self._bins.items() if key >= second}
        self._forgotten_before = max(self._forgotten_before, second)
        for shard, reports in self._reports.items():
            keep = {id(report) for report in _last_of_each_incarnation(reports)}
            self._reports[shard] = [
                report for report in reports if report.published_at >= second - 2 or id(report) in keep
            ]
        kept = {_key(report) for reports in self._reports.values() for report in reports}
        self._sightings = {key: value for key, value in self._sightings.items() if key in kept}

    def _bin(self, second: int) -> _Bin:
        if second < self._forgotten_before:
            return _Bin()  # too late to matter: its step has been judged
        return self._bins.setdefault(second, _Bin())

    def _second(self, second: int) -> FleetSecond:
        content = self._bins.get(second) or _Bin()
        shards, missing, restarted, in_flight, rejected, guard = [], [], [], 0, 0, ""
        own_errors: dict[str, int] = {}
        for shard in range(self.expected):
            report = self._covering(shard, second)
            if report is None:
                missing.append(shard)
                continue
            before = self._covering(shard, second - 1)
            if before is not None and self._lost_between(before, report):
                missing.append(shard)
                continue
            if before is not None and before.incarnation != report.incarnation:
                restarted.append(shard)
            if before is None or before is not report:
                rejected += report.rejected
                for cause, count in report.own_errors.items():
                    own_errors[cause] = own_errors.get(cause, 0) + count
            in_flight += report.counters.in_flight + report.counters.backlog
            guard = guard or (f"shard {shard}: {report.guard}" if report.guard else "")
            sighting = self._sightings.get(_key(report), Sighting())
            shards.append(
                ShardSecond(
                    shard,
                    report.incarnation,
                    report.rate_per_s,
                    report.generator,
                    report.counters.threads,
                    report.counters.threads_idle,
                    sighting.delay_s,
                    sighting.in_force_after_s,
                )
            )
        return FleetSecond(
            second=second,
            offered=content.offered,
            completed=content.completed,
            rows=content.rows,
            lag=content.lag,
            in_flight=in_flight,
            shards=tuple(shards),
            missing=tuple(missing),
            restarted=tuple(restarted),
            rejected=rejected,
            guard=guard,
            sizes=content.sizes,
            own_errors=own_errors,
        )

    def _lost_between(self, before: ShardReport, report: ShardReport) -> bool:
        """Whether a report in between could not be read: what it held of the second is not known."""
        if before.incarnation != report.incarnation:
            return False
        between = range(before.number + 1, report.number)
        return any((report.shard, report.incarnation, number) not in self._known for number in between)

    def _covering(self, shard: int, second: int) -> ShardReport | None:
        """The first report published at or after the end of a second: the shard's state then."""
        for report in self._reports[shard]:
            if report.published_at >= second + 1:
                return None if report.published_at > second + 6 else report
        return None


def _key(report: ShardReport) -> tuple[int, str, int]:
    return report.shard, report.incarnation, report.number


def _last_of_each_incarnation(reports: Sequence[ShardReport]) -> list[ShardReport]:
    return list({report.incarnation: report for report in reports}.values())


def _without_data(report: ShardReport) -> ShardReport:
    """Counters, health and state only: the seconds have been merged."""
    return replace(report, offered={}, completed={}, lag={}, rows=(), sizes={})


def merged_rows(seconds: Iterable[FleetSecond], label: str | None = None) -> dict[Outcome, Histogram]:
    """Outcome -> latencies of one label (None: all) over some seconds."""
    merged: dict[Outcome, Histogram] = {}
    for entry in seconds:
        for (row_label, outcome), histogram in entry.rows.items():
            if label is None or row_label == label:
                merged.setdefault(outcome, Histogram()).merge(histogram)
    return merged
