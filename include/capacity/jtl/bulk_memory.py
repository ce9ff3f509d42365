"""All that the kernel remembers between calls, as arrays, and how Python fills what it looks up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields

import numpy as np
import numpy.typing as npt

from include.capacity.jtl.bulk_words import mixed_text
from include.capacity.jtl.rows import CONTROLLER_MESSAGE
from include.capacity.jtl.seconds import REMEMBERED_ARRIVALS, REMEMBERED_THREADS

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

# Indexes into the array of single numbers.
POS, END, DELIM, WIDTH, EARLIEST, LATEST, ONE_ROW, CONTROLLERS = range(8)
PENDING, CELLS, FOREIGN, EXCLUDED, KEPT, ROWS, ERRORS, LINES = range(8, 16)
KNOWN, OLDEST, NEWEST, MAX_SECOND, LAST_WANTED, THREADS = range(16, 22)
NUMBERS = 22

NEED_DATA, UNUSUAL, FULL = 0, 1, 2  # why `consume` returned
KEEP, LOOK, DROP = 0, 1, 2  # what to do with the rows of transaction controllers
A_THREAD = 2  # in place of success, for the names of threads that are well-formed

PENDING_ROOM = 1 << 20
CELL_SLOTS = 1 << 17
CELL_LIMIT = CELL_SLOTS // 2
NAME_SLOTS = 1 << 16
NAME_LIMIT = 1 << 14
NAME_ROOM = 1 << 21
ARRIVAL_SLOTS = 1 << 16
THREAD_SLOTS = 4 * REMEMBERED_THREADS
GIVEN = 9  # start, elapsed, label, outcome, bytes, arrival or -1, lag, hash of the thread, whether a controller's
_PREFIX = CONTROLLER_MESSAGE.encode()
_WIDEST = 8  # bytes that are compared at once


def _zeros(*shape: int) -> Ints:
    return np.zeros(shape, np.int64)


def _empty(size: int) -> Ints:
    return np.full(size, -1, np.int64)


def _numbers() -> Ints:
    numbers = _zeros(NUMBERS)
    numbers[OLDEST] = numbers[NEWEST] = -1
    return numbers


def _names() -> Bytes:
    names = np.zeros(NAME_ROOM + _WIDEST, np.uint8)
    names[: len(_PREFIX)] = np.frombuffer(_PREFIX, np.uint8)
    return names


@dataclass(slots=True)
class Memory:
    """The arrays that the kernel takes, in the order of its arguments.

    Attributes:
        numbers: see the names above.
        names: bytes of all known texts; the first is how a controller's message begins.
        label_slots, labels: a hash table, and place, length and number of each known label.
        outcome_slots, outcomes: a hash table, and place, lengths of code and message, success and outcome.
        thread_keys, thread_starts, thread_ends: the last row of each thread, in ms.
        pending: packed counts that are not added up yet (`bulk_table.pack`).
        cell_keys, cell_values: a hash table of sums (`bulk_table.pack_cell`).
        heads, arrivals: a hash table of arrivals, chained, in the order of their last row.
        given: the one row that was read with care.
    """

    numbers: Ints = field(default_factory=_numbers)
    names: Bytes = field(default_factory=_names)
    label_slots: Ints = field(default_factory=lambda: _empty(NAME_SLOTS))
    labels: Ints = field(default_factory=lambda: _zeros(NAME_LIMIT, 3))
    outcome_slots: Ints = field(default_factory=lambda: _empty(NAME_SLOTS))
    outcomes: Ints = field(default_factory=lambda: _zeros(NAME_LIMIT, 5))
    thread_keys: Ints = field(default_factory=lambda: _zeros(THREAD_SLOTS))
    thread_starts: Ints = field(default_factory=lambda: _zeros(THREAD_SLOTS))
    thread_ends: Ints = field(default_factory=lambda: _zeros(THREAD_SLOTS))
    pending: Ints = field(default_factory=lambda: _zeros(PENDING_ROOM))
    cell_keys: Ints = field(default_factory=lambda: _zeros(CELL_SLOTS))
    cell_values: Ints = field(default_factory=lambda: _zeros(CELL_SLOTS))
    heads: Ints = field(default_factory=lambda: _empty(ARRIVAL_SLOTS))
    arrivals: Ints = field(default_factory=lambda: _zeros(REMEMBERED_ARRIVALS, 4))
    given: Ints = field(default_factory=lambda: _zeros(GIVEN))

    def arrays(self) -> Iterator[Ints | Bytes]:
        return (getattr(self, each.name) for each in fields(self))


class Texts:
    """Makes texts known to the kernel, unless there is no room left: then their rows stay unusual."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._used = len(_PREFIX)
        self._labels: set[bytes] = set()
        self._outcomes: set[tuple[bytes, bytes, int]] = set()

    def learn_label(self, text: bytes, number: int) -> None:
        at = len(self._labels)
        if text in self._labels or not self._has_room(text, at):
            return
        self._memory.labels[at] = (self._store(text), len(text), number)
        _insert(self._memory.label_slots, mixed_text(0, text), at)
        self._labels.add(text)

    def learn_outcome(self, code: bytes, message: bytes, success: int, outcome: int) -> None:
        """Makes known what a code and a message come to."""
        text, at = code + message, len(self._outcomes)
        if (code, message, success) in self._outcomes or not self._has_room(text, at):
            return
        self._memory.outcomes[at] = (self._store(text), len(code), len(message), success, outcome)
        _insert(self._memory.outcome_slots, mixed_text(mixed_text(success, code), message), at)
        self._outcomes.add((code, message, success))

    def _has_room(self, text: bytes, at: int) -> bool:
        return at < NAME_LIMIT and self._used + len(text) <= NAME_ROOM

    def _store(self, text: bytes) -> int:
        at = self._used
        self._memory.names[at : at + len(text)] = np.frombuffer(text, np.uint8)
        self._used += len(text)
        return at


def thread_key(name: str) -> int:
    """What the kernel knows a thread by, as a signed number: 0 marks an empty place."""
    key = mixed_text(0, name.encode()) | 1
    return key - (1 << 64) if key >> 63 else key


def _insert(slots: Ints, hashed: int, number: int) -> None:
    slot = hashed & (NAME_SLOTS - 1)
    while slots[slot] >= 0:
        slot = (slot + 1) & (NAME_SLOTS - 1)
    slots[slot] = number
