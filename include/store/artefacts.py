"""The artefact store: a folder tree on any fsspec file system (a local folder by default, S3 in production).

Readers never see half an object: local objects are written to a temporary name and renamed, S3 objects are put at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import posixpath
import uuid
from typing import Any, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from include.capacity.errors import InvalidData, StoreError


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
        try:
            return cast(bytes, self._fs.cat_file(self._path(path)))
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StoreError(f"{self.url}/{path} cannot be read: {error}.") from error

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
        try:
            if self._local:
                os.makedirs(posixpath.dirname(target), exist_ok=True)
                temporary = self._temporary(target)
                try:
                    with open(temporary, "wb") as file:
                        file.write(data)
                    os.replace(temporary, target)
                except BaseException:
                    _remove_if_there(temporary)
                    raise
            else:
                self._fs.pipe_file(target, data)
        except OSError as error:
            raise StoreError(f"{self.url}/{path} cannot be written: {error}.") from error

    def write_json(self, path: str, value: Any) -> None:
        """Same value, same bytes."""
        self.write(path, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())

    def create(self, path: str, data: bytes, *, durable: bool = False) -> bool:
        """Creates an object only if there is none; False when there already is one. With `durable` it survives a crash
        of the machine once this returns."""
        target = self._path(path)
        try:
            if not self._local:
                self._fs.pipe_file(target, data, mode="create")
                return True
            os.makedirs(posixpath.dirname(target), exist_ok=True)
            temporary = self._temporary(target)
            try:
                with open(temporary, "wb") as file:
                    file.write(data)
                    if durable:
                        file.flush()
                        os.fsync(file.fileno())
                os.link(temporary, target)
            finally:
                _remove_if_there(temporary)
            return True
        except FileExistsError:
            return False
        except OSError as error:
            raise StoreError(f"{self.url}/{path} cannot be created: {error}.") from error

    def delete(self, path: str) -> None:
        """Removes an object; one that is already gone is no error."""
        try:
            self._fs.rm_file(self._path(path))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StoreError(f"{self.url}/{path} cannot be deleted: {error}.") from error

    def exists(self, path: str) -> bool:
        try:
            return bool(self._fs.exists(self._path(path)))
        except OSError as error:
            raise StoreError(f"{self.url}/{path} cannot be looked up: {error}.") from error

    def names(self, folder: str) -> list[str]:
        """Sorted names directly below a folder; empty when there is no such folder."""
        try:
            entries = self._fs.ls(self._path(folder), detail=False)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreError(f"{self.url}/{folder} cannot be listed: {error}.") from error
        names = (posixpath.basename(str(entry).rstrip("/")) for entry in entries)
        return sorted(name for name in names if name and not name.startswith(".tmp-"))

    def upload(self, local_path: str, path: str) -> None:
        """Copies a local file into the store."""
        target = self._path(path)
        try:
            if self._local:
                os.makedirs(posixpath.dirname(target), exist_ok=True)
                temporary = self._temporary(target)
                self._fs.put_file(local_path, temporary)
                os.replace(temporary, target)
            else:
                self._fs.put_file(local_path, target)
        except OSError as error:
            raise StoreError(f"{local_path} cannot be copied to {self.url}/{path}: {error}.") from error

    def download(self, path: str, local_path: str) -> None:
        try:
            self._fs.get_file(self._path(path), local_path)
        except OSError as error:
            raise StoreError(f"{self.url}/{path} cannot be copied to {local_path}: {error}.") from error

    @staticmethod
    def _temporary(target: str) -> str:
        folder, name = posixpath.split(target)
        return f"{folder}/.tmp-{uuid.uuid4().hex[:12]}-{name}"


def _remove_if_there(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
