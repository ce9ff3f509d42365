"""Two engines that add rows up, with one result: the compiled kernel for whole files, and plain Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from include.capacity.errors import ConfigError
from include.capacity.histogram import bucket_of
from include.capacity.jtl import bulk_memory as memory
from include.capacity.jtl.bulk_table import (
    KIND_COMPLETED,
    KIND_LAG,
    KIND_SIZE,
    SECOND_OFFSET,
    Ints,
    SecondTable,
    added_up,
    pack,
    pack_cell,
)
from include.capacity.jtl.layout import JtlOptions, Layout
from include.capacity.jtl.rows import JtlRow
from include.capacity.jtl.seconds import ArrivalMemory, ThreadMemory
from include.capacity.protocol import OUTCOMES

PYTHON_ROOM = 1 << 18  # entries
_MULTIPLIER = 0x9E3779B97F4A7C1  # of the kernel's table of cells
_WORD = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows so far.

    Attributes:
        rows: all that could be read.
        foreign: among them without an arrival, in a file that has arrivals.
        excluded: among them those of transaction controllers that are left out.
        controllers: among the transactions, those that a transaction controller wrote.
        errors: among the transactions, those that were not `ok`.
    """

    rows: int = 0
    foreign: int = 0
    excluded: int = 0
    controllers: int = 0
    errors: int = 0

    @property
    def transactions(self) -> int:
        return self.rows - self.foreign - self.excluded


class Engine(Protocol):
    """Adds rows up until `take` hands the finished seconds over."""

    name: str

    def counts(self) -> Counts: ...

    def use(self, layout: Layout) -> None:
        """The rows from now on have this layout."""

    def run(self, buffer: npt.NDArray[np.uint8], pos: int, end: int) -> tuple[int, int, int]:
        """Reads rows of `buffer[pos:end]` as far as it can; returns why it stopped, where, and its lines."""

    def add(self, row: JtlRow, label: int) -> bool:
        """Adds a row that was read with care. False: nothing was added, `take` must come first."""

    def learn(self, row: JtlRow, label: int, code: str, message: str) -> None:
        """The texts of a row that was read with care, so that the next of its kind need not be."""

    def take_causes(self) -> dict[str, int]:
        """What of the generator's own failed since the last call."""

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
        from include.capacity.jtl.bulk_compiled import kernel

        self._options = options
        self._tables = memory.Memory()
        self._texts = memory.Texts(self._tables)
        self._call = kernel().bound(self._tables)
        numbers = self._tables.numbers
        numbers[memory.EARLIEST], numbers[memory.LATEST] = options.earliest_ms, options.latest_ms
        modes = {"keep": memory.KEEP, "look": memory.LOOK, "drop": memory.DROP}
        numbers[memory.CONTROLLERS] = modes[options.controllers]
        self._wanted = self._begins = self._ends = np.zeros(0, np.int64)

    def counts(self) -> Counts:
        numbers = self._tables.numbers
        places = (memory.ROWS, memory.FOREIGN, memory.EXCLUDED, memory.KEPT, memory.ERRORS)
        return Counts(*(int(numbers[place]) for place in places))

    def use(self, layout: Layout) -> None:
        numbers = self._tables.numbers
        numbers[memory.DELIM], numbers[memory.WIDTH] = ord(layout.delimiter), len(layout.columns)
        self._wanted = np.array(layout.wanted, np.int64)
        *needed, thread = layout.wanted
        numbers[memory.LAST_WANTED] = max(*needed, thread if self._options.controllers == "look" else -1)
        self._begins, self._ends = np.zeros((2, len(layout.columns)), np.int64)

    def run(self, buffer: npt.NDArray[np.uint8], pos: int, end: int) -> tuple[int, int, int]:
        numbers = self._tables.numbers
        numbers[memory.POS], numbers[memory.END], numbers[memory.LINES] = pos, end, 0
        status = self._call(buffer, self._wanted, self._begins, self._ends)
        return status, int(numbers[memory.POS]), int(numbers[memory.LINES])

    def add(self, row: JtlRow, label: int) -> bool:
        numbers = self._tables.numbers
        self._tables.given[:] = (
            *(row.started_ms, row.elapsed_ms, label, OUTCOMES.index(row.outcome), row.bytes),
            *(-1 if row.arrival is None else row.arrival, row.lag_us),
            *(0 if row.thread is None else memory.thread_key(row.thread), row.controller),
        )
        numbers[memory.ONE_ROW] = 1
        status = self._call(self._tables.names, self._wanted, self._begins, self._ends)  # no byte of it is read
        numbers[memory.ONE_ROW] = 0
        return status != memory.FULL

    def learn(self, row: JtlRow, label: int, code: str, message: str) -> None:
        if "\ufffd" not in row.label:  # else it is lost what the bytes were
            self._texts.learn_label(row.label.encode(), label)
        if row.outcome != "ok" and "\ufffd" not in code + message:
            self._texts.learn_outcome(code.encode(), message.encode(), 0, OUTCOMES.index(row.outcome))
        if row.thread is not None and not row.thread.isascii() and "\ufffd" not in row.thread:
            self._texts.learn_outcome(row.thread.encode(), b"", memory.A_THREAD, 0)

    def take_causes(self) -> dict[str, int]:
        return {}

    def take(self, labels: tuple[str, ...], everything: bool) -> SecondTable:
        t, numbers = self._tables, self._tables.numbers
        ordered = np.sort(t.pending[: numbers[memory.PENDING]])
        used = np.flatnonzero(t.cell_keys)
        cells, values = t.cell_keys[used], t.cell_values[used]
        order = np.argsort(cells)
        cells, values = cells[order], values[order]
        horizon = int(numbers[memory.MAX_SECOND]) - self._options.lateness_s
        if everything:
            cut, cell_cut = ordered.size, cells.size
        else:
            cut, cell_cut = int(np.searchsorted(ordered, horizon << 30)), int(np.searchsorted(cells, horizon << 17))
            if ordered.size - cut > memory.PENDING_ROOM // 2 or cells.size - cell_cut > memory.CELL_LIMIT // 2:
                cut, cell_cut = ordered.size, cells.size  # too much is unfinished: what follows is added to it
        rest = ordered[cut:]
        t.pending[: rest.size] = rest
        numbers[memory.PENDING] = rest.size
        t.cell_keys[:] = 0
        t.cell_values[:] = 0
        for key, value in zip(cells[cell_cut:].tolist(), values[cell_cut:].tolist(), strict=True):
            slot = ((key * _MULTIPLIER & _WORD) >> 28) & (memory.CELL_SLOTS - 1)
            while t.cell_keys[slot]:
                slot = (slot + 1) & (memory.CELL_SLOTS - 1)
            t.cell_keys[slot], t.cell_values[slot] = key, value
        numbers[memory.CELLS] = cells.size - cell_cut
        return SecondTable(labels, *added_up(ordered[:cut]), cells[:cell_cut], values[:cell_cut])


