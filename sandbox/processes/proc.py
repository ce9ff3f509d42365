"""What Linux says about processes: is this still the one I started, and which ones carry my mark."""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc")
# Every process of a sandbox carries these in its environment; children inherit them, whatever session they move to.
SANDBOX_MARK = "HEADROOM_SANDBOX_MARK"
PROCESS_MARK = "HEADROOM_SANDBOX_PROCESS"


def start_ticks(pid: int) -> int | None:
    """When the process began, in clock ticks since boot; None if it has ended (a zombie has ended).

    A process id alone may have been given to another process since; together with this number it is unique.
    """
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except (OSError, ValueError):
        return None
    # The command name is in parentheses and may hold anything, so the fields are counted from the last parenthesis.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in {"Z", "X"} else int(fields[19])


def is_same_process(pid: int, ticks: int) -> bool:
    """Whether the process that had this id and began at `ticks` still runs."""
    return start_ticks(pid) == ticks


def marked_processes(name: str, value: str) -> list[int]:
    """The ids of all living processes whose environment held `name=value` when their program began."""
    wanted = f"{name}={value}".encode()
    found = []
    for entry in os.listdir(PROC):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            environment = (PROC / entry / "environ").read_bytes()
        except OSError:  # it has ended, or it belongs to somebody else
            continue
        if wanted in environment.split(b"\0") and start_ticks(int(entry)) is not None:
            found.append(int(entry))
    return found
