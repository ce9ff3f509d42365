"""Adding results up is exact and the same in any order; quantiles keep within their bound."""

from __future__ import annotations

import io
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from include.capacity.jtl.bulk import aggregate_jtl
from include.capacity.jtl.bulk_result import JtlAggregate
from include.capacity.jtl.layout import JtlOptions

HEADER = "timeStamp,elapsed,label,responseCode,responseMessage,success,bytes\n"
T = 1_766_000_000_000

ROWS = st.lists(
    st.tuples(
        st.integers(0, 20_000),
        st.integers(0, 3_000_000),
        st.sampled_from(["home", "search", "Ω pay", '"a,b"']),
        st.booleans(),
        st.integers(0, 10**9),
    ),
    max_size=60,
)
Row = tuple[int, int, str, bool, int]


def lines(rows: list[Row]) -> str:
    return "".join(f"{T + at},{took},{label},500,x,{str(ok).lower()},{size}\n" for at, took, label, ok, size in rows)


def read(rows: list[Row], name: str = "x", bad: int = 0) -> JtlAggregate:
    data = (HEADER + lines(rows) + "bad\n" * bad).encode()
    return aggregate_jtl(io.BytesIO(data), options=JtlOptions(name=name, engine="python"))


def same(left: JtlAggregate, right: JtlAggregate) -> None:
    assert left.table is not None
    assert right.table is not None
    assert left.table.equals(right.table)
    assert left.latency == right.latency
    assert left.bytes == right.bytes
    assert left.rejections == right.rejections
    assert (left.records, left.headers, left.counted) == (right.records, right.headers, right.counted)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(ROWS, st.integers(0, 3)), min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_parts_can_be_added_in_any_order_and_grouping(parts, random) -> None:  # type: ignore[no-untyped-def]
    results = [read(rows, f"shard {n}", bad) for n, (rows, bad) in enumerate(parts)]
    straight = JtlAggregate.merged(results)
    shuffled = results[:]
    random.shuffle(shuffled)
    cut = random.randrange(len(shuffled) + 1)
    same(straight, JtlAggregate.merged([JtlAggregate.merged(shuffled[:cut]), JtlAggregate.merged(shuffled[cut:])]))


@settings(max_examples=60, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=4))
def test_the_sum_of_shards_is_the_result_of_all_rows(parts: list[list[Row]]) -> None:
    merged = JtlAggregate.merged([read(rows) for rows in parts])
    whole = read([row for rows in parts for row in rows])
    assert merged.table is not None
    assert whole.table is not None
    assert merged.table.equals(whole.table)
    assert merged.latency == whole.latency
    assert merged.bytes == whole.bytes


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(1, 10_000_000), min_size=1, max_size=200), st.sampled_from([0.01, 0.5, 0.9, 0.95, 0.99, 1.0])
)
def test_a_quantile_is_within_half_a_percent_of_the_exact_one(elapsed: list[int], q: float) -> None:
    result = read([(0, took, "home", True, 0) for took in elapsed])
    exact = sorted(elapsed)[max(math.ceil(q * len(elapsed) - 1e-9) - 1, 0)]
    found = result.latency["home", "ok"].quantile_ms(q)
    assert found is not None
    assert abs(found - exact) <= 0.005 * exact
