"""What tests of a sandbox need: to start one, on ports and in a folder of its own, to wait, and to look at it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import boto3
import pytest

from sandbox.processes.client import REPOSITORY_ROOT
from sandbox.processes.proc import SANDBOX_MARK, marked_processes

Value = TypeVar("Value")
GROUP = "checkout-web"
# As many AWS minutes in a second as a plant file allows (one), and quick instances: these tests wait for both.
PLANT = """
schema: 1
name: checkout
time_scale: 60
instances: {min: 1, max: 4, desired: 1, type: t3.medium, boot: 300 ms, warm_up: 1 s}
instances_under_test: 2
slots: 4
endpoints:
  browse: {path: /products, method: GET, service_time: {distribution: constant, mean: 20 ms}, share: 0.8}
  search: {path: /search, method: GET, service_time: {distribution: constant, mean: 20 ms}, share: 0.1}
  checkout: {path: /checkout, method: POST, service_time: {distribution: constant, mean: 20 ms}, share: 0.1}
slo: {latency_p95: 100 ms}
"""


def run_sandbox(*arguments: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
    """`python -m sandbox …` as a user types it."""
    return subprocess.run(
        [sys.executable, "-m", "sandbox", *arguments],
        cwd=REPOSITORY_ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )


def wait_for(what: str, look: Callable[[], Value], timeout_s: float = 20.0) -> Value:
    """The first true answer of `look`; the test fails if there is none in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not happen within {timeout_s:g} s; last seen: {seen!r}")
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True)
class RunningSandbox:
    """A sandbox that is up."""

    folder: Path

    @property
    def state(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / "state.json").read_text())
        return content

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.state["endpoint_url"],
            region_name="us-east-1",
            aws_access_key_id="123456789012",
            aws_secret_access_key="sandbox",
        )

    def status(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(run_sandbox("status", "--json", "--state", str(self.folder)).stdout)
        return content

    def processes(self) -> list[int]:
        """All processes that carry this sandbox's mark: instances, HAProxy, tasks."""
        return marked_processes(SANDBOX_MARK, self.state["mark"])

    def group(self) -> dict[str, Any]:
        answer = self.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])
        group: dict[str, Any] = answer["AutoScalingGroups"][0]
        return group

    def activities(self) -> list[dict[str, Any]]:
        answer = self.client("autoscaling").describe_scaling_activities(AutoScalingGroupName=GROUP)
        found: list[dict[str, Any]] = answer["Activities"]
        return found

    def in_service(self) -> list[str]:
        return [i["InstanceId"] for i in self.group()["Instances"] if i["LifecycleState"] == "InService"]

    def target_states(self) -> list[str]:
        health = self.client("elbv2").describe_target_health(
            TargetGroupArn=self.state["resources"]["target_group_arn"]
        )["TargetHealthDescriptions"]
        return sorted(entry["TargetHealth"]["State"] for entry in health)

    def scale_to(self, desired: int) -> None:
        """Set the desired capacity, and wait until exactly so many instances serve."""
        self.client("autoscaling").set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=desired)
        wait_for(
            f"{desired} instances in service",
            lambda: (
                len(self.group()["Instances"]) == len(self.in_service()) == desired
                and self.target_states() == ["healthy"] * desired
            ),
        )


@pytest.fixture
def sandbox(shared_sandbox: RunningSandbox) -> Iterator[RunningSandbox]:
    """The shared sandbox with one instance, all scaling processes active, and no policies or alarms left behind."""
    yield shared_sandbox
    autoscaling, cloudwatch = shared_sandbox.client("autoscaling"), shared_sandbox.client("cloudwatch")
    autoscaling.resume_processes(AutoScalingGroupName=GROUP)
    for policy in autoscaling.describe_policies(AutoScalingGroupName=GROUP)["ScalingPolicies"]:
        autoscaling.delete_policy(AutoScalingGroupName=GROUP, PolicyName=policy["PolicyName"])
    names = [alarm["AlarmName"] for alarm in cloudwatch.describe_alarms()["MetricAlarms"]]
    if names:
        cloudwatch.delete_alarms(AlarmNames=names)
    autoscaling.update_auto_scaling_group(AutoScalingGroupName=GROUP, MinSize=1, MaxSize=4, HealthCheckType="ELB")
    shared_sandbox.scale_to(1)


@pytest.fixture
def own_folder(tmp_path: Path) -> Iterator[Path]:
    """A state folder for a test that starts and ends sandboxes itself; whatever it leaves is ended."""
    folder = tmp_path / "state"
    yield folder
    run_sandbox("down", "--state", str(folder))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
