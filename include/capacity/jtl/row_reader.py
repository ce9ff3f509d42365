"""One record of a JTL file, read with care: the only rules of what is a row, and what is wrong with one that is not."""

from __future__ import annotations

import csv
import re

from include.capacity.jtl.layout import MAX_ARRIVAL, MAX_BYTES, MAX_ELAPSED_MS, JtlOptions, Layout, split
from include.capacity.jtl.outcomes import explain
from include.capacity.jtl.rows import ARRIVAL_VARIABLE, CONTROLLER_MESSAGE, JtlRow

_NUMBER = re.compile(r"-?[0-9]{1,18}")  # ASCII digits only: int() would take "1_000" and " 7", too


class Rejected(ValueError):
    """A record is not a row. `kind` is one of a few words to count by, the message says what is wrong."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(kind, reason)
        self.kind, self.reason = kind, reason


class RowReader:
    """Reads records of one layout."""

    def __init__(self, layout: Layout, options: JtlOptions) -> None:
        self._layout, self._options = layout, options
        positions = iter(layout.wanted)
        self._start, self._elapsed, self._label, self._success = (next(positions) for _ in range(4))
        self._code, self._message, self._bytes, self._arrival, self._thread = positions

    def read(self, record: str) -> tuple[JtlRow, str, str]:
        """Returns the row, its response code and its message. A row without an arrival is foreign in a file that has
        arrivals, and counts in one that has none.

        Raises Rejected.
        """
        try:
            fields = split(record, self._layout.delimiter)
        except csv.Error as error:
            raise Rejected("quotes", f"not CSV: {error}") from None
        if len(fields) != len(self._layout.columns):
            raise Rejected("fields", f"{len(fields)} fields instead of {len(self._layout.columns)}")
        success = fields[self._success]
        if success not in ("true", "false"):
            raise Rejected("success", f"success is {success[:40]!r}, neither true nor false")
        options = self._options
        started = _number("timeStamp", fields[self._start], options.earliest_ms, options.latest_ms)
        elapsed = _number("elapsed", fields[self._elapsed], 0, MAX_ELAPSED_MS)
        size = _number("bytes", fields[self._bytes], 0, MAX_BYTES) if self._bytes >= 0 else 0
        arrival, lag_us = self._read_arrival(fields)
        code = fields[self._code] if self._code >= 0 else ""
        message = fields[self._message] if self._message >= 0 else ""
        outcome, cause = explain(code, message, success == "true")
        thread = fields[self._thread] if self._thread >= 0 else None
        numbers = (started, elapsed, fields[self._label], outcome, size, arrival, lag_us)
        row = JtlRow(*numbers, cause, thread, message.startswith(CONTROLLER_MESSAGE))
        return row, code, message

    def _read_arrival(self, fields: list[str]) -> tuple[int | None, int]:
        if self._arrival < 0:
            return None, 0
        text = fields[self._arrival]
        if text in ("", "null"):
            return None, 0
        number, colon, lag = text.partition(":")
        if not colon:
            raise Rejected("number", f"{ARRIVAL_VARIABLE} is {text[:40]!r} instead of number:microseconds")
        return (
            _number(f"{ARRIVAL_VARIABLE}'s number", number, 0, MAX_ARRIVAL),
            _number(f"{ARRIVAL_VARIABLE}'s lag", lag, 0, MAX_ELAPSED_MS * 1000),
        )


def _number(name: str, text: str, low: int, high: int) -> int:
    if len(text) <= 15 and text.isdigit() and text.isascii() and low <= int(text) <= high:  # nearly always
        return int(text)
    if not _NUMBER.fullmatch(text):
        if text.isascii() and text.isdigit():
            raise Rejected("range", f"{name} is absurd: a number of {len(text)} digits")
        cure = "; let JMeter write epoch milliseconds (jmeter.save.saveservice.timestamp_format=ms)"
        raise Rejected("number", f"{name} is {text[:40]!r}, not a number{cure if name == 'timeStamp' else ''}")
    value = int(text)
    if value < 0:
        raise Rejected("range", f"{name} is negative: {value}")
    if not low <= value <= high:
        raise Rejected("range", f"{name} is absurd: {value} is not between {low} and {high}")
    return value
