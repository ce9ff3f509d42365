"""Assembles a JMeter home from verified jars, and checks one."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from tools.errors import ToolError, disk_full, is_disk_full
from tools.jmeter.fetch import NEEDED_MIB, sha256_of
from tools.jmeter.lock import JMeterLock, LockedJar

# The file that is written last; it holds the digest of the lock and the number of the way in which homes are assembled.
MARKER = ".complete"
ASSEMBLY = 2
LAUNCHER = PurePosixPath("bin/ApacheJMeter.jar")
VERSION_TIMEOUT_S = 120


def place_in_home(jar: LockedJar, lock: JMeterLock) -> PurePosixPath:
    """Return where a jar lies below a home: JMeter's class loader looks for its own modules in `lib/ext` only."""
    if jar == lock.launcher:
        return LAUNCHER
    return PurePosixPath("lib/ext" if jar.is_jmeter_module else "lib") / jar.file_name


def is_complete(home: Path, lock: JMeterLock) -> bool:
    """Say whether `home` was assembled from this very lock and still has every jar (names only; cheap)."""
    try:
        if (home / MARKER).read_text(encoding="utf-8") != _marker(lock):
            return False
    except OSError:
        return False
    return all((home / place_in_home(jar, lock)).is_file() for jar in lock.jars)


def assemble_home(lock: JMeterLock, cache: Path, home: Path) -> None:
    """Build a home from the cached jars beside `home`, then rename it: at no moment is there half a home.

    Raises ToolError for a full disk, and where `home` is a folder that this installer did not make.
    """
    if home.exists() and not _is_ours(home):
        raise ToolError(f"{home} exists and is not a JMeter home of this installer: name another folder, or remove it.")
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        # Left by a killed call.
        for stale in home.parent.glob(f".{home.name}-*"):
            shutil.rmtree(stale, ignore_errors=True)
        building = Path(tempfile.mkdtemp(prefix=f".{home.name}-", dir=home.parent))
        try:
            _fill(building, lock, cache)
            _swap(building, home)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    except OSError as error:
        if is_disk_full(error):
            raise disk_full(home, NEEDED_MIB) from None
        raise ToolError(f"Cannot write the JMeter home {home}: {error.strerror or error}.") from None


def damaged_files(home: Path, lock: JMeterLock) -> list[str]:
    """Return the jars of a home, as paths below it, that are missing or differ from the lock."""
    damaged = []
    for jar in lock.jars:
        path = home / place_in_home(jar, lock)
        if not path.is_file() or sha256_of(path) != jar.sha256:
            damaged.append(str(place_in_home(jar, lock)))
    return damaged


def check_runs(home: Path, java: str, version: str) -> None:
    """Start the home once with `--version`. Raises ToolError if it does not print the version."""
    program = shutil.which(java)
    if program is None:
        raise ToolError(f"There is no Java at {java}: run `make setup`.")
    command = [os.path.abspath(program), "-Djava.awt.headless=true", "-jar", str(home / LAUNCHER), "--version"]
    try:
        # JMeter writes jmeter.log into its working folder.
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=VERSION_TIMEOUT_S, check=False
            )
    except subprocess.TimeoutExpired:
        raise ToolError(f"JMeter in {home} did not answer to --version within {VERSION_TIMEOUT_S} s.") from None
    if done.returncode != 0 or version not in done.stdout:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise ToolError(f"JMeter in {home} does not run with {java}: {lines[-1] if lines else 'it printed nothing'}")


def _marker(lock: JMeterLock) -> str:
    return f"{lock.digest} {ASSEMBLY}\n"


def _is_ours(home: Path) -> bool:
    return home.is_dir() and ((home / MARKER).is_file() or not any(home.iterdir()))


def _fill(folder: Path, lock: JMeterLock, cache: Path) -> None:
    folder.chmod(0o755)
    for jar in lock.jars:
        target = folder / place_in_home(jar, lock)
        target.parent.mkdir(parents=True, exist_ok=True)
        _link_or_copy(cache / jar.path, target)
    # JMeter prints a stack trace at every start where this folder is missing, and it may be empty.
    (folder / "lib" / "junit").mkdir()
    _unpack_bin(cache / lock.config.path, folder)
    (folder / MARKER).write_text(_marker(lock), encoding="utf-8")


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if is_disk_full(error):
            raise
        # Another file system, or one without hard links.
        shutil.copyfile(source, target)


def _unpack_bin(config_jar: Path, folder: Path) -> None:
    with zipfile.ZipFile(config_jar) as archive:
        for entry in archive.infolist():
            path = PurePosixPath(entry.filename)
            if path.parts[:1] != ("bin",) or entry.is_dir():
                continue
            if ".." in path.parts:
                raise ToolError(f"{config_jar} holds the unsafe path {entry.filename!r}: do not use this jar.")
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink)


def _swap(building: Path, home: Path) -> None:
    if home.exists():
        # A folder cannot be renamed over a full one. The name makes the next call remove what a kill leaves here.
        retired = Path(tempfile.mkdtemp(prefix=f".{home.name}-", dir=home.parent))
        os.replace(home, retired)
        os.replace(building, home)
        shutil.rmtree(retired, ignore_errors=True)
    else:
        os.replace(building, home)
