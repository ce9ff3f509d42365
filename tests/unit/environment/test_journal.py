"""The log of events: what it knows, who may write, and what its readers do with what is broken."""

from __future__ import annotations

import json
from pathlib import Path

import fsspec
import pytest
from moto.server import ThreadedMotoServer

from include.capacity.errors import GuardRefused, InvalidData, StoreError
from include.environment.journal import Journal
from include.store.artefacts import ArtefactStore
from tests.unit.environment.thing import RUN, Sleeper, Thing


@pytest.fixture
def folder(tmp_path: Path) -> ArtefactStore:
    return ArtefactStore.open(str(tmp_path))


def opened(folder: ArtefactStore, at: float = 10.0) -> Journal:
    journal = Journal.read(folder, now=lambda: at, sleep=Sleeper())
    journal.open(RUN, at, lambda: [Thing({"size": 1, "on": True})])
    return journal


def test_what_is_written_is_read_by_others(folder: ArtefactStore) -> None:
    journal = opened(folder)
    journal.intend(journal.entries[0], {"size": (1, 2)})
    other = Journal.read(folder)
    record = other.entries[0].records["size"]
    assert (other.phase, other.run, other.entries[0].snapshot) == ("open", RUN, {"size": 1, "on": True})
    assert (record.before, record.ours, record.done, record.at) == (1, [2], False, 10.0)
    journal.done(journal.entries[0], ["size"])
    journal.intend(journal.entries[0], {"size": (2, 4)})
    journal.close()
    journal.undone(journal.entries[0], {"size": 1})
    journal.conclude(settled=True, report={"equal": True})
    other.refresh()
    record = other.entries[0].records["size"]
    assert (record.before, record.ours, record.done, record.undone) == (1, [2, 4], False, True)
    assert (other.phase, other.settled, other.report) == ("concluded", True, {"equal": True})


def test_nothing_is_intended_behind_the_end_even_by_a_writer_that_does_not_know_it_yet(folder: ArtefactStore) -> None:
    journal = opened(folder)
    Journal.read(folder).close()
    with pytest.raises(GuardRefused, match="'manual__1' is being restored, or was restored, since this task began"):
        journal.intend(journal.entries[0], {"size": (1, 2)})
    assert not Journal.read(folder).touched


def test_two_writers_lose_nothing(folder: ArtefactStore) -> None:
    first = opened(folder)
    second = Journal.read(folder)
    first.intend(first.entries[0], {"size": (1, 2)})
    second.intend(second.entries[0], {"on": (True, False)})
    first.done(first.entries[0], ["size"])
    assert set(first.entries[0].records) == {"size", "on"}
    read = Journal.read(folder).entries[0].records
    assert {name: record.done for name, record in read.items()} == {"size": True, "on": False}


def test_two_that_open_at_once_share_one_snapshot(folder: ArtefactStore) -> None:
    first, second = Journal.read(folder), Journal.read(folder)
    first.open(RUN, 0.0, lambda: [Thing({"size": 1})])
    second.open(RUN, 0.0, lambda: [Thing({"size": 7})])
    second.intend(second.entries[0], {"size": (1, 2)})
    assert (second.entries[0].snapshot, len(folder.names("journal"))) == ({"size": 1}, 2)


def test_a_task_that_began_before_the_restore_opens_nothing(folder: ArtefactStore) -> None:
    journal = opened(folder)
    ending = Journal.read(folder, now=lambda: 20.0)
    ending.close()
    with pytest.raises(GuardRefused):
        Journal.read(folder).open(RUN, 19.0, lambda: [])
    cleared = Journal.read(folder)
    cleared.open(RUN, 21.0, lambda: [Thing({"size": 5})])  # before the restore ended: the first values count
    assert cleared.entries[0].snapshot == {"size": 1, "on": True}
    with pytest.raises(GuardRefused):  # the one that began to restore does not know of the new task
        ending.conclude(settled=True, report={})
    ending.close()
    ending.conclude(settled=True, report={})
    again = Journal.read(folder)
    again.open(RUN, 21.0, lambda: [Thing({"size": 5})])
    assert (again.generation, again.entries[0].snapshot) == (2, {"size": 5})
    with pytest.raises(GuardRefused):
        journal.intend(journal.entries[0], {"size": (1, 2)})


