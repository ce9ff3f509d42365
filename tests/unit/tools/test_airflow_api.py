"""The REST client against a server that misbehaves on purpose."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tools.airflow_api import AirflowApi, AirflowError, TaskInstance

RUN = {
    "dag_id": "d",
    "dag_run_id": "r",
    "state": "running",
    "start_date": "2026-03-02T03:00:00Z",
    "end_date": None,
}


class FakeAirflow:
    """Answers each request with the next prepared (status, body); remembers (method, path, body)."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, Any]] = []
        self.requests: list[tuple[str, str, Any]] = []
        self.logins = 0
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.path == "/auth/token":
                    fake.logins += 1
                    status, answer = 201, {"access_token": f"token {fake.logins}"}
                else:
                    fake.requests.append((self.command, self.path, json.loads(body) if body else None))
                    status, answer = fake.answers.pop(0)
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PATCH = _answer

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def airflow() -> Iterator[FakeAirflow]:
    fake = FakeAirflow()
    yield fake
    fake.server.shutdown()
    fake.server.server_close()


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def api(airflow: FakeAirflow, pauses: list[float]) -> AirflowApi:
    return AirflowApi(airflow.address, "admin", "password", sleep=pauses.append)


def test_a_busy_database_is_asked_again(api: AirflowApi, airflow: FakeAirflow, pauses: list[float]) -> None:
    airflow.answers = [(500, {"detail": "database is locked"}), (503, {}), (200, RUN)]

    assert api.run("d", "r").state == "running"
    assert len(pauses) == 2


def test_a_refusal_is_not_repeated(api: AirflowApi, airflow: FakeAirflow, pauses: list[float]) -> None:
    airflow.answers = [(400, {"detail": "soak_s must be at least 10"})]

    with pytest.raises(AirflowError, match=r"answered 400: soak_s must be at least 10") as caught:
        api.run("d", "r")
    assert caught.value.status == 400
    assert pauses == []


def test_a_token_that_has_expired_is_renewed_once(api: AirflowApi, airflow: FakeAirflow) -> None:
    airflow.answers = [(401, {}), (200, RUN)]
    api.run("d", "r")
    assert airflow.logins == 2

    airflow.answers = [(401, {}), (401, {})]
    with pytest.raises(AirflowError) as caught:
        api.run("d", "r")
    assert caught.value.status == 401


def test_nobody_answers(pauses: list[float]) -> None:
    api = AirflowApi("http://127.0.0.1:9", "admin", "password", sleep=pauses.append, tries=3)

    with pytest.raises(AirflowError, match=r"Airflow at http://127.0.0.1:9 does not answer as it should") as caught:
        api.run("d", "r")
    assert caught.value.status == 0
    assert len(pauses) == 2


def test_a_trigger_whose_answer_was_lost_starts_one_run(api: AirflowApi, airflow: FakeAirflow) -> None:
    airflow.answers = [(200, {}), (500, {}), (409, {"detail": "the run exists"})]

    run_id = api.trigger("d", {"shards": 2})

    posts = [body for method, _, body in airflow.requests if method == "POST"]
    assert [body["dag_run_id"] for body in posts] == [run_id, run_id]
    assert posts[0]["logical_date"] is None
    assert posts[0]["conf"] == {"shards": 2}
    assert airflow.requests[0] == ("PATCH", "/api/v2/dags/d", {"is_paused": False})


def test_all_pages_of_task_instances_are_read(api: AirflowApi, airflow: FakeAirflow) -> None:
    def task(name: str) -> dict[str, Any]:
        return {
            "task_id": name,
            "map_index": -1,
            "state": None,
            "try_number": 0,
            "start_date": "2026-03-02T03:00:00Z",
            "end_date": "2026-03-02T03:00:01.5Z",
        }

    airflow.answers = [
        (200, {"task_instances": [task("a")], "total_entries": 2}),
        (200, {"task_instances": [task("b")], "total_entries": 2}),
    ]

    tasks = api.task_instances("d", "r+1")

    assert [task.name for task in tasks] == ["a", "b"]
    assert tasks[0].state == "none"
    assert tasks[0].duration_s == 1.5
    assert airflow.requests[1][1] == "/api/v2/dags/d/dagRuns/r%2B1/taskInstances?limit=100&offset=1"


def test_a_dag_that_is_out_of_date_does_not_count(api: AirflowApi, airflow: FakeAirflow) -> None:
    fresh = {"is_stale": False, "last_parsed_time": "1970-01-01T00:01:40Z"}
    airflow.answers = [(200, fresh), (200, fresh), (200, {**fresh, "is_stale": True}), (404, {})]

    assert api.has_dag("d", parsed_since=100)
    assert not api.has_dag("d", parsed_since=101)
    assert not api.has_dag("d")
    assert not api.has_dag("d")


def test_a_log_is_what_the_task_said(api: AirflowApi, airflow: FakeAirflow) -> None:
    airflow.answers = [
        (
            200,
            {
                "content": [
                    {"event": "::group::Log message source details"},
                    {"event": "/logs/attempt=1.log"},
                    {"event": "::endgroup::"},
                    {"event": "Task failed", "error_detail": [{"exc_type": "ConfigError", "exc_value": "no such key"}]},
                    {"event": "::group::Post Execute"},
                    {"event": "printed late", "logger": "task.stdout"},
                    {"event": "Pushing xcom", "logger": "task"},
                    {"event": "::endgroup::"},
                ]
            },
        )
    ]
    task = TaskInstance("load", 1, "failed", 2, None, None)

    assert api.task_log("d", "r", task) == ["Task failed", "ConfigError: no such key", "printed late"]
    assert "/taskInstances/load/logs/2?map_index=1" in airflow.requests[0][1]
