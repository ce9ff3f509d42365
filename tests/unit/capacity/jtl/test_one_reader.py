"""The same bytes come to the same, whoever reads them and however they are chopped."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.capacity.errors import InvalidData
from include.capacity.jtl.bulk import aggregate_jtl
from include.capacity.jtl.bulk_result import JtlAggregate
from include.capacity.jtl.follow import JtlFollower
from include.capacity.jtl.layout import JtlOptions

pytest.importorskip("numba")

HEADER = b"timeStamp,elapsed,label,responseCode,responseMessage,threadName,success,bytes,headroom_arrival\n"
SAMPLES = b'"Number of samples in transaction : 1, number of failing samples : 0"'
LABELS = [b"home", b'"a, b"', b'"say ""hi"""', b'"two\nlines"', "größe".encode(), b"\xff", b"", b"sixteen letters."]
NUMBERS = [b"0", b"7", b"12", b"1234567", b"12345678", b"123456789", b"1099511627", b"-1", b"x", b""]
ARRIVALS = [b"", b"null", b"1:0", b"1:5", b"2:70000", b"3:-1", b"12345678901234:9", b"7"]
ROWS = st.tuples(
    st.integers(1_765_999_900_000, 1_766_000_400_000).map(lambda at: str(at).encode()),
    st.sampled_from(NUMBERS),
    st.sampled_from(LABELS),
    st.sampled_from([b"200", b"503", b"Non HTTP response code: java.net.ConnectException"]),
    st.sampled_from([b"OK", b"", SAMPLES]),
    st.sampled_from([b"t 1-1", b"t 1-2", "größe 1-1".encode(), b"\xfe"]),
    st.sampled_from([b"true", b"false", b"True"]),
    st.sampled_from([b"0", b"10", b"99999999999", b"9" * 16]),
    st.sampled_from(ARRIVALS),
).map(b",".join)
OTHERS = st.sampled_from([b"", b'"', b"nonsense", HEADER.rstrip(), b"\xef\xbb\xbf" + HEADER.rstrip()])
FILES = st.builds(
    lambda lines, end, tail: HEADER + end.join(lines) + tail,
    st.lists(st.one_of(ROWS, ROWS, ROWS, OTHERS), max_size=40),
    st.sampled_from([b"\n", b"\r\n"]),
    st.sampled_from([b"\n", b"", b"\r"]),
)


class Pieces(io.BytesIO):
    """A file that gives at most so many bytes at once."""

    def __init__(self, data: bytes, size: int) -> None:
        super().__init__(data)
        self._most = size

    def readinto(self, room: object) -> int:
        view = memoryview(room)  # type: ignore[arg-type]
        piece = self.read(min(self._most, len(view)))
        view[: len(piece)] = piece
        return len(piece)


def whole(data: bytes, engine: str, size: int) -> JtlAggregate | None:
    try:
        return aggregate_jtl(Pieces(data, size), options=JtlOptions(engine=engine, examples=1000))
    except InvalidData:
        return None


@settings(max_examples=150, deadline=None)
@given(FILES, st.integers(1, 500), st.integers(1, 500))
def test_both_engines_and_the_follower_find_the_same(data: bytes, size: int, other_size: int) -> None:
    mine = whole(data, "python", size)
    theirs = whole(data, "kernel", other_size)
    assert mine is not None
    assert theirs is not None
    assert mine.table is not None
    assert theirs.table is not None
    assert theirs.table.equals(mine.table)
    assert theirs.rejections == mine.rejections
    assert theirs.latency == mine.latency
    assert theirs.bytes == mine.bytes
    numbers = [(each.records, each.headers, each.foreign, each.excluded, each.controllers) for each in (mine, theirs)]
    assert numbers[0] == numbers[1]

    follower, foreign, rejected = JtlFollower("results.jtl"), 0, 0
    transactions = sum(follower.feed(data[at : at + size]).transactions for at in range(0, len(data), size))
    transactions += follower.finish().transactions
    seconds, rejected = follower.drain(), follower.drain_rejects().count
    foreign = seconds.foreign
    assert (transactions, foreign, rejected) == (mine.counted, mine.foreign, mine.rejections.count)
    expected = mine.table.seconds()
    assert (seconds.rows, seconds.lag, seconds.completed) == (expected.rows, expected.lag, expected.completed)
