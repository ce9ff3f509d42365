"""What was reported live against what was recorded: equal, cut short, or different."""

from __future__ import annotations

import io
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.capacity.jtl.bulk import aggregate_jtl
from include.capacity.jtl.bulk_result import JtlAggregate
from include.capacity.jtl.follow import JtlFollower
from include.capacity.jtl.layout import JtlOptions
from include.capacity.jtl.reconcile import Reconciled, Recorded, Reported, reconcile
from include.capacity.protocol import Counters, GeneratorHealth, ShardReport

HEADER = b'timeStamp,elapsed,label,responseCode,responseMessage,success,bytes,"headroom_arrival"\n'


def row(number: int, label: str = "home", elapsed: int = 20, size: int = 10, code: int = 200) -> bytes:
    good = str(code == 200).lower()
    return f"{1_766_000_000_000 + 7 * number},{elapsed},{label},{code},x,{good},{size},{number}:300\n".encode()


ROWS = [row(number, ("home", "pay")[number % 2], code=(200, 503)[number % 5 == 0]) for number in range(400)]


def reported(pieces: list[bytes], *, final: bool = True) -> Reported:
    """As a shard reports what it follows, a report for each piece."""
    follower, live = JtlFollower("results.jtl"), Reported()
    for number, piece in enumerate(pieces, 1):
        follower.feed(piece)
        if final and number == len(pieces):
            follower.finish()
        seconds, rejects = follower.drain(), follower.drain_rejects()
        report = ShardReport(
            *(0, "inc", number, 1_766_000_000.0 + number, "ready", 1, 1, 5.0, None, Counters(), GeneratorHealth()),
            completed=seconds.completed,
            rows=seconds.rows,
            rejected=rejects.count,
            final=final and number == len(pieces),
        )
        live.add(ShardReport.loads(report.dumps()))
    return live


def read(data: bytes) -> JtlAggregate:
    return aggregate_jtl(io.BytesIO(data), options=JtlOptions(engine="python"), sink=lambda _: None, forgiving=True)


def recorded(data: bytes, parts: tuple[int, ...] = (0,)) -> Recorded:
    return Recorded(parts, read(data))


def outcome(live: Reported, kept: Recorded) -> Reconciled:
    return reconcile(3, "inc", live, kept)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from([*ROWS[:40], b"nonsense\n", b'1,"\n', b"\xff\xfe,\n"]), max_size=60),
    st.integers(1, 300),
    st.booleans(),
)
def test_the_same_bytes_are_equal_however_they_were_chopped(rows: list[bytes], size: int, cut: bool) -> None:
    data = HEADER + b"".join(rows)
    data = data[:-3] if cut else data
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    found = outcome(reported(pieces), recorded(data))
    assert (found.state, found.told) == ("equal", "")
    assert found.reported == found.recorded


def test_a_shard_that_never_loaded_is_equal_to_nothing() -> None:
    assert outcome(reported([b""]), Recorded()).state == "equal"


@pytest.mark.parametrize(
    ("kept", "state", "told"),
    [
        (ROWS[:-7], "incomplete", "of 400 transactions that it reported, 7 are not kept"),
        ([*ROWS[:-1], row(399, "other")], "different", "other (ok): 0 reported, 1 recorded; pay (ok): 160"),
        ([*ROWS, row(400)], "different", "home (ok): 160 reported, 161 recorded"),
        ([*ROWS[:-1], row(399, "pay", 21)], "different", "as many transactions, but other latencies of pay (ok)"),
        ([*ROWS[:-1], row(399, "pay", size=11)], "different", "as many transactions, but other sizes of pay (ok)"),
        ([*ROWS, b"nonsense\n"], "different", "0 lines were rejected live, but 1 in the file"),
    ],
)
def test_of_a_shard_that_ended_in_order_every_difference_is_found(kept: list[bytes], state: str, told: str) -> None:
    live = reported([HEADER, *ROWS])
    found = outcome(live, recorded(HEADER + b"".join(kept)))
    assert (found.state, told in found.told) == (state, True), found.told
    assert found.told.startswith("shard 3, incarnation inc: ")


def test_the_end_of_a_shard_that_died_may_be_missing_on_either_side() -> None:
    live = reported([HEADER, *ROWS], final=False)
    short = outcome(live, recorded(HEADER + b"".join(ROWS[:300]) + ROWS[300][:9]))
    assert (short.state, short.reported, short.recorded) == ("incomplete", 400, 300)
    assert "it died without a final report; of 400 transactions that it reported, 100 are not kept" in short.told
    longer = outcome(live, recorded(HEADER + b"".join([*ROWS, *(row(400 + n) for n in range(9))])))
    assert (longer.state, "9 transactions are kept that it did not report any more" in longer.told) == (
        "incomplete",
        True,
    )
    nothing = outcome(live, Recorded())
    assert (nothing.state, nothing.recorded) == ("incomplete", 0)
    mixed = outcome(live, recorded(HEADER + b"".join([*ROWS[:300], *(row(n, "new") for n in range(300, 310))])))
    assert mixed.state == "different"


def test_a_part_that_is_missing_in_the_middle_is_told() -> None:
    found = outcome(reported([HEADER, *ROWS]), recorded(HEADER + b"".join(ROWS[200:]), (0, 2, 5)))
    assert (found.state, "parts, 1, 3, 4 are not in the store" in found.told) == ("incomplete", True)


def test_results_that_cannot_be_read_are_different() -> None:
    found = outcome(reported([HEADER, *ROWS]), Recorded((0,), None, "it is damaged"))
    assert (found.state, found.recorded) == ("different", 0)


def test_reports_are_added_in_any_order() -> None:
    pieces = [HEADER, *ROWS]
    live = reported(pieces)
    reports = [reported([HEADER, *ROWS[:200]], final=False), reported([HEADER, *ROWS[200:]])]
    random.Random(1).shuffle(reports)
    assert sum(each.transactions for each in reports) == live.transactions
