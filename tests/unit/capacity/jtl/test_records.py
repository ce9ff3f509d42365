"""Cutting a growing CSV file into records."""

from __future__ import annotations

import pytest

from include.capacity.jtl.records import MAX_RECORD_LINES, RecordCutter


def cut(*pieces: bytes) -> list[tuple[int, str]]:
    cutter = RecordCutter()
    return [record for piece in pieces for record in cutter.feed(piece)]


def test_only_complete_lines_are_given() -> None:
    cutter = RecordCutter()
    assert cutter.feed(b"a,1\nb,") == [(1, "a,1")]
    assert cutter.feed(b"2") == []
    assert cutter.feed(b"\nc,3\n") == [(2, "b,2"), (3, "c,3")]
    assert cutter.finish() == []


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_the_size_of_the_pieces_does_not_matter(size: int) -> None:
    data = 'a,"one\ntwo ""quoted"", three",x\r\nb,ü,y\n"c\n",,\n'.encode()
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    assert cut(*pieces) == [(1, 'a,"one\ntwo ""quoted"", three",x'), (3, "b,ü,y"), (4, '"c\n",,')]


def test_the_lines_after_a_stray_quote_are_saved() -> None:
    lines = ['bad,"open'] + [f"good,{number}" for number in range(MAX_RECORD_LINES + 10)]
    cutter = RecordCutter()
    records = cutter.feed("".join(f"{line}\n" for line in lines).encode())
    assert len(records) >= 10  # without waiting for the end of the file
    records += cutter.finish()
    assert records == list(enumerate(lines, 1))


def test_two_stray_quotes_cost_what_lies_between_them_only() -> None:
    assert cut(b'a,"open\nb,1\nc,"2\nd,3\n') == [(1, 'a,"open\nb,1\nc,"2'), (4, "d,3")]


def test_what_is_left_at_the_end_is_given_by_finish() -> None:
    cutter = RecordCutter()
    assert cutter.feed(b'a,1\nb,"two\nthree') == [(1, "a,1")]
    assert cutter.finish() == [(2, 'b,"two'), (3, "three")]
    assert cutter.finish() == []


def test_bytes_that_are_no_utf8_do_not_stop_the_reading() -> None:
    assert cut(b"a,\xff\nb,1\n") == [(1, "a,�"), (2, "b,1")]
