"""What JMeter recorded, kept in the store part by part."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import cast

import pytest

from include.capacity.errors import StoreError
from include.capacity.protocol import results_folder
from include.loadgen import results
from include.loadgen.results import PART_S, ResultKeeper, ResultParts
from include.store.artefacts import ArtefactStore
from tests.unit.loadgen.fakes import FailingStore, FakeTime

FOLDER = results_folder(2, "inc")


@pytest.fixture
def store(tmp_path: Path) -> ArtefactStore:
    return ArtefactStore.open(str(tmp_path / "run"))


@pytest.fixture
def parts(tmp_path: Path) -> ResultParts:
    return ResultParts(tmp_path / "parts")


def keeper(parts: ResultParts, store: object, time: FakeTime) -> ResultKeeper:
    return ResultKeeper(parts, cast(ArtefactStore, store), shard=2, incarnation="inc", monotonic=lambda: time.monotonic)


def in_store(store: ArtefactStore) -> list[bytes]:
    return [gzip.decompress(store.read(f"{FOLDER}/{name}")) for name in store.names(FOLDER)]


def test_parts_are_kept_while_the_shard_runs_and_removed_from_its_disk(
    tmp_path: Path, parts: ResultParts, store: ArtefactStore
) -> None:
    time = FakeTime()
    keeping = keeper(parts, store, time)
    parts.write(b"header\none\n")
    keeping.step()
    assert in_store(store) == []  # not worth an object yet
    time.advance(PART_S)
    keeping.step()
    parts.write(b"two\n")
    time.advance(PART_S)
    keeping.step()
    assert in_store(store) == [b"header\none\n", b"two\n"]
    assert list((tmp_path / "parts").iterdir()) == []
    time.advance(PART_S)
    keeping.step()  # nothing new: no empty part
    assert len(in_store(store)) == 2


def test_all_parts_together_are_one_gzip_file(
    parts: ResultParts, store: ArtefactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "PART_BYTES", 1000)
    lines = [f"line {number}\n".encode() for number in range(1000)]
    for line in lines:
        parts.write(line)
    parts.cut()
    keeper(parts, store, FakeTime()).keep()
    names = store.names(FOLDER)
    assert len(names) > 5
    assert names == [f"{number:06d}.jtl.gz" for number in range(len(names))]
    assert gzip.decompress(b"".join(store.read(f"{FOLDER}/{name}") for name in names)) == b"".join(lines)


def test_a_store_that_fails_gets_every_part_in_order_when_it_is_back(parts: ResultParts, store: ArtefactStore) -> None:
    time, failing = FakeTime(), FailingStore(store)
    keeping = keeper(parts, failing, time)
    failing.broken = True
    for text in (b"one\n", b"two\n"):
        parts.write(text)
        time.advance(PART_S)
        keeping.step()
    assert in_store(store) == []
    with pytest.raises(StoreError):
        keeping.keep()
    failing.broken = False
    keeping.step()
    assert in_store(store) == [b"one\n", b"two\n"]
