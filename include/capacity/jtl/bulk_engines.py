"""Two engines that add rows up, with one result: the compiled kernel, and plain Python where numba is missing."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from include.capacity.errors import ConfigError
from include.capacity.histogram import bucket_of
from include.capacity.jtl import bulk_kernel as kernel
from include.capacity.jtl.bulk_layout import JtlOptions, Layout
from include.capacity.jtl.bulk_table import (
    KIND_COMPLETED,
    KIND_LAG,
    SECOND_OFFSET,
    Ints,
    SecondTable,
    added_up,
    pack,
    pack_cell,
)
from include.capacity.jtl.rows import JtlRow
from include.capacity.jtl.seconds import ArrivalMemory
from include.capacity.protocol import OUTCOMES

PYTHON_ROOM = 1 << 18  # entries


class Engine(Protocol):
    """Adds rows up until `take` hands the finished seconds over."""

    name: str

    @property
    def foreign(self) -> int:
        """Rows without an arrival so far, in a file that has arrivals."""

    @property
    def excluded(self) -> int:
        """Rows of transaction controllers so far that are not wanted."""

    @property
    def rows(self) -> int:
        """All rows so far, foreign and excluded ones included."""

    def use(self, layout: Layout) -> None:
        """The rows from now on have this layout."""

    def run(self, buffer: npt.NDArray[np.uint8], pos: int, end: int) -> tuple[int, int, int]:
        """Reads rows of `buffer[pos:end]` as far as it can; returns why it stopped, where, and its lines."""

    def add(self, row: JtlRow | None, label: int) -> bool:
        """Adds a row that was read with care (None: an excluded one). False: nothing added, `take` must come first."""

    def learn(self, row: JtlRow, label: int, texts: tuple[str, str, str]) -> None:
        """Label, code and message of a row read with care, so that the next of its kind need not be."""

    def take(self, labels: tuple[str, ...], everything: bool) -> SecondTable:
        """The finished seconds, or all of them; they are forgotten here."""


def engine(options: JtlOptions) -> Engine:
    """The engine that the options ask for. Raises ConfigError where it needs numba and there is none."""
    if options.engine != "python":
        try:
            return KernelEngine(options)
        except ImportError:
            if options.engine == "kernel":
                cure = "Install numba, or give python."
                raise ConfigError(options.name, "engine", "the kernel needs numba.", cure) from None
    return PythonEngine(options)


class KernelEngine:
    """Runs the compiled kernel."""

    name = "kernel"

    def __init__(self, options: JtlOptions) -> None:
        self._options = options
        self._consume = kernel.compiled()
        self._tables = kernel.Tables()
        numbers = self._tables.numbers
        numbers[kernel.EARLIEST], numbers[kernel.LATEST] = options.earliest_ms, options.latest_ms
        numbers[kernel.EXCLUDE] = options.exclude_controllers
        self._special = np.zeros(256, np.uint8)
        self._wanted = self._begins = self._ends = np.zeros(0, np.int64)
        self._given = np.zeros(7, np.int64)

    @property
    def foreign(self) -> int:
        return int(self._tables.numbers[kernel.FOREIGN])

    @property
    def excluded(self) -> int:
        return int(self._tables.numbers[kernel.EXCLUDED])

    @property
    def rows(self) -> int:
        return int(self._tables.numbers[kernel.ROWS])

    def use(self, layout: Layout) -> None:
        numbers = self._tables.numbers
        numbers[kernel.DELIM], numbers[kernel.WIDTH] = ord(layout.delimiter), len(layout.columns)
        self._special[:] = 0
        self._special[[ord(layout.delimiter), ord("\n"), ord('"')]] = 1, 2, 3
        numbers[kernel.LAST_WANTED] = max(layout.wanted)
        self._wanted = np.array(layout.wanted, np.int64)
        self._begins, self._ends = np.zeros((2, len(layout.columns)), np.int64)

    def run(self, buffer: npt.NDArray[np.uint8], pos: int, end: int) -> tuple[int, int, int]:
        numbers = self._tables.numbers
        numbers[kernel.POS], numbers[kernel.END], numbers[kernel.LINES] = pos, end, 0
        status = self._call(buffer)
        return status, int(numbers[kernel.POS]), int(numbers[kernel.LINES])

    def _call(self, buffer: npt.NDArray[np.uint8]) -> int:
        t = self._tables
        fields = (self._wanted, self._begins, self._ends)
        texts = (t.names, t.label_slots, t.labels, t.outcome_slots, t.outcomes)
        sums = (t.pending, t.cell_keys, t.cell_values, t.heads, t.memory)
        return self._consume(buffer, self._special, t.numbers, *fields, *texts, *sums, self._given)

    def add(self, row: JtlRow | None, label: int) -> bool:
        numbers = self._tables.numbers
        if row is None:
            numbers[kernel.ROWS] += 1
            numbers[kernel.EXCLUDED] += 1
            return True
        arrival = -1 if row.arrival is None else row.arrival
        self._given[:] = (
            *(row.started_ms, row.elapsed_ms, label, OUTCOMES.index(row.outcome)),
            *(row.bytes, arrival, row.lag_us),
        )
        numbers[kernel.MODE] = 1
        status = self._call(self._special)  # any array: no byte of it is read
        numbers[kernel.MODE] = 0
        return status != kernel.FULL

    def learn(self, row: JtlRow, label: int, texts: tuple[str, str, str]) -> None:
        if any("\ufffd" in text for text in texts):
            return  # what the bytes were is lost
        encoded = [text.encode() for text in texts]
        self._tables.learn_label(encoded[0], label)
        if row.outcome != "ok" or self._options.exclude_controllers:
            self._tables.learn_outcome(encoded[1], encoded[2], row.outcome == "ok", OUTCOMES.index(row.outcome))

    def take(self, labels: tuple[str, ...], everything: bool) -> SecondTable:
        t, numbers = self._tables, self._tables.numbers
        ordered = np.sort(t.pending[: numbers[kernel.PENDING]])
        used = np.flatnonzero(t.cell_keys)
        cells, values = t.cell_keys[used], t.cell_values[used]
        order = np.argsort(cells)
        cells, values = cells[order], values[order]
        horizon = int(numbers[kernel.MAX_SECOND]) - self._options.lateness_s
        if everything:
            cut, cell_cut = ordered.size, cells.size
        else:
            cut, cell_cut = int(np.searchsorted(ordered, horizon << 30)), int(np.searchsorted(cells, horizon << 17))
            if ordered.size - cut > kernel.PENDING_ROOM // 2 or cells.size - cell_cut > kernel.CELL_LIMIT // 2:
                cut, cell_cut = ordered.size, cells.size  # too much is unfinished: what follows is added to it
        rest = ordered[cut:]
        t.pending[: rest.size] = rest
        numbers[kernel.PENDING] = rest.size
        t.cell_keys[:] = 0
        t.cell_values[:] = 0
        for key, value in zip(cells[cell_cut:].tolist(), values[cell_cut:].tolist(), strict=True):
            slot = ((key * 0x9E3779B97F4A7C1 & (1 << 64) - 1) >> 28) & (kernel.CELL_SLOTS - 1)
            while t.cell_keys[slot]:
                slot = (slot + 1) & (kernel.CELL_SLOTS - 1)
            t.cell_keys[slot], t.cell_values[slot] = key, value
        numbers[kernel.CELLS] = cells.size - cell_cut
        return SecondTable(labels, *added_up(ordered[:cut]), cells[:cell_cut], values[:cell_cut])


class PythonEngine:
    """Takes every record the careful way."""

    name = "python"

    def __init__(self, options: JtlOptions) -> None:
        self._options = options
        self._arrivals = ArrivalMemory()
        self._has_arrivals = False
        self._entries: dict[int, int] = {}
        self._cells: dict[int, int] = {}
        self._last = 0
        self.foreign = self.excluded = self.rows = 0

    def use(self, layout: Layout) -> None:
        self._has_arrivals = layout.wanted[-1] >= 0

    def run(self, buffer: npt.NDArray[np.uint8], pos: int, end: int) -> tuple[int, int, int]:
        full = len(self._entries) + len(self._cells) > PYTHON_ROOM
        return kernel.FULL if full else kernel.UNUSUAL if pos < end else kernel.NEED_DATA, pos, 0

    def learn(self, row: JtlRow, label: int, texts: tuple[str, str, str]) -> None:
        """Nothing to learn: no record takes another way."""

    def add(self, row: JtlRow | None, label: int) -> bool:
        self.rows += 1
        if row is None:
            self.excluded += 1
            return True
        first = False
        if self._has_arrivals:
            if row.arrival is None:
                self.foreign += 1
                return True
            first = self._arrivals.is_first(row.arrival)
        lag_us = row.lag_us if first else 0
        second, kind = (row.started_ms * 1000 - lag_us) // 1_000_000, OUTCOMES.index(row.outcome)
        self._last = max(self._last, second + SECOND_OFFSET)
        _count(self._entries, pack(second, label, kind, bucket_of(row.elapsed_ms * 1000 + lag_us)), 1)
        if first:
            _count(self._entries, pack(second, 0, KIND_LAG, bucket_of(lag_us)), 1)
        _count(self._cells, pack_cell(second, label, kind), row.bytes)
        _count(self._cells, pack_cell((row.started_ms + row.elapsed_ms) // 1000, 0, KIND_COMPLETED), 1)
        return True

    def take(self, labels: tuple[str, ...], everything: bool) -> SecondTable:
        horizon = self._last - self._options.lateness_s
        entries = {key: count for key, count in self._entries.items() if everything or key >> 30 < horizon}
        cells = {key: value for key, value in self._cells.items() if everything or key >> 17 < horizon}
        if len(self._entries) + len(self._cells) - len(entries) - len(cells) > PYTHON_ROOM // 2:
            entries, cells = self._entries, self._cells
        self._entries = {key: count for key, count in self._entries.items() if key not in entries}
        self._cells = {key: value for key, value in self._cells.items() if key not in cells}
        keys, counts = _columns(entries)
        return SecondTable(labels, *added_up(keys, counts), *added_up(*_columns(cells)))


def _count(counts: dict[int, int], key: int, value: int) -> None:
    counts[key] = counts.get(key, 0) + value


def _columns(counts: dict[int, int]) -> tuple[Ints, Ints]:
    return np.array(list(counts), np.int64), np.array(list(counts.values()), np.int64)
