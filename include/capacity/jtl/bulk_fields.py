"""The kernel's reading of bytes: where the fields of a row lie, numbers, hashes and comparisons, eight bytes at a time.

Machine code like `bulk_kernel`, and with the same constants: counts of bits and hashes are unsigned words, which would
become floats if they were mixed with signed numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from include.capacity.jtl.bulk_words import MULTIPLIER

if TYPE_CHECKING:

    def marks(buffer: Bytes, at: int, byte: Any) -> Any: ...
    def word(buffer: Bytes, at: Any) -> Any: ...
    def lowest(bits: Any) -> int: ...
    def ones(bits: Any) -> int: ...


Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
i64: Any = np.int64  # for mypy, all that the kernel computes is one kind of number

NEWLINE, QUOTE, CR = np.uint8(10), np.uint8(34), np.uint8(13)
U0, U1, U8, U10, U16 = np.uint64(0), np.uint64(1), np.uint64(8), np.uint64(10), np.uint64(16)
U29, U32, U64 = np.uint64(29), np.uint64(32), np.uint64(64)
MULTIPLY = np.uint64(MULTIPLIER)
ALL, ZEROS, ABOVE_NINE = np.uint64(0xFFFFFFFFFFFFFFFF), np.uint64(0x3030303030303030), np.uint64(0x4646464646464646)
HIGH_BITS, HUNDREDS = np.uint64(0x8080808080808080), np.uint64(0x000000FF000000FF)
TENS_1, TENS_2 = np.uint64(0x000F424000000064), np.uint64(0x0000271000000001)


def plain_fields(buffer: Bytes, pos: int, delim: Any, last: int, begins: Ints, ends: Ints) -> tuple[int, int]:
    """Where the fields up to number `last` of a row without quotes lie. Returns how many fields it has and where its
    newline is, or -1 and the place of a quote."""
    f = 0
    begin = base = pos
    while True:
        delimiters = marks(buffer, base, delim)
        stops = marks(buffer, base, NEWLINE) | marks(buffer, base, QUOTE)
        if stops != U0:
            delimiters &= stops ^ (stops - U1)  # those before the first stop
        while delimiters != U0 and f <= last:
            at = base + lowest(delimiters)
            begins[f] = begin
            ends[f] = at
            begin = at + 1
            f += 1
            delimiters &= delimiters - U1
        f += ones(delimiters)  # behind the last wanted field only the number matters
        if stops != U0:
            break
        base += 64
    q = base + lowest(stops)
    if buffer[q] == QUOTE:
        return -1, q
    if f <= last:
        e = q
        while e > begin and buffer[e - 1] == CR:
            e -= 1
        begins[f] = begin
        ends[f] = e
    return f + 1, q


def quoted_fields(buffer: Bytes, pos: int, end: int, delim: Any, begins: Ints, ends: Ints) -> tuple[int, int]:
    """The same for a row with quotes around whole fields; all fields are found. -1: anything less usual."""
    f = 0
    q = pos
    while True:
        b = q
        if buffer[q] == QUOTE:
            q += 1
            b = q
            while buffer[q] != QUOTE and buffer[q] != NEWLINE:
                q += 1
            e = q
            if buffer[q] == NEWLINE:
                return -1, q
            q += 1
            if buffer[q] == CR and q + 1 <= end and buffer[q + 1] == NEWLINE:
                q += 1
            if buffer[q] != delim and buffer[q] != NEWLINE:
                return -1, q
        else:
            while buffer[q] != delim and buffer[q] != NEWLINE and buffer[q] != QUOTE:
                q += 1
            e = q
            if buffer[q] == QUOTE:
                return -1, q
            if buffer[q] == NEWLINE:
                while e > b and buffer[e - 1] == CR:
                    e -= 1
        if f < begins.shape[0]:
            begins[f] = b
            ends[f] = e
        f += 1
        if buffer[q] == NEWLINE:
            break
        q += 1
    stop = q
    while stop > pos and buffer[stop - 1] == CR:
        stop -= 1
    for i in range(pos, stop):
        if buffer[i] == CR:
            return -1, q
    return f, q


def eight_digits(digits: Any) -> Any:
    """The number that 8 ASCII digits make, the first one lowest; -1 if one is none.

    Method: D. Lemire, "Quickly parsing eight digits" (2018): three multiplications add up neighbours, pairs, fours.
    """
    if ((digits + ABOVE_NINE) | (digits - ZEROS)) & HIGH_BITS != U0:
        return i64(-1)
    value = digits - ZEROS
    value = value * U10 + (value >> U8)
    value = ((value & HUNDREDS) * TENS_1 + ((value >> U16) & HUNDREDS) * TENS_2) >> U32
    return i64(value)


def number(buffer: Bytes, b: int, e: int) -> Any:
    """A number of 1 to 15 ASCII digits; -1 for anything else."""
    count = e - b
    if count <= 0 or count > 15:
        return i64(-1)
    high = i64(0)
    if count > 8:
        count -= 8
        low = eight_digits(word(buffer, b + count))
        places = np.uint64(count) * U8
        high = eight_digits((word(buffer, b) << (U64 - places)) | (ZEROS >> places))
        if high < 0 or low < 0:
            return i64(-1)
        return high * 100_000_000 + low
    if count == 8:
        return eight_digits(word(buffer, b))
    places = np.uint64(count) * U8
    return eight_digits((word(buffer, b) << (U64 - places)) | (ZEROS >> places))


def tail(buffer: Bytes, at: int, count: int) -> Any:
    """The next 1 to 7 bytes as a word."""
    return word(buffer, at) & (ALL >> (U64 - np.uint64(count) * U8))


def mixed(buffer: Bytes, b: int, e: int, seed: Any) -> Any:
    """A hash of some bytes; `bulk_words.mixed_text` is the same."""
    value = seed ^ np.uint64(e - b)
    while e - b >= 8:
        value = (value ^ word(buffer, b)) * MULTIPLY
        value ^= value >> U29
        b += 8
    if e > b:
        value = (value ^ tail(buffer, b, e - b)) * MULTIPLY
        value ^= value >> U29
    return value


def same(buffer: Bytes, b: int, e: int, names: Bytes, at: int) -> bool:
    """Whether some bytes are those that lie at a place of `names`."""
    while e - b >= 8:
        if word(buffer, b) != word(names, at):
            return False
        b += 8
        at += 8
    return e == b or tail(buffer, b, e - b) == tail(names, at, e - b)
