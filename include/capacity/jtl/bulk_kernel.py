"""The fast way through a block of a JTL file: one function that numba compiles.

It reads a row only if nothing about it is unusual, and stops at any other, which then takes the careful way. So it
needs no rule for errors, and each row's result is that of the careful way. Everything it remembers lies
in arrays, so that the two ways can take turns row by row.

Where numba is missing the function can still be called as plain Python (slowly), which the tests use to read its
coverage; production then takes the Python engine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from include.capacity.histogram import MAX_US
from include.capacity.jtl.bulk_layout import MAX_ARRIVAL, MAX_BYTES, MAX_ELAPSED_MS
from include.capacity.jtl.bulk_table import KIND_COMPLETED, KIND_LAG, SECOND_OFFSET
from include.capacity.jtl.seconds import REMEMBERED_ARRIVALS

Ints = npt.NDArray[np.int64]

# Indexes into the array of single numbers.
POS, END, DELIM, WIDTH, EARLIEST, LATEST, MODE = range(7)
PENDING, CELLS, FOREIGN, EXCLUDED, ROWS, LINES = range(7, 13)
KNOWN, OLDEST, NEWEST, EXCLUDE, MAX_SECOND, LAST_WANTED = range(13, 19)
NUMBERS = 19

NEED_DATA, UNUSUAL, FULL = 0, 1, 2  # why `consume` returned
PENDING_ROOM = 1 << 20
CELL_SLOTS = 1 << 17
CELL_LIMIT = CELL_SLOTS // 2
NAME_SLOTS = 1 << 16
NAME_LIMIT = 1 << 14
NAME_ROOM = 1 << 21
ARRIVAL_SLOTS = 1 << 16
LONGEST_QUOTED = 131_072  # csv.field_size_limit: where the careful way refuses a field
EXCLUDED_ROW = 7  # in place of an outcome


def consume(
    buffer: npt.NDArray[np.uint8],
    special: npt.NDArray[np.uint8],
    s: Ints,
    wanted: Ints,
    begins: Ints,
    ends: Ints,
    names: npt.NDArray[np.uint8],
    label_slots: Ints,
    labels: Ints,
    outcome_slots: Ints,
    outcomes: Ints,
    pending: Ints,
    cell_keys: Ints,
    cell_values: Ints,
    heads: Ints,
    memory: Ints,
    given: Ints,
) -> int:
    """Adds rows from `s[POS]` on until the block ends, a row is unusual or a table is full; returns which of these.

    `buffer[s[END]]` must be a newline: it ends the search for delimiters. With `s[MODE]` 1 it adds the one row whose
    numbers are `given` (start, elapsed, label, outcome, bytes, arrival or -1, lag) and reads nothing.
    """
    pos, end, delim, width = s[0], s[1], s[2], s[3]
    mode = s[6]
    has_arrivals = wanted[7] >= 0
    rows = 0
    status = 0
    while True:
        if s[7] + 2 > pending.shape[0] or s[8] + 2 > CELL_LIMIT:
            status = FULL
            break
        if mode == 1:
            started, elapsed, label, outcome, size, arrival, lag = (
                given[0],
                given[1],
                given[2],
                given[3],
                given[4],
                given[5],
                given[6],
            )
            q = pos
        else:
            # 1. Where the fields lie.
            q = pos
            f = 0
            quotes = False
            usual = True
            while True:
                if f > s[18]:  # of the columns behind the last wanted one, only the number matters
                    at_byte = np.uint64(q)
                    delimiters = np.int64(0)
                    while special[buffer[at_byte]] < 2:
                        delimiters += special[buffer[at_byte]]
                        at_byte += np.uint64(1)
                    if buffer[at_byte] == 10:
                        q = np.int64(at_byte)
                        f += int(delimiters) + 1
                        break
                b = q
                if buffer[q] == 34:
                    quotes = True
                    q += 1
                    b = q
                    while buffer[q] != 34 and buffer[q] != 10:
                        q += 1
                    e = q
                    if buffer[q] == 10:
                        usual = False
                        break
                    q += 1
                    if buffer[q] == 13 and q + 1 <= end and buffer[q + 1] == 10:
                        q += 1
                    if buffer[q] != delim and buffer[q] != 10:
                        usual = False
                        break
                else:
                    at_byte = np.uint64(q)  # an unsigned index costs no look at whether it is negative
                    while special[buffer[at_byte]] == 0:
                        at_byte += np.uint64(1)
                    q = np.int64(at_byte)
                    e = q
                    if buffer[q] == 34:
                        usual = False
                        break
                    if buffer[q] == 10:
                        while e > b and buffer[e - 1] == 13:
                            e -= 1
                if f < width:
                    begins[f] = b
                    ends[f] = e
                f += 1
                if buffer[q] == 10:
                    break
                q += 1
            if q >= end:
                status = NEED_DATA
                break
            if not usual or f != width:
                status = UNUSUAL
                break
            if quotes:
                if q - pos > LONGEST_QUOTED:
                    status = UNUSUAL
                    break
                stop = q
                while stop > pos and buffer[stop - 1] == 13:
                    stop -= 1
                for i in range(pos, stop):
                    if buffer[i] == 13:
                        usual = False
                if not usual:
                    status = UNUSUAL
                    break

            # 2. The numbers.
            started = np.int64(0)
            elapsed = np.int64(0)
            size = np.int64(0)
            arrival = np.int64(-1)
            lag = np.int64(0)
            for k in range(5):
                column = wanted[0] if k == 0 else wanted[1] if k == 1 else wanted[6] if k == 2 else wanted[7]
                if column < 0:
                    continue
                b, e = begins[column], ends[column]
                if k >= 3:  # "number:lag"
                    if e == b or (e - b == 4 and buffer[b] == 110 and buffer[b + 1] == 117 and buffer[b + 2] == 108):
                        if e > b and buffer[b + 3] != 108:
                            usual = False
                        continue
                    colon = b
                    while colon < e and buffer[colon] != 58:
                        colon += 1
                    if colon == e:
                        usual = False
                    if k == 3:
                        e = colon
                    else:
                        b = colon + 1
                if e <= b or e - b > 15:
                    usual = False
                    continue
                number = np.int64(0)
                for i in range(np.uint64(b), np.uint64(e)):
                    digit = np.int64(buffer[i]) - 48
                    if digit < 0 or digit > 9:
                        usual = False
                    number = number * 10 + digit
                if k == 0:
                    started = number
                elif k == 1:
                    elapsed = number
                elif k == 2:
                    size = number
                elif k == 3:
                    arrival = number
                else:
                    lag = number
            if (
                not usual
                or started < s[4]
                or started > s[5]
                or elapsed > MAX_ELAPSED_MS
                or size > MAX_BYTES
                or arrival > MAX_ARRIVAL
                or lag > MAX_ELAPSED_MS * 1000
            ):
                status = UNUSUAL
                break

            # 3. Success, outcome and label. A text that was not seen before is unusual: the careful way makes it known.
            b, e = begins[wanted[3]], ends[wanted[3]]
            success = np.int64(0)
            if (
                e - b == 4
                and buffer[b] == 116
                and buffer[b + 1] == 114
                and buffer[b + 2] == 117
                and buffer[b + 3] == 101
            ):
                success = np.int64(1)
            elif not (
                e - b == 5
                and buffer[b] == 102
                and buffer[b + 1] == 97
                and buffer[b + 2] == 108
                and buffer[b + 3] == 115
                and buffer[b + 4] == 101
            ):
                status = UNUSUAL
                break
            outcome = np.int64(0)
            if success == 0 or s[16] == 1:
                b, e = (begins[wanted[4]], ends[wanted[4]]) if wanted[4] >= 0 else (np.int64(0), np.int64(0))
                b2, e2 = (begins[wanted[5]], ends[wanted[5]]) if wanted[5] >= 0 else (np.int64(0), np.int64(0))
                h = success
                for i in range(b, e):
                    h = h * 31 + buffer[i]
                for i in range(b2, e2):
                    h = h * 31 + buffer[i]
                slot = ((h * 0x9E3779B97F4A7C1) >> 24) & (NAME_SLOTS - 1)
                found = np.int64(-1)
                while outcome_slots[slot] >= 0:
                    n = outcome_slots[slot]
                    if outcomes[n, 1] == e - b and outcomes[n, 2] == e2 - b2 and outcomes[n, 3] == success:
                        at = outcomes[n, 0]
                        same = True
                        for i in range(e - b):
                            if names[at + i] != buffer[b + i]:
                                same = False
                        for i in range(e2 - b2):
                            if names[at + e - b + i] != buffer[b2 + i]:
                                same = False
                        if same:
                            found = n
                            break
                    slot = (slot + 1) & (NAME_SLOTS - 1)
                if found < 0:
                    status = UNUSUAL
                    break
                outcome = outcomes[found, 4]
            b, e = begins[wanted[2]], ends[wanted[2]]
            h = e - b
            for i in range(np.uint64(b), np.uint64(e)):
                h = h * 31 + buffer[i]
            slot = ((h * 0x9E3779B97F4A7C1) >> 24) & (NAME_SLOTS - 1)
            label = np.int64(-1)
            while label_slots[slot] >= 0:
                n = label_slots[slot]
                if labels[n, 1] == e - b:
                    at_byte = np.uint64(b)
                    at_name = np.uint64(labels[n, 0])
                    same = True
                    for i in range(np.uint64(e - b)):
                        if names[at_name + i] != buffer[at_byte + i]:
                            same = False
                    if same:
                        label = labels[n, 2]
                        break
                slot = (slot + 1) & (NAME_SLOTS - 1)
            if label < 0:
                status = UNUSUAL
                break

        # 4. Whose row it is, and whether it is the first of its arrival.
        s[11] += 1
        rows += 1
        pos = q + 1
        if outcome == EXCLUDED_ROW:
            s[10] += 1
            if mode == 1:
                break
            continue
        first = False
        if has_arrivals:
            if arrival < 0:
                s[9] += 1
                if mode == 1:
                    break
                continue
            slot = ((arrival * 0x9E3779B97F4A7C1) >> 24) & (ARRIVAL_SLOTS - 1)
            n = heads[slot]
            while n >= 0 and memory[n, 0] != arrival:
                n = memory[n, 1]
            first = n < 0
            if n != s[15] or first:
                if not first or s[13] >= REMEMBERED_ARRIVALS:
                    if first:
                        n = s[14]  # the least recently seen gives up its place
                        old = ((memory[n, 0] * 0x9E3779B97F4A7C1) >> 24) & (ARRIVAL_SLOTS - 1)
                        if heads[old] == n:
                            heads[old] = memory[n, 1]
                        else:
                            i = heads[old]
                            while memory[i, 1] != n:
                                i = memory[i, 1]
                            memory[i, 1] = memory[n, 1]
                    older, newer = memory[n, 2], memory[n, 3]
                    if older >= 0:
                        memory[older, 3] = newer
                    else:
                        s[14] = newer
                    if newer >= 0:
                        memory[newer, 2] = older
                    else:
                        s[15] = older
                else:
                    n = s[13]
                    s[13] += 1
                if first:
                    memory[n, 0] = arrival
                    memory[n, 1] = heads[slot]
                    heads[slot] = n
                memory[n, 2] = s[15]
                memory[n, 3] = -1
                if s[15] >= 0:
                    memory[s[15], 3] = n
                else:
                    s[14] = n
                s[15] = n
        if not first:
            lag = np.int64(0)

        # 5. Into the tables.
        second = (started * 1000 - lag) // 1_000_000 + SECOND_OFFSET
        if second > s[17]:
            s[17] = second
        for k in range(2):
            if k == 1 and not first:
                break
            value = elapsed * 1000 + lag if k == 0 else lag
            if value > MAX_US:
                value = np.int64(MAX_US)
            shift = np.int64(0)
            while (value >> shift) >= 65536:
                shift += 8
            while (value >> shift) >= 256:
                shift += 1
            bucket = (shift << 7) + (value >> shift)
            if k == 0:
                pending[s[7]] = (second << 30) | (label << 16) | (outcome << 13) | bucket
            else:
                pending[s[7]] = (second << 30) | (KIND_LAG << 13) | bucket
            s[7] += 1
        for k in range(2):
            if k == 0:
                key = (second << 17) | (label << 3) | outcome
                value = size
            else:
                key = (((started + elapsed) // 1000 + SECOND_OFFSET) << 17) | KIND_COMPLETED
                value = np.int64(1)
            slot = ((key * 0x9E3779B97F4A7C1) >> 28) & (CELL_SLOTS - 1)
            while cell_keys[slot] != key and cell_keys[slot] != 0:
                slot = (slot + 1) & (CELL_SLOTS - 1)
            if cell_keys[slot] == 0:
                cell_keys[slot] = key
                s[8] += 1
            cell_values[slot] += value
        if mode == 1:
            break
    if mode == 0:
        s[0] = pos
        s[12] += rows
    return status


@lru_cache(maxsize=1)
def compiled() -> Callable[..., int]:
    """The kernel as machine code; compiled once and kept in numba's cache. Raises ImportError without numba."""
    import numba

    ints, table, octets = numba.int64[::1], numba.int64[:, ::1], numba.uint8[::1]
    signature = numba.int64(
        *(octets, octets, ints, ints, ints, ints, octets, ints, table, ints, table),
        *(ints, ints, ints, ints, table, ints),
    )
    settings: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    function: Callable[..., int]
    try:
        function = numba.njit(signature, cache=True, **settings)(consume)
    except RuntimeError:  # neither the cache's folder nor the module's can be written
        function = numba.njit(signature, **settings)(consume)
    return function


