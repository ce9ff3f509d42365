"""The fast way through a block of a JTL file: functions that `bulk_compiled` turns into machine code.

They read a row only if nothing about it is unusual, and stop at any other, which then takes the careful way
(`rows.RowReader`). So they need no rule for errors, and each row's result is that of the careful way. Everything they
remember lies in arrays (`bulk_memory`), so that the two ways can take turns row by row.

`marks`, `word`, `lowest`, `ones` and `length` are those of `bulk_words`. Counts of bits and hashes are unsigned words:
mixed with signed numbers they would become floats, hence the constants below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from include.capacity.histogram import MAX_US
from include.capacity.jtl.bulk_fields import mixed, number, plain_fields, quoted_fields, same, tail
from include.capacity.jtl.bulk_memory import (
    A_THREAD,
    ARRIVAL_SLOTS,
    CELL_LIMIT,
    CELL_SLOTS,
    CELLS,
    CONTROLLERS,
    DELIM,
    DROP,
    EARLIEST,
    END,
    ERRORS,
    EXCLUDED,
    FOREIGN,
    FULL,
    KEPT,
    KNOWN,
    LAST_WANTED,
    LATEST,
    LINES,
    LOOK,
    MAX_SECOND,
    NAME_SLOTS,
    NEED_DATA,
    NEWEST,
    OLDEST,
    ONE_ROW,
    PENDING,
    POS,
    ROWS,
    THREAD_SLOTS,
    THREADS,
    UNUSUAL,
    WIDTH,
)
from include.capacity.jtl.bulk_table import KIND_COMPLETED, KIND_LAG, SECOND_OFFSET
from include.capacity.jtl.layout import MAX_ARRIVAL, MAX_BYTES, MAX_ELAPSED_MS
from include.capacity.jtl.rows import CONTROLLER_MESSAGE
from include.capacity.jtl.seconds import REMEMBERED_ARRIVALS, REMEMBERED_THREADS

if TYPE_CHECKING:

    def marks(buffer: Bytes, at: int, byte: Any) -> Any: ...
    def word(buffer: Bytes, at: Any) -> Any: ...
    def lowest(bits: Any) -> int: ...
    def length(value: int) -> int: ...


Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
i64: Any = np.int64  # for mypy, all that the kernel computes is one kind of number

CONTROLLER_BYTES = len(CONTROLLER_MESSAGE)
COLON, U0, U1 = np.uint8(58), np.uint64(0), np.uint64(1)
THOUSAND, MILLION = np.uint64(1000), np.uint64(1_000_000)
HIGH_BITS, LOW_4, LOW_5 = np.uint64(0x8080808080808080), np.uint64(0xFFFFFFFF), np.uint64(0xFFFFFFFFFF)
TRUE, FALSE, NULL = (np.uint64(int.from_bytes(text, "little")) for text in (b"true", b"false", b"null"))


def label_number(buffer: Bytes, b: int, e: int, names: Bytes, label_slots: Ints, labels: Ints) -> Any:
    """The number of a label that is known; -1 otherwise."""
    slot = i64(mixed(buffer, b, e, U0) & np.uint64(NAME_SLOTS - 1))
    while label_slots[slot] >= 0:
        n = label_slots[slot]
        if labels[n, 1] == e - b and same(buffer, b, e, names, labels[n, 0]):
            return labels[n, 2]
        slot = (slot + 1) & (NAME_SLOTS - 1)
    return i64(-1)


def outcome_number(
    buffer: Bytes, code: Any, message: Any, success: int, names: Bytes, outcome_slots: Ints, outcomes: Ints
) -> Any:
    """What a response code and message that are known come to; -1 for others."""
    b, e = code
    b2, e2 = message
    hashed = mixed(buffer, b2, e2, mixed(buffer, b, e, np.uint64(success)))
    slot = i64(hashed & np.uint64(NAME_SLOTS - 1))
    while outcome_slots[slot] >= 0:
        n = outcome_slots[slot]
        if outcomes[n, 1] == e - b and outcomes[n, 2] == e2 - b2 and outcomes[n, 3] == success:
            at = outcomes[n, 0]
            if same(buffer, b, e, names, at) and same(buffer, b2, e2, names, at + e - b):
                return outcomes[n, 4]
        slot = (slot + 1) & (NAME_SLOTS - 1)
    return i64(-1)


def is_well_formed(buffer: Bytes, b: int, e: int, names: Bytes, outcome_slots: Ints, outcomes: Ints) -> Any:
    """Whether a thread's name is ASCII, or known to be UTF-8."""
    seen = U0
    at = b
    while e - at >= 8:
        seen |= word(buffer, at)
        at += 8
    if e > at:
        seen |= tail(buffer, at, e - at)
    none = (i64(0), i64(0))
    return (
        seen & HIGH_BITS == U0
        or outcome_number(buffer, (b, e), none, i64(A_THREAD), names, outcome_slots, outcomes) >= 0
    )


