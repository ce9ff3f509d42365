"""Follows a run until it ends, and tells every step of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tools.airflow_api import AirflowApi, AirflowError, DagRun, TaskInstance
from tools.demo.artefacts import RunArtefacts, hold_line, probe_line
from tools.demo.terminal import Terminal

LOOK_S = 0.5  # at the artefacts, which costs nothing
ASK_S = 2.0  # Airflow, which costs CPU that the measurement should have
ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
TOLD = ENDED | {"running", "up_for_retry", "deferred"}
LOG_LINES = 15
CLEAN_UP_LIMIT_S = 120.0
QUEUE_PATIENCE_S = 5.0


class RunTimeout(AirflowError):
    """The run did not end in time."""

    def __init__(self, run_id: str, limit_s: float) -> None:
        super().__init__(0, f"The run {run_id} did not end within {limit_s:.0f} s (--timeout).")


@dataclass(slots=True)
class RunWatch:
    """One run as it is followed."""

    api: AirflowApi
    dag_id: str
    run_id: str
    artefacts: RunArtefacts
    task_logs: Path
    terminal: Terminal
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    failed_tasks: list[str] = field(default_factory=list)
    _told_why_queued: bool = False
    _stopping: bool = False
    _states: dict[tuple[str, int], tuple[str, int]] = field(default_factory=dict)

    def follow(self, timeout_s: float) -> DagRun:
        """Tell what happens until the run has ended. Raises RunTimeout."""
        began = self.clock()
        ask_at = 0.0
        try:
            while True:
                self._look()
                if self.clock() >= ask_at:
                    # Tasks after the run: when the run has ended, so has every task.
                    run = self.api.run(self.dag_id, self.run_id)
                    self._ask()
                    if run.ended:
                        self._look()
                        return run
                    if run.state == "queued" and self.clock() - began > QUEUE_PATIENCE_S:
                        self._tell_why_queued()
                    ask_at = self.clock() + ASK_S
                if self.clock() - began > timeout_s:
                    raise RunTimeout(self.run_id, timeout_s)
                self.sleep(LOOK_S)
        finally:
            self.terminal.live("")

    def stop(self, limit_s: float = CLEAN_UP_LIMIT_S) -> bool:
        """Mark the run failed and wait for its teardowns; whether all of it ended in time."""
        self.terminal.event(
            "The run is marked failed; its teardowns end the load and restore the environment "
            f"(waiting at most {limit_s:.0f} s)."
        )
        self._stopping = True
        started = self.api.run(self.dag_id, self.run_id).state != "queued"
        self.api.set_run_state(self.dag_id, self.run_id, "failed")
        if not started:
            self.terminal.event("It had not started yet.")
            return True
        began = self.clock()
        while self.clock() - began < limit_s:
            if all(task.state in ENDED for task in self._ask()):
                self.terminal.event("Everything of the run has ended.")
                return True
            self.sleep(1.0)
        self.terminal.event("Some tasks still run; `make down` ends them.")
        return False

    def _look(self) -> None:
        for probe in self.artefacts.new_probes():
            self.terminal.event(probe_line(probe))
        hold = self.artefacts.hold(self.clock())
        self.terminal.live(hold_line(hold) if hold else "")

    def _tell_why_queued(self) -> None:
        if self._told_why_queued:
            return
        self._told_why_queued = True
        before = [run.run_id for run in self.api.runs(self.dag_id) if run.state == "running"]
        if before:
            self.terminal.event(f"The run waits for the end of {', '.join(before)}: the DAG has one run at a time.")
        else:
            self.terminal.event("The run still waits for the scheduler; `make logs` tells more.")

    def _ask(self) -> list[TaskInstance]:
        tasks = self.api.task_instances(self.dag_id, self.run_id)
        for task in sorted(tasks, key=lambda task: (task.end or task.start or float("inf"), task.name)):
            key, now = (task.task_id, task.map_index), (task.state, task.try_number)
            if self._states.get(key) == now:
                continue
            self._states[key] = now
            if task.state in TOLD:
                self._tell(task)
        return tasks

    def _tell(self, task: TaskInstance) -> None:
        took = f" ({task.duration_s:.1f} s)" if task.state in ENDED and task.duration_s is not None else ""
        again = f" (try {task.try_number})" if task.state == "running" and task.try_number > 1 else ""
        self.terminal.event(f"{task.name}: {task.state.replace('_', ' ')}{took}{again}")
        if task.state in {"failed", "up_for_retry"}:
            if task.state == "failed":
                self.failed_tasks.append(task.name)
            if not self._stopping:  # what a person stopped needs no explanation
                self._tell_log(task)

    def _tell_log(self, task: TaskInstance) -> None:
        try:
            lines = self.api.task_log(self.dag_id, self.run_id, task)
        except AirflowError as error:
            lines = [str(error)]
        for line in lines[-LOG_LINES:]:
            self.terminal.line(f"          | {line}")
        self.terminal.line(f"          log: {self._log_file(task)}")

    def _log_file(self, task: TaskInstance) -> Path:
        folder = self.task_logs / f"dag_id={self.dag_id}" / f"run_id={self.run_id}" / f"task_id={task.task_id}"
        if task.map_index >= 0:
            folder /= f"map_index={task.map_index}"
        return folder / f"attempt={task.try_number}.log"