def _numbers() -> Ints:
    numbers = np.zeros(NUMBERS, np.int64)
    numbers[OLDEST] = numbers[NEWEST] = -1
    return numbers


def _filled(shape: int | tuple[int, ...], value: int) -> Ints:
    return np.full(shape, value, np.int64)


@dataclass(slots=True)
class Tables:
    """All that the kernel remembers; see `consume`."""

    numbers: Ints = field(default_factory=_numbers)
    names: npt.NDArray[np.uint8] = field(default_factory=lambda: np.zeros(NAME_ROOM, np.uint8))
    label_slots: Ints = field(default_factory=lambda: _filled(NAME_SLOTS, -1))
    labels: Ints = field(default_factory=lambda: np.zeros((NAME_LIMIT, 3), np.int64))
    outcome_slots: Ints = field(default_factory=lambda: _filled(NAME_SLOTS, -1))
    outcomes: Ints = field(default_factory=lambda: np.zeros((NAME_LIMIT, 5), np.int64))
    pending: Ints = field(default_factory=lambda: np.zeros(PENDING_ROOM, np.int64))
    cell_keys: Ints = field(default_factory=lambda: np.zeros(CELL_SLOTS, np.int64))
    cell_values: Ints = field(default_factory=lambda: np.zeros(CELL_SLOTS, np.int64))
    heads: Ints = field(default_factory=lambda: _filled(ARRIVAL_SLOTS, -1))
    memory: Ints = field(default_factory=lambda: np.zeros((REMEMBERED_ARRIVALS, 4), np.int64))
    used_names: int = 0
    known_labels: set[bytes] = field(default_factory=set)
    known_outcomes: set[tuple[bytes, bytes, bool]] = field(default_factory=set)

    def learn_label(self, text: bytes, number: int) -> None:
        """Makes a label known to the kernel, unless there is no room left: then its rows stay unusual."""
        at = len(self.known_labels)
        if text in self.known_labels or at >= NAME_LIMIT or self.used_names + len(text) > NAME_ROOM:
            return
        self.labels[at] = (self._store(text), len(text), number)
        _insert(self.label_slots, len(text), text, at)
        self.known_labels.add(text)

    def learn_outcome(self, code: bytes, message: bytes, success: bool, outcome: int) -> None:
        """Makes known what a code and a message come to."""
        text, at = code + message, len(self.known_outcomes)
        known = (code, message, success) in self.known_outcomes
        if known or at >= NAME_LIMIT or self.used_names + len(text) > NAME_ROOM:
            return
        self.outcomes[at] = (self._store(text), len(code), len(message), success, outcome)
        _insert(self.outcome_slots, int(success), text, at)
        self.known_outcomes.add((code, message, success))

    def _store(self, text: bytes) -> int:
        at = self.used_names
        self.names[at : at + len(text)] = np.frombuffer(text, np.uint8)
        self.used_names += len(text)
        return at


_WORD = (1 << 64) - 1


def _insert(slots: Ints, start: int, text: bytes, number: int) -> None:
    value = start
    for octet in text:
        value = (value * 31 + octet) & _WORD
    slot = ((value * 0x9E3779B97F4A7C1 & _WORD) >> 24) & (NAME_SLOTS - 1)
    while slots[slot] >= 0:
        slot = (slot + 1) & (NAME_SLOTS - 1)
    slots[slot] = number
