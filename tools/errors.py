"""The one error that the tools show to a person."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

DISK_FULL_CODES = frozenset({errno.ENOSPC, errno.EDQUOT})


class ToolError(Exception):
    """A failure that a person can act on. The text is one sentence or two: what is wrong, where, and the cure."""


def is_disk_full(error: OSError) -> bool:
    """Say whether an operating system error means that no byte more can be written."""
    return error.errno in DISK_FULL_CODES


def disk_full(folder: Path, needed_mib: int) -> ToolError:
    """Return the error for a full disk.

    `folder` is where the write failed; `needed_mib` is about what the step needs in total, in MiB.
    """
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    free_mib = shutil.disk_usage(existing).free // (1024 * 1024)
    return ToolError(
        f"The disk of {folder} is full ({free_mib} MiB are free, this step needs about {needed_mib} MiB): "
        "make room, then give the same command again; it goes on where it stopped."
    )
