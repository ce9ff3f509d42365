"""The state folder: what runs where, so that the commands find it, and so that no wrong process is ever ended."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from sandbox.processes.proc import is_same_process

DEFAULT_FOLDER = Path("build/sandbox")
DEFAULT_ENDPOINT_PORT = 18410
DEFAULT_BALANCER_PORT = 18420
LISTEN_BACKLOG = 256


class SandboxError(Exception):
    """Something a person must act on; the message says what and how."""


@dataclass(frozen=True, slots=True)
class State:
    """What `state.json` holds. `pid` and `start_ticks` together name the supervisor for good."""

    status: Literal["starting", "ready"]
    pid: int
    start_ticks: int
    mark: str
    plant: str
    plant_file: str
    endpoint_url: str
    load_balancer_url: str
    region: str
    account_id: str
    time_scale: float
    started_at: str
    log_folder: str
    resources: Mapping[str, Any] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        return is_same_process(self.pid, self.start_ticks)


@dataclass(frozen=True, slots=True)
class Folder:
    """The files of one sandbox."""

    path: Path

    @property
    def state_file(self) -> Path:
        return self.path / "state.json"

    @property
    def pid_file(self) -> Path:
        return self.path / "sandbox.pid"

    @property
    def ports_file(self) -> Path:
        return self.path / "ports.json"

    @property
    def snapshot_file(self) -> Path:
        return self.path / "status.json"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def lock_file(self) -> Path:
        return self.path / "lock"

    def read(self) -> State | None:
        """The last state that was written; None if there is none, or if it cannot be understood."""
        try:
            return State(**json.loads(self.state_file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, state: State) -> None:
        """Write the state, the pid file beside it, and the ports for the next start."""
        write_json(self.state_file, asdict(state))
        self.pid_file.write_text(f"{state.pid}\n", encoding="utf-8")
        ports = {"endpoint": _port(state.endpoint_url), "balancer": _port(state.load_balancer_url)}
        write_json(self.ports_file, ports)

    def begin_logs(self) -> None:
        """An empty folder for logs; those of the start before are kept in `logs.previous`."""
        previous = self.path / "logs.previous"
        if self.logs.exists():
            shutil.rmtree(previous, ignore_errors=True)
            self.logs.rename(previous)
        self.logs.mkdir(parents=True)

    def clear(self) -> None:
        """Forget that something runs. The logs and the ports stay."""
        for file in (self.state_file, self.pid_file, self.snapshot_file):
            file.unlink(missing_ok=True)

    def previous_ports(self) -> tuple[int | None, int | None]:
        """Endpoint and load balancer of the last start."""
        try:
            ports = json.loads(self.ports_file.read_text(encoding="utf-8"))
            return int(ports["endpoint"]), int(ports["balancer"])
        except (OSError, ValueError, TypeError, KeyError):
            return None, None


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a file in one step: a reader sees the old content or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(content, indent=2, default=str) + "\n", encoding="utf-8")
    temporary.replace(path)


def listen(wanted: int | None, previous: int | None, default: int, purpose: str) -> socket.socket:
    """A listening socket on 127.0.0.1, on the port that was asked for.

    If none was asked for: on the first one that is free of the previous port, the default one, and any other.
    Raises SandboxError if the port that was asked for is taken.
    """
    candidates = [wanted] if wanted is not None else [port for port in (previous, default, 0) if port is not None]
    for port in candidates:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen(LISTEN_BACKLOG)
        except OSError:
            listener.close()
            continue
        return listener
    raise SandboxError(
        f"port {wanted} for {purpose} is in use: choose another one, or leave the option out and a free one is taken"
    )


def _port(url: str) -> int:
    return int(url.rsplit(":", 1)[1])
