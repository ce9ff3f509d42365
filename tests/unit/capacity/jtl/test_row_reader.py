"""One record of a JTL file: its fields by the names in the header, and what is no row."""

from __future__ import annotations

import csv

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from include.capacity.jtl import layout
from include.capacity.jtl.layout import JtlOptions, header
from include.capacity.jtl.row_reader import Rejected, RowReader
from include.capacity.jtl.rows import JtlRow

HEADER = 'timeStamp,elapsed,label,responseCode,responseMessage,success,failureMessage,bytes,IdleTime,"headroom_arrival"'
ROW = "1700000000123,45,GET /,200,OK,true,,512,0,17:250"


def reader(names: str = HEADER) -> RowReader:
    found = header(names, None)
    assert found is not None
    return RowReader(found, JtlOptions())


def read(record: str, names: str = HEADER) -> JtlRow:
    return reader(names).read(record)[0]


def test_a_row_is_read_by_the_names_in_the_header() -> None:
    expected = JtlRow(1_700_000_000_123, 45, "GET /", "ok", 512, 17, 250)
    assert read(ROW) == expected
    names, values = HEADER.split(","), ROW.split(",")
    assert read(",".join(reversed(values)), ",".join(reversed(names))) == expected


def test_quoted_fields_keep_commas_quotes_and_line_breaks() -> None:
    row = read('1700000000123,2,"GET ""/"", all\nof it",500,"a, b",false,,3,0,4:5')
    assert (row.label, row.outcome) == ('GET "/", all\nof it', "service_error")


@pytest.mark.parametrize("value", ["", "null"])
def test_a_sample_without_an_arrival_is_not_the_users(value: str) -> None:
    row = read(f"1700000000123,2,setup,200,OK,true,,3,0,{value}")
    assert (row.arrival, row.lag_us) == (None, 0)


def test_a_row_tells_its_thread_and_whether_a_controller_wrote_it() -> None:
    names = "timeStamp,elapsed,label,responseMessage,threadName,success"
    message = "Number of samples in transaction : 2, number of failing samples : 0"
    row = read(f'1700000000123,2,pay,"{message}",users 1-7,true', names)
    assert (row.thread, row.controller) == ("users 1-7", True)
    assert read("1700000000123,2,pay,OK,users 1-7,true", names).controller is False


@pytest.mark.parametrize(
    ("record", "kind", "reason"),
    [
        ("1700000000123,45,GET /,200", "fields", "4 fields instead of 10"),
        ("1700000000123,4x,GET /,200,OK,true,,512,0,17:250", "number", "elapsed is '4x'"),
        ("2026/08/03 03:00:00,4,GET /,200,OK,true,,512,0,17:250", "number", "timestamp_format=ms"),
        ("1700000000123,45,GET /,200,OK,maybe,,512,0,17:250", "success", "neither true nor false"),
        ("1700000000123,-45,GET /,200,OK,true,,512,0,17:250", "range", "elapsed is negative"),
        ("1700000000,45,GET /,200,OK,true,,512,0,17:250", "range", "timeStamp is absurd"),
        ("1700000000123,45,GET /,200,OK,true,,512,0,17", "number", "number:microseconds"),
        ('1700000000123,45,"GET" /,200,OK,true,,512,0,17:250', "quotes", "not CSV"),
        ("", "fields", "1 fields instead of 10"),
    ],
)
def test_what_is_no_row_is_refused_with_its_reason(record: str, kind: str, reason: str) -> None:
    with pytest.raises(Rejected, match=reason) as caught:
        read(record)
    assert caught.value.kind == kind


@pytest.mark.parametrize("digits", ["٣", "1_0", " 7", "+7", "1e3", "0x1f", "७"])
def test_only_ascii_digits_are_numbers(digits: str) -> None:
    with pytest.raises(Rejected, match="not a number"):
        read(f"1700000000123,{digits},GET /,200,OK,true,,512,0,17:250")


FIELDS = st.lists(
    st.one_of(
        st.sampled_from(["", "a", '"b"', '"c ""d"" e"', '"two\nlines"', 'x"y', '"', '"open', '"a"b', "\r", '"\r"'])
    ),
    min_size=1,
    max_size=5,
)


@given(FIELDS)
def test_records_that_are_too_long_for_the_csv_module_are_split_alike(parts: list[str]) -> None:
    record = ",".join(parts)
    assume('"' in record and not record.endswith("\r"))  # others do not come so far
    try:
        expected: object = next(csv.reader([record], strict=True), [""])
    except csv.Error:
        expected = csv.Error
    try:
        found: object = layout._split_long(record, ",")
    except csv.Error:
        found = csv.Error
    assert found == expected


def test_a_failure_message_may_hold_a_whole_answer() -> None:
    record = f'1700000000123,45,GET /,200,OK,false,"expected ""a"", but got {"x" * 300_000}",512,0,17:250'
    assert read(record).bytes == 512