def repeats_its_samples(s: Ints, threads: Any, key: int, started: int, elapsed: int, controller: bool) -> Any:
    """As `rows.ThreadMemory` tells."""
    keys, starts, stops = threads
    slot = key & (THREAD_SLOTS - 1)
    while keys[slot] != 0 and keys[slot] != key:
        slot = (slot + 1) & (THREAD_SLOTS - 1)
    repeats = False
    if keys[slot] == 0:
        if s[THREADS] >= REMEMBERED_THREADS:
            keys[:] = 0
            s[THREADS] = 0
            slot = key & (THREAD_SLOTS - 1)
        keys[slot] = key
        s[THREADS] += 1
    elif controller:
        repeats = starts[slot] >= started and stops[slot] > started
    starts[slot] = started
    stops[slot] = started + elapsed
    return repeats


def is_first(s: Ints, arrival: int, heads: Ints, memory: Ints) -> Any:
    """Whether a row is the first of its arrival, as `seconds.ArrivalMemory` tells."""
    slot = ((arrival * 0x9E3779B97F4A7C1) >> 24) & (ARRIVAL_SLOTS - 1)
    n = heads[slot]
    while n >= 0 and memory[n, 0] != arrival:
        n = memory[n, 1]
    first = n < 0
    if n == s[NEWEST] and not first:
        return False
    if not first or s[KNOWN] >= REMEMBERED_ARRIVALS:
        if first:
            n = s[OLDEST]  # the least recently seen gives up its place
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
            s[OLDEST] = newer
        if newer >= 0:
            memory[newer, 2] = older
        else:
            s[NEWEST] = older
    else:
        n = s[KNOWN]
        s[KNOWN] += 1
    if first:
        memory[n, 0] = arrival
        memory[n, 1] = heads[slot]
        heads[slot] = n
    memory[n, 2] = s[NEWEST]
    memory[n, 3] = -1
    if s[NEWEST] >= 0:
        memory[s[NEWEST], 3] = n
    else:
        s[OLDEST] = n
    s[NEWEST] = n
    return first


def add_to_cell(s: Ints, key: int, value: int, cell_keys: Ints, cell_values: Ints) -> None:
    slot = ((key * 0x9E3779B97F4A7C1) >> 28) & (CELL_SLOTS - 1)
    while cell_keys[slot] != key and cell_keys[slot] != 0:
        slot = (slot + 1) & (CELL_SLOTS - 1)
    if cell_keys[slot] == 0:
        cell_keys[slot] = key
        s[CELLS] += 1
    cell_values[slot] += value


def bucket(value: int) -> Any:
    """As `histogram.bucket_of`."""
    value = min(value, int(MAX_US))
    shift: Any = max(length(value) - 8, i64(0))
    return (shift << 7) + (value >> shift)


