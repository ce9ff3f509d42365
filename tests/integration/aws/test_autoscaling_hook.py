"""Auto Scaling groups through the hook: sizes, processes, protection, refresh, policies, and waits that end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from headroom_airflow.hooks.autoscaling import AutoScalingHook
from headroom_airflow.hooks.ec2_instances import InstancesHook
from headroom_airflow.hooks.elbv2 import Elbv2Hook
from include.capacity.errors import NotReady
from tests.integration.aws.conftest import ROLLOUT
from tests.integration.sandbox.conftest import RunningSandbox, wait_for

pytestmark = pytest.mark.system
TRACKING = {
    "PolicyName": "cpu",
    "PolicyType": "TargetTrackingScaling",
    "TargetTrackingConfiguration": {
        "PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageCPUUtilization"},
        "TargetValue": 60.0,
    },
}


@pytest.fixture
def hook(sandbox: RunningSandbox) -> AutoScalingHook:
    return AutoScalingHook()


def instance_ids(hook: AutoScalingHook, group: str) -> list[str]:
    return sorted(entry["InstanceId"] for entry in hook.group(group)["Instances"])


def test_a_resized_group_comes_to_rest_and_its_targets_get_healthy(hook: AutoScalingHook, group: str) -> None:
    began = datetime.now(UTC) - timedelta(seconds=1)
    hook.set_sizes(group, minimum=1, maximum=4, desired=2)
    assert hook.wait_until(hook.at_rest(group, within_s=20, every_s=0.2)) > 0
    balancers = Elbv2Hook()
    arn = balancers.target_group_arn("checkout")
    balancers.wait_until(balancers.healthy(arn, instance_ids(hook, group), within_s=20, every_s=0.2))
    assert set(balancers.target_health(arn).values()) == {"healthy"}
    assert [state.port for state in balancers.target_states(arn)] == [8080, 8080]
    assert balancers.target_group_attributes(arn)["deregistration_delay.timeout_seconds"] == "120"
    launched = [activity["StatusCode"] for activity in hook.activities(group, began)]
    assert launched == ["Successful"]
    assert "is Successful" in hook.last_message(group)
    hook.set_sizes(group, minimum=1, maximum=4, desired=1)
    hook.wait_until(hook.at_rest(group, within_s=20, every_s=0.2))
    balancers.wait_until(balancers.drained(arn, within_s=20, every_s=0.2))


def test_a_group_that_cannot_launch_fails_at_once_and_says_why(hook: AutoScalingHook, group: str) -> None:
    hook.suspend(group, ["Launch"])
    hook.set_sizes(group, minimum=1, maximum=4, desired=2)
    with pytest.raises(NotReady) as caught:
        hook.wait_until(hook.at_rest(group, within_s=60))
    told = str(caught.value)
    assert "cannot come to rest" in told
    assert "desired 2" in told
    assert "suspended Launch" in told
    hook.resume(group, ["Launch"])


def test_a_wait_without_end_ends_and_tells_the_last_state(hook: AutoScalingHook, group: str) -> None:
    hook.set_sizes(group, minimum=1, maximum=4, desired=2)
    with pytest.raises(NotReady, match=r"did not come to rest within 0\.2 s: desired 2; instances i-\w+ InService"):
        hook.wait_until(hook.at_rest(group, within_s=0.2, every_s=0.1))
    with pytest.raises(NotReady, match="There is no Auto Scaling group 'other'"):
        hook.group("other")
    with pytest.raises(NotReady, match="'other' cannot come to rest: AWS describes nothing of it"):
        hook.wait_until(hook.at_rest("other", within_s=60))


def test_all_processes_at_once_are_never_meant(hook: AutoScalingHook, group: str) -> None:
    for call in (hook.suspend, hook.resume):
        with pytest.raises(ValueError, match="at least one process"):
            call(group, [])


def test_protection_is_set_and_ended(hook: AutoScalingHook, group: str) -> None:
    ids = instance_ids(hook, group)
    hook.protect(group, ids, True)
    hook.protect_new_instances(group, True)
    described = hook.group(group)
    assert [entry["ProtectedFromScaleIn"] for entry in described["Instances"]] == [True]
    assert described["NewInstancesProtectedFromScaleIn"] is True
    hook.protect(group, ids, False)
    hook.protect_new_instances(group, False)
    assert [entry["ProtectedFromScaleIn"] for entry in hook.group(group)["Instances"]] == [False]


def test_a_refresh_replaces_every_instance(hook: AutoScalingHook, group: str) -> None:
    before = instance_ids(hook, group)
    refresh = hook.start_refresh(group, min_healthy_percent=0, warm_up_s=1, skip_matching=False)
    with pytest.raises(NotReady, match=rf"is under way already: {refresh} is \w+ \(0 % done\)"):
        hook.start_refresh(group, skip_matching=False)
    hook.wait_until(hook.refreshed(group, refresh, within_s=30, every_s=0.2))
    after = instance_ids(hook, group)
    assert len(after) == len(before)
    assert not set(after) & set(before)
    assert hook.refreshes(group)[0]["PercentageComplete"] == 100


def test_a_refresh_leaves_instances_that_match(hook: AutoScalingHook, group: str) -> None:
    before = instance_ids(hook, group)
    refresh = hook.start_refresh(group)
    hook.wait_until(hook.refreshed(group, refresh, within_s=30, every_s=0.2))
    assert instance_ids(hook, group) == before


def test_a_cancelled_refresh_is_told_as_failed(hook: AutoScalingHook, group: str) -> None:
    assert hook.cancel_refresh(group) is None
    hook.suspend(group, ["InstanceRefresh"])
    refresh = hook.start_refresh(group, skip_matching=False)
    assert hook.cancel_refresh(group) == refresh
    with pytest.raises(NotReady, match=r"cannot end well: status Cancelled.*Cancelled due to user request"):
        hook.wait_until(hook.refreshed(group, refresh, within_s=30, every_s=0.2))


def test_a_terminated_instance_is_replaced(hook: AutoScalingHook, group: str) -> None:
    (before,) = instance_ids(hook, group)
    hook.terminate(before)
    wait_for("the replacement", lambda: before not in instance_ids(hook, group))
    hook.wait_until(hook.at_rest(group, within_s=20, every_s=0.2))


def test_policies_and_schedules_are_put_read_and_deleted(group: str) -> None:
    hook = AutoScalingHook(aws_conn_id=ROLLOUT)
    assert hook.group(group)["AutoScalingGroupName"] == group
    arn = hook.put_policy(group, TRACKING)
    (policy,) = hook.policies(group)
    assert (policy["PolicyARN"], policy["PolicyName"]) == (arn, "cpu")
    hook.delete_policy(group, "cpu")
    assert hook.policies(group) == []
    hook.put_scheduled_action(group, {"ScheduledActionName": "morning", "Recurrence": "0 6 * * *", "MinSize": 2})
    (action,) = hook.scheduled_actions(group)
    assert (action["ScheduledActionName"], action["MinSize"]) == ("morning", 2)
    hook.delete_scheduled_action(group, "morning")
    assert hook.scheduled_actions(group) == []


def test_warm_pools_are_read(hook: AutoScalingHook, group: str, sandbox: RunningSandbox) -> None:
    assert hook.warm_pool(group) is None
    client = sandbox.client("autoscaling")
    client.put_warm_pool(AutoScalingGroupName=group, MinSize=1, PoolState="Stopped")
    try:
        pool = hook.warm_pool(group)
        assert pool is not None
        assert (pool["configuration"]["MinSize"], pool["instances"]) == (1, [])
    finally:
        client.delete_warm_pool(AutoScalingGroupName=group)


def test_groups_instances_and_templates_are_found(hook: AutoScalingHook, group: str) -> None:
    assert [found["AutoScalingGroupName"] for found in hook.groups_tagged({"service": "checkout"})] == [group]
    assert hook.groups_tagged({"service": "other"}) == []
    instances = InstancesHook()
    (ours,) = instance_ids(hook, group)
    assert instances.instances([ours, "i-00000000000000000"])[ours]["InstanceType"] == "t3.medium"
    assert ours in instances.tagged({"service": "checkout"})
    template = instances.launch_template(group, "$Latest")
    assert (template["version"], template["InstanceType"]) == (1, "t3.medium")
    wait_for("the group at rest", lambda: instance_ids(hook, group) == [ours])
