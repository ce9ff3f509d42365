"""The environment's lease in a store: taken once, renewed, lapsed, taken over; on a folder and on S3."""

from __future__ import annotations

import multiprocessing
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import pytest
from moto.server import ThreadedMotoServer

from include.capacity.errors import GuardRefused, InvalidData
from include.capacity.guard.lease import CLOCK_SKEW_S, LEASE_S
from include.pipeline import environment_lock as lock
from include.store.artefacts import ArtefactStore


@dataclass(frozen=True)
class Place:
    name: str = "123456789012-us-east-1-checkout-web"


PLACE = Place()
RUN = {"service": "checkout", "dag_id": "capacity_weekly__checkout", "run_id": "manual__1", "installation": "east"}
OTHER = {**RUN, "run_id": "manual__2"}
TWIN = {**RUN, "installation": "west"}
LAPSED = LEASE_S + CLOCK_SKEW_S + 1


def settled(root: ArtefactStore, run: Any) -> bool:
    return True


def unsettled(root: ArtefactStore, run: Any) -> bool:
    return False


@pytest.fixture(scope="module")
def s3_options() -> Iterator[dict[str, Any]]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield {"key": "sandbox", "secret": "sandbox", "client_kwargs": {"endpoint_url": f"http://{host}:{port}"}}
    server.stop()


@pytest.fixture(params=["folder", "S3"])
def root(request: pytest.FixtureRequest, tmp_path: Path, s3_options: dict[str, Any]) -> ArtefactStore:
    if request.param == "folder":
        return ArtefactStore.open(str(tmp_path))
    bucket = f"artefacts-{uuid.uuid4().hex[:8]}"
    fsspec.filesystem("s3", **s3_options).mkdir(bucket)
    return ArtefactStore.open(f"s3://{bucket}/headroom", **s3_options)


def test_one_run_at_a_time(root: ArtefactStore) -> None:
    assert lock.claim_of(PLACE, root) is None
    first = lock.take(PLACE, root, RUN)
    assert lock.take(PLACE, root, RUN).epoch == first.epoch  # a repeated task
    for other in (OTHER, TWIN):
        with pytest.raises(GuardRefused, match="held by run 'manual__1'"):
            lock.take(PLACE, root, other)
        assert not lock.renew(PLACE, root, other)
        lock.release(PLACE, root, other)
    assert lock.claim_of(PLACE, root) == RUN
    lock.release(PLACE, root, RUN)
    assert lock.claim_of(PLACE, root) is None
    assert lock.take(PLACE, root, OTHER).epoch == first.epoch + 1


def test_a_lapsed_lease_is_taken_over_when_nothing_is_left_of_its_run(root: ArtefactStore) -> None:
    lock.take(PLACE, root, RUN, now=lambda: time.time() - LAPSED)
    with pytest.raises(GuardRefused, match=r"lapsed at .* not restored\. .*include\.pipeline\.restore checkout"):
        lock.take(PLACE, root, OTHER, unsettled)
    assert lock.take(PLACE, root, OTHER, settled).run == OTHER
    assert not lock.renew(PLACE, root, RUN)


def test_a_lapsed_lease_that_its_run_renews_is_as_good_as_new(root: ArtefactStore) -> None:
    lock.take(PLACE, root, RUN, now=lambda: time.time() - LAPSED)
    assert lock.renew(PLACE, root, RUN)
    with pytest.raises(GuardRefused, match="its lease is renewed until"):
        lock.take(PLACE, root, OTHER, settled)


