"""Airflow's own EcsRunTaskOperator, unchanged, against the sandbox: the load fleet runs through it."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from tests.integration.sandbox.conftest import RunningSandbox, wait_for

airflow_exceptions = pytest.importorskip("airflow.exceptions")
ecs_operators = pytest.importorskip("airflow.providers.amazon.aws.operators.ecs")

CLUSTER = "headroom-load"


@pytest.fixture
def connection(sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> str:
    settings = {
        "conn_type": "aws",
        "login": "123456789012",
        "password": "sandbox",
        "extra": {"region_name": "us-east-1", "endpoint_url": sandbox.state["endpoint_url"]},
    }
    monkeypatch.setenv("AIRFLOW_CONN_AWS_SANDBOX", json.dumps(settings))
    return "aws_sandbox"


def operator(sandbox: RunningSandbox, connection: str, script: str, **more: Any) -> Any:
    resources = sandbox.state["resources"]
    return ecs_operators.EcsRunTaskOperator(
        task_id="shard",
        aws_conn_id=connection,
        region_name="us-east-1",
        cluster=CLUSTER,
        task_definition="headroom-shard",
        launch_type="FARGATE",
        overrides={"containerOverrides": [{"name": "shard", "command": ["sh", "-c", script]}]},
        network_configuration={
            "awsvpcConfiguration": {"subnets": resources["subnets"], "securityGroups": [resources["security_group"]]}
        },
        awslogs_group="/headroom/load",
        awslogs_region="us-east-1",
        awslogs_stream_prefix="ecs/shard",
        awslogs_fetch_interval=timedelta(seconds=0.2),
        container_name="shard",
        reattach=True,
        waiter_delay=1,
        **more,
    )


def context(run_id: str) -> dict[str, Any]:
    """The part of a task's context that the operator reads."""
    instance = SimpleNamespace(
        dag_id="capacity", task_id="shard", run_id=run_id, map_index=0, xcom_push=lambda **_: None, try_number=1
    )
    return {"ti": instance}


def test_a_task_succeeds_with_its_logs(
    sandbox: RunningSandbox, connection: str, capsys: pytest.CaptureFixture[str]
) -> None:
    operator(sandbox, connection, "echo from the $((1 + 1))nd container; sleep 1.5; echo done $((1 + 1))").execute(
        context("logs")
    )
    printed = capsys.readouterr().out
    assert "from the 2nd container" in printed
    assert "done 2" in printed


def test_a_failing_task_fails_the_operator_with_its_last_lines(sandbox: RunningSandbox, connection: str) -> None:
    with pytest.raises(airflow_exceptions.AirflowException, match=r"(?s)why it failed"):
        operator(sandbox, connection, "echo why it failed; sleep 1.5; exit 3").execute(context("fails"))


def test_a_second_try_takes_over_the_running_task(sandbox: RunningSandbox, connection: str) -> None:
    ecs = sandbox.client("ecs")
    first = threading.Thread(
        target=lambda: operator(sandbox, connection, "sleep 6").execute(context("again")), daemon=True
    )
    first.start()
    (arn,) = wait_for("the first try's task", lambda: ecs.list_tasks(cluster=CLUSTER)["taskArns"])
    second = operator(sandbox, connection, "echo a second task must not start; exit 9")
    second.execute(context("again"))
    assert second.arn == arn
    first.join()


def test_killing_the_operator_stops_the_task(sandbox: RunningSandbox, connection: str) -> None:
    ecs = sandbox.client("ecs")
    running = operator(sandbox, connection, "sleep 300")
    failure: list[BaseException] = []

    def execute() -> None:
        try:
            running.execute(context("killed"))
        except airflow_exceptions.AirflowException as error:
            failure.append(error)

    thread = threading.Thread(target=execute, daemon=True)
    thread.start()
    wait_for("the task", lambda: ecs.list_tasks(cluster=CLUSTER)["taskArns"])
    running.on_kill()
    wait_for("its end", lambda: ecs.list_tasks(cluster=CLUSTER)["taskArns"] == [])
    thread.join(timeout=15)
    assert "not in success state" in str(failure[0])
    ended = ecs.describe_tasks(cluster=CLUSTER, tasks=[running.arn])["tasks"][0]
    assert (ended["containers"][0]["exitCode"], ended["stoppedReason"]) == (143, "Task killed by the user")
