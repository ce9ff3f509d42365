"""Brings the user's plan and the files beside it from the store to the local disk."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from pathlib import Path

from include.store.artefacts import ArtefactStore

_MAX_DEPTH = 20


def fetch_plan(store: ArtefactStore, plan_path: str, data_folder: str, target: Path) -> Path:
    """Copies the plan and its data folder below `target`, in the same places as in the store. Returns the plan's path.

    Raises StoreError when something cannot be read.
    """
    for path in dict.fromkeys((plan_path, *_files(store, data_folder))):
        local = target / path
        local.parent.mkdir(parents=True, exist_ok=True)
        store.download(path, str(local))
    return target / plan_path


def _files(store: ArtefactStore, folder: str, depth: int = 0) -> Iterator[str]:
    for name in store.names(folder):
        path = f"{folder}/{name}" if folder else name
        inside = store.names(path) if depth < _MAX_DEPTH else []
        # A file lists itself; so does a folder that holds one entry of its own name, but that entry exists.
        is_file = inside == [posixpath.basename(path)] and not store.exists(f"{path}/{name}")
        if is_file:
            yield path
        else:
            yield from _files(store, path, depth + 1)