class PythonEngine:
    """Takes every record the careful way."""

    name = "python"

    def __init__(self, options: JtlOptions) -> None:
        self._options = options
        self._arrivals, self._threads = ArrivalMemory(), ThreadMemory()
        self._has_arrivals = False
        self._entries: dict[int, int] = {}
        self._cells: dict[int, int] = {}
        self._causes: dict[str, int] = {}
        self._last = 0
        self._rows = self._foreign = self._excluded = self._controllers = self._errors = 0

    def counts(self) -> Counts:
        return Counts(self._rows, self._foreign, self._excluded, self._controllers, self._errors)

    def use(self, layout: Layout) -> None:
        self._has_arrivals = layout.has_arrivals

    def run(self, buffer: npt.NDArray[np.uint8], pos: int, end: int) -> tuple[int, int, int]:
        full = len(self._entries) + len(self._cells) > PYTHON_ROOM
        return memory.FULL if full else memory.UNUSUAL if pos < end else memory.NEED_DATA, pos, 0

    def learn(self, row: JtlRow, label: int, code: str, message: str) -> None:
        """Nothing to learn: no record takes another way."""

    def add(self, row: JtlRow, label: int) -> bool:
        self._rows += 1
        if self._is_left_out(row):
            self._excluded += 1
            return True
        first = False
        if self._has_arrivals:
            if row.arrival is None:
                self._foreign += 1
                return True
            first = self._arrivals.is_first(row.arrival)
        self._controllers += row.controller
        self._errors += row.outcome != "ok"
        lag_us = row.lag_us if first else 0
        second, kind = (row.started_ms * 1000 - lag_us) // 1_000_000, OUTCOMES.index(row.outcome)
        self._last = max(self._last, second + SECOND_OFFSET)
        _count(self._entries, pack(second, label, kind, bucket_of(row.elapsed_ms * 1000 + lag_us)), 1)
        if first:
            _count(self._entries, pack(second, 0, KIND_LAG, bucket_of(lag_us)), 1)
        if row.outcome == "ok" and self._options.sizes:
            _count(self._entries, pack(second, label, KIND_SIZE, bucket_of(row.bytes)), 1)
        if row.cause:
            self._causes[row.cause] = self._causes.get(row.cause, 0) + 1
        _count(self._cells, pack_cell(second, label, kind), row.bytes)
        _count(self._cells, pack_cell((row.started_ms + row.elapsed_ms) // 1000, 0, KIND_COMPLETED), 1)
        return True

    def _is_left_out(self, row: JtlRow) -> bool:
        if self._options.controllers == "look" and row.thread is not None:
            return self._threads.repeats(row.thread, row.started_ms, row.elapsed_ms, row.controller)
        return self._options.controllers == "drop" and row.controller

    def take_causes(self) -> dict[str, int]:
        taken, self._causes = self._causes, {}
        return taken

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
