"""A small client of Airflow's REST API: token, retries, and the few calls that the tools and the system tests need."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tools.errors import ToolError

TIMEOUT_S = 30.0
TRIES = 6
FIRST_PAUSE_S = 0.3
LONGEST_PAUSE_S = 3.0
PAGE = 100  # the most that Airflow gives at once
RUN_ENDED = frozenset({"success", "failed"})
_TASK_OUTPUT = ("task.stdout", "task.stderr")
# Calls to the loopback address must not go through a proxy.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class AirflowError(ToolError):
    """Airflow refused a request, or could not be reached for a while. `status` is 0 without an answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class DagRun:
    """One run; times in epoch seconds. A run that is queued waits for the scheduler, or for an earlier run to end."""

    dag_id: str
    run_id: str
    state: str
    start: float | None
    end: float | None

    @property
    def ended(self) -> bool:
        return self.state in RUN_ENDED


@dataclass(frozen=True, slots=True)
class TaskInstance:
    """One task of a run; `map_index` is -1 for a task that is not mapped, times are in epoch seconds."""

    task_id: str
    map_index: int
    state: str
    try_number: int
    start: float | None
    end: float | None
    pid: int | None = None

    @property
    def name(self) -> str:
        return self.task_id if self.map_index < 0 else f"{self.task_id}[{self.map_index}]"

    @property
    def duration_s(self) -> float | None:
        return None if self.start is None or self.end is None else self.end - self.start


class AirflowApi:
    """Airflow at one address, as one user.

    Requests that find no connection or get a 5xx are repeated: SQLite answers so now and then when it is busy.
    Everything raises AirflowError.
    """

    def __init__(
        self, address: str, user: str, password: str, *, sleep: Callable[[float], None] = time.sleep, tries: int = TRIES
    ) -> None:
        self.address = address.rstrip("/")
        self._login = {"username": user, "password": password}
        self._token = ""
        self._sleep = sleep
        self._tries = tries

    # -- runs ---------------------------------------------------------------------------------------------------------

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None, run_id: str | None = None) -> str:
        """Unpause a DAG and start a run; returns its id. A repeated request starts no second run."""
        run_id = run_id or f"manual__{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}_{uuid.uuid4().hex[:6]}"
        self.set_paused(dag_id, False)
        body = {"dag_run_id": run_id, "logical_date": None, "conf": dict(conf or {})}
        try:
            self._call("POST", f"/dags/{_quoted(dag_id)}/dagRuns", body)
        except AirflowError as error:
            if error.status != http.client.CONFLICT:  # the first of several tries did arrive
                raise
        return run_id

    def set_paused(self, dag_id: str, paused: bool) -> None:
        """Let the scheduler start runs of a DAG, or not."""
        self._call("PATCH", f"/dags/{_quoted(dag_id)}", {"is_paused": paused})

    def is_paused(self, dag_id: str) -> bool:
        return bool(self._call("GET", f"/dags/{_quoted(dag_id)}")["is_paused"])

    def has_dag(self, dag_id: str, parsed_since: float = 0.0) -> bool:
        """Whether Airflow has parsed the DAG at `parsed_since` (epoch seconds) or later, and its file still exists."""
        try:
            values = self._call("GET", f"/dags/{_quoted(dag_id)}")
        except AirflowError as error:
            if error.status == http.client.NOT_FOUND:
                return False
            raise
        return not values["is_stale"] and (_time(values["last_parsed_time"]) or 0.0) >= parsed_since

    def import_errors(self) -> dict[str, str]:
        """File name -> the traceback that its import ended with."""
        errors = self._call("GET", f"/importErrors?limit={PAGE}")["import_errors"]
        return {str(error["filename"]): str(error["stack_trace"]) for error in errors}

    def run(self, dag_id: str, run_id: str) -> DagRun:
        return _run(self._call("GET", _run_path(dag_id, run_id)))

    def runs(self, dag_id: str) -> list[DagRun]:
        """The latest runs of a DAG, newest first."""
        found = self._call("GET", f"/dags/{_quoted(dag_id)}/dagRuns?limit={PAGE}&order_by=-run_after")
        return [_run(values) for values in found["dag_runs"]]

    def set_run_state(self, dag_id: str, run_id: str, state: str) -> None:
        """Mark a run `failed`, `success` or `queued`. Teardowns of a run that is marked failed still run."""
        self._call("PATCH", _run_path(dag_id, run_id), {"state": state})

    def wait(self, dag_id: str, run_id: str, timeout_s: float, poll_s: float = 1.0) -> DagRun:
        """Wait for the end of a run."""
        deadline = time.monotonic() + timeout_s
        while not (run := self.run(dag_id, run_id)).ended:
            if time.monotonic() > deadline:
                raise AirflowError(0, f"The run {run_id} of {dag_id} is still {run.state} after {timeout_s:.0f} s.")
            self._sleep(poll_s)
        return run

    # -- tasks --------------------------------------------------------------------------------------------------------

    def task_instances(self, dag_id: str, run_id: str) -> list[TaskInstance]:
        """All task instances of a run, mapped ones included."""
        found: list[TaskInstance] = []
        while True:
            page = self._call("GET", f"{_run_path(dag_id, run_id)}/taskInstances?limit={PAGE}&offset={len(found)}")
            found += [_task(values) for values in page["task_instances"]]
            if len(found) >= int(page["total_entries"]) or not page["task_instances"]:
                return found

    def task_log(self, dag_id: str, run_id: str, task: TaskInstance, try_number: int | None = None) -> list[str]:
        """The lines of a task's log, without Airflow's notes on where it comes from."""
        path = (
            f"{_run_path(dag_id, run_id)}/taskInstances/{_quoted(task.task_id)}/logs/{try_number or task.try_number}"
            f"?map_index={task.map_index}&full_content=true"
        )
        content = self._call("GET", path)["content"]
        return _log_lines(content)

    def set_task_state(self, dag_id: str, run_id: str, task_id: str, state: str, map_index: int = -1) -> None:
        """Mark one task instance `failed`, `success` or `skipped`."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{_quoted(task_id)}"
        self._call("PATCH", path if map_index < 0 else f"{path}/{map_index}", {"new_state": state})

    def clear(self, dag_id: str, run_id: str, task_ids: list[str], *, downstream: bool = False) -> None:
        """Have tasks of a run executed again."""
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": task_ids,
            "only_failed": False,
            "include_downstream": downstream,
        }
        self._call("POST", f"/dags/{_quoted(dag_id)}/clearTaskInstances", body)

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """What a task handed over; Airflow gives it as JSON."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{_quoted(task_id)}/xcomEntries/{_quoted(key)}"
        return self._call("GET", f"{path}?map_index={map_index}&deserialize=false")["value"]

    def add_connection(self, name: str, kind: str, login: str, password: str, extra: Mapping[str, Any]) -> None:
        """Put a connection into the database of Airflow, which keeps it encrypted."""
        connection = {"connection_id": name, "conn_type": kind, "login": login, "password": password}
        self._call("POST", "/connections", {**connection, "extra": json.dumps(dict(extra))})

    # -- requests -----------------------------------------------------------------------------------------------------

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        pause_s = FIRST_PAUSE_S
        problem = ""
        renewed = False
        for attempt in range(self._tries):
            if attempt:
                self._sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            try:
                if not self._token:
                    self._token = self._send("POST", "/auth/token", self._login, "")["access_token"]
                return self._send(method, f"/api/v2{path}", body, self._token)
            except urllib.error.HTTPError as error:
                text = error.read().decode("utf-8", errors="replace")
                problem = f"{method} {path} was answered {error.code}: {_detail(text)}"
                if error.code == http.client.UNAUTHORIZED and self._token and not renewed:
                    self._token, renewed = "", True
                elif error.code < http.client.INTERNAL_SERVER_ERROR:
                    raise AirflowError(error.code, f"Airflow refused: {problem}") from None
            except (OSError, http.client.HTTPException, ValueError) as error:
                problem = f"{method} {path} got no answer: {error}"
        raise AirflowError(0, f"Airflow at {self.address} does not answer as it should: {problem}")

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None, token: str) -> Any:
        request = urllib.request.Request(
            self.address + path, method=method, data=None if body is None else json.dumps(body).encode()
        )
        request.add_header("Content-Type", "application/json")
        request.add_header("Accept", "application/json")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        with _OPENER.open(request, timeout=TIMEOUT_S) as answer:
            data = answer.read()
        return json.loads(data) if data else None


