"""Follows a JTL file that JMeter is still writing: bytes in, seconds out; lines that cannot be read are counted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from include.capacity.errors import InvalidData
from include.capacity.jtl.records import RecordCutter
from include.capacity.jtl.rows import JtlRow, RowError, RowReader
from include.capacity.jtl.seconds import SecondAccumulator, Seconds

MAX_EXAMPLES = 5
_SHOWN = 120  # characters of a bad line that are shown


@dataclass(frozen=True, slots=True)
class Tally:
    """What a piece of the file held: transactions of the user, and those among them that were not `ok`."""

    transactions: int = 0
    errors: int = 0


@dataclass(frozen=True, slots=True)
class Rejects:
    """Lines that could not be read since the last time they were asked for, with the first few as examples."""

    count: int = 0
    examples: tuple[str, ...] = ()


class JtlFollower:
    """Feed it the file in pieces of any size; `finish` once when nothing more will come.

    Args:
        name: of the file, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._cutter = RecordCutter()
        self._reader: RowReader | None = None
        self._seconds = SecondAccumulator()
        self._rejected = 0
        self._examples: list[str] = []

    def feed(self, data: bytes) -> Tally:
        return self._add(self._cutter.feed(data))

    def finish(self) -> Tally:
        """Reads what is left. A last line without its end was cut off by the death of its writer: it is rejected even
        where it looks complete, since its last number may have lost digits."""
        for line, text in self._cutter.finish():
            self._reject(line, "cut off at the end of the file", text)
        return Tally()

    def drain(self) -> Seconds:
        return self._seconds.drain()

    def drain_rejects(self) -> Rejects:
        rejects = Rejects(self._rejected, tuple(self._examples))
        self._rejected, self._examples = 0, []
        return rejects

    def _add(self, records: Iterable[tuple[int, str]]) -> Tally:
        transactions = errors = 0
        for line, text in records:
            row = self._read(line, text)
            if row is None:
                continue
            self._seconds.add(row)
            if row.arrival is not None:
                transactions += 1
                errors += row.outcome != "ok"
        return Tally(transactions, errors)

    def _read(self, line: int, text: str) -> JtlRow | None:
        try:
            if self._reader is None:
                self._reader = RowReader(text)
                return None
            return self._reader.read(text)
        except (RowError, InvalidData) as error:
            self._reject(line, str(error), text)
            return None

    def _reject(self, line: int, reason: str, text: str) -> None:
        self._rejected += 1
        if len(self._examples) < MAX_EXAMPLES:
            shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
            self._examples.append(f"{self._name}, line {line}: {reason}: {shown!r}")
