"""Adding rows up by second, label and outcome."""

from __future__ import annotations

from include.capacity.histogram import Histogram
from include.capacity.jtl.rows import JtlRow
from include.capacity.jtl.seconds import ArrivalMemory, SecondAccumulator
from include.capacity.protocol import Outcome

START_MS = 1_700_000_000_000
SECOND = START_MS // 1000


def row(
    offset_ms: int, elapsed_ms: int, arrival: int | None, lag_us: int = 0, label: str = "a", outcome: Outcome = "ok"
) -> JtlRow:
    return JtlRow(START_MS + offset_ms, elapsed_ms, label, outcome, 100, arrival, lag_us)


def histogram(*values_us: int) -> Histogram:
    filled = Histogram()
    for value in values_us:
        filled.add(value)
    return filled


def test_the_lag_belongs_to_the_first_row_of_an_arrival() -> None:
    seconds = SecondAccumulator()
    seconds.add(row(10, 20, arrival=1, lag_us=30_000))  # due 20 ms before the second began
    seconds.add(row(40, 5, arrival=1, lag_us=30_000, label="b"))
    drained = seconds.drain()
    assert [(entry.second, entry.label) for entry in drained.rows] == [(SECOND - 1, "a"), (SECOND, "b")]
    assert [entry.latency for entry in drained.rows] == [histogram(50_000), histogram(5_000)]
    assert drained.lag == {SECOND - 1: histogram(30_000)}
    assert drained.completed == {SECOND: 2}


def test_a_row_counts_as_completed_in_the_second_of_its_end() -> None:
    seconds = SecondAccumulator()
    seconds.add(row(900, 2_300, arrival=1))
    drained = seconds.drain()
    assert drained.completed == {SECOND + 3: 1}
    assert drained.rows[0].second == SECOND


def test_rows_are_kept_apart_by_label_and_outcome() -> None:
    seconds = SecondAccumulator()
    seconds.add(row(0, 1, 1))
    seconds.add(row(0, 2, 2))
    seconds.add(row(0, 3, 3, outcome="timeout"))
    seconds.add(row(0, 4, 4, label="b"))
    found = {(entry.label, entry.outcome): (entry.count, entry.bytes) for entry in seconds.drain().rows}
    assert found == {("a", "ok"): (2, 200), ("a", "timeout"): (1, 100), ("b", "ok"): (1, 100)}


def test_samples_without_an_arrival_are_counted_apart() -> None:
    seconds = SecondAccumulator()
    seconds.add(row(0, 1, None))
    drained = seconds.drain()
    assert (drained.foreign, drained.rows, drained.completed, drained.lag) == (1, (), {}, {})


def test_draining_gives_everything_once_and_adds_up() -> None:
    seconds = SecondAccumulator()
    seconds.add(row(0, 1, 1, lag_us=7))
    first = seconds.drain()
    seconds.add(row(0, 1, 1, lag_us=7))  # the same arrival goes on: no second lag
    second = seconds.drain()
    assert [len(part.rows) for part in (first, second, seconds.drain())] == [1, 1, 0]
    assert second.lag == {}


def test_the_memory_of_arrivals_is_bounded_and_forgets_the_longest_unseen() -> None:
    memory = ArrivalMemory(size=3)
    assert [memory.is_first(number) for number in (1, 2, 3)] == [True, True, True]
    assert not memory.is_first(1)  # and it is now the one seen last
    assert memory.is_first(4)  # 2 is forgotten
    assert [memory.is_first(number) for number in (1, 3, 4)] == [False, False, False]
    assert memory.is_first(2)
