"""What JMeter recorded, on its way to the store: gzip parts, each kept there as soon as it is complete.

A container's disk is gone with it. So what a killed shard recorded is in the store up to its last part; the rest is
told as missing when the run compares the parts with the reports. All parts in the order of their names are one gzip
file.
"""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable
from pathlib import Path

from include.capacity.protocol import results_part
from include.store.artefacts import ArtefactStore

PART_S = 10.0  # what a kill may cost
PART_BYTES = 32 << 20  # before compression: about 2 MiB in the store
KEEP_EVERY_S = 1.0
_LEVEL = 4


class ResultParts:
    """Compresses into files below a folder; a file bears its name once it is complete. For any two threads."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._lock = threading.Lock()
        self._number = 0
        self._part: gzip.GzipFile | None = None
        self._written = 0

    def write(self, piece: bytes) -> None:
        """Raises OSError (disk full)."""
        with self._lock:
            if self._part is None:
                self._part = gzip.open(self._unfinished, "wb", compresslevel=_LEVEL)  # noqa: SIM115
                self._written = 0
            self._part.write(piece)
            self._written += len(piece)
            if self._written >= PART_BYTES:
                self._cut()

    def cut(self) -> None:
        """Completes the part that is being written; nothing happens if there is none. Raises OSError (disk full)."""
        with self._lock:
            self._cut()

    def complete(self) -> list[tuple[int, Path]]:
        """Number and file of each part that is complete and was not removed, the oldest first."""
        return sorted((int(file.name.split(".")[0]), file) for file in self._folder.glob("*.jtl.gz"))

    @property
    def _unfinished(self) -> Path:
        return self._folder / f"{self._number:06d}.part"

    def _cut(self) -> None:
        if self._part is None:
            return
        part, self._part = self._part, None
        part.close()
        self._unfinished.rename(self._folder / f"{self._number:06d}.jtl.gz")
        self._number += 1


class ResultKeeper:
    """Puts complete parts into the store, the oldest first, and removes them here: the disk does not fill with them."""

    def __init__(
        self,
        parts: ResultParts,
        store: ArtefactStore,
        *,
        shard: int,
        incarnation: str,
        monotonic: Callable[[], float],
    ) -> None:
        self._parts, self._store, self._monotonic = parts, store, monotonic
        self._shard, self._incarnation = shard, incarnation
        self._cut_at = monotonic()
        self._lock = threading.Lock()

    def step(self) -> None:
        """One round of the background. Never raises: a store that fails is tried again, a full disk ends the shard."""
        try:
            if self._monotonic() - self._cut_at >= PART_S:
                self._cut_at = self._monotonic()
                self._parts.cut()
            self.keep()
        except Exception:
            return

    def keep(self) -> None:
        """Uploads every complete part. Raises what the store raises."""
        with self._lock:  # the last round of the background may still be at it
            for number, file in self._parts.complete():
                self._store.upload(str(file), results_part(self._shard, self._incarnation, number))
                file.unlink()
