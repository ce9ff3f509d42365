"""ECS tasks as processes: their states, exit codes, log streams, and an end for the whole container."""

from __future__ import annotations

import logging
import shutil
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox.aws.ecs import SandboxECSBackend, SandboxTask
from sandbox.aws.moto_access import AWS_LOCK, logs
from sandbox.aws.scaling_activities import now
from sandbox.processes.client import REPOSITORY_ROOT, KeeperClient, ManagedProcess, StartFailed, clean_environment

log = logging.getLogger(__name__)

POLL_S = 0.1
IDLE_POLL_S = 1.0
DEFAULT_STOP_TIMEOUT_S = 30.0
LARGEST_READ = 256 * 1024
EVENTS_A_BATCH = 1000


@dataclass(slots=True)
class _LogStream:
    """Where a container's output goes; `offset` is how far the file has been read."""

    group: str
    stream: str
    offset: int = 0
    rest: bytes = b""


@dataclass(slots=True)
class _Run:
    """One task between RunTask and its end."""

    backend: SandboxECSBackend
    task: SandboxTask
    definition: dict[str, Any]
    log_file: Path
    stream: _LogStream | None = None
    process: ManagedProcess | None = None
    kill_at: float | None = None


@dataclass(slots=True)
class TaskView:
    """A task for a person to look at."""

    arn: str
    status: str
    pid: int | None
    exit_code: int | None
    started_by: str
    log: str


