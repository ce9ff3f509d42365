"""The account, the network, load balancers, metrics, and the tasks of the load fleet through their hooks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from headroom_airflow.hooks.cloudwatch import CloudWatchHook, MetricQuery
from headroom_airflow.hooks.ec2_network import NetworkHook
from headroom_airflow.hooks.elbv2 import Elbv2Hook
from headroom_airflow.hooks.identity import IdentityHook
from headroom_airflow.hooks.load_fleet import LoadFleetHook
from include.capacity.errors import NotReady
from tests.integration.aws.conftest import CLUSTER, IDLE
from tests.integration.sandbox.conftest import GROUP, RunningSandbox, wait_for

pytestmark = pytest.mark.system


def test_the_account_and_the_network_are_found(sandbox: RunningSandbox) -> None:
    resources = sandbox.state["resources"]
    assert IdentityHook().account() == "123456789012"
    network = NetworkHook()
    assert network.subnet_ids(["headroom-load"]) == sorted(resources["subnets"])
    assert network.security_group_ids(["headroom-load", "sg-1"]) == [resources["security_group"], "sg-1"]
    with pytest.raises(NotReady, match="There is no subnet tagged Name='other'"):
        network.subnet_ids(["other"])


def test_a_load_balancer_and_its_target_group_are_described(sandbox: RunningSandbox) -> None:
    hook = Elbv2Hook()
    balancer = hook.load_balancer("checkout")
    assert hook.listener_port(balancer["LoadBalancerArn"], "http") == int(
        sandbox.state["load_balancer_url"].rpartition(":")[2]
    )
    assert hook.target_group("checkout")["HealthCheckPath"] == "/health"
    assert hook.tags([balancer["LoadBalancerArn"]]) == {balancer["LoadBalancerArn"]: {"service": "checkout"}}
    with pytest.raises(NotReady, match="has no https listener"):
        hook.listener_port(balancer["LoadBalancerArn"], "https")
    for call in (hook.load_balancer, hook.target_group):
        with pytest.raises(NotReady, match="'other'"):
            call("other")
    missing = sandbox.state["resources"]["target_group_arn"].replace("checkout", "other")
    with pytest.raises(NotReady, match=r"The target group 'other' cannot .*(TargetGroupNotFound|describes nothing)"):
        hook.wait_until(hook.healthy(missing, ["i-1"], within_s=60))


def test_metrics_come_as_series(sandbox: RunningSandbox) -> None:
    query = MetricQuery("cpu", "AWS/EC2", "CPUUtilization", {"AutoScalingGroupName": GROUP}, "Average", 1)
    hook, now = CloudWatchHook(), datetime.now(UTC)
    series = wait_for(
        "a point", lambda: hook.series([query], now - timedelta(minutes=5), now + timedelta(minutes=5))["cpu"]
    )
    assert series == sorted(series)


def test_tasks_of_the_fleet_are_checked_listed_and_stopped(sandbox: RunningSandbox) -> None:
    hook, resources = LoadFleetHook(), sandbox.state["resources"]
    hook.check(CLUSTER, "headroom-shard", "shard")
    with pytest.raises(NotReady, match="has no container 'other'"):
        hook.check(CLUSTER, "headroom-shard", "other")
    network = {"subnets": resources["subnets"][:1], "securityGroups": [resources["security_group"]]}
    sandbox.client("ecs").run_task(
        cluster=CLUSTER,
        taskDefinition="headroom-shard",
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": network},
        overrides={"containerOverrides": [{"name": "shard", "command": IDLE}]},
        tags=[{"key": "headroom-run", "value": "1"}],
    )
    (task,) = hook.running(CLUSTER, "headroom-shard")
    assert task["tags"] == [{"key": "headroom-run", "value": "1"}]
    hook.stop(CLUSTER, task["taskArn"], "the test is over")
    wait_for("the end of the task", lambda: not hook.running(CLUSTER, "headroom-shard"))
