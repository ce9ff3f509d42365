"""Cutting a growing CSV file into records, in pieces of any size."""

from __future__ import annotations

import pytest

from include.capacity.jtl import reader as module
from include.capacity.jtl.bulk_table import SecondTable
from include.capacity.jtl.layout import JtlOptions
from include.capacity.jtl.reader import MAX_RECORD_LINES, JtlReader

HEADER = "timeStamp,elapsed,label,responseMessage,success\n"
T = 1_766_000_000_000


def row(label: str = "home", message: str = "OK") -> str:
    return f"{T},5,{label},{message},true\n"


def fed(*pieces: str | bytes, ended: bool = True) -> tuple[dict[str, int], list[tuple[int, int]], JtlReader]:
    """Rows by label, and line and byte of each rejection."""
    reader = JtlReader(JtlOptions(engine="python", examples=1000))
    tables = []
    for number, piece in enumerate(pieces):
        data = piece.encode() if isinstance(piece, str) else piece
        with reader.room() as room:
            room[: len(data)] = data
        reader.received(len(data))
        tables += reader.read(ended=ended and number == len(pieces) - 1)
    table = SecondTable.merged([*tables, reader.take(everything=True)])
    rows: dict[str, int] = {}
    for each in table.seconds().rows:
        rows[each.label] = rows.get(each.label, 0) + each.count
    return rows, [(each.line, each.byte) for each in reader.take_rejections().examples], reader


def fed_by_room(data: bytes, size: int) -> tuple[dict[str, int], list[tuple[int, int]], JtlReader]:
    """As `fed`, with pieces that fit into what room there is."""
    reader = JtlReader(JtlOptions(engine="python", examples=1000))
    at = 0
    while at < len(data):
        with reader.room() as room:
            count = min(size, len(room), len(data) - at)
            room[:count] = data[at : at + count]
        reader.received(count)
        at += count
        assert list(reader.read(ended=at == len(data))) == []
    rows = {each.label: each.count for each in reader.take(everything=True).seconds().rows}
    return rows, [(each.line, each.byte) for each in reader.take_rejections().examples], reader


def test_only_complete_lines_are_read() -> None:
    rows, rejected, reader = fed(HEADER + row(), row("b")[:20], ended=False)
    assert (rows, rejected) == ({"home": 1}, [])
    with reader.room() as room:
        rest = row("b")[20:].encode()
        room[: len(rest)] = rest
    reader.received(len(rest))
    assert list(reader.read(ended=True)) == []
    assert reader.counts().rows == 2


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_the_size_of_the_pieces_does_not_matter(size: int) -> None:
    text = HEADER + row('"one\ntwo ""quoted"", three"') + row("ü") + "bad\n" + row(message='"c\n"')
    data = text.replace("ü,OK,true\n", "ü,OK,true\r\n").encode()
    rows, rejected, reader = fed(*(data[start : start + size] for start in range(0, len(data), size)))
    assert rows == {'one\ntwo "quoted", three': 1, "ü": 1, "home": 1}
    assert rejected == [(5, data.index(b"bad"))]
    assert reader.records == 5


def test_the_lines_after_a_stray_quote_are_saved() -> None:
    stray = HEADER + row('"open')
    rows, rejected, _ = fed(stray + row() * (MAX_RECORD_LINES + 10), ended=False)
    assert rows["home"] >= 10  # without waiting for the end of the file
    rows, rejected, _ = fed(stray + row() * (MAX_RECORD_LINES + 10))
    assert (rows, rejected) == ({"home": MAX_RECORD_LINES + 10}, [(2, len(HEADER))])


def test_two_stray_quotes_cost_what_lies_between_them_only() -> None:
    rows, rejected, _ = fed(HEADER + row('a "open') + row("b") + row('c "2') + row("d"))
    assert (rows, rejected) == ({"d": 1}, [(2, len(HEADER))])


def test_an_open_quote_at_the_end_costs_its_own_line() -> None:
    rows, rejected, _ = fed(HEADER + row() + row('"open') + row("b") + row("cut")[:-4])
    assert rows == {"home": 1, "b": 1}
    assert [line for line, _ in rejected] == [3, 5]


def test_bytes_that_are_no_utf8_do_not_stop_the_reading() -> None:
    rows, rejected, _ = fed(HEADER.encode() + row("caf").encode().replace(b"caf", b"caf\xe9") + row().encode())
    assert (rows, rejected) == ({"caf�": 1, "home": 1}, [])


@pytest.mark.parametrize("size", [1000, 4096])
def test_a_line_that_is_longer_than_the_buffer_is_one_rejection(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUFFER_BYTES", 4096)
    data = (HEADER + row() + "x" * 9000 + "\n" + row("b") + "bad\n").encode()
    rows, rejected, reader = fed_by_room(data, size)
    assert rows == {"home": 1, "b": 1}
    assert rejected == [(3, len(HEADER + row())), (5, len(data) - 4)]
    assert reader.records == 5
