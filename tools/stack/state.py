"""The stack's state file, written by the supervisor and read by every command."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from tools.stack.airflow_environment import Ports

Phase = Literal["starting", "running", "stopping", "stopped", "failed"]
ComponentState = Literal["waiting", "starting", "healthy", "unhealthy", "dead", "stopped"]


@dataclass(slots=True)
class ComponentStatus:
    """One component as last seen; `since` is the epoch second of its start."""

    state: ComponentState = "waiting"
    pid: int | None = None
    since: float | None = None
    restarts: int = 0


@dataclass(slots=True)
class StackState:
    """What the supervisor knows.

    Attributes:
        message: why the phase is `failed`.
        options: what the stack was started with (StackOptions.to_json).
        endpoint_url: the AWS endpoint that Airflow's connection points to; empty without a sandbox.
        progress: (seconds since the start, line) of each step of the start.
    """

    pid: int
    phase: Phase
    started_at: float
    message: str = ""
    options: str = ""
    endpoint_url: str = ""
    ports: Ports | None = None
    components: dict[str, ComponentStatus] = field(default_factory=dict)
    progress: list[tuple[float, str]] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Replaces the file as a whole."""
        temporary = path.with_name(f".{path.name}-{os.getpid()}")
        temporary.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        temporary.replace(path)

    @classmethod
    def read(cls, path: Path) -> StackState | None:
        """None when there is no file, or none of this version."""
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            ports = values.pop("ports")
            components = values.pop("components")
            progress = values.pop("progress")
            return cls(
                **values,
                ports=Ports(**ports) if ports else None,
                components={name: ComponentStatus(**status) for name, status in components.items()},
                progress=[(float(elapsed_s), str(line)) for elapsed_s, line in progress],
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None


@contextlib.contextmanager
def supervisor_lock(path: Path) -> Iterator[int | None]:
    """Hold the lock that says "a supervisor lives"; yields its file descriptor, None if another process holds it.

    The lock ends with the process. A fork that keeps the descriptor open would keep the lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        yield file.fileno()


def supervisor_lives(path: Path) -> bool:
    """Whether some process holds the supervisor's lock."""
    if not path.exists():
        return False
    with path.open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
