"""Compare and swap, on a local folder between real processes, and on S3 as moto answers."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from moto.server import ThreadedMotoServer

from include.capacity.errors import StoreError
from include.store import conditional as module
from include.store.artefacts import ArtefactStore

WRITERS, TURNS = 4, 25


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["folder", "S3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, s3_endpoint: str) -> ArtefactStore:
    if request.param == "folder":
        return ArtefactStore.open(str(tmp_path / "root"))
    options = {"key": "sandbox", "secret": "sandbox", "client_kwargs": {"endpoint_url": s3_endpoint}}
    bucket = f"artefacts-{uuid.uuid4().hex[:8]}"
    fsspec.filesystem("s3", **options).mkdir(bucket)
    return ArtefactStore.open(f"s3://{bucket}/root", **options)


def test_an_object_is_created_once_and_replaced_by_its_version(store: ArtefactStore) -> None:
    assert store.read_versioned("environments/a.json") is None
    assert store.create("environments/a.json", b"one", durable=True)
    assert not store.create("environments/a.json", b"another", durable=True)
    data, version = store.read_versioned("environments/a.json") or (b"", "")
    assert data == b"one"
    assert store.replace("environments/a.json", b"two", version)
    assert not store.replace("environments/a.json", b"three", version)
    assert store.read("environments/a.json") == b"two"


def test_what_was_deleted_meanwhile_is_not_replaced(store: ArtefactStore) -> None:
    store.create("lock", b"one")
    _, version = store.read_versioned("lock") or (b"", "")
    store.delete("lock")
    assert not store.replace("lock", b"two", version)
    assert store.read_or_none("lock") is None


def test_a_file_system_without_conditions_is_refused() -> None:
    memory = ArtefactStore.open("memory://x")
    memory.write("lock", b"one")
    with pytest.raises(StoreError, match="has no conditional writes"):
        memory.replace("lock", b"two", "version")


def _count_up(folder: str, turns: int) -> None:
    store = ArtefactStore.open(folder)
    for _ in range(turns):
        while True:
            found = store.read_versioned("counter")
            assert found is not None
            count, _, _ = found[0].partition(b" ")
            if store.replace("counter", b"%d %s" % (int(count) + 1, uuid.uuid4().bytes), found[1]):
                break


def test_no_turn_is_lost_between_processes(tmp_path: Path) -> None:
    store = ArtefactStore.open(str(tmp_path))
    store.create("counter", b"0 ")
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_count_up, args=(str(tmp_path), TURNS)) for _ in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    assert store.read("counter").split()[0] == b"%d" % (WRITERS * TURNS)
    assert sorted(os.listdir(tmp_path)) == ["counter"]


def test_a_writer_that_hangs_in_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOCK_PATIENCE_S", 0.1)
    store = ArtefactStore.open(str(tmp_path))
    store.create("lock", b"one")
    _, version = store.read_versioned("lock") or (b"", "")
    with open(tmp_path / "lock", "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(StoreError, match="locked by another process"):
            store.replace("lock", b"two", version)
    assert store.replace("lock", b"two", version)


def test_a_failed_replacement_leaves_the_old_object_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ArtefactStore.open(str(tmp_path))
    store.create("lock", b"one")
    _, version = store.read_versioned("lock") or (b"", "")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match="No space left"):
            store.replace("lock", b"two", version)
    assert store.read("lock") == b"one"
    assert os.listdir(tmp_path) == ["lock"]