def test_an_answer_that_was_lost_is_found(folder: ArtefactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = opened(folder)
    create, calls = ArtefactStore.create, []

    def losing(self: ArtefactStore, path: str, data: bytes, *, durable: bool = False) -> bool:
        calls.append(path)
        done = create(self, path, data, durable=durable)
        if len(calls) == 1:
            raise StoreError("the answer was lost.")
        return done

    monkeypatch.setattr(ArtefactStore, "create", losing)
    journal.intend(journal.entries[0], {"size": (1, 2)})
    assert calls == ["journal/000001.json"] * 2
    assert Journal.read(folder).entries[0].records["size"].ours == [2]


def test_a_store_that_does_not_come_back_is_told(folder: ArtefactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = opened(folder)

    def full(self: ArtefactStore, path: str, data: bytes, *, durable: bool = False) -> bool:
        raise StoreError("No space left.")

    monkeypatch.setattr(ArtefactStore, "create", full)
    with pytest.raises(StoreError, match="No space"):
        journal.intend(journal.entries[0], {"size": (1, 2)})
    assert not journal.touched


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"ev', "000001.json is not readable"),
        (b'{"schema": 3}', "is of schema 3"),
        (b'{"schema": 2, "event": "other", "resource": 0}', r"no event of a journal \(ValueError"),
        (b'{"schema": 2, "event": "done", "resource": 7, "fields": []}', r"no event of a journal \(IndexError"),
    ],
)
def test_a_broken_event_is_told_with_its_object_and_what_to_do(
    folder: ArtefactStore, content: bytes, told: str
) -> None:
    opened(folder)
    folder.write("journal/000001.json", content)
    with pytest.raises(InvalidData, match=told):
        Journal.read(folder)


def test_a_missing_event_is_told(folder: ArtefactStore) -> None:
    journal = opened(folder)
    journal.close()
    journal.conclude(settled=True, report={})
    folder.delete("journal/000001.json")
    with pytest.raises(InvalidData, match=r"lacks 000001\.json.*by hand"):
        Journal.read(folder)


@pytest.mark.parametrize("content", [b"[]", b'{"run": {}}', b"{"])
def test_a_broken_journal_of_the_first_schema_is_told(folder: ArtefactStore, content: bytes) -> None:
    folder.write("journal.json", content)
    with pytest.raises(InvalidData, match=r"journal\.json is (no journal|not readable)"):
        Journal.read(folder)


def test_events_are_plain_objects_with_a_schema(folder: ArtefactStore) -> None:
    opened(folder)
    event = json.loads(folder.read("journal/000000.json"))
    assert {"schema": 2, "event": "opened", "at": 10.0, "number": 0, "run": RUN}.items() <= event.items()
    assert event["resources"] == [
        {"kind": "thing", "name": "thing", "title": "thing", "snapshot": {"size": 1, "on": True}}
    ]


def test_a_journal_on_s3_keeps_the_same_promises() -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    options = {"key": "sandbox", "secret": "sandbox", "client_kwargs": {"endpoint_url": f"http://{host}:{port}"}}
    try:
        fsspec.filesystem("s3", **options).mkdir("artefacts")
        folder = ArtefactStore.open("s3://artefacts/root", **options).below("checkout/manual__1")
        assert Journal.read(folder).phase == "none"
        first = opened(folder)
        second = Journal.read(folder)
        first.intend(first.entries[0], {"size": (1, 2)})
        second.intend(second.entries[0], {"on": (True, False)})
        assert set(Journal.read(folder).entries[0].records) == {"size", "on"}
        ending = Journal.read(folder)
        ending.close()
        with pytest.raises(GuardRefused):
            first.done(first.entries[0], ["size"])
        ending.conclude(settled=True, report={"equal": True})
        assert folder.names("journal") == [f"{number:06d}.json" for number in range(5)]
        assert Journal.read(folder).settled
    finally:
        server.stop()