def _quoted(part: str) -> str:
    return urllib.parse.quote(part, safe="")


def _run_path(dag_id: str, run_id: str) -> str:
    return f"/dags/{_quoted(dag_id)}/dagRuns/{_quoted(run_id)}"


def _time(text: str | None) -> float | None:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() if text else None


def _run(values: Mapping[str, Any]) -> DagRun:
    return DagRun(
        str(values["dag_id"]),
        str(values["dag_run_id"]),
        str(values["state"]),
        _time(values["start_date"]),
        _time(values["end_date"]),
    )


def _task(values: Mapping[str, Any]) -> TaskInstance:
    return TaskInstance(
        str(values["task_id"]),
        int(values["map_index"]),
        str(values["state"] or "none"),
        int(values["try_number"]),
        _time(values["start_date"]),
        _time(values["end_date"]),
        values.get("pid"),
    )


def _log_lines(content: Any) -> list[str]:
    """Airflow gives a list of structured messages; in groups are its own notes on sources, preparation and clean-up."""
    if isinstance(content, str):
        return content.splitlines()
    lines: list[str] = []
    in_group = False
    for entry in content:
        message = entry if isinstance(entry, dict) else {"event": str(entry)}
        text = str(message.get("event", ""))
        if text.startswith("::group::"):
            in_group = True
        elif text.startswith("::endgroup::"):
            in_group = False
        # What the task itself printed arrives late, in the middle of a group.
        elif not in_group or str(message.get("logger", "")).startswith(_TASK_OUTPUT):
            lines += text.splitlines()
            lines += _error_lines(message.get("error_detail"))
    return lines


def _error_lines(details: Any) -> list[str]:
    """`error_detail` holds the exceptions of a message, the outermost last."""
    if not isinstance(details, list):
        return []
    return [f"{detail.get('exc_type')}: {detail.get('exc_value')}" for detail in details if isinstance(detail, dict)]


def _detail(text: str) -> str:
    try:
        detail = json.loads(text).get("detail", text)
    except (ValueError, AttributeError):
        detail = text
    return detail if isinstance(detail, str) else json.dumps(detail)
