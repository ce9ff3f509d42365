"""Cuts the bytes of a growing CSV file into records: whole lines, or several where a quoted field holds line breaks."""

from __future__ import annotations

from collections.abc import Iterator

MAX_RECORD_LINES = 64  # a stray quote must not swallow the rest of the file
_NEWLINE = b"\n"


class RecordCutter:
    """Takes the file piece by piece and gives what is complete; an unfinished end is kept for the next piece.

    A record with an opening quote that does not close within `MAX_RECORD_LINES` lines is given line by line: its first
    line will not parse, and the lines after it are saved.
    """

    def __init__(self) -> None:
        self._tail = b""
        self._open: list[str] = []  # the lines of a record whose quote is still open
        self._next_line = 1

    def feed(self, data: bytes) -> list[tuple[int, str]]:
        """Returns (number of its first line, text without the line's end) of every record that `data` completes."""
        data = self._tail + data if self._tail else data
        end = data.rfind(_NEWLINE)
        if end < 0:
            self._tail = data
            return []
        self._tail = data[end + 1 :]
        return self._cut(data[:end])

    def finish(self) -> list[tuple[int, str]]:
        """What is left at the end of the file: a line that was cut off, or a record whose quote never closed."""
        records = self._cut(self._tail) if self._tail else []
        self._tail = b""
        while self._open:
            records.extend(self._give_up_first_line())
        return records

    def _cut(self, block: bytes) -> list[tuple[int, str]]:
        lines = block.decode("utf-8", "replace").split("\n")
        if not self._open and b'"' not in block:  # nearly always
            first = self._next_line
            self._next_line += len(lines)
            return list(enumerate((line.rstrip("\r") for line in lines), first))
        return [record for line in lines for record in self._take(line.rstrip("\r"))]

    def _take(self, line: str) -> Iterator[tuple[int, str]]:
        self._open.append(line)
        if _closed(self._open):
            yield self._next_line, "\n".join(self._open)
            self._next_line += len(self._open)
            self._open = []
        elif len(self._open) >= MAX_RECORD_LINES:
            yield from self._give_up_first_line()

    def _give_up_first_line(self) -> Iterator[tuple[int, str]]:
        first, rest = self._open[0], self._open[1:]
        self._open = []
        yield self._next_line, first
        self._next_line += 1
        for line in rest:
            yield from self._take(line)


def _closed(lines: list[str]) -> bool:
    return sum(line.count('"') for line in lines) % 2 == 0
