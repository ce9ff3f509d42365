"""Following a JTL file while it grows."""

from __future__ import annotations

import random

import pytest

from include.capacity.jtl import engines, reader
from include.capacity.jtl.follow import MAX_EXAMPLES, JtlFollower, Tally

HEADER = b'timeStamp,elapsed,label,responseCode,responseMessage,success,bytes,"headroom_arrival"\n'


def line(arrival: int, success: bool = True, message: str = "OK") -> bytes:
    code = 200 if success else 500
    return f"1700000000{arrival:03d},5,GET /,{code},{message},{str(success).lower()},10,{arrival}:100\n".encode()


def test_every_transaction_is_tallied_once_whatever_the_pieces() -> None:
    data = HEADER + b"".join(line(number, success=number % 4 != 0) for number in range(200))
    chance = random.Random(1)
    follower, start, tallies = JtlFollower("results.jtl"), 0, []
    while start < len(data):
        size = chance.randrange(1, 400)
        tallies.append(follower.feed(data[start : start + size]))
        start += size
    assert sum(tally.transactions for tally in tallies) == 200
    assert sum(tally.errors for tally in tallies) == 50
    assert sum(row.count for row in follower.drain().rows) == 200
    assert follower.drain_rejects().count == 0


def test_a_file_cut_in_mid_line_loses_that_line_only_and_says_so() -> None:
    follower = JtlFollower("results.jtl")
    # Cut inside the last number: the line looks complete, but its lag may have lost digits.
    assert follower.feed(HEADER + line(1) + line(2)[:-3]) == Tally(1, 0)
    follower.finish()
    rejects = follower.drain_rejects()
    assert rejects.count == 1
    assert rejects.examples[0].startswith(
        f"results.jtl, line 3 (byte {len(HEADER + line(1))}): cut off at the end of the file: '1700000000002,5,"
    )
    assert sum(row.count for row in follower.drain().rows) == 1


def test_an_embedded_line_break_is_part_of_its_row() -> None:
    follower = JtlFollower("results.jtl")
    broken = b'1700000000001,5,GET /,500,"first\nsecond, ""third""",false,10,1:100\n'
    assert follower.feed(HEADER + broken[:30]) == Tally(0, 0)
    assert follower.feed(broken[30:] + line(2)) == Tally(2, 1)
    assert follower.drain_rejects().count == 0


def test_bad_lines_are_counted_and_the_first_few_are_located() -> None:
    follower = JtlFollower("results.jtl")
    tally = follower.feed(HEADER + line(1) + b"nonsense\n" * 20 + line(2))
    assert tally == Tally(2, 0)
    rejects, at = follower.drain_rejects(), len(HEADER + line(1))
    assert rejects.count == 20
    assert len(rejects.examples) == MAX_EXAMPLES
    assert rejects.examples[0] == f"results.jtl, line 3 (byte {at}): 1 fields instead of 8: 'nonsense'"
    assert follower.drain_rejects().count == 0


def test_a_file_without_its_header_gives_no_rows_but_rejects() -> None:
    follower = JtlFollower("results.jtl")
    assert follower.feed(line(1) + line(2)) == Tally(0, 0)
    rejects = follower.drain_rejects()
    assert rejects.count == 2
    assert "does not begin with a header of JMeter" in rejects.examples[0]


def test_draining_gives_everything_once() -> None:
    follower = JtlFollower("results.jtl")
    follower.feed(HEADER + line(1))
    first = follower.drain()
    follower.feed(line(1) + b"x")  # the same arrival goes on: no second lag
    second, third = follower.drain(), follower.drain()
    assert [sum(row.count for row in part.rows) for part in (first, second, third)] == [1, 1, 0]
    assert [sum(lag.total for lag in part.lag.values()) for part in (first, second, third)] == [1, 0, 0]
    assert [sum(part.completed.values()) for part in (first, second, third)] == [1, 1, 0]


def test_a_lag_makes_the_second_and_the_latency_those_of_the_intended_start() -> None:
    follower = JtlFollower("results.jtl")
    early = b"1700000000010,20,a,200,OK,true,10,1:30000\n"  # due 20 ms before the second began
    follower.feed(HEADER + early + b"1700000000040,2300,b,200,OK,true,10,1:30000\n")
    seconds = follower.drain()
    found = {(row.label, row.second): row.latency.quantile_ms(1) for row in seconds.rows}
    assert found[("a", 1_699_999_999)] == pytest.approx(50, rel=0.005)
    assert found[("b", 1_700_000_000)] == pytest.approx(2300, rel=0.005)
    assert {second: lag.quantile_us(1) for second, lag in seconds.lag.items()} == {
        1_699_999_999: pytest.approx(30_000, rel=0.005)
    }
    assert seconds.completed == {1_700_000_000: 1, 1_700_000_002: 1}


def test_sizes_of_good_answers_and_causes_of_own_errors_are_kept() -> None:
    follower = JtlFollower("results.jtl")
    full = line(9, success=False, message="java.net.BindException: Address already in use (Bind failed)")
    follower.feed(HEADER + line(1) + line(2) + line(3).replace(b"GET /", b"buy").replace(b",10,", b",9000,") + full)
    first, second = follower.drain(), follower.drain()
    ((at, sizes),) = first.sizes.items()
    assert at == 1_700_000_000
    assert {label: (each.total, each.quantile_us(1)) for label, each in sizes.items()} == {
        "GET /": (2, 10),
        "buy": (1, pytest.approx(9000, rel=0.005)),
    }
    assert first.own_errors == {"address already in use": 1}
    assert (second.sizes, second.own_errors) == ({}, {})


def test_too_many_labels_are_rejections_of_a_file_that_is_still_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_LABELS", 2)
    follower = JtlFollower("results.jtl")
    rows = [line(number).replace(b"GET /", b"item %d" % number) for number in range(5)]
    assert follower.feed(HEADER + b"".join(rows) + rows[0]) == Tally(3, 0)
    rejects = follower.drain_rejects()
    assert rejects.count == 3
    assert "do not put changing values into a sampler's name" in rejects.examples[0]


def test_seconds_that_nobody_drains_are_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "PYTHON_ROOM", 20)
    follower = JtlFollower("results.jtl")
    rows = [line(number).replace(b",5,", b",%d," % number) for number in range(400)]
    follower.feed(HEADER + b"".join(rows))
    assert sum(row.count for row in follower.drain().rows) == 400


def test_samples_of_the_set_up_are_no_transactions() -> None:
    follower = JtlFollower("results.jtl")
    assert follower.feed(HEADER + b"1700000000001,5,prepare,500,no,false,10,\n") == Tally(0, 0)
    assert follower.drain().foreign == 1
