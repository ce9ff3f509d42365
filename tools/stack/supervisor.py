"""The supervisor: starts Airflow's components, restarts one that dies, and ends them all when it ends.

`python -m tools.stack.supervisor OPTIONS_JSON` is how `tools.stack up` starts it. The components are forks
of it. Single-threaded on purpose: it forks, and the kernel ties the life of a fork to the thread that made it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field

from setproctitle import getproctitle

from tools.errors import ToolError
from tools.stack.airflow_environment import (
    SandboxAddress,
    airflow_environment,
    load_password,
    load_secrets,
    sandbox_connection,
)
from tools.stack.component import fork_airflow, preload
from tools.stack.database import is_migrated, note_migration, use_write_ahead_log
from tools.stack.health import healthy_components, read_health
from tools.stack.layout import StackOptions
from tools.stack.ports import choose_ports
from tools.stack.processes import COMPONENT_MARK, chain_forks_to_parent, kill, kill_all, marked, session_members
from tools.stack.sandbox_control import finish_start, last_lines, running_sandbox, start_sandbox
from tools.stack.state import ComponentState, ComponentStatus, StackState, supervisor_lock

log = logging.getLogger("headroom.stack")

COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
# These start while the sandbox still does; the others run the tasks, whose connection needs its address.
NEED_NO_SANDBOX = ("api-server", "dag-processor")
ROUND_S = 0.2
HEALTH_SOON_S = 0.5
HEALTH_LATER_S = 5.0
START_LIMIT_S = 180.0
EXITS_BEFORE_GIVING_UP = 3
STOP_GRACE_S = 6.0  # a scheduler waits for its running tasks, which may take for ever
FIRST_BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 30.0
CALM_AFTER_S = 60.0  # a component that lived so long starts again without a pause


class StopAsked(Exception):
    """A signal asked for the end."""


@dataclass(slots=True)
class Component:
    """One component and its process, which is the leader of a session of its own."""

    name: str
    pid: int | None = None
    started_at: float = 0.0
    exits: int = 0
    restarts: int = 0
    healthy: bool = False
    ever_healthy: bool = False
    start_again_at: float | None = None

    def backoff_s(self) -> float:
        """The pause before the next start: none at first, then doubling."""
        if self.exits <= 1:
            return 0.0
        return min(FIRST_BACKOFF_S * 2 ** (self.exits - 2), LONGEST_BACKOFF_S)


@dataclass(slots=True)
class Supervisor:
    """Runs one stack from its start to its end."""

    options: StackOptions
    state: StackState = field(init=False)
    components: dict[str, Component] = field(init=False)
    _began: float = field(init=False)
    _stop: bool = field(init=False, default=False)
    _lock: int = field(init=False, default=-1)
    _health_at: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self._began = time.monotonic()
        self.components = {name: Component(name) for name in COMPONENTS}
        self.state = StackState(os.getpid(), "starting", time.time(), options=self.options.to_json())

    def run(self) -> int:
        """Supervise until a signal asks for the end; the exit status."""
        for folder in (self.options.state, self.options.logs, self.options.airflow_home, self.options.build):
            folder.mkdir(parents=True, exist_ok=True)
        with supervisor_lock(self.options.lock_file) as lock:
            if lock is None:
                log.error("another supervisor of %s is running", self.options.state)
                return 3
            self._lock = lock
            chain_forks_to_parent()
            for asked in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(asked, self._ask_stop)
            try:
                self._start()
                while True:
                    self._round()
            except StopAsked:
                self._end("stopped", "")
                return 0
            except ToolError as error:
                log.error("%s", error)
                self._end("failed", str(error))
                return 1
            except Exception as error:
                log.exception("the supervisor failed")
                self._end("failed", f"The supervisor failed: {error!r}. Its log: {self.options.log_of('supervisor')}")
                return 1

    # -- start --------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        last = StackState.read(self.options.state_file)
        self._write()
        strays = kill_all(lambda: marked(str(self.options.state)))
        if strays:
            self._progress(f"ended what an earlier stack left ({strays} processes)")
        for name in COMPONENTS:
            self._keep_last_log(name)
        ports = choose_ports(self.options.port, last.ports if last else None)
        self.state.ports = ports
        load_password(self.options)
        starting_sandbox = self._begin_sandbox()
        # It finds the memory of the title by that of the first environment, so once before that is replaced.
        getproctitle()
        # Airflow reads its settings while it is imported.
        environment = airflow_environment(self.options, ports, load_secrets(self.options))
        os.environ.clear()
        os.environ.update(environment)
        try:
            preload()
            self._progress("Airflow is loaded")
            self._migrate()
            for name in NEED_NO_SANDBOX:
                self._launch(self.components[name])
            self._write()
        finally:
            sandbox = self._await_sandbox(starting_sandbox)
        if sandbox is not None:
            os.environ |= sandbox_connection(sandbox)
            self.state.endpoint_url = sandbox.endpoint_url
        for component in self.components.values():
            if component.pid is None:
                self._launch(component)
        self._write()

    def _begin_sandbox(self) -> subprocess.Popen[str] | None:
        if self.options.sandbox is None or running_sandbox(self.options.sandbox) is not None:
            return None
        return start_sandbox(self.options)

    def _await_sandbox(self, process: subprocess.Popen[str] | None) -> SandboxAddress | None:
        if self.options.sandbox is None:
            return None
        if process is None:
            running = running_sandbox(self.options.sandbox)
            if running is None:
                raise ToolError("The sandbox ended while the stack started: give the same command again.")
            return running.address
        while (status := process.poll()) is None:
            self._pause()
        sandbox = finish_start(self.options, status)
        self._progress(f"sandbox is up at {sandbox.address.endpoint_url}")
        return sandbox.address

    def _migrate(self) -> None:
        if is_migrated(self.options):
            return
        use_write_ahead_log(self.options.database)
        path = self.options.log_of("migrate")
        path.unlink(missing_ok=True)
        pid = fork_airflow(["db", "migrate"], path, self._mark("migrate"), [self._lock])
        try:
            while (ended := _exit_status(pid)) is None:
                self._pause()
        finally:
            kill_all(lambda: session_members(pid))
        if ended.code != 0:
            raise ToolError(
                f"Airflow's database {self.options.database} could not be migrated: it {ended}. The end of "
                f"{path}:\n{last_lines(path)}\n"
                f"If the database is broken: make down, remove {self.options.airflow_home}, make up."
            )
        note_migration(self.options)
        self._progress("database migrated")

    def _keep_last_log(self, name: str) -> None:
        path = self.options.log_of(name)
        if path.exists():
            path.replace(path.with_suffix(".log.1"))

    def _launch(self, component: Component) -> None:
        log_file, mark = self.options.log_of(component.name), self._mark(component.name)
        component.pid = fork_airflow([component.name], log_file, mark, [self._lock])
        component.started_at = time.time()
        component.start_again_at = None
        component.healthy = False
        log.info("%s started, pid %d", component.name, component.pid)

    def _mark(self, name: str) -> str:
        return f"{self.options.state}#{name}"

    # -- rounds -------------------------------------------------------------------------------------------------------

    def _round(self) -> None:
        self._pause()
        if not self.options.lock_file.exists():
            log.warning("%s is gone, and the stack ends with it", self.options.state)
            raise StopAsked
        changed = self._reap()
        now = time.time()
        for component in self.components.values():
            if component.start_again_at is not None and now >= component.start_again_at:
                component.restarts += 1
                self._launch(component)
                changed = True
        if now >= self._health_at:
            changed |= self._look_at_health()
            calm = all(component.healthy for component in self.components.values())
            self._health_at = time.time() + (HEALTH_LATER_S if calm else HEALTH_SOON_S)
        if changed:
            self._write()
        if self.state.phase == "starting" and time.monotonic() - self._began > START_LIMIT_S:
            slow = next(component for component in self.components.values() if not component.healthy)
            raise self._never_healthy(slow, f"was not healthy after {START_LIMIT_S:.0f} s")

    def _reap(self) -> bool:
        """Notice components that ended, end what they left, and plan their restart."""
        changed = False
        for component in self.components.values():
            if component.pid is None or not (status := _exit_status(component.pid)):
                continue
            changed = True
            # Workers and tasks of a dead scheduler would run on beside those of the next one.
            left = self._end_remains(component)
            lived_s = time.time() - component.started_at
            component.exits = 1 if lived_s > CALM_AFTER_S else component.exits + 1
            component.pid, component.healthy = None, False
            if not component.ever_healthy and component.exits >= EXITS_BEFORE_GIVING_UP:
                raise self._never_healthy(component, f"ended {component.exits} times (it {status})")
            component.start_again_at = time.time() + component.backoff_s()
            log.warning(
                "%s %s after %.0f s; %d processes that it left were killed; next start in %.0f s",
                component.name,
                status,
                lived_s,
                left,
                component.backoff_s(),
            )
        return changed

    def _end_remains(self, component: Component) -> int:
        """End what a dead component left: its session, and programs that moved to one of their own."""
        session, mark = component.pid or 0, self._mark(component.name)
        return kill_all(lambda: [*session_members(session), *marked(mark, COMPONENT_MARK)])

    def _look_at_health(self) -> bool:
        assert self.state.ports is not None
        started_at = {name: component.started_at for name, component in self.components.items()}
        healthy = healthy_components(read_health(self.state.ports.address), started_at)
        changed = False
        for component in self.components.values():
            is_healthy = component.name in healthy and component.pid is not None
            if is_healthy == component.healthy:
                continue
            changed = True
            component.healthy = is_healthy
            if is_healthy and self.state.phase == "starting" and not component.ever_healthy:
                self._progress(f"{component.name} is healthy")
            else:
                log.log(
                    logging.INFO if is_healthy else logging.WARNING,
                    "%s is %s",
                    component.name,
                    "healthy" if is_healthy else "not healthy",
                )
            component.ever_healthy |= is_healthy
        if self.state.phase == "starting" and all(component.healthy for component in self.components.values()):
            self.state.phase = "running"
            log.info("all components are healthy after %.1f s", time.monotonic() - self._began)
            changed = True
        return changed

    def _never_healthy(self, component: Component, what: str) -> ToolError:
        path = self.options.log_of(component.name)
        return ToolError(f"Airflow's {component.name} {what}. The end of {path}:\n{last_lines(path)}")

    # -- end ----------------------------------------------------------------------------------------------------------

    def _end(self, phase: str, message: str) -> None:
        """Ask the components to end, wait a little, then kill what is left of them."""
        self.state.phase = "stopping"
        self._write()
        began = time.monotonic()
        sessions = [component.pid for component in self.components.values() if component.pid is not None]
        kill(sessions, signal.SIGTERM)
        while sessions and time.monotonic() - began < STOP_GRACE_S:
            sessions = [pid for pid in sessions if _exit_status(pid) is None]
            time.sleep(ROUND_S)
        slow = [component.name for component in self.components.values() if component.pid in sessions]
        killed = kill_all(lambda: marked(str(self.options.state)))
        for component in self.components.values():
            component.pid, component.healthy, component.start_again_at = None, False, None
        self.state.phase = "failed" if phase == "failed" else "stopped"
        self.state.message = message
        self._write()
        log.info(
            "ended in %.1f s; %d processes were killed%s",
            time.monotonic() - began,
            killed,
            f"; these took too long: {', '.join(slow)}" if slow else "",
        )

    def _ask_stop(self, signal_number: int, frame: object) -> None:
        self._stop = True

    def _pause(self) -> None:
        time.sleep(ROUND_S)
        if self._stop:
            raise StopAsked

    # -- reports ------------------------------------------------------------------------------------------------------

    def _progress(self, line: str) -> None:
        elapsed_s = time.monotonic() - self._began
        self.state.progress.append((round(elapsed_s, 1), line))
        log.info("%s", line)
        self._write()

    def _write(self) -> None:
        self.state.components = {name: _status(component) for name, component in self.components.items()}
        if self.state.phase in {"stopped", "failed"}:
            for status in self.state.components.values():
                status.state = "stopped"
        # Somebody may have removed the folder; the components must be ended all the same.
        with contextlib.suppress(FileNotFoundError):
            self.state.write(self.options.state_file)


@dataclass(frozen=True, slots=True)
class _Ended:
    """How a process ended: its exit status, negative for a signal."""

    code: int

    def __str__(self) -> str:
        if self.code < 0:
            return f"was ended by {signal.Signals(-self.code).name}"
        return f"ended with status {self.code}"


def _exit_status(pid: int) -> _Ended | None:
    """How a child ended; None while it runs."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    return _Ended(os.waitstatus_to_exitcode(status)) if ended else None


def _status(component: Component) -> ComponentStatus:
    if component.pid is None:
        return ComponentStatus("dead" if component.start_again_at else "waiting", restarts=component.restarts)
    name: ComponentState = "healthy" if component.healthy else "unhealthy" if component.ever_healthy else "starting"
    return ComponentStatus(name, component.pid, component.started_at, component.restarts)


def main(arguments: list[str]) -> int:
    """Run a supervisor in this process; its log goes to standard error."""
    # Airflow sets up the root logger for itself when it is imported.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    return Supervisor(StackOptions.from_json(arguments[0])).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
