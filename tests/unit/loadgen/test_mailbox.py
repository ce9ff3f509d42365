"""Reading from and publishing to a store that may fail."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from include.capacity.protocol import COMMAND_PATH, DISMISSED_PATH, incarnation_folder
from include.loadgen.mailbox import POLL_LOCAL_S, POLL_REMOTE_S, Outbox, StoreWatch, poll_period_s
from include.store.artefacts import ArtefactStore
from tests.unit.loadgen.fakes import FailingStore, FakeTime

MINE = "00000000000000000005-1"


@pytest.fixture
def store(tmp_path: Path) -> ArtefactStore:
    return ArtefactStore.open(str(tmp_path))


def watch(store: object, time: FakeTime) -> StoreWatch:
    return StoreWatch(cast(ArtefactStore, store), 0, MINE, lambda: time.monotonic)


def test_an_empty_store_shows_nothing(store: ArtefactStore) -> None:
    looking = watch(store, FakeTime())
    assert not looking.seen.looked
    looking.poll()
    assert looking.seen.looked
    assert (looking.seen.command, looking.seen.dismissed, looking.seen.newer) == (None, False, "")


def test_a_command_bears_the_time_before_it_was_read(store: ArtefactStore) -> None:
    time = FakeTime()

    class SlowStore(FailingStore):
        def read_or_none(self, path: str) -> bytes | None:
            time.advance(2.0)
            return store.read_or_none(path)

    store.write(COMMAND_PATH, b"order")
    looking = watch(SlowStore(store), time)
    looking.poll()
    assert looking.seen.command is not None
    assert (looking.seen.command.data, looking.seen.command.asked_at) == (b"order", 100.0)


def test_a_dismissal_is_a_latch(store: ArtefactStore, tmp_path: Path) -> None:
    looking = watch(store, FakeTime())
    store.create(DISMISSED_PATH, b"{}")
    looking.poll()
    (tmp_path / DISMISSED_PATH).unlink()
    looking.poll()
    assert looking.seen.dismissed


def test_only_a_later_incarnation_of_the_same_shard_is_newer(store: ArtefactStore) -> None:
    time = FakeTime()
    looking = watch(store, time)
    store.write(f"{incarnation_folder(0, '00000000000000000004-9')}/reports/000000.json", b"{}")
    looking.poll()
    assert looking.seen.newer == ""  # an older one, and nothing of its own yet
    time.advance(1.0)
    store.write(f"{incarnation_folder(0, MINE)}/reports/000000.json", b"{}")
    store.write(f"{incarnation_folder(1, '00000000000000000009-9')}/reports/000000.json", b"{}")
    store.write("fleet/shard-000/notes.txt", b"")
    looking.poll()
    assert looking.seen.newer == ""
    store.write(f"{incarnation_folder(0, '00000000000000000006-1')}/reports/000000.json", b"{}")
    time.advance(1.0)
    looking.poll()
    assert looking.seen.newer == "00000000000000000006-1"


@pytest.mark.parametrize("error", [OSError("gone"), RuntimeError("of a library"), ValueError()])
def test_a_store_that_fails_keeps_what_was_seen(store: ArtefactStore, error: Exception) -> None:
    failing = FailingStore(store)
    looking = watch(failing, FakeTime())
    store.write(COMMAND_PATH, b"order")
    looking.poll()
    failing.broken, failing.error = True, error
    looking.poll()
    assert looking.seen.error
    assert looking.seen.command is not None
    failing.broken = False
    looking.poll()
    assert looking.seen.error == ""


def test_the_outbox_keeps_the_order_and_tries_again(store: ArtefactStore) -> None:
    failing = FailingStore(store)
    outbox = Outbox(cast(ArtefactStore, failing))
    outbox.put("a", b"1")
    outbox.put("b", b"2")
    assert not outbox.has_room
    failing.broken = True
    assert not outbox.publish_next()
    assert outbox.error == "the store is away"
    failing.broken = False
    assert outbox.publish_next()
    assert (store.read("a"), store.read_or_none("b"), outbox.error, outbox.has_room) == (b"1", None, "", True)
    assert outbox.publish_next()
    assert not outbox.publish_next()
    assert store.read("b") == b"2"
    assert outbox.wait_empty(0)


def test_a_folder_is_looked_at_more_often_than_a_remote_store(store: ArtefactStore) -> None:
    assert poll_period_s(store) == POLL_LOCAL_S
    assert poll_period_s(ArtefactStore.open("memory://run")) == POLL_REMOTE_S
