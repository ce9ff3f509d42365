"""What Linux offers so that no process outlives the stack: parent-death signals, sessions, a mark to find strays."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

# Every process of a stack carries this variable; its value is the stack's state folder.
MARK = "HEADROOM_STACK"
# What the programs carry that a component starts, in whatever session; the value names stack and component.
COMPONENT_MARK = "HEADROOM_STACK_COMPONENT"
PR_SET_PDEATHSIG = 1
POLL_S = 0.05

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, however that dies.

    `parent` is the parent's process id as the caller knows it: if it is dead already, this process ends at once. The
    signal belongs to the parent's *thread* that started this process, so start children from a main thread only.
    """
    if _libc is None:
        return
    _libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(128 + signal.SIGKILL)


def chain_forks_to_parent() -> None:
    """From now on each process that this process forks dies with it, and so do theirs.

    The kernel forgets the wish in a forked child, hence the hook. A fork by another thread than the main one is left
    alone: that thread may end before the child should.
    """
    parent = [0]

    def before() -> None:
        parent[0] = os.getpid() if threading.current_thread() is threading.main_thread() else 0

    def in_child() -> None:
        if parent[0]:
            die_with_parent(parent[0])

    os.register_at_fork(before=before, after_in_child=in_child)


def _pids() -> Iterable[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _stat_fields(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat behind the name; None when there is no such process, or only its zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name stands in parentheses and may hold any character: count from the last one.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in {"Z", "X"} else fields


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    return _stat_fields(pid) is not None


def session_members(session: int) -> list[int]:
    """The living processes of a session, whatever process group they made for themselves."""
    members = []
    for pid in _pids():
        fields = _stat_fields(pid)
        if fields is not None and int(fields[3]) == session:
            members.append(pid)
    return members


def marked(value: str, mark: str = MARK) -> list[int]:
    """The living processes whose program was started with the mark of this value, the caller excepted."""
    wanted = f"{mark}={value}".encode()
    found = []
    for pid in _pids():
        if pid == os.getpid():
            continue
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:  # ended meanwhile, or another user's
            continue
        if wanted in environment.split(b"\0") and is_alive(pid):
            found.append(pid)
    return found


def kill(pids: Iterable[int], sig: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal; a process that is gone already is no error."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, sig)


def kill_all(find: Callable[[], list[int]], patience_s: float = 5.0) -> int:
    """Kill what `find` finds until it finds nothing more; returns how many there were.

    Looks again after each round, since a process may have forked just before it died.
    """
    seen: set[int] = set()
    deadline = time.monotonic() + patience_s
    while found := find():
        seen.update(found)
        kill(found)
        if time.monotonic() > deadline:
            break
        time.sleep(POLL_S)
    return len(seen)
