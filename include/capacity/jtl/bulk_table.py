"""Histograms of many seconds, labels and outcomes in two sorted arrays: small, and merged by addition.

A key packs second, label number, kind and bucket into 63 bits, so that sorting the keys sorts by time, then label. The
kind is the number of an outcome in `OUTCOMES`, or one of those below.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from include.capacity.histogram import Histogram
from include.capacity.jtl.seconds import Seconds
from include.capacity.protocol import OUTCOMES, Outcome, SecondRow

Ints = npt.NDArray[np.int64]

SECOND_OFFSET = 1 << 22  # a lag of days may put an intended start before 1970
MAX_LABELS = 1 << 14
KIND_COMPLETED = 5  # cells only: how many rows ended in that second
KIND_LAG = 6  # entries only: schedule lags
KIND_SIZE = 7  # entries only: bytes of each `ok` transaction, where they were wanted
_NO_LABEL = (KIND_COMPLETED, KIND_LAG)
_BUCKET_BITS, _LABEL_SHIFT, _SECOND_SHIFT = 13, 3, 17  # the latter two without the bucket


def pack_cell(second: int, label: int, kind: int) -> int:
    return (second + SECOND_OFFSET) << _SECOND_SHIFT | label << _LABEL_SHIFT | kind


def pack(second: int, label: int, kind: int, bucket: int) -> int:
    return pack_cell(second, label, kind) << _BUCKET_BITS | bucket


def _empty() -> Ints:
    return np.zeros(0, np.int64)


def added_up(keys: Ints, values: Ints | None = None) -> tuple[Ints, Ints]:
    """Sorts keys and adds the values of equal ones; without values, each counts 1."""
    if values is None:
        ordered = np.sort(keys)
        starts = _starts(ordered)
        return ordered[starts], np.diff(starts, append=ordered.size)
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = _starts(ordered)
    return ordered[starts], (np.add.reduceat(values[order], starts) if starts.size else _empty())


def _starts(ordered: Ints) -> Ints:
    if not ordered.size:
        return _empty()
    return np.concatenate((np.zeros(1, np.int64), np.flatnonzero(ordered[1:] != ordered[:-1]) + 1))


@dataclass(frozen=True, slots=True)
class SecondTable:
    """Counts by second, label, outcome and bucket; bytes by second, label and outcome.

    Attributes:
        labels: by label number.
        keys, counts: of entries (see `pack`), sorted, each key once.
        cells, values: bytes of a cell (see `pack_cell`), and completed rows by second; sorted, each once.
    """

    labels: tuple[str, ...] = ()
    keys: Ints = field(default_factory=_empty)
    counts: Ints = field(default_factory=_empty)
    cells: Ints = field(default_factory=_empty)
    values: Ints = field(default_factory=_empty)

    @property
    def rows_counted(self) -> int:
        """How many transactions the table holds."""
        kinds = self.keys >> _BUCKET_BITS & 7
        return int(self.counts[kinds < KIND_COMPLETED].sum())

    @classmethod
    def merged(cls, tables: Sequence[SecondTable]) -> SecondTable:
        """The sum of tables: exact, the same in any order and grouping, with the labels sorted and each once."""
        used = [table._used() for table in tables]
        labels = tuple(sorted({label for table in used for label in table.labels}))
        if len(labels) > MAX_LABELS:
            raise ValueError(f"{len(labels)} labels are more than the {MAX_LABELS} that a table can hold")
        number = {label: each for each, label in enumerate(labels)}
        keys, cells = [_empty()], [_empty()]
        for table in used:
            renumber = np.array([number[label] for label in table.labels] or [0], np.int64)
            keys.append(_renumbered(table.keys, _BUCKET_BITS, renumber))
            cells.append(_renumbered(table.cells, 0, renumber))
        all_keys, counts = added_up(np.concatenate(keys), np.concatenate([_empty(), *(t.counts for t in used)]))
        all_cells, values = added_up(np.concatenate(cells), np.concatenate([_empty(), *(t.values for t in used)]))
        return cls(labels, all_keys, counts, all_cells, values)

    def _used(self) -> SecondTable:
        """The same without labels that no row has. Number 0 stands in the keys that have no label."""
        cells = self.cells[(self.cells & 7) != KIND_COMPLETED]
        numbers = np.unique(cells >> _LABEL_SHIFT & (MAX_LABELS - 1))
        if numbers.size == len(self.labels):
            return self
        renumber = np.zeros(max(len(self.labels), 1), np.int64)
        renumber[numbers] = np.arange(numbers.size)
        labels = tuple(self.labels[number] for number in numbers)
        keys, cells = _renumbered(self.keys, _BUCKET_BITS, renumber), _renumbered(self.cells, 0, renumber)
        return SecondTable(labels, keys, self.counts, cells, self.values)

    def counts_by_second(self) -> tuple[dict[int, int], dict[tuple[int, str, Outcome], int]]:
        """Transactions by the second of their end; and by second of the intended start, label and outcome."""
        ended = (self.cells & 7) == KIND_COMPLETED
        seconds = (self.cells[ended] >> _SECOND_SHIFT) - SECOND_OFFSET
        completed = dict(zip(seconds.tolist(), self.values[ended].tolist(), strict=True))
        cells, counts = added_up(self.keys >> _BUCKET_BITS, self.counts)
        started: dict[tuple[int, str, Outcome], int] = {}
        for cell, count in zip(cells.tolist(), counts.tolist(), strict=True):
            if cell & 7 < len(OUTCOMES):
                label = self.labels[cell >> _LABEL_SHIFT & (MAX_LABELS - 1)]
                started[(cell >> _SECOND_SHIFT) - SECOND_OFFSET, label, OUTCOMES[cell & 7]] = count
        return completed, started

    def seconds(self) -> Seconds:
        """The same as the shard reports it, with a `Histogram` for each second, label and outcome."""
        numbers = dict(zip(self.cells.tolist(), self.values.tolist(), strict=True))
        completed: dict[int, int] = {}
        for cell, value in numbers.items():
            if cell & 7 == KIND_COMPLETED:
                completed[(cell >> _SECOND_SHIFT) - SECOND_OFFSET] = value
        lag: dict[int, Histogram] = {}
        rows: list[SecondRow] = []
        sizes: dict[int, dict[str, Histogram]] = {}
        for cell, histogram in self._histograms():
            second, label = (cell >> _SECOND_SHIFT) - SECOND_OFFSET, cell >> _LABEL_SHIFT & (MAX_LABELS - 1)
            if cell & 7 == KIND_LAG:
                lag[second] = histogram
            elif cell & 7 == KIND_SIZE:
                sizes.setdefault(second, {})[self.labels[label]] = histogram
            else:
                rows.append(SecondRow(second, self.labels[label], OUTCOMES[cell & 7], histogram, numbers.get(cell, 0)))
        rows.sort(key=lambda row: (row.second, row.label, row.outcome))
        return Seconds(completed, lag, tuple(rows), sizes)

    def _histograms(self) -> Iterator[tuple[int, Histogram]]:
        cells = self.keys >> _BUCKET_BITS
        edges = [*_starts(cells).tolist(), cells.size]
        buckets, counts = (self.keys & ((1 << _BUCKET_BITS) - 1)).tolist(), self.counts.tolist()
        for begin, end in pairwise(edges):
            yield int(cells[begin]), Histogram(dict(zip(buckets[begin:end], counts[begin:end], strict=True)))

    def equals(self, other: SecondTable) -> bool:
        """Whether both hold the same, whatever the order of their labels."""
        mine, its = SecondTable.merged([self]), SecondTable.merged([other])
        pairs = ((mine.keys, its.keys), (mine.counts, its.counts), (mine.cells, its.cells), (mine.values, its.values))
        return mine.labels == its.labels and all(np.array_equal(left, right) for left, right in pairs)


def _renumbered(keys: Ints, shift: int, renumber: Ints) -> Ints:
    """Keys with other label numbers; those without a label stay as they are."""
    place = _LABEL_SHIFT + shift
    numbers = keys >> place & (MAX_LABELS - 1)
    changed = (keys & ~np.int64((MAX_LABELS - 1) << place)) | renumber[numbers] << place if keys.size else keys
    return np.where(np.isin(keys >> shift & 7, _NO_LABEL), keys, changed)


_GROUPS_AT_ONCE = 128


class Totals:
    """Whole-file histograms by label and outcome, and of the lag: what is kept when finished seconds are let go."""

    def __init__(self) -> None:
        self._counts: dict[tuple[int, int], Ints] = {}
        self._bytes: dict[tuple[int, int], int] = {}

    def add(self, table: SecondTable) -> None:
        width = 1 << _BUCKET_BITS
        numbers = self._groups(table.keys >> _BUCKET_BITS)
        groups = np.arange(len(table.labels) + 1 << _LABEL_SHIFT)
        if groups.size > _GROUPS_AT_ONCE:
            groups, numbers = np.unique(numbers, return_inverse=True)
        for first in range(0, groups.size, _GROUPS_AT_ONCE):
            chosen: Any = np.s_[:]
            if groups.size > _GROUPS_AT_ONCE:
                chosen = (numbers >= first) & (numbers < first + _GROUPS_AT_ONCE)
            size = min(_GROUPS_AT_ONCE, groups.size - first)
            places = (numbers[chosen] - first) * width + (table.keys[chosen] & (width - 1))
            sums = np.bincount(places, weights=table.counts[chosen], minlength=size * width).astype(np.int64)
            for group, buckets in zip(groups[first : first + size].tolist(), sums.reshape(size, width), strict=True):
                key = (group >> _LABEL_SHIFT, group & 7)
                if key in self._counts:
                    self._counts[key] += buckets
                elif buckets.any():
                    self._counts[key] = buckets.copy()
        groups = self._groups(table.cells)
        for group in np.unique(groups).tolist() if groups.size else ():
            key = (group >> _LABEL_SHIFT, group & 7)
            self._bytes[key] = self._bytes.get(key, 0) + sum(table.values[groups == group].tolist())

    @staticmethod
    def _groups(cells: Ints) -> Ints:
        return cells & ((1 << _SECOND_SHIFT) - 1)

    def items(self) -> Iterable[tuple[int, int, Histogram, int]]:
        """Label number, kind, histogram and bytes."""
        for (label, kind), counts in sorted(self._counts.items()):
            used = np.flatnonzero(counts)
            histogram = Histogram(dict(zip(used.tolist(), counts[used].tolist(), strict=True)))
            yield label, kind, histogram, self._bytes.get((label, kind), 0)
