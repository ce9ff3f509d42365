"""Rows of a JTL file: numbers, arrival and outcome."""

from __future__ import annotations

import pytest

from include.capacity.errors import InvalidData
from include.capacity.jtl.rows import JtlRow, RowError, RowReader

HEADER = 'timeStamp,elapsed,label,responseCode,responseMessage,success,failureMessage,bytes,IdleTime,"headroom_arrival"'
ROW = "1700000000123,45,GET /,200,OK,true,,512,0,17:250"


def test_a_row_is_read_by_the_names_in_the_header() -> None:
    expected = JtlRow(1_700_000_000_123, 45, "GET /", "ok", 512, 17, 250)
    assert RowReader(HEADER).read(ROW) == expected
    names, values = HEADER.split(","), ROW.split(",")
    assert RowReader(",".join(reversed(names))).read(",".join(reversed(values))) == expected


def test_quoted_fields_keep_commas_quotes_and_line_breaks() -> None:
    row = RowReader(HEADER).read('1,2,"GET ""/"", all\nof it",500,"a, b",false,,3,0,4:5')
    assert (row.label, row.outcome) == ('GET "/", all\nof it', "service_error")


@pytest.mark.parametrize("value", ["", "null"])
def test_a_sample_without_an_arrival_is_not_the_users(value: str) -> None:
    row = RowReader(HEADER).read(f"1,2,setup,200,OK,true,,3,0,{value}")
    assert (row.arrival, row.lag_us) == (None, 0)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ("1700000000123,45,GET /,200", "4 fields instead of 10"),
        ("1700000000123,4x,GET /,200,OK,true,,512,0,17:250", "4x"),
        ("1700000000123,45,GET /,200,OK,maybe,,512,0,17:250", "neither true nor false"),
        ("1700000000123,-45,GET /,200,OK,true,,512,0,17:250", "negative"),
        ("1700000000123,45,GET /,200,OK,true,,512,0,17", "number:microseconds"),
        ('1700000000123,45,"GET" /,200,OK,true,,512,0,17:250', "not CSV"),
        ("", "1 fields instead of 10"),
    ],
)
def test_what_is_no_row_is_refused_with_its_reason(record: str, reason: str) -> None:
    with pytest.raises(RowError, match=reason):
        RowReader(HEADER).read(record)


def test_a_header_without_a_needed_column_is_refused() -> None:
    with pytest.raises(InvalidData, match="lacks elapsed, headroom_arrival"):
        RowReader("timeStamp,label,responseCode,responseMessage,success,bytes")
