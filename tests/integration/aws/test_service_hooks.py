"""ECS services, Application Auto Scaling and Aurora through their hooks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from headroom_airflow.hooks.application_autoscaling import ApplicationAutoScalingHook, Scalable, suspended_state
from headroom_airflow.hooks.aurora import AuroraHook
from headroom_airflow.hooks.ecs_service import EcsServiceHook, last_event
from include.capacity.errors import NotReady
from tests.integration.aws.conftest import CLUSTER, ROLLOUT
from tests.integration.sandbox.conftest import RunningSandbox, wait_for

pytestmark = pytest.mark.system
TRACKING = {
    "PolicyName": "cpu",
    "PolicyType": "TargetTrackingScaling",
    "TargetTrackingScalingPolicyConfiguration": {
        "PredefinedMetricSpecification": {"PredefinedMetricType": "ECSServiceAverageCPUUtilization"},
        "TargetValue": 60.0,
    },
}


def test_a_service_gets_as_many_tasks_as_it_wants(ecs_service: str) -> None:
    hook = EcsServiceHook()
    hook.wait_until(hook.steady(ecs_service, cluster=CLUSTER, within_s=20, every_s=0.2))
    hook.set_desired(ecs_service, cluster=CLUSTER, count=2)
    hook.wait_until(hook.steady(ecs_service, cluster=CLUSTER, within_s=20, every_s=0.2))
    service = hook.describe(ecs_service, cluster=CLUSTER)
    assert (service["runningCount"], service["pendingCount"], len(service["deployments"])) == (2, 0, 1)
    steady = "(service web) has reached a steady state."
    wait_for("the event", lambda: last_event(hook.describe(ecs_service, cluster=CLUSTER)) == steady)
    assert [task["lastStatus"] for task in hook.tasks(ecs_service, cluster=CLUSTER)] == ["RUNNING", "RUNNING"]
    hook.set_desired(ecs_service, cluster=CLUSTER, count=1)
    hook.wait_until(hook.steady(ecs_service, cluster=CLUSTER, within_s=20, every_s=0.2))


def test_a_service_whose_tasks_fail_is_told_with_its_last_event(ecs_service: str, sandbox: RunningSandbox) -> None:
    ecs = sandbox.client("ecs")
    ecs.register_task_definition(
        family="broken",
        networkMode="awsvpc",
        containerDefinitions=[{"name": "x", "image": "x", "memory": 64, "essential": True, "command": ["false"]}],
    )
    ecs.update_service(cluster=CLUSTER, service=ecs_service, taskDefinition="broken")
    hook = EcsServiceHook()
    with pytest.raises(NotReady) as caught:
        hook.wait_until(hook.steady(ecs_service, cluster=CLUSTER, within_s=30, every_s=0.2))
    assert "FAILED ECS deployment circuit breaker: tasks failed to start" in str(caught.value)
    assert "newest event (service web)" in str(caught.value)


def test_a_service_that_does_not_exist_is_told(sandbox: RunningSandbox) -> None:
    hook = EcsServiceHook()
    with pytest.raises(NotReady, match="There is no ECS service 'other' in the cluster 'headroom-load'"):
        hook.describe("other", cluster=CLUSTER)
    with pytest.raises(NotReady, match="There is no ECS cluster 'other'"):
        hook.describe("web", cluster="other")
    with pytest.raises(NotReady, match="cannot become steady: missing MISSING"):
        hook.wait_until(hook.steady("other", cluster=CLUSTER, within_s=60))


def test_scaling_of_a_service_is_suspended_and_brought_back(ecs_service: str) -> None:
    hook, rollout = ApplicationAutoScalingHook(), ApplicationAutoScalingHook(aws_conn_id=ROLLOUT)
    scalable = Scalable.ecs_service(CLUSTER, ecs_service)
    assert hook.find(scalable) is None
    with pytest.raises(NotReady, match="is not registered with Application Auto Scaling"):
        hook.set_suspended(scalable, {"DynamicScalingInSuspended": True})
    hook.set_range(scalable, minimum=1, maximum=4)
    before = suspended_state(hook.target(scalable))
    assert set(before.values()) == {False}
    hook.set_suspended(scalable, {"DynamicScalingInSuspended": True, "ScheduledScalingSuspended": True})
    hook.set_range(scalable, minimum=2, maximum=4)  # what is suspended stays so
    target = hook.target(scalable)
    assert suspended_state(target) == {**dict.fromkeys(before, True), "DynamicScalingOutSuspended": False}
    assert (target["MinCapacity"], target["MaxCapacity"]) == (2, 4)
    with pytest.raises(ValueError, match="Everything cannot be suspended"):
        hook.set_suspended(scalable, {"Everything": True})
    hook.set_suspended(scalable, before)
    assert suspended_state(hook.target(scalable)) == before
    rollout.deregister(scalable)
    rollout.deregister(scalable)
    assert hook.find(scalable) is None


def test_policies_and_schedules_of_a_service(ecs_service: str) -> None:
    rollout, services = ApplicationAutoScalingHook(aws_conn_id=ROLLOUT), EcsServiceHook()
    scalable = Scalable.ecs_service(CLUSTER, ecs_service)
    rollout.set_range(scalable, minimum=1, maximum=4)
    assert rollout.target(scalable)["MaxCapacity"] == 4
    arn = rollout.put_policy(scalable, TRACKING)
    assert [policy["PolicyARN"] for policy in rollout.policies(scalable)] == [arn]
    rollout.delete_policy(scalable, "cpu")
    rollout.delete_policy(scalable, "cpu")
    assert rollout.policies(scalable) == []
    at = (datetime.now(UTC) + timedelta(seconds=2)).strftime("at(%Y-%m-%dT%H:%M:%S)")
    began = datetime.now(UTC) - timedelta(seconds=1)
    action = {"ScheduledActionName": "up", "Schedule": at, "ScalableTargetAction": {"MinCapacity": 2}}
    rollout.put_scheduled_action(scalable, action)
    assert [found["ScheduledActionName"] for found in rollout.scheduled_actions(scalable)] == ["up"]
    wait_for("the schedule", lambda: ApplicationAutoScalingHook().activities(scalable, began), 10)
    (activity,) = ApplicationAutoScalingHook().activities(scalable, began)
    assert (activity["Cause"], activity["StatusCode"]) == ("minimum capacity was set to 2", "Successful")
    assert services.describe(ecs_service, cluster=CLUSTER)["desiredCount"] == 2
    rollout.delete_scheduled_action(scalable, "up")
    rollout.delete_scheduled_action(scalable, "up")
    rollout.deregister(scalable)


@pytest.mark.parametrize(
    ("scalable", "resource", "dimension"),
    [
        (Scalable.aurora_replicas("shop"), "cluster:shop", "rds:cluster:ReadReplicaCount"),
        (Scalable.dynamodb_table("orders", "read"), "table/orders", "dynamodb:table:ReadCapacityUnits"),
        (
            Scalable.dynamodb_index("orders", "day", "write"),
            "table/orders/index/day",
            "dynamodb:index:WriteCapacityUnits",
        ),
    ],
    ids=["aurora", "table", "index"],
)
def test_other_things_that_scale(sandbox: RunningSandbox, scalable: Scalable, resource: str, dimension: str) -> None:
    hook = ApplicationAutoScalingHook()
    hook.set_range(scalable, minimum=1, maximum=5)
    target = hook.target(scalable)
    assert (target["ResourceId"], target["ScalableDimension"], str(scalable)) == (resource, dimension, resource)
    hook.deregister(scalable)


def test_readers_are_added_adopted_and_removed(cluster: str) -> None:
    hook = AuroraHook()
    hook.wait_until(hook.available(cluster, within_s=30, every_s=0.3))
    assert [(member.name, member.writer) for member in hook.members(cluster)] == [("shop-1", True), ("shop-2", False)]
    for _ in range(2):  # the second one is adopted
        hook.add_reader("shop-run", cluster=cluster, instance_class="db.r6g.large", tags={"headroom-run": "1"})
    assert [(reader.name, reader.promotion_tier) for reader in hook.readers(cluster)] == [
        ("shop-2", 1),
        ("shop-run", 15),
    ]
    assert hook.instance("shop-run")["DBInstanceStatus"] == "creating"
    hook.wait_until(hook.available(cluster, within_s=30, every_s=0.3))
    assert hook.last_message("shop-run") == "RDS says last: Finished DB instance backup"
    assert hook.last_message("other") == ""
    hook.set_class("shop-run", "db.r6g.xlarge")
    hook.wait_until(hook.available(cluster, within_s=30, every_s=0.3))
    for _ in range(2):
        hook.remove_reader("shop-run", cluster=cluster)
    hook.wait_until(hook.gone("shop-run", within_s=30, every_s=0.3))
    assert [member.name for member in hook.members(cluster)] == ["shop-1", "shop-2"]
    assert hook.cluster(cluster)["Engine"] == "aurora-postgresql"


def test_a_writer_is_never_removed(cluster: str) -> None:
    hook = AuroraHook()
    with pytest.raises(NotReady, match="'shop-1' is the writer of 'shop' by now and is not deleted"):
        hook.remove_reader("shop-1", cluster=cluster)
    with pytest.raises(NotReady, match="There is no Aurora cluster 'other'"):
        hook.cluster("other")
    with pytest.raises(NotReady, match="There is no RDS instance 'other'"):
        hook.instance("other")