@dataclass(slots=True)
class ContainerRunner:
    """Runs the tasks of ECS. `run` and `stop` are called under the lock around moto; the work is done in a thread."""

    keeper: KeeperClient
    log_folder: Path
    role_environment: Mapping[str, str]
    _runs: list[_Run] = field(default_factory=list)
    _views: dict[str, tuple[SandboxTask, _Run]] = field(default_factory=dict)
    _wake: threading.Event = field(default_factory=threading.Event)
    _ending: bool = False

    def start(self) -> None:
        threading.Thread(target=self._work, name="containers", daemon=True).start()

    def wake(self) -> None:
        """Look at all tasks at once, because a process may have ended."""
        self._wake.set()

    def end(self) -> None:
        """Start no more tasks."""
        self._ending = True
        self._wake.set()

    def run(self, backend: SandboxECSBackend, task: SandboxTask) -> None:
        """A new task: start its process soon."""
        definition = dict(backend.describe_task_definition(task.task_definition_arn).container_definitions[0])
        overrides = task.overrides.get("containerOverrides") or []
        override: dict[str, Any] = next((o for o in overrides if o.get("name") == definition["name"]), {})
        unknown = [o.get("name") for o in overrides if o.get("name") != definition["name"]]
        if unknown:
            log.warning("task %s: overrides for unknown containers %s", task.id, unknown)
        environment = {e["name"]: e["value"] for e in definition.get("environment") or []}
        environment |= {e["name"]: e["value"] for e in override.get("environment") or []}
        definition["environment"] = environment
        definition["command"] = override.get("command") or definition.get("command") or []
        run = _Run(backend, task, definition, self.log_folder / f"ecs-{task.id}.log")
        self._runs.append(run)
        self._views[task.task_arn] = (task, run)
        self._wake.set()

    def stop(self, task: SandboxTask) -> None:
        """StopTask was called: SIGTERM now, SIGKILL after the container's stopTimeout."""
        task.stopping_at = now()
        for run in self._runs:
            if run.task is task:
                self._ask_to_stop(run)
        self._wake.set()

    def views(self) -> list[TaskView]:
        """All tasks that ECS still shows."""
        with AWS_LOCK:
            entries = list(self._views.values())
        return [
            TaskView(
                task.task_arn,
                task.status,
                run.process.pid if run.process and run.process.running else None,
                task.containers[0].exitCode,
                task.started_by,
                str(run.log_file),
            )
            for task, run in entries
        ]

    def _work(self) -> None:
        while not self._ending:
            self._wake.wait(POLL_S if self._runs else IDLE_POLL_S)
            self._wake.clear()
            with AWS_LOCK:
                for run in list(self._runs):
                    try:
                        self._step(run)
                    except Exception as error:
                        log.exception("task %s", run.task.id)
                        if run.process is not None:
                            run.process.kill()
                        self._fail_to_start(run, f"CannotStartContainerError: {error}")
                self._forget_unknown()

    def _forget_unknown(self) -> None:
        known = {arn for _, run in self._views.values() for tasks in run.backend.tasks.values() for arn in tasks}
        for arn in [arn for arn in self._views if arn not in known]:
            del self._views[arn]

    def _step(self, run: _Run) -> None:
        task = run.task
        if run.process is None:
            if task.desired_status == "STOPPED":
                self._finish(run, None)
            else:
                self._start(run)
            return
        ended = not run.process.running  # asked before the log is read, so that the log is complete at the end
        self._copy_log(run, ended)
        if ended:
            self._finish(run, run.process.returncode)
        elif run.kill_at is not None and time.monotonic() >= run.kill_at:
            run.process.kill()

    def _start(self, run: _Run) -> None:
        task, definition = run.task, run.definition
        task.status = "PENDING"
        task.pull_started_at = task.pull_stopped_at = now()
        try:
            run.stream = self._open_stream(run)
            argv = [*(definition.get("entryPoint") or []), *definition["command"]]
            if not argv:
                raise StartFailed("the container definition has neither an entryPoint nor a command")
            run.process = self.keeper.start(
                argv,
                log=run.log_file,
                environment=clean_environment({**self.role_environment, **definition["environment"]}),
                directory=definition.get("workingDirectory") or REPOSITORY_ROOT,
            )
        except StartFailed as error:
            self._fail_to_start(run, f"CannotStartContainerError: {error}")
            return
        container = task.containers[0]
        container.runtimeId = f"{task.id}-{run.process.pid}"  # type: ignore[attr-defined]
        task.connectivity = "CONNECTED"
        task.started_at = now()
        task.status = container.last_status = "RUNNING"
        log.info("task %s runs as process %s: %s", task.id, run.process.pid, " ".join(argv)[:200])
        if task.desired_status == "STOPPED":
            self._ask_to_stop(run)

    def _open_stream(self, run: _Run) -> _LogStream | None:
        """Raises StartFailed for settings with which Fargate would not start the task either."""
        settings = run.definition.get("logConfiguration") or {}
        if not settings or settings.get("logDriver") != "awslogs":
            if settings:
                raise StartFailed(f"the log driver {settings.get('logDriver')} is not supported; use awslogs")
            return None
        options = settings.get("options") or {}
        group = options.get("awslogs-group", "")
        backend = logs(run.backend.account_id, options.get("awslogs-region") or run.backend.region_name)
        if group not in backend.groups:
            if options.get("awslogs-create-group") != "true":
                raise StartFailed(f"failed to validate logger args: the specified log group {group!r} does not exist")
            backend.create_log_group(group, {})
        prefix = options.get("awslogs-stream-prefix", "ecs")
        stream = f"{prefix}/{run.definition['name']}/{run.task.id}"
        backend.create_log_stream(group, stream)
        return _LogStream(group, stream)

    def _ask_to_stop(self, run: _Run) -> None:
        if run.process is None or not run.process.running:
            return
        run.task.status = "DEACTIVATING"
        run.process.terminate()
        timeout_s = float(run.definition.get("stopTimeout") or DEFAULT_STOP_TIMEOUT_S)
        run.kill_at = time.monotonic() + timeout_s

    def _copy_log(self, run: _Run, ended: bool) -> None:
        """Bring new lines of the output file into the log stream; at the end also a last line without an end."""
        stream = run.stream
        if stream is None:
            return
        with run.log_file.open("rb") as file:
            file.seek(stream.offset)
            data = file.read() if ended else file.read(LARGEST_READ)
        if not data and not (ended and stream.rest):
            return
        stream.offset += len(data)
        *lines, stream.rest = (stream.rest + data).split(b"\n")
        if ended and stream.rest:
            lines.append(stream.rest)
            stream.rest = b""
        moment_ms = int(time.time() * 1000)
        events = [{"timestamp": moment_ms, "message": line.decode(errors="replace").rstrip("\r")} for line in lines]
        options = run.definition["logConfiguration"]["options"]
        backend = logs(run.backend.account_id, options.get("awslogs-region") or run.backend.region_name)
        for first in range(0, len(events), EVENTS_A_BATCH):
            backend.put_log_events(stream.group, stream.stream, events[first : first + EVENTS_A_BATCH])

    def _finish(self, run: _Run, returncode: int | None) -> None:
        """The process has ended (None: it was stopped before it began). The keeper has ended the rest of its group."""
        container = run.task.containers[0]
        if returncode is not None:
            container.exitCode = 128 - returncode if returncode < 0 else returncode
            run.task.execution_stopped_at = now()
            if returncode == -signal.SIGKILL and run.kill_at is None:
                container.reason = "The process was killed (SIGKILL)"  # type: ignore[attr-defined]
        self._mark_stopped(run, "EssentialContainerExited", "Essential container in task exited")

    def _fail_to_start(self, run: _Run, reason: str) -> None:
        run.task.containers[0].reason = reason  # type: ignore[attr-defined]
        self._mark_stopped(run, "TaskFailedToStart", reason)

    def _mark_stopped(self, run: _Run, code: str, reason: str) -> None:
        task = run.task
        task.stop_code = task.stop_code or code
        task.stopped_reason = task.stopped_reason or reason
        task.stopping_at = task.stopping_at or now()
        task.stopped_at = now()
        task.ended_s = time.monotonic()
        task.desired_status = "STOPPED"
        task.containers[0].last_status = "STOPPED"
        task.connectivity = "DISCONNECTED"
        task.status = "STOPPED"  # last: who sees it may read everything above
        self._runs.remove(run)
        log.info("task %s stopped: %s, exit code %s", task.id, task.stopped_reason, task.containers[0].exitCode)


def java_environment(java: str | None, jmeter_home: Path | None) -> dict[str, str]:
    """What the image of the load container would bring: the repository, Java and JMeter."""
    environment = {"PYTHONPATH": str(REPOSITORY_ROOT), "PYTHONUNBUFFERED": "1"}
    if java or shutil.which("java"):
        environment["HEADROOM_JAVA"] = java or str(shutil.which("java"))
    if jmeter_home is not None:
        environment["HEADROOM_JMETER_HOME"] = str(jmeter_home)
    return environment