def add_row(s: Ints, row: Any, has_arrivals: bool, sums: Any, threads: Any) -> None:
    """Adds up one row, or leaves it out; see `bulk_memory.GIVEN` for its numbers."""
    started, elapsed, label, outcome, size, arrival, lag, thread, controller = row
    pending, cell_keys, cell_values, heads, arrivals = sums
    s[ROWS] += 1
    repeats = s[CONTROLLERS] == DROP and controller != 0
    if s[CONTROLLERS] == LOOK and thread != 0:
        repeats = repeats_its_samples(s, threads, thread, started, elapsed, controller != 0)
    if repeats:
        s[EXCLUDED] += 1
        return
    first = False
    if has_arrivals:
        if arrival < 0:
            s[FOREIGN] += 1
            return
        first = is_first(s, arrival, heads, arrivals)
    if not first:
        lag = i64(0)
    s[KEPT] += controller
    s[ERRORS] += outcome != 0
    since = np.uint64(started * 1000 - lag + SECOND_OFFSET * 1_000_000)  # above 0: an unsigned division is a fast one
    second = i64(since // MILLION)
    s[MAX_SECOND] = max(s[MAX_SECOND], second)
    n = s[PENDING]
    pending[n] = (second << 30) | (label << 16) | (outcome << 13) | bucket(elapsed * 1000 + lag)
    if first:
        n += 1
        pending[n] = (second << 30) | (KIND_LAG << 13) | bucket(lag)
    s[PENDING] = n + 1
    add_to_cell(s, (second << 17) | (label << 3) | outcome, size, cell_keys, cell_values)
    ended = i64(np.uint64(started + elapsed) // THOUSAND) + SECOND_OFFSET
    add_to_cell(s, (ended << 17) | KIND_COMPLETED, 1, cell_keys, cell_values)


def consume(
    buffer: Bytes, s: Ints, wanted: Ints, begins: Ints, ends: Ints, texts: Any, threads: Any, sums: Any, given: Ints
) -> int:
    """Adds rows from `s[POS]` on until the block ends, a row is unusual or a table is full; returns which of these.

    `buffer[s[END]]` must be a newline: it ends the search for delimiters; `BLOCK` bytes of any kind must follow it.
    With `s[ONE_ROW]` 1 it adds the one row whose numbers are `given` and reads nothing.
    """
    names, label_slots, labels, outcome_slots, outcomes = texts
    room, has_arrivals = sums[0].shape[0] - 2, wanted[7] >= 0
    if s[PENDING] > room or s[CELLS] > CELL_LIMIT - 2:
        return FULL
    if s[ONE_ROW] == 1:
        row = (given[0], given[1], given[2], given[3], given[4], given[5], given[6], given[7], given[8])
        add_row(s, row, has_arrivals, sums, threads)
        return NEED_DATA

    pos, end, width, last, delim = s[POS], s[END], s[WIDTH], s[LAST_WANTED], np.uint8(s[DELIM])
    nothing = (i64(0), i64(0))
    status = UNUSUAL
    while True:
        if s[PENDING] > room or s[CELLS] > CELL_LIMIT - 2:
            status = FULL
            break
        count, q = plain_fields(buffer, pos, delim, last, begins, ends)
        if count < 0:
            count, q = quoted_fields(buffer, pos, end, delim, begins, ends)
        if q >= end:
            status = NEED_DATA
            break
        if count != width:
            break

        started = number(buffer, begins[wanted[0]], ends[wanted[0]])
        elapsed = number(buffer, begins[wanted[1]], ends[wanted[1]])
        if started < s[EARLIEST] or started > s[LATEST] or elapsed < 0 or elapsed > MAX_ELAPSED_MS:
            break
        size = i64(0)
        if wanted[6] >= 0:
            size = number(buffer, begins[wanted[6]], ends[wanted[6]])
            if size < 0 or size > MAX_BYTES:
                break
        arrival, lag = i64(-1), i64(0)
        if has_arrivals:
            b, e = begins[wanted[7]], ends[wanted[7]]
            if e != b and not (e - b == 4 and word(buffer, b) & LOW_4 == NULL):
                found = marks(buffer, b, COLON)
                colon = b + lowest(found) if found != U0 else e
                if colon >= e:
                    break
                arrival, lag = number(buffer, b, colon), number(buffer, colon + 1, e)
                if arrival < 0 or arrival > MAX_ARRIVAL or lag < 0 or lag > MAX_ELAPSED_MS * 1000:
                    break

        # A text that was not seen before is unusual: the careful way makes it known.
        b, e = begins[wanted[3]], ends[wanted[3]]
        success = i64(1)
        if not (e - b == 4 and word(buffer, b) & LOW_4 == TRUE):
            if not (e - b == 5 and word(buffer, b) & LOW_5 == FALSE):
                break
            success = i64(0)
        message = (begins[wanted[5]], ends[wanted[5]]) if wanted[5] >= 0 else nothing
        outcome = i64(0)
        if success == 0:
            code = (begins[wanted[4]], ends[wanted[4]]) if wanted[4] >= 0 else nothing
            outcome = outcome_number(buffer, code, message, success, names, outcome_slots, outcomes)
        label = label_number(buffer, begins[wanted[2]], ends[wanted[2]], names, label_slots, labels)
        if outcome < 0 or label < 0:
            break
        b, e = message
        controller = i64(e - b >= CONTROLLER_BYTES and same(buffer, b, b + CONTROLLER_BYTES, names, 0))
        thread = i64(0)
        if wanted[8] >= 0 and s[CONTROLLERS] == LOOK:
            b, e = begins[wanted[8]], ends[wanted[8]]
            if not is_well_formed(buffer, b, e, names, outcome_slots, outcomes):
                break
            thread = i64(mixed(buffer, b, e, U0) | U1)

        s[LINES] += 1
        pos = q + 1
        row = (started, elapsed, label, outcome, size, arrival, lag, thread, controller)
        add_row(s, row, has_arrivals, sums, threads)
    s[POS] = pos
    return status
