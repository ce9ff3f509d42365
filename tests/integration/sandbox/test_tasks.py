"""ECS tasks as real processes."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.integration.sandbox.conftest import RunningSandbox, alive, wait_for

CLUSTER = "headroom-load"


def run(
    sandbox: RunningSandbox, *command: str, environment: dict[str, str] | None = None, **more: Any
) -> dict[str, Any]:
    resources = sandbox.state["resources"]
    override: dict[str, Any] = {"name": "shard", "command": list(command)}
    if environment:
        override["environment"] = [{"name": key, "value": value} for key, value in environment.items()]
    more.setdefault("taskDefinition", "headroom-shard")
    answer = sandbox.client("ecs").run_task(
        cluster=CLUSTER,
        launchType="FARGATE",
        networkConfiguration={
            "awsvpcConfiguration": {
                "subnets": resources["subnets"],
                "securityGroups": [resources["security_group"]],
            }
        },
        overrides={"containerOverrides": [override]},
        **more,
    )
    assert answer["failures"] == []
    task: dict[str, Any] = answer["tasks"][0]
    return task


def describe(sandbox: RunningSandbox, task: dict[str, Any]) -> dict[str, Any]:
    answer = sandbox.client("ecs").describe_tasks(cluster=CLUSTER, tasks=[task["taskArn"]], include=["TAGS"])
    found: dict[str, Any] = answer["tasks"][0]
    return found


def wait_until(sandbox: RunningSandbox, task: dict[str, Any], status: str) -> dict[str, Any]:
    wait_for(f"status {status}", lambda: describe(sandbox, task)["lastStatus"] == status)
    return describe(sandbox, task)


def lines(sandbox: RunningSandbox, task: dict[str, Any]) -> list[str]:
    stream = f"ecs/shard/{task['taskArn'].rpartition('/')[2]}"
    events = sandbox.client("logs").get_log_events(logGroupName="/headroom/load", logStreamName=stream)["events"]
    return [event["message"] for event in events]


def test_a_task_runs_logs_and_ends(sandbox: RunningSandbox) -> None:
    task = run(
        sandbox,
        "sh",
        "-c",
        'echo "hello $WHO"; echo oops >&2; pwd; printf "no end of line"',
        environment={"WHO": "fleet"},
        tags=[{"key": "run", "value": "r1"}],
        startedBy="a-test",
    )
    assert task["lastStatus"] in {"PROVISIONING", "PENDING"}
    ended = wait_until(sandbox, task, "STOPPED")
    assert ended["containers"][0]["exitCode"] == 0
    assert (ended["stopCode"], ended["stoppedReason"]) == (
        "EssentialContainerExited",
        "Essential container in task exited",
    )
    assert (ended["tags"], ended["startedBy"]) == ([{"key": "run", "value": "r1"}], "a-test")
    assert ended["createdAt"] <= ended["startedAt"] <= ended["stoppedAt"]
    assert ended["containers"][0]["taskArn"] == ended["taskArn"]
    assert lines(sandbox, task) == ["hello fleet", "oops", os.getcwd(), "no end of line"]


@pytest.mark.parametrize(("script", "code"), [("exit 3", 3), ("kill -9 $$", 137), ("kill -15 $$", 143)])
def test_exit_codes(sandbox: RunningSandbox, script: str, code: int) -> None:
    task = run(sandbox, "sh", "-c", script)
    assert wait_until(sandbox, task, "STOPPED")["containers"][0]["exitCode"] == code


def test_a_program_that_does_not_exist_fails_to_start(sandbox: RunningSandbox) -> None:
    ended = wait_until(sandbox, run(sandbox, "/no/such/program"), "STOPPED")
    assert ended["stopCode"] == "TaskFailedToStart"
    assert "CannotStartContainerError" in ended["stoppedReason"]
    assert "exitCode" not in ended["containers"][0]


def test_stop_task_ends_the_whole_container(sandbox: RunningSandbox) -> None:
    # The leader ignores nothing, its children ignore SIGTERM and one of them has left the process group.
    script = "trap '' TERM; sleep 300 & echo $!; setsid sleep 300 & echo $!; trap 'exit 0' TERM; echo ready; wait"
    task = run(sandbox, "sh", "-c", script)
    wait_for(
        "the task's output",
        lambda: describe(sandbox, task)["lastStatus"] == "RUNNING" and len(lines(sandbox, task)) == 3,
    )
    children = [int(line) for line in lines(sandbox, task)[:2]]
    assert all(alive(pid) for pid in children)
    assert sandbox.client("ecs").list_tasks(cluster=CLUSTER, desiredStatus="RUNNING")["taskArns"] == [task["taskArn"]]

    stopping = sandbox.client("ecs").stop_task(cluster=CLUSTER, task=task["taskArn"], reason="enough")["task"]

    assert (stopping["lastStatus"], stopping["desiredStatus"]) == ("DEACTIVATING", "STOPPED")
    ended = wait_until(sandbox, task, "STOPPED")
    assert (ended["stopCode"], ended["stoppedReason"]) == ("UserInitiated", "enough")
    assert ended["containers"][0]["exitCode"] == 0
    wait_for("the end of the children", lambda: not any(alive(pid) for pid in children), timeout_s=5)
    assert sandbox.client("ecs").list_tasks(cluster=CLUSTER)["taskArns"] == []


def test_a_task_that_ignores_sigterm_is_killed_after_its_stop_timeout(sandbox: RunningSandbox) -> None:
    ecs = sandbox.client("ecs")
    known = ecs.describe_task_definition(taskDefinition="headroom-shard")["taskDefinition"]
    container = {**known["containerDefinitions"][0], "stopTimeout": 2}
    ecs.register_task_definition(
        family="impatient",
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        cpu="1024",
        memory="1024",
        containerDefinitions=[container],
    )
    task = run(sandbox, "sh", "-c", "trap '' TERM; echo ready; sleep 300", taskDefinition="impatient")
    wait_for(
        "the output", lambda: describe(sandbox, task)["lastStatus"] == "RUNNING" and lines(sandbox, task) == ["ready"]
    )
    began = time.monotonic()
    ecs.stop_task(cluster=CLUSTER, task=task["taskArn"])
    ended = wait_until(sandbox, task, "STOPPED")
    assert time.monotonic() - began >= 1.5
    assert ended["containers"][0]["exitCode"] == 137


def test_the_same_client_token_starts_one_task(sandbox: RunningSandbox) -> None:
    first = run(sandbox, "sleep", "300", clientToken="once", startedBy="idempotent")
    second = run(sandbox, "sleep", "300", clientToken="once", startedBy="idempotent")
    assert first["taskArn"] == second["taskArn"]
    found = sandbox.client("ecs").list_tasks(cluster=CLUSTER, startedBy="idempotent")["taskArns"]
    assert found == [first["taskArn"]]
    sandbox.client("ecs").stop_task(cluster=CLUSTER, task=first["taskArn"])
    wait_until(sandbox, first, "STOPPED")


def test_the_process_gets_no_input_no_sockets_and_a_clean_environment(sandbox: RunningSandbox) -> None:
    script = (
        "import os; print(os.read(0, 1)); print(sorted(os.listdir('/proc/self/fd'))); "
        "print('PYTEST_CURRENT_TEST' in os.environ, os.environ['AWS_ENDPOINT_URL'])"
    )
    task = run(sandbox, "python3", "-c", script)
    wait_until(sandbox, task, "STOPPED")
    read, files, rest = lines(sandbox, task)
    assert read == "b''"
    assert files == "['0', '1', '2', '3']"  # 3 is the folder that is being listed
    assert rest == f"False {sandbox.state['endpoint_url']}"


def test_what_aws_refuses(sandbox: RunningSandbox) -> None:
    ecs = sandbox.client("ecs")
    with pytest.raises(ClientError, match="referenced task was not found"):
        ecs.stop_task(cluster=CLUSTER, task="0" * 32)
    missing = ecs.describe_tasks(cluster=CLUSTER, tasks=["0" * 32])
    assert (missing["tasks"], [failure["reason"] for failure in missing["failures"]]) == ([], ["MISSING"])
    with pytest.raises(ClientError, match="Cluster not found"):
        ecs.list_tasks(cluster="no-such-cluster")
