"""Reads a JTL file piece by piece: bytes in, sums by second out, and every record that is no row counted and located.

There is one reader for a file that JMeter is still writing and for one of a hundred million rows. It cuts records and
takes the careful way with them (`row_reader`); an engine may read usual rows faster, with the same result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from include.capacity.errors import InvalidData
from include.capacity.jtl.bulk_memory import FULL, NEED_DATA
from include.capacity.jtl.bulk_result import Rejection, Rejections
from include.capacity.jtl.bulk_table import MAX_LABELS, SecondTable
from include.capacity.jtl.bulk_words import BLOCK
from include.capacity.jtl.engines import Counts, Engine, engine
from include.capacity.jtl.layout import BOM, JtlOptions, Layout, first_layout, header, refuse_other_formats
from include.capacity.jtl.row_reader import Rejected, RowReader

BUFFER_BYTES = 1 << 20
"""A record must fit in: longer ones are rejected, so that a file without line ends cannot fill the memory."""
MAX_RECORD_LINES = 64  # a stray quote must not swallow the rest of the file
_SHOWN = 120
_NEWLINE = 10
_FORMAT_BYTES = 12  # as many show whether a file is XML


class JtlReader:
    """Fill `room`, say how much was `received`, and let it `read`; where the pieces end makes no difference.

    Args:
        forgiving: what would make the whole file unreadable (no header, too many labels) is a rejection of each such
            record instead: a file that is still written cannot be refused.
    """

    def __init__(self, options: JtlOptions, *, forgiving: bool = False) -> None:
        self._options, self._forgiving = options, forgiving
        self._engine: Engine = engine(options)
        self._size = BUFFER_BYTES
        self._raw = bytearray(self._size + 1 + BLOCK)  # one more for the newline behind the end
        self._buffer = np.frombuffer(self._raw, np.uint8)
        self._pos = self._end = 0
        self._base = 0  # of the buffer's start, in the file
        self._line = 1
        self._format_known = self._skipping = False
        self._records = self._headers = 0
        self._rejected: Counter[str] = Counter()
        self._examples: list[Rejection] = []
        self._labels: dict[str, int] = {}
        self._layout: Layout | None = None
        self._rows: RowReader | None = None

    @property
    def engine(self) -> str:
        return self._engine.name

    @property
    def labels(self) -> tuple[str, ...]:
        """By label number."""
        return tuple(self._labels)

    @property
    def headers(self) -> int:
        return self._headers

    @property
    def records(self) -> int:
        """Headers, rejected ones and rows: none is lost in silence."""
        return self._records + self._engine.counts().rows

    def counts(self) -> Counts:
        return self._engine.counts()

    def take_rejections(self) -> Rejections:
        """Those since the last call."""
        taken = Rejections(dict(self._rejected), tuple(self._examples), self._options.examples)
        self._rejected, self._examples = Counter(), []
        return taken

    def take_causes(self) -> dict[str, int]:
        """What of the generator's own failed, and how often since the last call; empty from the kernel."""
        return self._engine.take_causes()

    def take(self, *, everything: bool) -> SecondTable:
        """The sums of finished seconds, or of all; they are forgotten here."""
        return self._engine.take(self.labels, everything)

    # -- bytes

    def room(self) -> memoryview:
        """Where the next bytes of the file belong; release it before the next call. Never empty after `read`."""
        unread = self._end - self._pos
        self._raw[:unread] = self._raw[self._pos : self._end]
        self._base += self._pos
        self._pos, self._end = 0, unread
        return memoryview(self._raw)[unread : self._size]

    def received(self, count: int) -> None:
        self._end += count

    def damaged(self, reason: str) -> None:
        """The file cannot be read further, though it does not end here."""
        self._reject("compression", reason, "")

    def read(self, *, ended: bool = False) -> Iterator[SecondTable]:
        """Reads all that was received, with `ended` the unfinished rest, too. Hands finished seconds over when the
        engine's room is used up; must be exhausted.

        Raises InvalidData, unless forgiving: XML, UTF-16, no header where none was described, or more labels than
        `MAX_LABELS`.
        """
        self._raw[self._end] = _NEWLINE
        if not self._format_known and not self._find_format(ended):
            return
        while self._step(ended):
            yield self.take(everything=False)

    def _find_format(self, ended: bool) -> bool:
        start = bytes(self._raw[: min(self._end, 4096)])
        text = start.removeprefix(BOM.encode()).lstrip()
        self._format_known = ended or len(text) >= _FORMAT_BYTES or b"\n" in text or len(start) == 4096
        if self._format_known and not self._forgiving:
            refuse_other_formats(start, self._options.name)
        return self._format_known

    def _is_full(self) -> bool:
        """Whether the buffer holds nothing but the unread, so that no more can be read into it."""
        return self._pos == 0 and self._end == self._size

    # -- records

    def _step(self, ended: bool) -> bool:
        """Reads on until finished seconds should be handed over (True) or more bytes are needed (False)."""
        while True:
            if self._skipping and not self._skip():
                return False
            if self._layout is not None:
                status, self._pos, lines = self._engine.run(self._buffer, self._pos, self._end)
                self._line += lines
                if status == FULL:
                    return True
                if status == NEED_DATA and not ended and not self._is_full():
                    return False
            if self._pos >= self._end:
                return False
            record = self._record(ended)
            if record is None:
                return False
            end, lines, text, complaint = record
            if complaint:
                self._reject(*complaint, text)
            elif not self._take_record(text):
                return True
            self._pos = end
            self._line += lines

    def _record(self, ended: bool) -> tuple[int, int, str, tuple[str, str] | None] | None:
        """The record at the position: where it ends, its lines, its text, and why it cannot be read, if so.

        None: more bytes are needed. A record is a line, or several that are joined while a quote is open.
        """
        start, stop, quotes, lines = self._pos, self._pos, 0, 0
        while lines < MAX_RECORD_LINES:
            newline = self._raw.find(b"\n", stop, self._end)
            if newline < 0:
                if not ended and not self._is_full():
                    return None
                break
            quotes += self._raw.count(b'"', stop, newline)
            stop, lines = newline + 1, lines + 1
            if quotes % 2 == 0:
                return stop, lines, self._text(start, newline), None
        newline = self._raw.find(b"\n", start, self._end)
        if newline >= 0:  # an open quote: the first line is a record of its own, so that the others are saved
            return newline + 1, 1, self._text(start, newline), None
        if ended:
            return self._end, 1, self._text(start, self._end), ("cut", "cut off at the end of the file")
        self._skipping = True
        text = self._text(start, start + _SHOWN)
        return self._end, 0, text, ("long", f"longer than {self._size} bytes")

    def _skip(self) -> bool:
        """Drops the rest of a line that is longer than the buffer; whether it has ended."""
        newline = self._raw.find(b"\n", self._pos, self._end)
        if newline < 0:
            self._pos = self._end
            return False
        self._pos, self._line, self._skipping = newline + 1, self._line + 1, False
        return True

    def _text(self, start: int, stop: int) -> str:
        text = self._raw[start:stop].decode("utf-8", "replace")
        return text.rstrip("\r") if "\n" not in text else "\n".join(line.rstrip("\r") for line in text.split("\n"))

    def _take_record(self, text: str) -> bool:
        """False: there is no room for the row before finished seconds are handed over."""
        rejected = None
        if self._rows is not None:
            try:
                row, code, message = self._rows.read(text.removeprefix(BOM))
                label = self._label(row.label)
            except Rejected as error:
                rejected = error
            else:
                if not self._engine.add(row, label):
                    return False
                self._engine.learn(row, label, code, message)
                return True
        try:
            is_header = self._is_header(text)
        except InvalidData as error:
            if not self._forgiving:
                raise
            rejected, is_header = Rejected("header", str(error)), False
        if is_header:
            self._headers += 1
            self._records += 1
        elif rejected is not None:
            self._reject(rejected.kind, rejected.reason, text)
        else:
            return self._take_record(text)  # the first record of a file without header, whose columns were given
        return True

    def _label(self, name: str) -> int:
        label = self._labels.get(name)
        if label is not None:
            return label
        if len(self._labels) >= MAX_LABELS:
            reason = (
                f"more than {MAX_LABELS} labels. Give requests of one kind one name in the plan: do not put changing "
                "values into a sampler's name"
            )
            if self._forgiving:
                raise Rejected("labels", reason)
            raise InvalidData(f"{self._options.name}, line {self._line}: {reason}.")
        return self._labels.setdefault(name, len(self._labels))

    def _is_header(self, text: str) -> bool:
        if self._layout is None:
            layout, is_header = first_layout(text, self._options)
        else:
            found = header(text, self._options.delimiter)
            layout, is_header = found or self._layout, found is not None
        if layout != self._layout:
            self._layout, self._rows = layout, RowReader(layout, self._options)
            self._engine.use(layout)
        return is_header

    def _reject(self, kind: str, reason: str, text: str) -> None:
        self._records += 1
        self._rejected[kind] += 1
        if len(self._examples) < self._options.examples:
            shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
            place = (self._options.name, self._line, self._base + self._pos)
            self._examples.append(Rejection(*place, reason, shown))
