"""Watching guard rails beside the work: a reason comes through; a look that hangs or fails for long ends the run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from include.capacity.errors import NotReady, RunStopped
from include.pipeline.guards_watch import Look, Watch

QUICK = 0.01


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_reason_comes_through_and_the_first_one_stays() -> None:
    said: dict[str, str | None] = {"a": None, "b": None}
    with Watch([Look("a", lambda: said["a"], QUICK), Look("b", lambda: said["b"], QUICK)]) as watch:
        assert watch.reason() is None
        said["b"] = "An alarm is on."
        until(watch.reason)
        said["a"], said["b"] = "An order.", None
        time.sleep(5 * QUICK)
        assert watch.reason() == "An alarm is on."
        with pytest.raises(RunStopped, match="An alarm is on"):
            watch.sleep(60)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("watch: ")]


def test_a_look_that_fails_for_a_while_is_forgiven_and_for_long_is_not() -> None:
    failing = threading.Event()
    failing.set()

    def ask() -> None:
        if failing.is_set():
            raise NotReady("AWS does not answer.")

    now = [0.0]
    with Watch([Look("guard.stop_alarms", ask, QUICK)], blind_s=60, clock=lambda: now[0]) as watch:
        now[0] = 59.0
        assert watch.reason() is None
        failing.clear()
        until(lambda: watch._seen_at["guard.stop_alarms"] == 59.0)
        failing.set()
        time.sleep(5 * QUICK)
        now[0] = 118.0
        assert watch.reason() is None
        now[0] = 120.0
        reason = watch.reason()
        assert reason is not None
        assert "guard.stop_alarms could not be seen for 60 s (AWS does not answer.)" in reason


def test_a_look_that_hangs_hides_no_other_and_ends_the_run() -> None:
    hanging, said, now = threading.Event(), [None, "An order."], [0.0]
    orders = iter(said)
    looks = [Look("slow", lambda: hanging.wait(20) and None, QUICK), Look("order", lambda: next(orders, None), QUICK)]
    with Watch(looks, clock=lambda: now[0]) as watch:
        until(watch.reason)
        assert watch.reason() == "An order."
        hanging.set()
    hanging.clear()
    with Watch([Look("slow", lambda: hanging.wait(20) and None, QUICK)], clock=lambda: now[0]) as watch:
        now[0] = 61.0
        assert "slow could not be seen for 60 s (no answer)" in str(watch.reason())
        hanging.set()


def test_what_is_required_is_asked_at_once() -> None:
    Watch([Look("a", lambda: None)]).require()
    with pytest.raises(RunStopped, match="An order"):
        Watch([Look("a", lambda: None), Look("b", lambda: "An order.")]).require()


def test_sleeping_takes_its_time() -> None:
    with Watch([]) as watch:
        start = time.monotonic()
        watch.sleep(0.05)
        assert time.monotonic() - start >= 0.05
