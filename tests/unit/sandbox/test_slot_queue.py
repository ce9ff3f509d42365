"""The virtual-clock queue against a queue that is played through event by event."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.slot_queue import SlotQueue

Requests = list[tuple[float, float]]


def played_through(slots: int, queue_limit: int, requests: Requests) -> list[float | None]:
    """End of each request (None: refused), by first come, first served with an explicit waiting line."""
    running: list[float] = []
    waiting: list[int] = []
    ends: list[float | None] = [None] * len(requests)

    def play_until(now: float) -> None:
        while running and min(running) <= now:
            freed = min(running)
            running.remove(freed)
            if waiting:
                index = waiting.pop(0)
                ends[index] = freed + requests[index][1]
                running.append(freed + requests[index][1])

    for index, (arrival, service) in enumerate(requests):
        play_until(arrival)
        if len(running) < slots:
            ends[index] = arrival + service
            running.append(arrival + service)
        elif len(waiting) < queue_limit:
            waiting.append(index)
    play_until(float("inf"))
    return ends


# Whole numbers, so that both sides calculate exactly and many things happen at the same time.
arrivals_and_services = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9)), max_size=60)


@given(slots=st.integers(1, 4), queue_limit=st.integers(0, 6), gaps_and_services=arrivals_and_services)
def test_same_ends_as_an_event_by_event_queue(
    slots: int, queue_limit: int, gaps_and_services: list[tuple[int, int]]
) -> None:
    now = 0.0
    requests: Requests = []
    for gap, service in gaps_and_services:
        now += gap
        requests.append((now, float(service)))
    queue = SlotQueue(slots, queue_limit)
    ends = [queue.admit(arrival, service) for arrival, service in requests]
    assert ends == played_through(slots, queue_limit, requests)


@given(slots=st.integers(1, 4), gaps_and_services=arrivals_and_services)
def test_busy_time_is_the_work_done_so_far(slots: int, gaps_and_services: list[tuple[int, int]]) -> None:
    queue = SlotQueue(slots, 1000)
    now = 0.0
    done: list[tuple[float, float]] = []
    for gap, service in gaps_and_services:
        now += gap
        end = queue.admit(now, float(service))
        assert end is not None
        done.append((end - service, end))
    assert queue.busy_s(now) == pytest.approx(sum(min(end, now) - min(start, now) for start, end in done))
    assert queue.busy_s(1e9) == queue.admitted_s == sum(service for _, service in gaps_and_services)


def test_waiting_counts_what_has_not_started() -> None:
    queue = SlotQueue(slots=2, queue_limit=2)
    assert [queue.admit(0.0, 1.0) for _ in range(5)] == [1.0, 1.0, 2.0, 2.0, None]
    assert [queue.waiting(now) for now in (0.0, 0.5, 1.0)] == [2, 2, 0]
    assert queue.admit(1.5, 1.0) == 3.0
