"""The state folder, ports, and knowing a process again."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.processes.proc import is_same_process, marked_processes, start_ticks
from sandbox.state import Folder, SandboxError, State, listen


def state(**changes: object) -> State:
    fields: dict[str, object] = {
        "status": "ready",
        "pid": os.getpid(),
        "start_ticks": start_ticks(os.getpid()),
        "mark": "m",
        "plant": "checkout",
        "plant_file": "/plants/checkout.yaml",
        "endpoint_url": "http://127.0.0.1:1111",
        "load_balancer_url": "http://127.0.0.1:2222",
        "region": "us-east-1",
        "account_id": "123456789012",
        "time_scale": 12.0,
        "started_at": "2026-01-31T12:00:00+00:00",
        "log_folder": "logs",
    }
    return State(**{**fields, **changes})  # type: ignore[arg-type]


def test_what_is_written_is_read_and_the_ports_outlive_it(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    assert folder.read() is None
    folder.write(state(resources={"group": "checkout-web"}))
    assert folder.read() == state(resources={"group": "checkout-web"})
    folder.clear()
    assert folder.read() is None
    assert folder.previous_ports() == (1111, 2222)
    assert [file.name for file in tmp_path.iterdir()] == ["ports.json"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}', '{"unknown": 1}'])
def test_an_unreadable_state_is_no_state(tmp_path: Path, content: str) -> None:
    (tmp_path / "state.json").write_text(content)
    assert Folder(tmp_path).read() is None


def test_a_process_is_known_by_its_number_and_its_beginning() -> None:
    ticks = start_ticks(os.getpid())
    assert ticks is not None
    assert is_same_process(os.getpid(), ticks)
    assert not is_same_process(os.getpid(), ticks - 1)
    assert state().alive
    assert not state(start_ticks=ticks - 1).alive


def test_a_zombie_has_ended() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert start_ticks(child.pid) is None
    child.wait()


def test_marked_processes_are_found_by_the_exact_mark() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={**os.environ, "SOME_MARK": "abc"}
    )
    try:
        while marked_processes("SOME_MARK", "abc") == []:  # until the program has begun
            assert child.poll() is None
        assert marked_processes("SOME_MARK", "abc") == [child.pid]
        assert marked_processes("SOME_MARK", "ab") == []
    finally:
        child.communicate(b"\n")


def test_ports_in_order_of_preference() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        with listen(None, taken, taken, "a test") as chosen:
            assert chosen.getsockname() == ("127.0.0.1", chosen.getsockname()[1])
            assert chosen.getsockname()[1] != taken
            free = chosen.getsockname()[1]
        with listen(None, free, taken, "a test") as chosen:
            assert chosen.getsockname()[1] == free
        with pytest.raises(SandboxError, match=f"port {taken} for a test is in use"):
            listen(taken, free, free, "a test")
