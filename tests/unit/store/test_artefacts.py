"""The artefact store on a local folder and on a file system that fails."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pytest

from include.capacity.errors import InvalidData, StoreError
from include.store.artefacts import ArtefactStore


class Unreachable(Exception):
    """An error of a client library, akin to no other."""


class FailingFileSystem(fsspec.AbstractFileSystem):
    protocol = "failing"

    def _fail(self, *_: object, **__: object) -> None:
        raise Unreachable("no route")

    cat_file = pipe_file = rm_file = exists = ls = put_file = get_file = _fail


@pytest.fixture
def store(tmp_path: Path) -> ArtefactStore:
    return ArtefactStore.open(str(tmp_path / "root"))


def test_an_object_is_read_as_it_was_written(store: ArtefactStore) -> None:
    store.write("a/b.json", b"{}")
    store.write("a/b.json", b'{"x": 1}')
    assert store.read("a/b.json") == b'{"x": 1}'
    assert store.read_json("a/b.json") == {"x": 1}
    assert store.names("a") == ["b.json"]
    assert store.exists("a/b.json")


def test_what_is_missing_is_told_apart_from_what_fails(store: ArtefactStore) -> None:
    assert store.read_or_none("nothing") is None
    assert store.names("nothing") == []
    assert not store.exists("nothing")
    store.delete("nothing")
    with pytest.raises(FileNotFoundError):
        store.read("nothing")


def test_creating_happens_once(store: ArtefactStore) -> None:
    assert store.create("lock", b"first", durable=True)
    assert not store.create("lock", b"second")
    assert store.read("lock") == b"first"
    store.delete("lock")
    assert store.create("lock", b"third")


def test_same_value_same_bytes(store: ArtefactStore) -> None:
    store.write_json("one", {"b": 1, "a": [2]})
    store.write_json("two", {"a": [2], "b": 1})
    assert store.read("one") == store.read("two")


def test_a_broken_object_names_its_address(store: ArtefactStore) -> None:
    store.write("plan.json", b"{")
    with pytest.raises(InvalidData, match=r"plan\.json is not JSON"):
        store.read_json("plan.json")


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x"])
def test_no_path_leaves_the_root(store: ArtefactStore, path: str) -> None:
    with pytest.raises(StoreError, match="leaves the artefact store"):
        store.write(path, b"")


def test_a_failed_write_leaves_the_old_object_and_nothing_else(
    store: ArtefactStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store.write("a/b", b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("include.store.artefacts.os.replace", full)
    with pytest.raises(StoreError, match=r"a/b cannot be written: .*No space left"):
        store.write("a/b", b"new")
    assert store.read("a/b") == b"old"
    assert [path.name for path in (tmp_path / "root" / "a").iterdir()] == ["b"]


def test_files_go_in_and_out(store: ArtefactStore, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"content")
    store.upload(str(tmp_path / "in"), "deep/down/file")
    store.download("deep/down/file", str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == b"content"
    with pytest.raises(FileNotFoundError):
        store.upload(str(tmp_path / "missing"), "x")
    with pytest.raises(StoreError, match="nothing cannot be read: there is no such object"):
        store.download("nothing", str(tmp_path / "out"))


def test_any_error_of_a_file_system_is_a_store_error(tmp_path: Path) -> None:
    store = ArtefactStore(FailingFileSystem(), "bucket/prefix")
    calls = [
        lambda: store.read("x"),
        lambda: store.write("x", b""),
        lambda: store.create("x", b""),
        lambda: store.delete("x"),
        lambda: store.exists("x"),
        lambda: store.names("x"),
        lambda: store.upload(str(tmp_path), "x"),
        lambda: store.download("x", str(tmp_path / "y")),
    ]
    for call in calls:
        with pytest.raises(StoreError, match="no route"):
            call()


def test_what_is_created_durably_is_on_the_disk_with_its_name_and_those_of_its_new_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    store = ArtefactStore.open(str(tmp_path))
    assert store.create("runs/one/journal/000000.json", b"x", durable=True)
    assert ".tmp-" in synced[0]
    assert synced[1:] == [f"{tmp_path}/{name}".rstrip("/") for name in ("runs/one/journal", "runs/one", "runs", "")]
    synced.clear()
    assert store.create("runs/one/journal/000001.json", b"x", durable=True)
    assert synced[1:] == [f"{tmp_path}/runs/one/journal"]
    synced.clear()
    assert store.create("runs/other", b"x")
    assert synced == []


def test_a_file_in_the_way_of_a_folder_is_not_read_as_an_object_that_exists(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("")
    with pytest.raises(StoreError, match="cannot be created"):
        ArtefactStore.open(str(tmp_path)).create("journal/000000.json", b"x")
