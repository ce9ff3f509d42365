"""The hard limits of a shard."""

from __future__ import annotations

from include.capacity.jtl.follow import Tally
from include.capacity.protocol import Counters
from include.loadgen.guard import Guard
from tests.unit.loadgen.fakes import spec


def test_errors_above_the_limit_trip_it() -> None:
    guard = Guard(spec())
    guard.saw_transactions(100.0, Tally(20, 10))
    assert guard.reason == ""  # exactly the limit
    guard.saw_transactions(100.1, Tally(1, 1))
    assert guard.reason == "11 of 21 transactions of the last 3 s failed, more than the limit of 50%"


def test_a_few_transactions_say_nothing() -> None:
    guard = Guard(spec())
    guard.saw_transactions(100.0, Tally(19, 19))
    assert guard.reason == ""


def test_errors_leave_with_the_window() -> None:
    guard = Guard(spec())
    guard.saw_transactions(100.0, Tally(15, 15))
    guard.saw_transactions(103.1, Tally(15, 3))
    assert guard.reason == ""
    guard.saw_transactions(106.0, Tally(15, 8))  # 3 + 8 of 30
    assert guard.reason == ""


def test_old_successes_do_not_hide_new_errors() -> None:
    guard = Guard(spec())
    guard.saw_transactions(100.0, Tally(1000, 0))
    guard.saw_transactions(103.5, Tally(20, 20))
    assert guard.reason.startswith("20 of 20 transactions")


def test_arrivals_that_wait_for_a_thread_are_in_flight() -> None:
    guard = Guard(spec())
    guard.saw_counters(Counters(in_flight=60, backlog=40))
    assert guard.reason == ""
    guard.saw_counters(Counters(in_flight=60, backlog=41))
    assert guard.reason == "101 arrivals are in flight, more than the limit of 100"


def test_the_first_reason_stays() -> None:
    guard = Guard(spec())
    guard.trip("first")
    guard.saw_counters(Counters(in_flight=1000))
    assert guard.reason == "first"
