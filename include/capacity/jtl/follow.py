"""Follows a JTL file that JMeter is still writing: bytes in, seconds out; lines that cannot be read are counted."""

from __future__ import annotations

from dataclasses import dataclass, replace

from include.capacity.jtl.bulk_table import SecondTable
from include.capacity.jtl.layout import JtlOptions
from include.capacity.jtl.reader import JtlReader
from include.capacity.jtl.seconds import Seconds

MAX_EXAMPLES = 5


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

    It reads in plain Python: a shard sees thousands of rows a second, for which a compiler would only cost memory.

    Args:
        name: of the file, for messages.
    """

    def __init__(self, name: str) -> None:
        options = JtlOptions(name=name, engine="python", sizes=True, examples=MAX_EXAMPLES)
        self._reader = JtlReader(options, forgiving=True)
        self._kept: list[SecondTable] = []
        self._told, self._foreign = Tally(), 0

    def feed(self, data: bytes) -> Tally:
        rest = memoryview(data)
        while rest:
            with self._reader.room() as room:
                size = min(len(room), len(rest))
                room[:size] = rest[:size]
            self._reader.received(size)
            self._kept += self._reader.read()
            rest = rest[size:]
        return self._new()

    def finish(self) -> Tally:
        """Reads what is left. A last line without its end was cut off by the death of its writer: it is rejected even
        where it looks complete, since its last number may have lost digits."""
        self._kept += self._reader.read(ended=True)
        return self._new()

    def drain(self) -> Seconds:
        """Everything since the last call; memory does not grow with the run."""
        table = SecondTable.merged([*self._kept, self._reader.take(everything=True)])
        self._kept = []
        foreign, before = self._reader.counts().foreign, self._foreign
        self._foreign = foreign
        return replace(table.seconds(), own_errors=self._reader.take_causes(), foreign=foreign - before)

    def drain_rejects(self) -> Rejects:
        rejections = self._reader.take_rejections()
        return Rejects(rejections.count, tuple(str(example) for example in rejections.examples))

    def _new(self) -> Tally:
        counts, told = self._reader.counts(), self._told
        self._told = Tally(counts.transactions, counts.errors)
        return Tally(counts.transactions - told.transactions, counts.errors - told.errors)
