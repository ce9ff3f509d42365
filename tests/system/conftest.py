"""One whole stack for the system tests: sandbox and Airflow as `make up` starts them, in a folder of their own."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest

from tools.airflow_api import AirflowApi, DagRun, TaskInstance
from tools.stack.control import down, up
from tools.stack.layout import ROOT, StackOptions

DAG_ID = "capacity_weekly__checkout"
GROUP = "checkout-web"
RUN_LIMIT_S = 420.0
# Below the service's limit, so that a run is short: a ramp, a soak, and the answer "at least".
SHORT = {"lower_tps": 40, "upper_tps": 120, "probe_s": 6, "soak_s": 12}


@dataclass(frozen=True, slots=True)
class Stack:
    """A running stack with what a test asks of it."""

    options: StackOptions
    api: AirflowApi
    sandbox: dict[str, Any]

    def trigger(self, **params: Any) -> str:
        return self.api.trigger(DAG_ID, {**SHORT, **params})

    def wait(self, run_id: str) -> DagRun:
        return self.api.wait(DAG_ID, run_id, RUN_LIMIT_S)

    def tasks(self, run_id: str) -> dict[str, TaskInstance]:
        return {task.name: task for task in self.api.task_instances(DAG_ID, run_id)}

    def folder(self, run_id: str) -> Path:
        key = "".join(character if character.isalnum() or character in "_.-" else "_" for character in run_id)
        return self.options.build / "artefacts" / "checkout" / key

    def json(self, run_id: str, path: str) -> Any:
        return json.loads((self.folder(run_id) / path).read_text(encoding="utf-8"))

    def aws(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.sandbox["endpoint_url"],
            region_name="us-east-1",
            aws_access_key_id="123456789012",
            aws_secret_access_key="sandbox",
        )

    def group(self) -> dict[str, Any]:
        """The settings that a run may change."""
        found = self.aws("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])
        group = found["AutoScalingGroups"][0]
        suspended = sorted(process["ProcessName"] for process in group["SuspendedProcesses"])
        return {name: group[name] for name in ("MinSize", "MaxSize", "DesiredCapacity")} | {"suspended": suspended}

    def until(self, what: str, condition: Callable[[], Any], within_s: float) -> Any:
        deadline = time.monotonic() + within_s
        while not (value := condition()):
            assert time.monotonic() < deadline, f"{what} did not come within {within_s:g} s"
            time.sleep(0.2)
        return value

    def mid_search(self, run_id: str) -> None:
        """Returns when the search has stored a probe and holds the next rate."""

        def holds() -> bool:
            stored = list((self.folder(run_id) / "probes" / "search").glob("*.json"))
            return bool(stored) and self.offered_now(run_id) > 0

        self.until("a running search", holds, 180)
        assert beyond_loopback(self.listeners()) == {}  # now that everything runs

    def offered_now(self, run_id: str) -> float:
        """Arrivals per second in force by the shards' last reports (those older than 2.5 s do not count)."""
        total = 0.0
        for shard in (self.folder(run_id) / "fleet").glob("shard-*"):
            incarnations = sorted(entry for entry in shard.iterdir() if entry.name[:1].isdigit())
            reports = sorted((incarnations[-1] / "reports").glob("*.json")) if incarnations else []
            if reports:
                report = json.loads(reports[-1].read_text(encoding="utf-8"))
                if time.time() - report["published_at"] < 2.5:
                    total += report["rate_per_s"]
        return total

    def seconds_until_no_load(self, run_id: str, within_s: float) -> float:
        """How long after now the shards' own reports say rate zero (they come once a second)."""
        began = time.monotonic()
        self.until("rate zero", lambda: self.offered_now(run_id) == 0, within_s)
        return time.monotonic() - began

    def processes(self, word: str = "") -> list[int]:
        """Pids of this stack's processes with a word in their command line."""
        found = []
        marks = (str(self.options.build), str(self.sandbox["mark"]))
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                environment = (entry / "environ").read_bytes().decode(errors="replace")
            except OSError:
                continue
            ours = any(mark in environment + " ".join(words) for mark in marks)
            if ours and any(word in part for part in words):
                found.append(int(entry.name))
        return found

    def listeners(self) -> dict[str, str]:
        """Address -> command line of what listens there, of Airflow, the sandbox, its instances and the load fleet."""
        found: dict[str, str] = {}
        for pid in self.processes():
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                for connection in process.net_connections(kind="inet"):
                    if connection.status == psutil.CONN_LISTEN:
                        found[f"{connection.laddr.ip} {connection.laddr.port}"] = " ".join(process.cmdline())
        return found


def beyond_loopback(listeners: dict[str, str]) -> dict[str, str]:
    """Those of `Stack.listeners` that another machine could reach."""
    assert len(listeners) > 5, "the API, two log servers, the endpoint, the load balancer, an instance"
    return {at: what for at, what in listeners.items() if not ip_address(at.split()[0]).is_loopback}


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    build = ROOT / "build" / "system-test"
    options = StackOptions(
        state=build / "stack",
        airflow_home=build / "airflow",
        dags=ROOT / "dags",
        plugins=ROOT / "plugins",
        build=build,
        sandbox=build / "sandbox",
    )
    os.environ.pop("AIRFLOW_HOME", None)
    lines: list[str] = []
    try:
        address = up(options, lines.append)
        api = AirflowApi(address.url, address.user, address.password)
        sandbox = json.loads((options.sandbox / "state.json").read_text(encoding="utf-8"))
        running = Stack(options, api, sandbox)
        running.until("the DAG", lambda: api.has_dag(DAG_ID), 90)
        yield running
    finally:
        print("\n".join(lines))
        down(options, lines.append)


@pytest.fixture
def unchanged(stack: Stack) -> Iterator[dict[str, Any]]:
    """The group's settings before; fails if they differ after the test, or if a load container is left."""
    before = stack.group()
    yield before
    assert stack.group() == before
    ecs = stack.aws("ecs")
    arns = ecs.list_tasks(cluster="headroom-load", desiredStatus="RUNNING")["taskArns"]
    alive = ecs.describe_tasks(cluster="headroom-load", tasks=arns)["tasks"] if arns else []
    assert [task["taskArn"] for task in alive if task["lastStatus"] != "STOPPED"] == []
    assert stack.processes("ApacheJMeter.jar") == []
