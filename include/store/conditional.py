"""Reads an object with its version, and replaces it only while it still is of that version: compare and swap.

On S3 the version is the ETag and the condition is the store's own (If-Match). On a local folder it is the content's
digest, and an exclusive lock on the very file makes writers that use this module wait for each other; the lock goes
with the process that holds it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import fsspec
import fsspec.asyn

from include.capacity.errors import StoreError

LOCK_PATIENCE_S = 5.0  # a writer holds the lock for milliseconds; one that was stopped in there must not stop others
_LOST = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409", "NoSuchKey", "404"})


class Conditional(Protocol):
    def read(self, target: str) -> tuple[bytes, str]:
        """Content and version. Raises FileNotFoundError."""

    def replace(self, target: str, data: bytes, version: str) -> bool:
        """Whether the object still was of that version and now holds `data`."""


class LocalConditional:
    """For files of one machine, or of a file system whose locks reach all machines (NFS 4)."""

    def read(self, target: str) -> tuple[bytes, str]:
        with open(target, "rb") as file:
            data = file.read()
        return data, _digest(data)

    def replace(self, target: str, data: bytes, version: str) -> bool:
        try:
            with _locked(target) as current:
                if _digest(current) != version:
                    return False
                temporary = f"{os.path.dirname(target)}/.tmp-{os.getpid()}-{os.path.basename(target)}"
                try:
                    with open(temporary, "wb") as file:
                        file.write(data)
                        file.flush()
                        os.fsync(file.fileno())
                    os.replace(temporary, target)
                except BaseException:
                    if os.path.exists(temporary):
                        os.unlink(temporary)
                    raise
                return True
        except FileNotFoundError:
            return False


@contextmanager
def _locked(target: str) -> Iterator[bytes]:
    """The content of a file that no other user of this function replaces meanwhile. Raises FileNotFoundError."""
    deadline = time.monotonic() + LOCK_PATIENCE_S
    while True:
        with open(target, "rb") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise StoreError(
                            f"{target} is locked by another process for {LOCK_PATIENCE_S:g} s. Was it stopped in there?"
                        ) from None
                    time.sleep(0.005)
            if os.fstat(file.fileno()).st_ino == os.stat(target).st_ino:  # else it was replaced while we waited
                yield file.read()
                return


class S3Conditional:
    """For S3, and for stores that keep its conditions."""

    def __init__(self, filesystem: Any) -> None:
        self._fs = filesystem

    def read(self, target: str) -> tuple[bytes, str]:
        return fsspec.asyn.sync(self._fs.loop, self._read, target)  # type: ignore[no-any-return]

    async def _read(self, target: str) -> tuple[bytes, str]:
        bucket, key, _ = self._fs.split_path(target)
        answer = await self._fs._call_s3("get_object", Bucket=bucket, Key=key)
        try:
            return await answer["Body"].read(), str(answer["ETag"])
        finally:
            answer["Body"].close()

    def replace(self, target: str, data: bytes, version: str) -> bool:
        bucket, key, _ = self._fs.split_path(target)
        try:
            self._fs.call_s3("put_object", Bucket=bucket, Key=key, Body=data, IfMatch=version)
        except FileNotFoundError:
            return False
        except OSError as error:
            if _code(error) in _LOST:
                return False
            raise
        self._fs.invalidate_cache(target)
        return True


def conditional(filesystem: fsspec.AbstractFileSystem, *, local: bool) -> Conditional:
    """Raises StoreError for a file system without conditional writes."""
    if local:
        return LocalConditional()
    if hasattr(filesystem, "call_s3"):
        return S3Conditional(filesystem)
    kind = type(filesystem).__name__
    raise StoreError(f"{kind} has no conditional writes: keep artefacts in a folder or on S3 (HEADROOM_ARTEFACTS).")


def _code(error: BaseException | None) -> str:
    """The code that S3 answered with, from the error or its cause; s3fs knows only some of them."""
    while error is not None:
        response = getattr(error, "response", None)
        if response is not None:
            return str(response.get("Error", {}).get("Code", ""))
        error = error.__cause__
    return ""


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
