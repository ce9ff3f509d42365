"""Whole JTL files: from a byte stream to histograms by second, label and outcome, fast and in constant memory.

`aggregate_jtl` reads a file and gives its sums; `iterate_seconds` hands over seconds as they are finished. What a row
means is as in `rows` and `seconds`, which follow a file that JMeter still writes.
"""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, cast

import numpy as np

from include.capacity.errors import InvalidData
from include.capacity.jtl.bulk_engines import Engine, engine
from include.capacity.jtl.bulk_kernel import FULL, NEED_DATA
from include.capacity.jtl.bulk_layout import BOM, JtlOptions, Layout, first_layout, header, refuse_other_formats
from include.capacity.jtl.bulk_result import JtlAggregate, Rejection, Rejections
from include.capacity.jtl.bulk_rows import CarefulReader, Rejected
from include.capacity.jtl.bulk_table import MAX_LABELS, SecondTable, Totals
from include.capacity.jtl.records import MAX_RECORD_LINES
from include.capacity.protocol import OUTCOMES

BUFFER_BYTES = 1 << 20
"""A record must fit in: longer ones are rejected, so that a file without line ends cannot fill the memory."""
_SHOWN = 120
_NEWLINE = 10


def aggregate_jtl(
    stream: BinaryIO, *, options: JtlOptions | None = None, sink: Callable[[SecondTable], None] | None = None
) -> JtlAggregate:
    """Reads a whole JTL file, gzip or plain.

    Args:
        stream: of bytes, at the file's start; the caller closes it.
        sink: takes finished seconds. With it, the result holds totals only, so that memory does not grow with the
            length of the file; without it, the result's `table` holds every second.

    Raises:
        InvalidData: XML, UTF-16, no header where none was described, or more labels than `MAX_LABELS`. What is wrong
            with single records is counted and located in the result's `rejections`.
    """
    reader = _Reader(stream, options or JtlOptions())
    totals, kept = Totals(), list[SecondTable]()
    for table in reader.tables():
        totals.add(table)
        (sink or kept.append)(table)
    return reader.result(totals, None if sink else SecondTable.merged(kept))


def iterate_seconds(stream: BinaryIO, *, options: JtlOptions | None = None) -> Iterator[SecondTable]:
    """Hands over finished seconds, in pieces; adding up all pieces (`SecondTable.merged`) gives the file's table.

    Raises InvalidData as `aggregate_jtl` does. Rejections are not given: take `aggregate_jtl` with a sink for both.
    """
    return _Reader(stream, options or JtlOptions()).tables()


@dataclass(slots=True)
class _Count:
    records: int = 0
    headers: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    examples: list[Rejection] = field(default_factory=list)


