"""The supervisor's side of the keeper: start a process, wait for it, signal it."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sandbox.processes.keeper import LARGEST_MESSAGE

START_TIMEOUT_S = 20.0
REPOSITORY_ROOT = Path(__file__).resolve().parents[2]


class StartFailed(Exception):
    """A program could not be started; the message is what the system said."""


class ManagedProcess:
    """A process that the keeper started. `returncode` is None while it runs, and negative for a signal."""

    def __init__(self, client: KeeperClient, pid: int, log: Path) -> None:
        self.pid = pid
        self.log = log
        self.returncode: int | None = None
        self._client = client
        self._ended = threading.Event()

    @property
    def running(self) -> bool:
        return self.returncode is None

    def wait(self, timeout_s: float | None = None) -> int | None:
        """The return code, or None if the process still runs after `timeout_s` seconds."""
        self._ended.wait(timeout_s)
        return self.returncode

    def terminate(self) -> None:
        """Ask the whole process group to end (SIGTERM)."""
        self._client.signal(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End the whole process group at once (SIGKILL)."""
        self._client.signal(self.pid, signal.SIGKILL)

    def _mark_ended(self, status: int) -> None:
        self.returncode = status
        self._ended.set()


class KeeperClient:
    """Owns the keeper process. Every method may be called from any thread."""

    def __init__(self, mark: str, log: Path, on_exit: Callable[[], None]) -> None:
        """`on_exit` is called (from the reading thread) after any process has ended."""
        self._link, far_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with far_end, log.open("ab") as output:
            self._keeper = subprocess.Popen(
                [sys.executable, "-m", "sandbox.processes.keeper", str(far_end.fileno()), mark],
                pass_fds=[far_end.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=REPOSITORY_ROOT,
                start_new_session=True,  # a Ctrl-C in the terminal is for the supervisor, which ends the rest in order
            )
        self._on_exit = on_exit
        self._lost = False
        self._lock = threading.Lock()  # guards the tables below
        self._sending = threading.Lock()
        self._numbers = itertools.count(1)
        self._pending: dict[int, tuple[threading.Event, dict[str, Any]]] = {}
        self._processes: dict[int, ManagedProcess] = {}
        self._early_exits: dict[int, int] = {}
        threading.Thread(target=self._read, name="keeper-events", daemon=True).start()

    @property
    def pid(self) -> int:
        return self._keeper.pid

    @property
    def alive(self) -> bool:
        return not self._lost and self._keeper.poll() is None

    def start(
        self, argv: Sequence[str], *, log: Path, environment: Mapping[str, str], directory: Path | str = REPOSITORY_ROOT
    ) -> ManagedProcess:
        """Start a program with exactly this environment; its output is appended to `log`. Raises StartFailed."""
        number = next(self._numbers)
        answered = threading.Event()
        answer: dict[str, Any] = {}
        with self._lock:
            self._pending[number] = (answered, answer)
        self._send(
            {
                "op": "start",
                "id": number,
                "argv": list(argv),
                "environment": dict(environment),
                "directory": str(directory),
                "log": str(log),
            }
        )
        if not answered.wait(START_TIMEOUT_S):
            raise StartFailed(f"{argv[0]}: no answer from the process keeper within {START_TIMEOUT_S:g} s")
        if "error" in answer:
            raise StartFailed(f"{argv[0]}: {answer['error']}")
        process = ManagedProcess(self, answer["pid"], log)
        with self._lock:
            if process.pid in self._early_exits:
                process._mark_ended(self._early_exits.pop(process.pid))
            else:
                self._processes[process.pid] = process
        return process

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to the group of a process that the keeper started; nothing happens if it has ended."""
        self._send({"op": "signal", "pid": pid, "signal": int(number)})

    def shutdown(self, grace_s: float) -> None:
        """End every process: SIGTERM, after `grace_s` seconds SIGKILL. Returns when the keeper itself has ended."""
        with contextlib.suppress(StartFailed):  # the keeper is gone, and with it every process it started
            self._send({"op": "shutdown", "grace_s": grace_s})
        try:
            self._keeper.wait(grace_s + 10)
        except subprocess.TimeoutExpired:
            self._keeper.kill()
            self._keeper.wait()

    def _send(self, message: dict[str, Any]) -> None:
        packet = json.dumps(message).encode()
        if len(packet) > LARGEST_MESSAGE:
            raise StartFailed(
                f"the command and its environment take {len(packet)} bytes; {LARGEST_MESSAGE} are allowed"
            )
        try:
            with self._sending:
                self._link.send(packet)
        except OSError as error:
            raise StartFailed("the process keeper is gone; the sandbox is ending") from error

    def _read(self) -> None:
        while True:
            try:
                packet = self._link.recv(LARGEST_MESSAGE)
            except OSError:
                packet = b""
            if not packet:
                break
            self._handle(json.loads(packet))
        self._lose_keeper()

    def _handle(self, event: dict[str, Any]) -> None:
        if event["event"] == "exited":
            with self._lock:
                process = self._processes.pop(event["pid"], None)
                if process is None:  # it ended before `start` could register it
                    self._early_exits[event["pid"]] = event["status"]
            if process is not None:
                process._mark_ended(event["status"])
            self._on_exit()
            return
        with self._lock:
            answered, answer = self._pending.pop(event["id"])
        answer.update({"pid": event["pid"]} if event["event"] == "started" else {"error": event["error"]})
        answered.set()

    def _lose_keeper(self) -> None:
        """The keeper has ended, so the kernel has killed all that it started."""
        self._lost = True
        with self._lock:
            processes, self._processes = list(self._processes.values()), {}
            pending, self._pending = list(self._pending.values()), {}
        for process in processes:
            process._mark_ended(-signal.SIGKILL)
        for answered, answer in pending:
            answer["error"] = "the process keeper is gone"
            answered.set()
        self._on_exit()


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The little of the sandbox's own environment that a container or a machine would have, and `extra`."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR") if name in os.environ}
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", **kept, **extra}
