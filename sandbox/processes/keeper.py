"""The keeper: a small process that starts every other process of the sandbox, and ends them all when the sandbox ends.

It is a process of its own for three reasons. Its only thread lives as long as it does, so the kernel's "kill me when my
parent dies" works: that signal follows the *thread* that started the child, and the supervisor has many that come and
go. It notices the death of the supervisor, even by kill -9, because their socket closes. And as the reaper of orphans
it finds grandchildren that moved to a session of their own.

It is started as `python -m sandbox.processes.keeper SOCKET_FD MARK` and speaks JSON, one message a packet:
    {"op": "start", "id", "argv", "environment", "directory", "log"} -> {"event": "started", "id", "pid"} or "failed"
    {"op": "signal", "pid", "signal"}                                to the whole group of a process
    {"op": "shutdown", "grace_s"}                                    ends everything, then the keeper
    {"event": "exited", "pid", "status"}                             status as in subprocess: -9 is "killed by signal 9"
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from typing import Any

from sandbox.processes.proc import PROCESS_MARK, SANDBOX_MARK, marked_processes

LARGEST_MESSAGE = 128 * 1024  # one packet must fit into a Unix socket's buffer, 208 KiB by default
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
POLL_S = 0.02

_libc = ctypes.CDLL(None, use_errno=True)


class Keeper:
    """Starts, signals and reaps; `run` returns when the supervisor is gone or asked for the end."""

    def __init__(self, link: socket.socket, mark: str) -> None:
        self._link = link
        self._mark = mark
        self._pid = os.getpid()
        self._children: set[int] = set()
        self._marks: dict[int, str] = {}
        self._grace_s: float | None = None

    def run(self) -> None:
        """Serve until the end, then end every process that still runs."""
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
        wake_out, wake_in = socket.socketpair()
        wake_in.setblocking(False)
        wake_out.setblocking(False)
        signal.set_wakeup_fd(wake_in.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for ending in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(ending, self._on_end_signal)
        while self._grace_s is None:
            ready, _, _ = select.select([self._link, wake_out], [], [], 1.0)
            if wake_out in ready:
                wake_out.recv(4096)
            self._reap()
            if self._link in ready and not self._serve_one():
                self._grace_s = 0.0
        self._end_all(self._grace_s)

    def _on_end_signal(self, *_: object) -> None:
        self._grace_s = 5.0

    def _serve_one(self) -> bool:
        """Handle one message; False if the supervisor is gone."""
        try:
            packet = self._link.recv(LARGEST_MESSAGE)
        except OSError:
            return False
        if not packet:
            return False
        message = json.loads(packet)
        match message["op"]:
            case "start":
                self._start(message)
            case "signal":
                self._signal(message["pid"], message["signal"])
            case "shutdown":
                self._grace_s = float(message["grace_s"])
        return True

    def _start(self, message: dict[str, Any]) -> None:
        environment = {
            **message["environment"],
            SANDBOX_MARK: self._mark,
            PROCESS_MARK: f"{self._mark}/{message['id']}",
        }
        try:
            with open(message["log"], "ab", buffering=0) as log:
                child = subprocess.Popen(
                    message["argv"],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=message["directory"],
                    env=environment,
                    start_new_session=True,
                    close_fds=True,
                    preexec_fn=self._die_with_keeper,
                )
        except (OSError, subprocess.SubprocessError) as error:
            self._send({"event": "failed", "id": message["id"], "error": str(error)})
            return
        child.returncode = 0  # the keeper itself reaps all children, so Popen must not
        self._children.add(child.pid)
        self._marks[child.pid] = environment[PROCESS_MARK]
        self._send({"event": "started", "id": message["id"], "pid": child.pid})

    def _die_with_keeper(self) -> None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != self._pid:  # the keeper died before the line above
            os._exit(1)

    def _signal(self, pid: int, number: int) -> None:
        if pid in self._children:
            _kill_group(pid, number)

    def _reap(self) -> None:
        """Report children that ended, after the rest of their group has been killed."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            pid = ended.si_pid
            if pid in self._children:
                # The dead leader is not reaped yet, so its number cannot belong to anybody else.
                _kill_group(pid, signal.SIGKILL)
                for escaped in marked_processes(PROCESS_MARK, self._marks.pop(pid)):
                    _kill(escaped, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            if pid in self._children:
                self._children.discard(pid)
                self._send({"event": "exited", "pid": pid, "status": os.waitstatus_to_exitcode(status)})

    def _end_all(self, grace_s: float) -> None:
        if grace_s > 0:
            for pid in self._children:
                _kill_group(pid, signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        while self._children and time.monotonic() < deadline:
            self._reap()
            time.sleep(POLL_S)
        for pid in list(self._children):
            _kill_group(pid, signal.SIGKILL)
        for pid in marked_processes(SANDBOX_MARK, self._mark):
            _kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 5
        while self._children and time.monotonic() < deadline:
            self._reap()
            time.sleep(POLL_S)

    def _send(self, event: dict[str, Any]) -> None:
        try:
            self._link.send(json.dumps(event).encode())
        except OSError:
            self._grace_s = 0.0


def _kill_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _kill(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def main(argv: list[str]) -> None:
    """`argv` is the number of the inherited socket and the mark of the sandbox."""
    Keeper(socket.socket(fileno=int(argv[0])), argv[1]).run()


if __name__ == "__main__":
    main(sys.argv[1:])
