"""Brings the jars of a lock into a cache folder: in parallel, each one verified, resumable."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path

from tools.errors import ToolError, disk_full, is_disk_full
from tools.jmeter.lock import REGENERATE, JMeterLock, LockedJar
from tools.jmeter.repository import JarSource

WORKERS = 8
NEEDED_MIB = 160
_INCOMING_PREFIX = ".incoming-"

Progress = Callable[[int, int], None]


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fetch_jars(lock: JMeterLock, cache: Path, source: JarSource, progress: Progress = lambda done, total: None) -> int:
    """Make every jar of the lock lie verified at `cache / jar.path`; return how many were downloaded.

    A cached jar of the right sha256 is kept, any other is removed and fetched. A jar is downloaded to a folder of its
    own and moved to its place after the check: a killed call leaves only whole jars. `progress` gets (done, total).
    Raises ToolError for a wrong sha256, a missing jar, no network or a full disk; the jars fetched before it stay.
    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
        for stale in cache.glob(f"{_INCOMING_PREFIX}*"):
            shutil.rmtree(stale, ignore_errors=True)
        missing = [jar for jar in lock.jars if not _is_cached(jar, cache)]
        progress(len(lock.jars) - len(missing), len(lock.jars))
        if missing:
            _fetch_missing(missing, lock, cache, source, progress)
    except OSError as error:
        if is_disk_full(error):
            raise disk_full(cache, NEEDED_MIB) from None
        raise ToolError(f"Cannot write the jar cache {cache}: {error.strerror or error}.") from None
    return len(missing)


def _is_cached(jar: LockedJar, cache: Path) -> bool:
    path = cache / jar.path
    if not path.is_file():
        return False
    if sha256_of(path) == jar.sha256:
        return True
    path.unlink()
    return False


def _fetch_missing(
    missing: list[LockedJar], lock: JMeterLock, cache: Path, source: JarSource, progress: Progress
) -> None:
    incoming = Path(tempfile.mkdtemp(prefix=_INCOMING_PREFIX, dir=cache))
    executor = ThreadPoolExecutor(max_workers=WORKERS, thread_name_prefix="jar")
    try:
        futures = {executor.submit(_fetch_one, jar, lock, cache, incoming, source) for jar in missing}
        pending = futures
        while pending:
            done, pending = wait(pending, timeout=0.5, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
            finished = sum(future.done() for future in futures)
            progress(len(lock.jars) - len(futures) + finished, len(lock.jars))
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
        shutil.rmtree(incoming, ignore_errors=True)


def _fetch_one(jar: LockedJar, lock: JMeterLock, cache: Path, incoming: Path, source: JarSource) -> None:
    actual = ""
    # Twice: a transfer can break, but a jar that is wrong two times is wrong at its source or in the lock.
    for _ in range(2):
        downloaded = source.fetch(jar, incoming)
        actual = sha256_of(downloaded)
        if actual == jar.sha256:
            target = cache / jar.path
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(downloaded, target)
            return
        downloaded.unlink()
    raise ToolError(
        f"{jar.file_name} has the sha256 {actual}, but {lock.source} says {jar.sha256}: the jar at the repository or "
        f"the lock was changed; trust neither until you know which, restore the lock with git or run `{REGENERATE}`."
    )
