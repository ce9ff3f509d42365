"""The local stack with a small DAG of its own: start, run, kill -9 of each part, end. Nothing may be left."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tools.airflow_api import AirflowApi
from tools.stack.airflow_environment import load_password
from tools.stack.layout import ROOT, StackOptions
from tools.stack.processes import is_alive, marked, session_members
from tools.stack.state import StackState

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(400)]

DAG = """
import logging, os, subprocess, time
from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.sdk import BaseHook, dag, task

@dag(schedule=None)
def hello():
    @task
    def greet():
        print("PYTHONPATH is", os.environ["PYTHONPATH"], "and profile is", os.environ.get("AWS_PROFILE"))

    @task
    def tell():
        connection = BaseHook.get_connection("secretive")
        print("the password is", connection.password)
        logging.getLogger("anywhere").warning("the session is %s", connection.extra_dejson["aws_session_token"])
        print("the key is", AwsBaseHook("secretive", client_type="sts").get_credentials().secret_key)
        print("the end")

    greet()
    tell()

@dag(schedule=None)
def sleeper():
    @task(retries=3, retry_delay=1)
    def sleep():
        subprocess.Popen(["sleep", "600"], start_new_session=True)
        time.sleep(600)

    sleep()

hello()
sleeper()
"""


# Of the connection `secretive`: the secret key, and the session's token.
SECRETS = ("s3cret-key-that-nobody-may-read", "t0ken-that-nobody-may-read")


@dataclass(frozen=True)
class Stack:
    """A stack in a folder of its own, and its commands."""

    folder: Path

    @property
    def state_folder(self) -> Path:
        return self.folder / "stack"

    def arguments(self, command: str, *more: str) -> list[str]:
        extra = ["--no-sandbox", "--dags", str(self.folder / "dags")] if command == "up" else []
        return [sys.executable, "-m", "tools.stack", command, "--state", str(self.state_folder), *extra, *more]

    def run(self, command: str, *more: str, timeout_s: float = 200) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "AWS_PROFILE": "production"}
        return subprocess.run(
            self.arguments(command, *more), cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout_s
        )

    def state(self) -> StackState:
        state = StackState.read(self.state_folder / "state.json")
        assert state is not None
        return state

    def pid(self, component: str) -> int:
        pid = self.state().components[component].pid
        assert pid is not None
        return pid

    def processes(self) -> list[int]:
        return marked(str(self.state_folder))

    def api(self) -> AirflowApi:
        options = StackOptions(
            self.state_folder, self.folder, self.folder, self.folder, self.folder, sandbox=None, plant=None
        )
        ports = self.state().ports
        assert ports is not None
        return AirflowApi(ports.address, "admin", load_password(options))


def wait_for(what: str, condition: Callable[[], Any], limit_s: float) -> Any:
    deadline = time.monotonic() + limit_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not come within {limit_s} s"
        time.sleep(0.2)
    return value


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "small.py").write_text(DAG)
    stack = Stack(tmp_path)
    yield stack
    ended = stack.run("down")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert stack.processes() == []


@pytest.fixture
def running(stack: Stack) -> Stack:
    started = stack.run("up")
    assert started.returncode == 0, started.stdout + started.stderr
    return stack


def test_up_run_kill_down(running: Stack) -> None:
    """One start serves all of these, since a start takes seconds of both cores."""
    check_second_up_is_quick(running)
    check_nothing_listens_beyond_loopback(running)
    check_a_dag_runs(running)
    check_killed_scheduler_is_replaced(running)
    check_killed_supervisor_takes_everything_along(running)
    check_next_up_ends_what_was_left(running)


def check_second_up_is_quick(stack: Stack) -> None:
    pid = stack.state().pid
    began = time.monotonic()

    again = stack.run("up")

    assert time.monotonic() - began < 2
    assert again.returncode == 0
    assert "it is up already" in again.stdout
    assert stack.state().pid == pid
    report = json.loads(stack.run("status", "--json").stdout)
    assert report["up"] is True
    assert {part["state"] for part in report["components"].values()} == {"healthy"}


def check_nothing_listens_beyond_loopback(stack: Stack) -> None:
    listening = [
        connection.laddr.ip
        for pid in stack.processes()
        for connection in psutil.Process(pid).net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]

    assert len(listening) >= 3  # the API and two log servers
    assert set(listening) == {"127.0.0.1"}


def check_a_dag_runs(stack: Stack) -> None:
    api = stack.api()
    wait_for("the DAG", lambda: api.has_dag("hello"), 60)
    assert api.import_errors() == {}
    api.add_connection("secretive", "aws", "key-id", SECRETS[0], {"aws_session_token": SECRETS[1]})

    run_id = api.trigger("hello")

    assert api.wait("hello", run_id, 60, poll_s=0.3).state == "success"
    tasks = {task.task_id: task for task in api.task_instances("hello", run_id)}
    greeting, told = ("\n".join(api.task_log("hello", run_id, tasks[name])) for name in ("greet", "tell"))
    assert f"PYTHONPATH is {ROOT} and profile is None" in greeting
    check_secrets_are_masked(stack, told)


def check_secrets_are_masked(stack: Stack, told: str) -> None:
    """Those of a connection: not in a task's log, not in any other file of the stack, its database included."""
    for line in ("the password is ***", "the session is ***", "the key is ***", "the end"):
        assert line in told, told
    files = [file for file in stack.folder.rglob("*") if file.is_file()]
    assert len(files) > 10
    leaks = [str(file) for file in files for secret in SECRETS if secret.encode() in file.read_bytes()]
    assert leaks == []


