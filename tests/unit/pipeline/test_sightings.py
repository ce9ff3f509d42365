"""What the conductor learns of a shard's clock from orders and reports."""

from __future__ import annotations

from dataclasses import replace

from include.capacity.fleet import Sighting
from include.capacity.protocol import Counters, GeneratorHealth, ShardReport
from include.pipeline.sightings import ClockWatch

REPORT = ShardReport(
    shard=0,
    incarnation="a",
    number=0,
    published_at=100.0,
    state="ready",
    command_epoch=7,
    command_seq=1,
    rate_per_s=10.0,
    in_force_at=None,
    counters=Counters(),
    generator=GeneratorHealth(),
)


def told(taken_at: float, seq: int, *, epoch: int = 7) -> ShardReport:
    return replace(REPORT, in_force_at=taken_at, in_force_order=(epoch, seq))


def test_the_delay_of_a_report_and_the_time_until_a_rate_was_in_force() -> None:
    watch = ClockWatch(epoch=7)
    watch.commanded(1, 0.0, 90.0)
    watch.commanded(2, 50.0, 95.0)
    watch.commanded(3, 50.0, 96.0)  # a renewal
    assert watch.saw(REPORT, 100.25) == Sighting(0.25, None)
    # the dispatcher has taken the renewal by now; its rate has been in force since 95.5
    assert watch.saw(told(95.5, 3), 100.25) == Sighting(0.25, 0.5)
    watch.commanded(4, 60.0, 101.0)
    assert watch.saw(told(95.5, 4), 101.0).in_force_after_s == 0.5  # a stamp that is known tells nothing new
    assert watch.saw(told(100.0, 4), 102.0) == Sighting(2.0, -1.0)


def test_what_could_be_an_older_rate_tells_nothing() -> None:
    watch = ClockWatch(epoch=7)
    watch.commanded(1, 50.0, 200.0)  # the first command: the fleet may have had this rate since long
    assert watch.saw(told(100.0, 1), 201.0).in_force_after_s is None
    watch.commanded(2, 0.0, 203.0)
    assert watch.saw(told(203.1, 9, epoch=6), 204.0).in_force_after_s is None  # by another conductor


def test_a_command_that_is_written_again_counts_from_its_first_writing() -> None:
    watch = ClockWatch(epoch=7)
    watch.commanded(1, 0.0, 90.0)
    watch.commanded(2, 50.0, 95.0)  # the store fails, but has taken it
    watch.commanded(3, 50.0, 97.0)
    assert watch.saw(told(95.2, 3), 98.0).in_force_after_s is not None
    assert watch.saw(told(95.2, 3), 98.0).in_force_after_s > 0  # type: ignore[operator]
