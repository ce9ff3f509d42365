"""The artefact store: a folder tree on any fsspec file system (a local folder by default, S3 in production).

Readers never see half an object: local objects are written to a temporary name and renamed, S3 objects are put at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import posixpath
import uuid
from collections.abc import Iterator
from typing import Any, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from include.capacity.errors import InvalidData, StoreError
from include.store.conditional import conditional


class ArtefactStore:
    """Objects below one root, addressed by relative paths such as `fleet/command.json`.

    Raises StoreError for anything the file system refuses, FileNotFoundError only where a method says so.
    """

    def __init__(self, filesystem: fsspec.AbstractFileSystem, root: str) -> None:
        self._fs = filesystem
        self._root = root.rstrip("/")
        self._local = isinstance(filesystem, LocalFileSystem)

    @classmethod
    def open(cls, url: str, **storage_options: Any) -> ArtefactStore:
        """`url` is a folder path or any fsspec URL such as `s3://bucket/prefix`."""
        try:
            filesystem, root = fsspec.core.url_to_fs(url, use_listings_cache=False, **storage_options)
        except (ValueError, ImportError, OSError) as error:
            raise StoreError(f"The artefact store {url!r} cannot be opened: {error}.") from error
        return cls(filesystem, root)

    @property
    def url(self) -> str:
        return str(self._fs.unstrip_protocol(self._root))

    def below(self, folder: str) -> ArtefactStore:
        return ArtefactStore(self._fs, self._path(folder))

    def _path(self, path: str) -> str:
        if path.startswith("/") or ".." in path.split("/"):
            raise StoreError(f"{path!r} leaves the artefact store.")
        return f"{self._root}/{path}" if path else self._root

    def read(self, path: str) -> bytes:
        """Raises FileNotFoundError when there is no such object."""
        with self._told("read", path):
            return cast(bytes, self._fs.cat_file(self._path(path)))

    def read_or_none(self, path: str) -> bytes | None:
        try:
            return self.read(path)
        except FileNotFoundError:
            return None

    def read_json(self, path: str) -> Any:
        """Raises FileNotFoundError, or InvalidData when the object is not JSON."""
        try:
            return json.loads(self.read(path))
        except ValueError as error:
            raise InvalidData(f"{self.url}/{path} is not JSON: {error}.") from None

    def write(self, path: str, data: bytes) -> None:
        """Replaces an object as a whole."""
        target = self._path(path)
        with self._told("written", path):
            if not self._local:
                self._fs.pipe_file(target, data)
                return
            with self._replacing(target) as temporary, open(temporary, "wb") as file:
                file.write(data)

    def write_json(self, path: str, value: Any) -> None:
        """Same value, same bytes."""
        self.write(path, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())

    def create(self, path: str, data: bytes, *, durable: bool = False) -> bool:
        """Creates an object only if there is none; False when there already is one. With `durable` it survives a crash
        of the machine once this returns."""
        target = self._path(path)
        with self._told("created", path):
            folder = posixpath.dirname(target)
            grown = _made(folder) if self._local else ""  # a file in the way of a folder is no object that exists
            try:
                if not self._local:
                    self._fs.pipe_file(target, data, mode="create")
                    return True
                temporary = self._temporary(target)
                try:
                    with open(temporary, "wb") as file:
                        file.write(data)
                        if durable:
                            file.flush()
                            os.fsync(file.fileno())
                    os.link(temporary, target)  # unlike a rename it fails if there is one
                    if durable:
                        _sync_names(folder, grown)
                finally:
                    _remove_if_there(temporary)
            except FileExistsError:
                return False
        return True

    def read_versioned(self, path: str) -> tuple[bytes, str] | None:
        """An object with its version, for `replace`; None when there is none."""
        with contextlib.suppress(FileNotFoundError), self._told("read", path):
            return conditional(self._fs, local=self._local).read(self._path(path))
        return None

    def replace(self, path: str, data: bytes, version: str) -> bool:
        """Replaces an object only if it still is of this version (see `read_versioned`); False when it is not.

        Other writers of the object must use `create` and `replace`, too. Give each writing a content of its own: where
        a client repeats a request whose answer was lost, False may also mean that this very writing was done before.
        """
        with self._told("replaced", path):
            return conditional(self._fs, local=self._local).replace(self._path(path), data, version)

    def delete(self, path: str) -> None:
        """Removes an object; one that is already gone is no error."""
        with contextlib.suppress(FileNotFoundError), self._told("deleted", path):
            self._fs.rm_file(self._path(path))

    def exists(self, path: str) -> bool:
        with self._told("looked up", path):
            return bool(self._fs.exists(self._path(path)))

    def names(self, folder: str) -> list[str]:
        """Sorted names directly below a folder; empty when there is no such folder."""
        try:
            with self._told("listed", folder):
                entries = self._fs.ls(self._path(folder), detail=False)
        except FileNotFoundError:
            return []
        names = (posixpath.basename(str(entry).rstrip("/")) for entry in entries)
        return sorted(name for name in names if name and not name.startswith(".tmp-"))

    def upload(self, local_path: str, path: str) -> None:
        """Copies a local file into the store. Raises FileNotFoundError when there is no such file."""
        target = self._path(path)
        with self._told("written", path):
            if not self._local:
                self._fs.put_file(local_path, target)
                return
            with self._replacing(target) as temporary:
                self._fs.put_file(local_path, temporary)

    def download(self, path: str, local_path: str) -> None:
        """Copies an object to a local file. That there is no such object is a StoreError here."""
        try:
            with self._told("read", path):
                self._fs.get_file(self._path(path), local_path)
        except FileNotFoundError as error:
            raise StoreError(f"{self.url}/{path} cannot be read: there is no such object.") from error

    @contextlib.contextmanager
    def _told(self, done: str, path: str) -> Iterator[None]:
        """Whatever a file system raises is a StoreError with the object's address; a missing object stays what it is.

        S3 raises errors of several libraries (its client's, the connection's), which share no base but Exception.
        """
        try:
            yield
        except (FileNotFoundError, StoreError):
            raise
        except Exception as error:
            raise StoreError(f"{self.url}/{path} cannot be {done}: {error or type(error).__name__}.") from error

    @contextlib.contextmanager
    def _replacing(self, target: str) -> Iterator[str]:
        """Gives a temporary name beside a local object, and renames it into place if all went well."""
        os.makedirs(posixpath.dirname(target), exist_ok=True)
        temporary = self._temporary(target)
        try:
            yield temporary
            os.replace(temporary, target)
        except BaseException:
            _remove_if_there(temporary)
            raise

    @staticmethod
    def _temporary(target: str) -> str:
        folder, name = posixpath.split(target)
        return f"{folder}/.tmp-{uuid.uuid4().hex[:12]}-{name}"


def _made(folder: str) -> str:
    """Makes a folder, and those above it, where they are missing; returns the lowest one that was there."""
    there = folder
    while not os.path.isdir(there):
        there = posixpath.dirname(there)
    os.makedirs(folder, exist_ok=True)
    return there


def _sync_names(folder: str, up_to: str) -> None:
    """A new name survives a crash only once its folder is on the disk as well, and so on upwards."""
    while True:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if folder == up_to:
            return
        folder = posixpath.dirname(folder)


def _remove_if_there(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
