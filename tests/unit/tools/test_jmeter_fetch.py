"""The jar cache: verified, resumable, and without half a jar."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
from pathlib import Path

import pytest

from tests.unit.tools.conftest import FakeRepository
from tools.errors import ToolError
from tools.jmeter.fetch import fetch_jars, sha256_of
from tools.jmeter.lock import JMeterLock, LockedJar


def cached(cache: Path) -> list[str]:
    return sorted(str(path.relative_to(cache)) for path in cache.rglob("*.jar"))


def test_every_jar_is_fetched_and_verified(lock: JMeterLock, repository: FakeRepository, tmp_path: Path) -> None:
    cache = tmp_path / "jars"
    assert fetch_jars(lock, cache, repository) == 5
    assert cached(cache) == sorted(repository.contents)
    assert all(sha256_of(cache / jar.path) == jar.sha256 for jar in lock.jars)
    assert not list(cache.glob(".incoming-*"))


def test_what_is_cached_is_not_fetched_again(lock: JMeterLock, repository: FakeRepository, tmp_path: Path) -> None:
    fetch_jars(lock, tmp_path / "jars", repository)
    repository.calls.clear()
    assert fetch_jars(lock, tmp_path / "jars", repository) == 0
    assert repository.calls == []


def test_a_damaged_cached_jar_is_replaced(lock: JMeterLock, repository: FakeRepository, tmp_path: Path) -> None:
    cache = tmp_path / "jars"
    fetch_jars(lock, cache, repository)
    damaged = cache / lock.launcher.path
    damaged.write_bytes(b"half")
    assert fetch_jars(lock, cache, repository) == 1
    assert damaged.read_bytes() == b"launcher"


def test_a_transfer_that_broke_once_is_repeated(lock: JMeterLock, repository: FakeRepository, tmp_path: Path) -> None:
    repository.broken.add(lock.launcher.path)
    fetch_jars(lock, tmp_path / "jars", repository)
    assert repository.calls.count(lock.launcher.path) == 2


def test_a_wrong_hash_names_the_jar_and_the_lock_and_keeps_the_others(
    lock: JMeterLock, repository: FakeRepository, tmp_path: Path
) -> None:
    cache = tmp_path / "jars"
    fetch_jars(lock, cache, repository)
    (cache / lock.launcher.path).unlink()
    repository.contents[lock.launcher.path] = b"not the launcher"
    with pytest.raises(ToolError, match=r"ApacheJMeter-5\.6\.3\.jar has the sha256 .*jmeter\.lock says"):
        fetch_jars(lock, cache, repository)
    assert cached(cache) == sorted(path for path in repository.contents if path != lock.launcher.path)
    assert not list(cache.glob(".incoming-*"))


def test_an_error_of_the_source_ends_the_fetch(lock: JMeterLock, repository: FakeRepository, tmp_path: Path) -> None:
    class Unreachable:
        def fetch(self, jar: LockedJar, folder: Path) -> Path:
            raise ToolError("No connection")

    with pytest.raises(ToolError, match="No connection"):
        fetch_jars(lock, tmp_path / "jars", Unreachable())


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_in_a_sentence(lock: JMeterLock, tmp_path: Path, code: int) -> None:
    class Full:
        def fetch(self, jar: LockedJar, folder: Path) -> Path:
            raise OSError(code, "no space")

    with pytest.raises(ToolError, match=r"The disk of .*jars is full .*make room"):
        fetch_jars(lock, tmp_path / "jars", Full())


def test_a_cache_that_cannot_be_written_is_named(lock: JMeterLock, repository: FakeRepository, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way", encoding="utf-8")
    with pytest.raises(ToolError, match=r"Cannot write the jar cache .*file/jars"):
        fetch_jars(lock, blocked / "jars", repository)


def test_what_a_killed_call_left_is_removed(lock: JMeterLock, repository: FakeRepository, tmp_path: Path) -> None:
    stale = tmp_path / "jars" / ".incoming-old" / "org"
    stale.mkdir(parents=True)
    fetch_jars(lock, tmp_path / "jars", repository)
    assert not stale.exists()


def test_progress_ends_with_all_jars(lock: JMeterLock, repository: FakeRepository, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    fetch_jars(lock, tmp_path / "jars", repository, lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, 5)
    assert seen[-1] == (5, 5)


def test_a_lock_with_another_hash_fetches_that_jar_only(
    lock: JMeterLock, repository: FakeRepository, tmp_path: Path
) -> None:
    fetch_jars(lock, tmp_path / "jars", repository)
    repository.calls.clear()
    repository.contents[lock.launcher.path] = b"newer"
    newer = dataclasses.replace(lock.launcher, sha256=hashlib.sha256(b"newer").hexdigest())
    jars = tuple(newer if jar == lock.launcher else jar for jar in lock.jars)
    assert fetch_jars(dataclasses.replace(lock, jars=jars), tmp_path / "jars", repository) == 1
    assert repository.calls == [lock.launcher.path]