class _Reader:
    def __init__(self, stream: BinaryIO, options: JtlOptions) -> None:
        self._options = options
        self._engine: Engine = engine(options)
        self._raw = bytearray(BUFFER_BYTES + 1)  # one more for the newline behind the end
        self._buffer = np.frombuffer(self._raw, np.uint8)
        self._pos = self._end = 0
        self._line = 1
        self._ended = False
        self._damage = ""
        self._count = _Count()
        self._labels: dict[str, int] = {}
        self._layout: Layout | None = None
        self._careful: CarefulReader | None = None
        self._stream = stream
        self._open()

    def _open(self) -> None:
        self._fill()
        if self._raw[:2] == b"\x1f\x8b" and self._end >= 2:
            head, self._end, self._ended = bytes(self._raw[: self._end]), 0, False
            self._stream = cast(BinaryIO, gzip.GzipFile(fileobj=cast(BinaryIO, _Joined(head, self._stream))))
            self._fill()
        refuse_other_formats(bytes(self._raw[: min(self._end, 200)]), self._options.name)

    def tables(self) -> Iterator[SecondTable]:
        while self._step():
            yield self._take(everything=False)
        if self._damage:
            self._reject(self._line, "compression", self._damage, "")
        yield self._take(everything=True)

    def result(self, totals: Totals, table: SecondTable | None) -> JtlAggregate:
        names = list(self._labels)
        latency, size, lag = {}, {}, None
        for label, kind, histogram, octets in totals.items():
            if kind < len(OUTCOMES):
                latency[names[label], OUTCOMES[kind]] = histogram
                size[names[label], OUTCOMES[kind]] = octets
            else:
                lag = histogram
        count = self._count
        rejections = Rejections(dict(count.rejected), tuple(count.examples), self._options.examples)
        counts = (count.records + self._engine.rows, count.headers, self._engine.foreign, self._engine.excluded)
        return JtlAggregate.of(counts, latency, size, lag, rejections, table, frozenset({self._engine.name}))

    # -- bytes

    def _fill(self) -> None:
        """Moves what is unread to the buffer's start and reads until the buffer is full or the file ends."""
        unread = self._end - self._pos
        self._raw[:unread] = self._raw[self._pos : self._end]
        self._pos, self._end = 0, unread
        # One read at a time: a damaged gzip file then still gives what lies before the damage.
        read_into = getattr(self._stream, "readinto1", None) or self._stream.readinto  # type: ignore[attr-defined]
        view = memoryview(self._raw)
        try:
            while self._end < BUFFER_BYTES and not self._ended:
                with view[self._end : BUFFER_BYTES] as room:
                    read = read_into(room)
                self._ended = not read
                self._end += read or 0
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            self._ended, self._damage = True, f"the compressed file is damaged or cut off: {error}"
        finally:
            view.release()
        self._raw[self._end] = _NEWLINE

    def _is_full(self) -> bool:
        """Whether the buffer holds nothing but the unread, so that no more can be read into it."""
        return self._pos == 0 and self._end == BUFFER_BYTES

    # -- records

    def _step(self) -> bool:
        """Reads on until finished seconds should be handed over (True) or the file has ended (False)."""
        while True:
            if self._layout is not None:
                status, self._pos, lines = self._engine.run(self._buffer, self._pos, self._end)
                self._line += lines
                if status == FULL:
                    return True
                if status == NEED_DATA and not self._ended and not self._is_full():
                    self._fill()
                    continue
            if self._pos >= self._end and self._ended:
                return False
            record = self._record()
            if record is None:
                self._fill()
                continue
            end, lines, text, complaint = record
            if complaint:
                self._reject(self._line, *complaint, text)
            elif not self._take_record(text):
                return True
            self._pos = end
            self._line += lines

    def _record(self) -> tuple[int, int, str, tuple[str, str] | None] | None:
        """The record at the position: where it ends, its lines, its text, and why it cannot be read, if so.

        None: more bytes are needed. It is cut as `RecordCutter` does: lines, joined while a quote is open.
        """
        start, stop, quotes, lines = self._pos, self._pos, 0, 0
        while lines < MAX_RECORD_LINES:
            newline = self._raw.find(b"\n", stop, self._end)
            if newline < 0:
                if not self._ended and not self._is_full():
                    return None
                break
            quotes += self._raw.count(b'"', stop, newline)
            stop, lines = newline + 1, lines + 1
            if quotes % 2 == 0:
                return stop, lines, self._text(start, newline), None
        newline = self._raw.find(b"\n", start, self._end)
        if newline >= 0:  # an open quote: the first line is a record of its own, so that the others are saved
            return newline + 1, 1, self._text(start, newline), None
        if self._ended:
            return self._end, 1, self._text(start, self._end), ("cut", "cut off at the end of the file")
        return self._skip_line(start)

    def _skip_line(self, start: int) -> tuple[int, int, str, tuple[str, str] | None]:
        """Drops a line that is longer than the buffer."""
        text = self._text(start, start + _SHOWN)
        while True:
            self._pos = self._end
            self._fill()
            newline = self._raw.find(b"\n", 0, self._end)
            if newline >= 0 or self._ended:
                end = newline + 1 if newline >= 0 else self._end
                return end, 1, text, ("long", f"longer than {BUFFER_BYTES} bytes")

    def _text(self, start: int, stop: int) -> str:
        text = self._raw[start:stop].decode("utf-8", "replace")
        return "\n".join(line.rstrip("\r") for line in text.split("\n"))

    def _take_record(self, text: str) -> bool:
        """False: there is no room for the row before finished seconds are handed over."""
        if (self._careful is None or "timeStamp" in text) and self._is_header(text):
            self._count.headers += 1
            self._count.records += 1
            return True
        text = text.removeprefix(BOM)
        assert self._careful is not None
        try:
            read = self._careful.read(text)
        except Rejected as rejected:
            self._reject(self._line, rejected.kind, rejected.reason, text)
            return True
        if read is None:
            return self._engine.add(None, 0)
        row, code, message = read
        label = self._labels.get(row.label)
        if label is None:
            if len(self._labels) >= MAX_LABELS:
                raise InvalidData(
                    f"{self._options.name} has more than {MAX_LABELS} labels by line {self._line}. Give requests of "
                    f"one kind one name in the plan: do not put changing values into a sampler's name."
                )
            label = self._labels[row.label] = len(self._labels)
        if not self._engine.add(row, label):
            return False
        self._engine.learn(row, label, (row.label, code, message))
        return True

    def _is_header(self, text: str) -> bool:
        if self._layout is None:
            layout, is_header = first_layout(text, self._options)
        else:
            found = header(text, self._options.delimiter)
            layout, is_header = found or self._layout, found is not None
        if layout != self._layout:
            self._layout, self._careful = layout, CarefulReader(layout, self._options)
            self._engine.use(layout)
        return is_header

    def _reject(self, line: int, kind: str, reason: str, text: str) -> None:
        self._count.records += 1
        self._count.rejected[kind] += 1
        if len(self._count.examples) < self._options.examples:
            shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
            self._count.examples.append(Rejection(self._options.name, line, reason, shown))

    def _take(self, everything: bool) -> SecondTable:
        return self._engine.take(tuple(self._labels), everything)


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
