"""Rows of a JTL file added up by second, label and outcome: the part of a shard's report that can be merged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from include.capacity.histogram import Histogram
from include.capacity.jtl.rows import JtlRow
from include.capacity.protocol import Outcome, SecondRow

REMEMBERED_ARRIVALS = 32_768
"""Far more than threads that can be busy at once; an arrival's rows lie closer together than that."""


class ArrivalMemory:
    """Tells the first row of each arrival from its later ones. Bounded: the least recently seen are forgotten."""

    def __init__(self, size: int = REMEMBERED_ARRIVALS) -> None:
        self._size = size
        self._seen: dict[int, None] = {}  # in the order of their last row

    def is_first(self, number: int) -> bool:
        first = number not in self._seen
        if not first:
            del self._seen[number]
        self._seen[number] = None
        if len(self._seen) > self._size:
            del self._seen[next(iter(self._seen))]
        return first


@dataclass(frozen=True, slots=True)
class Seconds:
    """What a stretch of the file holds; fields as in ShardReport. `foreign` counts samples that are not the user's."""

    completed: Mapping[int, int] = field(default_factory=dict)
    lag: Mapping[int, Histogram] = field(default_factory=dict)
    rows: tuple[SecondRow, ...] = ()
    sizes: Mapping[int, Mapping[str, Histogram]] = field(default_factory=dict)
    own_errors: Mapping[str, int] = field(default_factory=dict)
    foreign: int = 0


@dataclass(slots=True)
class _Cell:
    latency: Histogram = field(default_factory=Histogram)
    bytes: int = 0


class SecondAccumulator:
    """Adds rows up until `drain` hands them over; what was drained is forgotten, so memory does not grow with the run.

    An arrival's schedule lag belongs to its first row: that transaction was due `lag` earlier than JMeter started it,
    and its latency counts from then. Later rows of the same arrival start when JMeter says so.
    """

    def __init__(self) -> None:
        self._arrivals = ArrivalMemory()
        self._cells: dict[tuple[int, str, Outcome], _Cell] = {}
        self._completed: dict[int, int] = {}
        self._lag: dict[int, Histogram] = {}
        self._sizes: dict[int, dict[str, Histogram]] = {}
        self._own_errors: dict[str, int] = {}
        self._foreign = 0

    def add(self, row: JtlRow) -> None:
        if row.arrival is None:
            self._foreign += 1
            return
        lag_us = row.lag_us if self._arrivals.is_first(row.arrival) else None
        second = (row.started_ms * 1000 - (lag_us or 0)) // 1_000_000
        if lag_us is not None:
            self._lag.setdefault(second, Histogram()).add(lag_us)
        key = (second, row.label, row.outcome)
        cell = self._cells.get(key)
        if cell is None:
            cell = self._cells[key] = _Cell()
        cell.latency.add(row.elapsed_ms * 1000 + (lag_us or 0))
        cell.bytes += row.bytes
        if row.outcome == "ok":
            self._sizes.setdefault(second, {}).setdefault(row.label, Histogram()).add(row.bytes)
        elif row.cause:
            self._own_errors[row.cause] = self._own_errors.get(row.cause, 0) + 1
        ended = (row.started_ms + row.elapsed_ms) // 1000
        self._completed[ended] = self._completed.get(ended, 0) + 1

    def drain(self) -> Seconds:
        """Everything since the last call, in the order of time, label and outcome."""
        rows = tuple(
            SecondRow(second, label, outcome, cell.latency, cell.bytes)
            for (second, label, outcome), cell in sorted(self._cells.items())
        )
        drained = Seconds(
            completed=dict(sorted(self._completed.items())),
            lag=dict(sorted(self._lag.items())),
            rows=rows,
            sizes=dict(sorted(self._sizes.items())),
            own_errors=self._own_errors,
            foreign=self._foreign,
        )
        self._cells, self._completed, self._lag, self._foreign = {}, {}, {}, 0
        self._sizes, self._own_errors = {}, {}
        return drained
