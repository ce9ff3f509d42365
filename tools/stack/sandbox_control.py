"""Starts and stops the sandbox by its own command line (`python -m sandbox`)."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.errors import ToolError
from tools.stack.airflow_environment import SandboxAddress, clean_environment
from tools.stack.layout import ROOT, StackOptions
from tools.stack.processes import is_alive

DOWN_TIMEOUT_S = 30
LAST_LINES = 15


@dataclass(frozen=True, slots=True)
class RunningSandbox:
    """A living sandbox, as its state file says; `plant` is the plant's name, `plant_file` an absolute path."""

    pid: int
    plant: str
    plant_file: Path
    address: SandboxAddress
    load_balancer_url: str


def running_sandbox(state: Path) -> RunningSandbox | None:
    """The sandbox of a state folder; None if none runs."""
    try:
        values: dict[str, Any] = json.loads((state / "state.json").read_text(encoding="utf-8"))
        sandbox = RunningSandbox(
            pid=int(values["pid"]),
            plant=str(values["plant"]),
            plant_file=Path(values["plant_file"]).resolve(),
            address=SandboxAddress(values["endpoint_url"], values["region"], str(values["account_id"])),
            load_balancer_url=str(values["load_balancer_url"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return sandbox if values["status"] == "ready" and is_alive(sandbox.pid) else None


def start_sandbox(options: StackOptions) -> subprocess.Popen[str]:
    """Begin to start the sandbox; `finish_start` waits for it."""
    assert options.sandbox is not None
    command = [sys.executable, "-m", "sandbox", "up", "--detach", "--state", str(options.sandbox)]
    if options.plant is not None:
        command += ["--plant", str(options.plant)]
    log = options.log_of("sandbox-up").open("w", encoding="utf-8")
    with log:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


def finish_start(options: StackOptions, status: int) -> RunningSandbox:
    """The sandbox that the ended command started. Raises ToolError with what it printed if there is none."""
    assert options.sandbox is not None
    sandbox = running_sandbox(options.sandbox)
    if status != 0 or sandbox is None:
        log = options.log_of("sandbox-up")
        raise ToolError(f"The sandbox did not start (exit status {status}). It says:\n{last_lines(log)}\nLog: {log}")
    _note_plant(options, sandbox)
    return sandbox


def stop_sandbox(state: Path) -> subprocess.Popen[str]:
    """Begin to stop the sandbox."""
    return subprocess.Popen(
        [sys.executable, "-m", "sandbox", "down", "--state", str(state)],
        cwd=ROOT,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def runs_other_plant(options: StackOptions, sandbox: RunningSandbox) -> bool:
    """Whether another plant than the wanted one runs, or the wanted file was changed since."""
    if options.plant is None:
        return False
    try:
        noted = json.loads(_plant_note(options).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        noted = {}
    if noted.get("pid") == sandbox.pid:
        return bool(noted.get("sha256") != _digest(options.plant))
    return sandbox.plant_file != options.plant


def _note_plant(options: StackOptions, sandbox: RunningSandbox) -> None:
    if options.plant is not None:
        note = {"pid": sandbox.pid, "plant": str(options.plant), "sha256": _digest(options.plant)}
        _plant_note(options).write_text(json.dumps(note) + "\n", encoding="utf-8")


def _plant_note(options: StackOptions) -> Path:
    return options.state / "plant.json"


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ToolError(f"The plant file {path} cannot be read: {error.strerror or error}.") from None


def last_lines(path: Path, count: int = LAST_LINES) -> str:
    """The end of a text file, indented; a sentence if there is nothing in it."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    return "\n".join(f"  {line}" for line in lines[-count:]) or "  (nothing)"
