"""Whole JTL files: from a byte stream to histograms by second, label and outcome, fast and in constant memory.

`aggregate_jtl` reads a file and gives its sums; `iterate_seconds` hands over seconds as they are finished. What a row
means is as in `follow`, which follows a file that JMeter still writes: both are the same reader.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, cast

from include.capacity.jtl.bulk_result import JtlAggregate
from include.capacity.jtl.bulk_table import KIND_LAG, SecondTable, Totals
from include.capacity.jtl.layout import JtlOptions
from include.capacity.jtl.reader import JtlReader
from include.capacity.protocol import OUTCOMES

_GZIP = b"\x1f\x8b"


def aggregate_jtl(
    stream: BinaryIO,
    *,
    options: JtlOptions | None = None,
    sink: Callable[[SecondTable], None] | None = None,
    forgiving: bool = False,
) -> JtlAggregate:
    """Reads a whole JTL file, gzip or plain.

    Args:
        stream: of bytes, at the file's start; the caller closes it.
        sink: takes finished seconds. With it, the result holds totals only, so that memory does not grow with the
            length of the file; without it, the result's `table` holds every second.
        forgiving: reject records where a file would be refused, as the follower does.

    Raises:
        InvalidData: XML, UTF-16, no header where none was described, or more labels than `MAX_LABELS`. What is wrong
            with single records is counted and located in the result's `rejections`.
    """
    reader = JtlReader(options or JtlOptions(), forgiving=forgiving)
    totals, kept = Totals(), list[SecondTable]()
    for table in _tables(reader, stream):
        totals.add(table)
        (sink or kept.append)(table)
    return _result(reader, totals, None if sink else SecondTable.merged(kept))


def iterate_seconds(stream: BinaryIO, *, options: JtlOptions | None = None) -> Iterator[SecondTable]:
    """Hands over finished seconds, in pieces; adding up all pieces (`SecondTable.merged`) gives the file's table.

    Raises InvalidData as `aggregate_jtl` does. Rejections are not given: take `aggregate_jtl` with a sink for both.
    """
    return _tables(JtlReader(options or JtlOptions()), stream)


def _tables(reader: JtlReader, stream: BinaryIO) -> Iterator[SecondTable]:
    source = _unpacked(stream)
    ended = False
    while not ended:
        with reader.room() as room:
            read, ended, damage = _fill(source, room)
        reader.received(read)
        yield from reader.read(ended=ended)
        if damage:
            reader.damaged(damage)
    yield reader.take(everything=True)


def _fill(source: BinaryIO, room: memoryview) -> tuple[int, bool, str]:
    """Reads until the room is full or the file ends: bytes, whether it has ended, and why if before its time."""
    # One read at a time: a damaged gzip file then still gives what lies before the damage.
    read_into = getattr(source, "readinto1", None) or source.readinto  # type: ignore[attr-defined]
    filled = 0
    try:
        while filled < len(room):
            with room[filled:] as rest:
                read = read_into(rest)
            if not read:
                return filled, True, ""
            filled += read
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        return filled, True, f"the compressed file is damaged or cut off: {error}"
    return filled, False, ""


def _unpacked(stream: BinaryIO) -> BinaryIO:
    head = stream.read(len(_GZIP))
    joined = cast(BinaryIO, _Joined(head, stream))
    return cast(BinaryIO, gzip.GzipFile(fileobj=joined)) if head == _GZIP else joined


class _Joined:
    """A stream whose first bytes were read already."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head, self._rest = head, rest

    def read(self, size: int = -1) -> bytes:
        if self._head:
            size = len(self._head) if size < 0 else size
            piece, self._head = self._head[:size], self._head[size:]
            return piece
        return self._rest.read(size)

    def readinto(self, room: memoryview) -> int:
        if self._head:
            piece = self.read(len(room))
            room[: len(piece)] = piece
            return len(piece)
        return cast(int, self._rest.readinto(room))  # type: ignore[attr-defined]


def _result(reader: JtlReader, totals: Totals, table: SecondTable | None) -> JtlAggregate:
    names, counts = reader.labels, reader.counts()
    latency, size, lag = {}, {}, None
    for label, kind, histogram, octets in totals.items():
        if kind < len(OUTCOMES):
            latency[names[label], OUTCOMES[kind]] = histogram
            size[names[label], OUTCOMES[kind]] = octets
        elif kind == KIND_LAG:
            lag = histogram
    numbers = (reader.records, reader.headers, counts.foreign, counts.excluded, counts.controllers)
    engines = frozenset({reader.engine})
    return JtlAggregate.of(numbers, latency, size, lag, reader.take_rejections(), table, engines)
