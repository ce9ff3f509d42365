"""What `up`, `down`, `status` and `logs` do; the supervisor is another process."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tools.errors import ToolError
from tools.stack.airflow_environment import ADMIN, clean_environment, load_password
from tools.stack.health import healthy_components, read_health
from tools.stack.layout import ROOT, StackOptions
from tools.stack.processes import MARK, is_alive, kill, kill_all, marked
from tools.stack.sandbox_control import (
    DOWN_TIMEOUT_S,
    finish_start,
    last_lines,
    running_sandbox,
    runs_other_plant,
    start_sandbox,
    stop_sandbox,
)
from tools.stack.state import StackState, supervisor_lives
from tools.stack.supervisor import COMPONENTS

POLL_S = 0.1
APPEAR_LIMIT_S = 15.0
STOP_LIMIT_S = 25.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class StackAddress:
    """How to reach a running Airflow; DAGs parsed before `dags_read_since` (epoch seconds) may be out of date."""

    url: str
    user: str
    password: str
    dags_read_since: float


def up(options: StackOptions, say: Say) -> StackAddress:
    """Start what does not run yet and wait until it is healthy.

    Raises ToolError when something does not start; then, and after Ctrl-C, nothing is left running.
    """
    began = time.monotonic()
    _check_plant_exists(options)
    try:
        _stop_sandbox_of_other_plant(options, say)
        if supervisor_lives(options.lock_file):
            reason = _why_restart(options)
            if not reason:
                return _join_running(options, say, began)
            say(f"{reason}: Airflow starts again.")
            _stop_supervisor(options)
        _start_supervisor(options)
        address = _follow_start(options, say)
    except KeyboardInterrupt:
        say("Stopped: ending what was started.")
        down(options, say)
        raise
    except ToolError:
        down(options, lambda line: None)
        raise
    say(f"{time.monotonic() - began:5.1f} s  up")
    return address


def stay(options: StackOptions) -> None:
    """Wait as long as the supervisor lives. Raises ToolError if it ends by itself."""
    while supervisor_lives(options.lock_file):
        time.sleep(POLL_S)
    path = options.log_of("supervisor")
    state = StackState.read(options.state_file)
    if state is None or state.phase != "stopped":
        raise ToolError(f"The stack ended by itself. The end of {path}:\n{last_lines(path)}")


def _check_plant_exists(options: StackOptions) -> None:
    if options.plant is not None and not options.plant.is_file():
        raise ToolError(f"There is no plant file {options.plant}: name one, such as sandbox/plants/checkout.yaml.")


def _stop_sandbox_of_other_plant(options: StackOptions, say: Say) -> None:
    if options.sandbox is None:
        return
    sandbox = running_sandbox(options.sandbox)
    if sandbox is not None and runs_other_plant(options, sandbox):
        say("The sandbox runs another plant: it starts again.")
        _await_sandbox_end(stop_sandbox(options.sandbox))


def _why_restart(options: StackOptions) -> str:
    """Why a running Airflow cannot be used as it is; empty if it can."""
    state = StackState.read(options.state_file)
    if state is None or not state.options:
        return "The state of the running stack cannot be read"
    if state.phase in {"stopping", "failed", "stopped"}:
        return "The stack was just ending"
    running = StackOptions.from_json(state.options)
    if replace(running, plant=None, port=None) != replace(options, plant=None, port=None):
        return "The stack runs with other settings"
    if options.port is not None and state.ports is not None and state.ports.api != options.port:
        return f"The stack runs on port {state.ports.api}"
    if options.sandbox is not None and state.phase == "running":
        sandbox = running_sandbox(options.sandbox)
        if sandbox is None:
            process = start_sandbox(options)
            sandbox = finish_start(options, process.wait())
        if sandbox.address.endpoint_url != state.endpoint_url:
            return "The sandbox has another address than before"
    return ""


def _join_running(options: StackOptions, say: Say, began: float) -> StackAddress:
    state = StackState.read(options.state_file)
    was_starting = state is None or state.phase == "starting"
    address = _follow_start(options, say)
    if not was_starting:
        say(f"{time.monotonic() - began:5.1f} s  it is up already")
    return address


def _start_supervisor(options: StackOptions) -> None:
    options.logs.mkdir(parents=True, exist_ok=True)
    path = options.log_of("supervisor")
    if path.exists():
        path.replace(path.with_suffix(".log.1"))
    with path.open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tools.stack.supervisor", options.to_json()],
            cwd=ROOT,
            # The forks of the supervisor carry these, too. setproctitle would overwrite the memory that holds the mark.
            env=clean_environment() | {MARK: str(options.state), "SPT_NOENV": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + APPEAR_LIMIT_S
    while True:
        state = StackState.read(options.state_file)
        if state is not None and state.pid == process.pid:
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise ToolError(f"The supervisor did not start. The end of {path}:\n{last_lines(path)}")
        time.sleep(POLL_S)


def _follow_start(options: StackOptions, say: Say) -> StackAddress:
    """Tell each step until the stack runs; nothing of a start that is over already."""
    state = StackState.read(options.state_file)
    told = len(state.progress) if state is not None and state.phase == "running" else 0
    while True:
        lives = supervisor_lives(options.lock_file)
        state = StackState.read(options.state_file)
        if state is not None:
            for elapsed_s, line in state.progress[told:]:
                say(f"{elapsed_s:5.1f} s  {line}")
            told = len(state.progress)
            if state.phase == "running" and lives and state.ports is not None:
                since = state.components["dag-processor"].since or 0.0
                return StackAddress(state.ports.address, ADMIN, load_password(options), since)
            if state.phase == "failed":
                raise ToolError(state.message)
        if not lives:
            path = options.log_of("supervisor")
            raise ToolError(f"The stack ended while it started. The end of {path}:\n{last_lines(path)}")
        time.sleep(POLL_S)


def down(options: StackOptions, say: Say) -> None:
    """End Airflow and the sandbox, however much of them still runs. Raises ToolError if something cannot be ended."""
    began = time.monotonic()
    sandbox = options.sandbox
    # Half a sandbox may be left where its supervisor is dead; its own command knows how to end that.
    ending = stop_sandbox(sandbox) if sandbox is not None and sandbox.exists() else None
    airflow_ran = _stop_supervisor(options)
    if airflow_ran:
        say(f"{time.monotonic() - began:5.1f} s  Airflow has ended")
    problem = _await_sandbox_end(ending) if ending is not None else ""
    if ending is not None and not problem:
        say(f"{time.monotonic() - began:5.1f} s  the sandbox has ended")
    strays = kill_all(lambda: marked(str(options.state)))
    if strays:
        say(f"{time.monotonic() - began:5.1f} s  ended what was left ({strays} processes)")
    left = marked(str(options.state))
    if left:
        raise ToolError(f"These processes cannot be ended: {', '.join(map(str, left))}. Another user may own them.")
    if problem:
        raise ToolError(problem)
    say(f"{time.monotonic() - began:5.1f} s  down" if airflow_ran or ending or strays else "Nothing is running.")


def _stop_supervisor(options: StackOptions) -> bool:
    """End the supervisor if it lives; whether it did."""
    if not supervisor_lives(options.lock_file):
        return False
    state = StackState.read(options.state_file)
    if state is None:
        raise ToolError(f"{options.state_file} cannot be read, so the supervisor cannot be found: end it by hand.")
    kill([state.pid], signal.SIGTERM)
    deadline = time.monotonic() + STOP_LIMIT_S
    while supervisor_lives(options.lock_file) or is_alive(state.pid):
        if time.monotonic() > deadline:
            kill([state.pid])
        time.sleep(POLL_S)
    return True


def _await_sandbox_end(process: subprocess.Popen[str]) -> str:
    """Wait for `sandbox down`; what went wrong, empty if nothing did."""
    try:
        output, _ = process.communicate(timeout=DOWN_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return f"The sandbox did not end within {DOWN_TIMEOUT_S} s; see python -m sandbox status."
    if process.returncode != 0:
        return f"The sandbox could not be ended (exit status {process.returncode}): {output.strip()}"
    return ""


def status(options: StackOptions) -> dict[str, Any]:
    """Everything that `status` shows, as plain values."""
    state = StackState.read(options.state_file)
    lives = supervisor_lives(options.lock_file)
    report: dict[str, Any] = {
        "up": False,
        "phase": state.phase if state and lives else "down",
        "supervisor": state.pid if state and lives else None,
        "address": None,
        "user": ADMIN,
        "passwords_file": str(options.passwords_file),
        "logs": str(options.logs),
        "components": {},
        "strays": [] if lives else marked(str(options.state)),
        "sandbox": None,
    }
    if state is not None and lives:
        started_at = {name: part.since or 0.0 for name, part in state.components.items()}
        if state.ports is not None:
            report["address"] = state.ports.address
            healthy = healthy_components(read_health(state.ports.address), started_at)
        else:
            healthy = set()
        for name in COMPONENTS:
            part = state.components[name]
            shown = "healthy" if name in healthy and part.pid else part.state
            if shown == "healthy" and name not in healthy:
                shown = "unhealthy"
            port = state.ports.api if name == "api-server" and state.ports else None
            report["components"][name] = {
                "state": shown,
                "pid": part.pid,
                "since": part.since,
                "restarts": part.restarts,
                "port": port,
            }
        report["up"] = state.phase == "running" and healthy == set(COMPONENTS)
    if options.sandbox is not None and (sandbox := running_sandbox(options.sandbox)) is not None:
        report["sandbox"] = {
            "pid": sandbox.pid,
            "plant": sandbox.plant,
            "plant_file": str(sandbox.plant_file),
            "endpoint_url": sandbox.address.endpoint_url,
            "load_balancer_url": sandbox.load_balancer_url,
        }
    return report


def log_files(options: StackOptions, component: str | None) -> list[Path]:
    """The log of one component, or all logs of components. Raises ToolError if there is none of that name."""
    available = sorted(options.logs.glob("*.log"))
    if component is None:
        return available
    path = options.log_of(component)
    if path not in available:
        names = ", ".join(file.stem for file in available) or "none yet"
        raise ToolError(f"There is no log of {component!r} in {options.logs}; there are: {names}.")
    return [path]
