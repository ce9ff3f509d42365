"""Following a JTL file while it grows."""

from __future__ import annotations

import random

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
    assert rejects.examples[0].startswith("results.jtl, line 3: cut off at the end of the file: '1700000000002,5,")
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
    rejects = follower.drain_rejects()
    assert rejects.count == 20
    assert len(rejects.examples) == MAX_EXAMPLES
    assert rejects.examples[0] == "results.jtl, line 3: 1 fields instead of 8: 'nonsense'"
    assert follower.drain_rejects().count == 0


def test_a_file_without_its_header_gives_no_rows_but_rejects() -> None:
    follower = JtlFollower("results.jtl")
    assert follower.feed(line(1) + line(2)) == Tally(0, 0)
    rejects = follower.drain_rejects()
    assert rejects.count == 2
    assert "lacks timeStamp" in rejects.examples[0]


def test_samples_of_the_set_up_are_no_transactions() -> None:
    follower = JtlFollower("results.jtl")
    assert follower.feed(HEADER + b"1700000000001,5,prepare,500,no,false,10,\n") == Tally(0, 0)
    assert follower.drain().foreign == 1