def check_killed_scheduler_is_replaced(stack: Stack) -> None:
    api = stack.api()
    run_id = api.trigger("sleeper")

    def attempt(number: int) -> bool:
        (task,) = api.task_instances("sleeper", run_id)
        return task.state == "running" and task.try_number == number

    wait_for("the task", lambda: attempt(1), 60)
    scheduler = stack.pid("scheduler")
    started_by_task = wait_for("the task's program", lambda: sleeps(stack), 20)
    before = [*session_members(scheduler), *started_by_task]
    assert len(before) > 9  # the workers and the task among them

    os.kill(scheduler, signal.SIGKILL)

    wait_for("the end of its workers and tasks", lambda: not any(map(is_alive, before)), 5)
    wait_for(
        "the next scheduler",
        lambda: (
            stack.state().components["scheduler"].restarts == 1
            and stack.state().components["scheduler"].state == "healthy"
        ),
        60,
    )
    wait_for("the task's next try", lambda: attempt(2), 90)
    assert "scheduler was ended by SIGKILL" in (stack.state_folder / "logs" / "supervisor.log").read_text()


def check_killed_supervisor_takes_everything_along(stack: Stack) -> None:
    wait_for("the task's program", lambda: sleeps(stack), 20)
    assert len(stack.processes()) > 12

    os.kill(stack.state().pid, signal.SIGKILL)

    # The program that a task started in a session of its own is all that the kernel does not end.
    wait_for("the end of Airflow", lambda: stack.processes() == sleeps(stack), 5)
    assert stack.run("status").returncode == 1


def sleeps(stack: Stack) -> list[int]:
    """The programs that tasks of `sleeper` started."""
    found = []
    for pid in stack.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).name() == "sleep":
                found.append(pid)
    return found


def check_next_up_ends_what_was_left(stack: Stack) -> None:
    """In the foreground this time, so that Ctrl-C is tried on a healthy stack, too."""
    assert len(sleeps(stack)) == 1
    with (stack.folder / "up.log").open("w") as log:
        process = subprocess.Popen(stack.arguments("up", "--foreground"), cwd=ROOT, stdout=log, stderr=log)

    def told() -> str:
        return (stack.folder / "up.log").read_text()

    wait_for("the start", lambda: "Ctrl-C ends it" in told(), 120)
    assert "ended what an earlier stack left (1 processes)" in told()
    assert "database migrated" not in told()

    process.send_signal(signal.SIGINT)

    assert process.wait(60) == 0
    assert stack.processes() == []


def test_down_ends_a_healthy_stack(running: Stack) -> None:
    began = time.monotonic()

    ended = running.run("down")

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert time.monotonic() - began < 40
    assert running.processes() == []
    assert running.run("down").stdout.strip() == "Nothing is running."


def begin_start(stack: Stack) -> subprocess.Popen[str]:
    """A start that has got as far as the first component."""
    process = subprocess.Popen(
        stack.arguments("up"), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    state = stack.state_folder / "state.json"
    wait_for("a component", lambda: state.exists() and stack.state().components["api-server"].pid, 60)
    return process


def test_ctrl_c_while_it_starts_leaves_nothing(stack: Stack) -> None:
    process = begin_start(stack)

    process.send_signal(signal.SIGINT)

    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert stack.processes() == []


def test_the_stack_ends_with_its_folder(stack: Stack) -> None:
    process = begin_start(stack)

    shutil.rmtree(stack.state_folder, ignore_errors=True)

    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "The stack ended while it started" in output
    assert stack.processes() == []


def test_a_broken_database_is_named_with_the_cure(stack: Stack) -> None:
    home = stack.state_folder / "airflow"
    home.mkdir(parents=True)
    (home / "airflow.db").write_text("this is no database")

    started = stack.run("up")

    assert started.returncode == 1
    assert f"{home / 'airflow.db'} cannot be opened (file is not a database)" in started.stderr
    assert stack.processes() == []
