"""The conductor's view of the fleet: merging shard reports into seconds."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

from include.capacity.fleet import FleetView
from include.capacity.histogram import Histogram
from include.capacity.protocol import Counters, GeneratorHealth, SecondRow, ShardReport


def report(
    shard: int, number: int, *, incarnation: str = "1", at: float | None = None, in_flight: int = 1
) -> ShardReport:
    """A report for second 100 + number, published just after its end: 10 offered, 9 completed, one row of 20 ms."""
    second = 100 + number
    latency = Histogram()
    latency.add(20_000, 9)
    return ShardReport(
        shard=shard,
        incarnation=incarnation,
        number=number,
        published_at=second + 1.2 if at is None else at,
        state="ready",
        command_epoch=1,
        command_seq=1,
        rate_per_s=10,
        in_force_at=100.0,
        counters=Counters(dispatched=10 * (number + 1), completed=9 * (number + 1), in_flight=in_flight),
        generator=GeneratorHealth(),
        offered={second: 10},
        completed={second: 9},
        lag={second: Histogram({5: 10})},
        rows=(SecondRow(second, "browse", "ok", latency),),
    )


def test_shards_add_up_whatever_the_order_and_duplicates() -> None:
    reports = [report(shard, number) for shard, number in itertools.product(range(2), range(4))]
    random.Random(1).shuffle(reports)
    view = FleetView(2)
    assert [view.add(entry) for entry in reports] == [True] * 8
    assert [view.add(entry) for entry in reports] == [False] * 8
    seconds = view.seconds(100, 104)
    assert [(second.offered, second.completed, second.in_flight) for second in seconds] == [(20, 18, 2)] * 4
    assert seconds[0].rows["browse", "ok"].total == 18
    assert seconds[0].lag.total == 20
    assert not any(second.missing or second.restarted for second in seconds)
    assert view.totals().transactions_per_arrival == 1.0


def test_arrivals_that_wait_for_a_thread_are_in_flight() -> None:
    view = FleetView(1)
    first = report(0, 0, in_flight=3)
    view.add(replace(first, counters=replace(first.counters, backlog=4)))
    assert view.seconds(100, 101)[0].in_flight == 7


def test_a_second_is_covered_when_every_shard_published_after_its_end() -> None:
    view = FleetView(2)
    view.add(report(0, 0))
    view.add(report(0, 1))
    assert view.covered_until() is None
    view.add(report(1, 0))
    assert view.covered_until() == 101
    assert view.seconds(100, 102)[1].missing == (1,)


def test_a_new_incarnation_is_told_in_its_first_second_and_counts_on() -> None:
    view = FleetView(1)
    for number in range(2):
        view.add(report(0, number))
    for number in range(2, 4):
        view.add(replace(report(0, number, incarnation="2"), number=number - 2))
    assert [second.restarted for second in view.seconds(100, 104)] == [(), (), (0,), ()]
    assert view.latest(0).incarnation == "2"
    assert view.totals().transactions == 36


def test_a_report_much_later_than_a_second_does_not_cover_it() -> None:
    view = FleetView(1)
    view.add(report(0, 0))
    view.add(replace(report(0, 20), number=1))
    assert view.seconds(105, 106)[0].missing == (0,)


def test_shards_that_are_not_expected_are_left_out() -> None:
    view = FleetView(1)
    assert not view.add(report(3, 0))
    assert view.seconds(100, 101)[0].offered == 0


def test_forgetting_keeps_totals_and_drops_late_rows() -> None:
    view = FleetView(1)
    for number in range(4):
        view.add(report(0, number))
    view.forget_before(103)
    assert view.seconds(100, 101)[0].offered == 0
    assert view.seconds(103, 104)[0].offered == 10
    view.add(replace(report(0, 1), number=4, published_at=105.0))
    assert view.seconds(101, 102)[0].offered == 0
    assert view.totals().transactions == 45


def test_a_report_that_could_not_be_read_makes_its_second_unknown_and_no_other() -> None:
    view = FleetView(2)
    for shard, number in itertools.product(range(2), range(5)):
        if (shard, number) != (1, 2):
            view.add(report(shard, number))
    assert [second.missing for second in view.seconds(100, 105)] == [(), (), (1,), (), ()]
