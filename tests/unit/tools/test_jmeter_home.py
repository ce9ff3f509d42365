"""The JMeter home: where each jar lies, and that there is never half a home."""

from __future__ import annotations

import dataclasses
import errno
import io
import os
import zipfile
from pathlib import Path

import pytest

from tests.unit.tools.conftest import FakeRepository
from tools.errors import ToolError
from tools.jmeter import home as home_module
from tools.jmeter.fetch import fetch_jars
from tools.jmeter.home import assemble_home, check_runs, damaged_files, is_complete
from tools.jmeter.lock import JMeterLock


@pytest.fixture
def cache(lock: JMeterLock, repository: FakeRepository, tmp_path: Path) -> Path:
    """A cache that holds every jar of the lock."""
    folder = tmp_path / "jars"
    fetch_jars(lock, folder, repository)
    return folder


def files(home: Path) -> set[str]:
    return {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()}


def test_every_part_lies_where_jmeter_looks_for_it(lock: JMeterLock, cache: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    assemble_home(lock, cache, home)
    assert files(home) == {
        ".complete",
        "bin/ApacheJMeter.jar",
        "bin/jmeter.properties",
        "bin/templates/simple.jmx",
        "lib/ext/ApacheJMeter_config-5.6.3.jar",
        "lib/ext/ApacheJMeter_core-5.6.3.jar",
        "lib/jorphan-5.6.3.jar",
        "lib/xmlresolver-5.2.1-data.jar",
    }
    assert (home / "lib" / "junit").is_dir()
    assert is_complete(home, lock)
    assert damaged_files(home, lock) == []


def test_jars_are_hard_links_of_the_cache(lock: JMeterLock, cache: Path, tmp_path: Path) -> None:
    assemble_home(lock, cache, tmp_path / "home")
    assert (tmp_path / "home/bin/ApacheJMeter.jar").samefile(cache / lock.launcher.path)


def test_jars_are_copied_where_links_do_not_work(
    lock: JMeterLock, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(os, "link", refuse)
    assemble_home(lock, cache, tmp_path / "home")
    assert damaged_files(tmp_path / "home", lock) == []


def test_a_failure_leaves_the_old_home_as_it_was(
    lock: JMeterLock, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    assemble_home(lock, cache, home)
    before = files(home)

    def full(config_jar: Path, folder: Path) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(home_module, "_unpack_bin", full)
    with pytest.raises(ToolError, match=r"The disk of .*home is full"):
        assemble_home(lock, cache, home)
    assert files(home) == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".home")] == []


def test_a_new_lock_replaces_the_home(lock: JMeterLock, cache: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    assemble_home(lock, cache, home)
    jars = tuple(jar for jar in lock.jars if jar.artifact != "jorphan")
    newer = dataclasses.replace(lock, jars=jars, digest="another")
    assert not is_complete(home, newer)
    assemble_home(newer, cache, home)
    assert is_complete(home, newer)
    assert "lib/jorphan-5.6.3.jar" not in files(home)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".home")] == []


def test_what_a_killed_call_left_is_removed(lock: JMeterLock, cache: Path, tmp_path: Path) -> None:
    stale = tmp_path / ".home-killed" / "lib"
    stale.mkdir(parents=True)
    assemble_home(lock, cache, tmp_path / "home")
    assert not stale.exists()


def test_a_folder_of_somebody_else_is_not_touched(lock: JMeterLock, cache: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "home" / "letter.txt"
    theirs.parent.mkdir()
    theirs.write_text("mine", encoding="utf-8")
    with pytest.raises(ToolError, match="is not a JMeter home of this installer"):
        assemble_home(lock, cache, tmp_path / "home")
    assert theirs.read_text(encoding="utf-8") == "mine"


def test_a_missing_or_changed_jar_is_found(lock: JMeterLock, cache: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    assemble_home(lock, cache, home)
    (home / "lib/jorphan-5.6.3.jar").unlink()
    changed = home / "lib/ext/ApacheJMeter_core-5.6.3.jar"
    changed.unlink()
    changed.write_bytes(b"changed")
    assert not is_complete(home, lock)
    assert sorted(damaged_files(home, lock)) == ["lib/ext/ApacheJMeter_core-5.6.3.jar", "lib/jorphan-5.6.3.jar"]


def test_a_config_jar_cannot_write_outside_the_home(lock: JMeterLock, cache: Path, tmp_path: Path) -> None:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("bin/../../escaped", "x")
    (cache / lock.config.path).write_bytes(sink.getvalue())
    with pytest.raises(ToolError, match=r"unsafe path 'bin/\.\./\.\./escaped'"):
        assemble_home(lock, cache, tmp_path / "home")
    assert not (tmp_path / "escaped").exists()
    assert not (tmp_path / "home").exists()


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_a_home_that_prints_its_version_is_well(tmp_path: Path) -> None:
    check_runs(tmp_path, script(tmp_path / "java", "echo 'Version 5.6.3'"), "5.6.3")


@pytest.mark.parametrize("text", ["echo 'Version 5.5'", "echo 'Error: cannot open the jar' >&2; exit 1", "exit 0"])
def test_a_home_that_does_not_run_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(ToolError, match=f"JMeter in {tmp_path} does not run"):
        check_runs(tmp_path, script(tmp_path / "java", text), "5.6.3")


def test_a_missing_java_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"There is no Java at .*nowhere"):
        check_runs(tmp_path, str(tmp_path / "nowhere"), "5.6.3")