def test_of_a_takeover_and_a_renewal_at_once_one_wins(root: ArtefactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The holder wakes up between the other's look and its writing."""
    lock.take(PLACE, root, RUN, now=lambda: time.time() - LAPSED)

    def look_then_renew(store: ArtefactStore, run: Any) -> bool:
        monkeypatch.undo()
        assert lock.renew(PLACE, root, RUN)
        return True

    with pytest.raises(GuardRefused, match="its lease is renewed until"):
        lock.take(PLACE, root, OTHER, look_then_renew)
    assert lock.claim_of(PLACE, root) == RUN


def test_a_writing_whose_answer_was_lost_counts(root: ArtefactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that repeats a conditional request meets its own object."""
    create, swap = ArtefactStore.create, ArtefactStore.replace

    def twice(method: Callable[..., bool]) -> Callable[..., bool]:
        def both(self: ArtefactStore, *arguments: Any, **keys: Any) -> bool:
            method(self, *arguments, **keys)
            return method(self, *arguments, **keys)

        return both

    monkeypatch.setattr(ArtefactStore, "create", twice(create))
    monkeypatch.setattr(ArtefactStore, "replace", twice(swap))
    lock.take(PLACE, root, RUN)
    assert lock.renew(PLACE, root, RUN)
    lock.release(PLACE, root, RUN)
    assert lock.claim_of(PLACE, root) is None


def test_waiting_ends_when_the_holder_is_done_and_says_for_whom(
    root: ArtefactStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    lock.take(PLACE, root, RUN)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            lock.release(PLACE, root, RUN)

    lock.wait_until_free(PLACE, root, OTHER, settled, 1200, sleep, clock=lambda: sum(slept))
    assert slept == [lock.LOOK_S] * 3
    (told,) = [record.getMessage() for record in caplog.records if record.name == lock.__name__]  # not every 5 s
    assert "held by run 'manual__1'" in told


def test_waiting_ends_with_the_reason_when_the_time_is_up(root: ArtefactStore) -> None:
    lock.take(PLACE, root, RUN)
    slept: list[float] = []
    with pytest.raises(GuardRefused, match=r"held by run 'manual__1'.*\(Waited for 12 s\.\)"):
        lock.wait_until_free(PLACE, root, OTHER, settled, 12, slept.append, clock=lambda: sum(slept))
    assert slept == [5, 5, 2]
    with pytest.raises(GuardRefused):
        lock.wait_until_free(PLACE, root, OTHER, settled, 0)


def test_a_task_keeps_the_lease_alive_and_sees_that_it_is_lost(root: ArtefactStore) -> None:
    lock.take(PLACE, root, RUN, now=lambda: time.time() - LEASE_S + 1)
    with lock.holding(PLACE, root, RUN, period_s=0.05) as keeper:
        _until(lambda: _left(root) > LEASE_S - 5)
        assert keeper.lost is None
        lock.release(PLACE, root, RUN)
        lock.take(PLACE, root, OTHER)
        _until(lambda: keeper.lost is not None)
        assert "held by run 'manual__2'" in str(keeper.lost)
    assert not [thread for thread in threading.enumerate() if thread.name == "environment lease"]


def test_a_store_that_fails_for_a_while_loses_no_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = ArtefactStore.open(str(tmp_path))
    lock.take(PLACE, root, RUN)
    healthy, failing = ArtefactStore.read_versioned, threading.Event()
    looks = []

    def read(self: ArtefactStore, path: str) -> Any:
        looks.append(path)
        if failing.is_set():
            raise lock.StoreError("no route")
        return healthy(self, path)

    monkeypatch.setattr(ArtefactStore, "read_versioned", read)
    failing.set()
    with lock.holding(PLACE, root, RUN, period_s=0.02) as keeper:
        _until(lambda: len(looks) > 3)
        failing.clear()
        count = len(looks)
        _until(lambda: len(looks) > count + 1)
        assert keeper.lost is None


def test_an_unreadable_lock_names_its_address(tmp_path: Path) -> None:
    root = ArtefactStore.open(str(tmp_path))
    root.write(lock.lock_path(PLACE), b'{"schema": 1, "run')
    with pytest.raises(InvalidData, match=r"environments/.*json is not readable.*delete this object"):
        lock.take(PLACE, root, RUN)


def _race(folder: str, number: int, start: Any, winners: Any) -> None:
    root = ArtefactStore.open(folder)
    run = {**RUN, "run_id": f"manual__{number}"}
    for turn in range(10):
        start.wait()
        try:
            lock.take(Place(f"place-{turn}"), root, run)
            winners.put((turn, number))
        except GuardRefused:
            pass


def test_of_runs_that_start_at_once_one_wins(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start, winners = context.Barrier(3), context.Queue()
    racers = [context.Process(target=_race, args=(str(tmp_path), number, start, winners)) for number in range(3)]
    for racer in racers:
        racer.start()
    won = [winners.get(timeout=60) for _ in range(10)]
    for racer in racers:
        racer.join(60)
        assert racer.exitcode == 0
    assert winners.empty()
    assert sorted(turn for turn, _ in won) == list(range(10))


def _left(root: ArtefactStore) -> float:
    lease = lock.lease_of(PLACE, root)
    assert lease is not None
    return lease.expires_at - time.time()


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)
