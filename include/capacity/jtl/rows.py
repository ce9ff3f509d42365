"""One row of a JTL file (JMeter's CSV results): its numbers, whose arrival it belongs to, and what came out."""

from __future__ import annotations

import csv
from dataclasses import dataclass

from include.capacity.errors import InvalidData
from include.capacity.jtl.outcomes import explain
from include.capacity.protocol import Outcome

ARRIVAL_VARIABLE = "headroom_arrival"
"""JMeter variable `<arrival number>:<schedule lag in microseconds>`, written to every row of the user's samplers."""

_COLUMNS = ("timeStamp", "elapsed", "label", "responseCode", "responseMessage", "success", "bytes", ARRIVAL_VARIABLE)
_NO_VALUE = ("", "null")


@dataclass(frozen=True, slots=True)
class JtlRow:
    """One sample that JMeter recorded.

    Attributes:
        started_ms, elapsed_ms: wall clock of the sample's start (epoch milliseconds), and its duration.
        arrival: number of the arrival it belongs to; None for a sample that is not the user's (set-up and the like).
        lag_us: schedule lag of that arrival in microseconds; 0 without an arrival.
        bytes: received.
        cause: what of the generator's own failed, for `generator_error` only.
    """

    started_ms: int
    elapsed_ms: int
    label: str
    outcome: Outcome
    bytes: int
    arrival: int | None
    lag_us: int
    cause: str = ""


class RowError(ValueError):
    """A record is not a row; the message says why."""


class RowReader:
    """Reads records by the names in the file's header, in whatever order JMeter wrote them.

    Raises InvalidData when the header lacks a column that is needed.
    """

    def __init__(self, header: str) -> None:
        names = _fields(header)
        missing = [name for name in _COLUMNS if name not in names]
        if missing:
            raise InvalidData(f"The JTL file's header lacks {', '.join(missing)}: {header[:200]!r}.")
        self._width = len(names)
        positions = (names.index(name) for name in _COLUMNS)
        self._start, self._elapsed, self._label, self._code = (next(positions) for _ in range(4))
        self._message, self._success, self._bytes, self._arrival = positions

    def read(self, record: str) -> JtlRow:
        """Raises RowError for a record that is cut, has another number of fields, or numbers that are none."""
        fields = _fields(record)
        if len(fields) != self._width:
            raise RowError(f"{len(fields)} fields instead of {self._width}")
        success = fields[self._success]
        if success not in ("true", "false"):
            raise RowError(f"success is {success!r}, neither true nor false")
        try:
            started, elapsed, size = int(fields[self._start]), int(fields[self._elapsed]), int(fields[self._bytes])
            arrival, lag_us = _arrival(fields[self._arrival])
        except ValueError as error:
            raise RowError(str(error)) from None
        if started < 0 or elapsed < 0 or lag_us < 0:
            raise RowError(f"a negative time: started {started}, elapsed {elapsed}, lag {lag_us}")
        came_to = explain(fields[self._code], fields[self._message], success == "true")
        return JtlRow(started, elapsed, fields[self._label], came_to.outcome, size, arrival, lag_us, came_to.cause)


def _fields(record: str) -> list[str]:
    if '"' not in record:
        return record.split(",")
    try:
        return next(csv.reader([record], strict=True))
    except (csv.Error, StopIteration) as error:
        raise RowError(f"not CSV: {error}") from None


def _arrival(text: str) -> tuple[int | None, int]:
    if text in _NO_VALUE:
        return None, 0
    number, colon, lag = text.partition(":")
    if not colon:
        raise RowError(f"{ARRIVAL_VARIABLE} is {text!r} instead of number:microseconds")
    return int(number), int(lag)
