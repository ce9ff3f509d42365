"""Operators and triggers against the sandbox: what they change, return, remember and say when it goes wrong."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import asdict
from typing import Any

import pytest

from headroom_airflow.hooks.application_autoscaling import ApplicationAutoScalingHook, Scalable, suspended_state
from headroom_airflow.hooks.autoscaling import AutoScalingHook
from headroom_airflow.hooks.cloudwatch_alarms import CloudWatchAlarmsHook
from headroom_airflow.operators.aurora import AuroraAddReaderOperator, AuroraDeleteReaderOperator
from headroom_airflow.operators.autoscaling import (
    AutoScalingRefreshInstancesOperator,
    AutoScalingResumeProcessesOperator,
    AutoScalingSetSizeOperator,
    AutoScalingSuspendProcessesOperator,
)
from headroom_airflow.operators.cloudwatch import CloudWatchRestoreAlarmsOperator, CloudWatchSilenceAlarmsOperator
from headroom_airflow.operators.ecs_service import (
    ApplicationAutoScalingRestoreOperator,
    ApplicationAutoScalingSuspendOperator,
    EcsSetDesiredCountOperator,
)
from headroom_airflow.operators.eventbridge import EventBridgeSetScheduleStateOperator
from headroom_airflow.triggers.autoscaling import GroupAtRestTrigger, InstanceRefreshTrigger
from include.capacity.errors import NotReady
from tests.integration.aws.conftest import CLUSTER, ROLLOUT
from tests.integration.aws.driving import Memory, Task, fire, rebuilt
from tests.integration.aws.test_alarm_and_schedule_hooks import HOT, QUIET, alarm
from tests.integration.pipeline.conftest import connection_to
from tests.integration.sandbox.conftest import RunningSandbox, free_port, wait_for

pytestmark = pytest.mark.system
SHORT = {"task_id": "it", "waiter_delay": 0.2, "waiter_max_attempts": 100}


def sizes(sandbox: RunningSandbox) -> tuple[int, int, int]:
    group = sandbox.group()
    return group["MinSize"], group["MaxSize"], group["DesiredCapacity"]


@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "triggerer"])
def test_a_group_is_resized_and_healthy(sandbox: RunningSandbox, group: str, deferrable: bool) -> None:
    task = Task()
    operator = AutoScalingSetSizeOperator(
        group_name=group, desired_capacity=2, target_group="checkout", deferrable=deferrable, **SHORT
    )
    before = task.run(operator)
    assert before == {"MinSize": 1, "MaxSize": 4, "DesiredCapacity": 1}
    assert sizes(sandbox) == (1, 4, 2)
    assert sandbox.target_states() == ["healthy", "healthy"]
    assert task.deferrals == (["GroupAtRestTrigger", "TargetsHealthyTrigger"] if deferrable else [])
    assert task.pushed["headroom_autoscaling_group"]["group_name"] == group
    # a second try knows the sizes from before the first
    assert task.run(operator) == before
    back = {"min_size": before["MinSize"], "max_size": str(before["MaxSize"])}  # templates render to text
    task.run(AutoScalingSetSizeOperator(group_name=group, desired_capacity="1", deferrable=deferrable, **back, **SHORT))
    assert sizes(sandbox) == (1, 4, 1)


def test_limits_move_as_far_as_needed(sandbox: RunningSandbox, group: str) -> None:
    sandbox.client("autoscaling").update_auto_scaling_group(AutoScalingGroupName=group, MinSize=1, MaxSize=1)
    resize = AutoScalingSetSizeOperator(group_name=group, desired_capacity=2, wait_for_completion=False, **SHORT)
    assert Task().run(resize)["MaxSize"] == 1
    assert sizes(sandbox) == (1, 2, 2)


@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "triggerer"])
def test_a_group_that_cannot_grow_is_told_with_awss_last_word(
    sandbox: RunningSandbox, group: str, deferrable: bool
) -> None:
    Task().run(AutoScalingSuspendProcessesOperator(task_id="it", group_name=group, processes=["Launch"]))
    with pytest.raises(NotReady) as caught:
        Task().run(AutoScalingSetSizeOperator(group_name=group, desired_capacity=2, deferrable=deferrable, **SHORT))
    told = str(caught.value)
    for part in (f"The Auto Scaling group {group!r} cannot come to rest", "desired 2", "suspended Launch"):
        assert part in told
    assert "The newest scaling activity (" in told


def test_only_what_was_suspended_here_is_resumed(sandbox: RunningSandbox, group: str) -> None:
    sandbox.client("autoscaling").suspend_processes(AutoScalingGroupName=group, ScalingProcesses=["AZRebalance"])
    task = Task()
    suspend = AutoScalingSuspendProcessesOperator(
        task_id="it", group_name=group, processes=["AZRebalance", "AlarmNotification"]
    )
    assert task.run(suspend) == task.run(suspend) == ["AlarmNotification"]
    Task().run(AutoScalingResumeProcessesOperator(task_id="it", group_name=group, processes=["AlarmNotification"]))
    Task().run(AutoScalingResumeProcessesOperator(task_id="it", group_name=group, processes=[]))
    left = [process["ProcessName"] for process in sandbox.group()["SuspendedProcesses"]]
    assert left == ["AZRebalance"]


def test_instances_are_refreshed_once_however_often_it_is_tried(sandbox: RunningSandbox, group: str) -> None:
    before, task = sandbox.in_service(), Task()
    operator = AutoScalingRefreshInstancesOperator(
        group_name=group, warm_up_s=1, skip_matching=False, deferrable=True, **SHORT
    )
    refresh = task.run(operator)
    after = sandbox.in_service()
    assert not set(before) & set(after)
    assert task.run(operator) == refresh
    assert sandbox.in_service() == after


def test_a_killed_refresh_is_cancelled_on_a_worker(sandbox: RunningSandbox, group: str) -> None:
    AutoScalingHook().suspend(group, ["InstanceRefresh"])
    operator = AutoScalingRefreshInstancesOperator(group_name=group, skip_matching=False, **SHORT)
    caught: list[BaseException] = []

    def execute() -> None:
        try:
            Task().run(operator)
        except NotReady as error:
            caught.append(error)

    thread = threading.Thread(target=execute)
    thread.start()
    wait_for("the refresh", lambda: operator._refresh_id)
    operator.on_kill()
    thread.join(10)
    assert "was killed while it waited" in str(caught[0])
    assert AutoScalingHook().refreshes(group)[0]["Status"] in ("Cancelling", "Cancelled")
    wait_for("the cancellation", lambda: AutoScalingHook().refreshes(group)[0]["Status"] == "Cancelled")


def test_a_killed_refresh_is_cancelled_in_the_triggerer(sandbox: RunningSandbox, group: str) -> None:
    hook = AutoScalingHook()
    hook.suspend(group, ["InstanceRefresh"])
    refresh = hook.start_refresh(group, skip_matching=False)
    foreign = InstanceRefreshTrigger(group, "another", 1, 5)
    asyncio.run(foreign.on_kill())
    assert hook.refreshes(group)[0]["Status"] in ("Pending", "InProgress")
    trigger: Any = rebuilt(InstanceRefreshTrigger(group, refresh, 1, 5))
    asyncio.run(trigger.on_kill())
    wait_for("the cancellation", lambda: hook.refreshes(group)[0]["Status"] == "Cancelled")
    event = fire(trigger)
    assert event["status"] == "error"
    assert "cannot end well: status Cancelled" in event["message"]


def test_a_trigger_ends_when_its_time_is_up(sandbox: RunningSandbox, group: str) -> None:
    AutoScalingHook().set_sizes(group, minimum=1, maximum=4, desired=2)
    began = time.monotonic()
    event = fire(rebuilt(GroupAtRestTrigger(group, 0.1, 2)))  # an instance takes longer than that
    assert time.monotonic() - began < 5
    assert event["status"] == "error"
    assert "did not come to rest within 0.2 s: desired 2; instances i-" in event["message"]


def test_a_trigger_without_aws_ends_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", connection_to(f"http://127.0.0.1:{free_port()}"))
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    event = fire(GroupAtRestTrigger("web", 1, 2))
    assert event["status"] == "error"
    assert "did not come to rest within 2 s: AWS (autoscaling in us-east-1) does not answer" in event["message"]
    with pytest.raises(NotReady, match="Is it up, and does the Airflow connection"):
        Task().run(AutoScalingSetSizeOperator(group_name="web", desired_capacity=2, **SHORT))


@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "triggerer"])
def test_a_service_gets_its_tasks(ecs_service: str, deferrable: bool) -> None:
    task = Task()
    arguments = {"cluster": CLUSTER, "service": ecs_service, "deferrable": deferrable, **SHORT}
    assert task.run(EcsSetDesiredCountOperator(desired_count=2, **arguments)) == 1
    assert task.run(EcsSetDesiredCountOperator(desired_count="1", **arguments)) == 1
    assert task.deferrals == ["ServiceSteadyTrigger"] * 2 * deferrable


def test_a_service_without_tasks_is_told_with_its_last_event(ecs_service: str, sandbox: RunningSandbox) -> None:
    definition = {"name": "x", "image": "x", "memory": 64, "essential": True, "command": ["false"]}
    ecs = sandbox.client("ecs")
    ecs.register_task_definition(family="broken", networkMode="awsvpc", containerDefinitions=[definition])
    ecs.update_service(cluster=CLUSTER, service=ecs_service, taskDefinition="broken")
    operator = EcsSetDesiredCountOperator(
        cluster=CLUSTER, service=ecs_service, desired_count=2, task_id="it", waiter_delay=1, waiter_max_attempts=1
    )
    with pytest.raises(NotReady, match=r"within 1 s: .*ECS says last: \(service web\)"):
        Task().run(operator)


def test_scaling_of_a_service_is_suspended_and_brought_back(ecs_service: str) -> None:
    scalable, hook, task = Scalable.ecs_service(CLUSTER, ecs_service), ApplicationAutoScalingHook(), Task()
    hook.set_range(scalable, minimum=1, maximum=4)
    hook.set_suspended(scalable, {"ScheduledScalingSuspended": True})
    before = suspended_state(hook.target(scalable))
    suspend = ApplicationAutoScalingSuspendOperator(task_id="it", **asdict(scalable))
    assert task.run(suspend) == task.run(suspend) == before
    assert set(suspended_state(hook.target(scalable)).values()) == {True}
    Task().run(ApplicationAutoScalingRestoreOperator(task_id="it", before=before, **asdict(scalable)))
    assert suspended_state(hook.target(scalable)) == before
    ApplicationAutoScalingHook(aws_conn_id=ROLLOUT).deregister(scalable)


def test_alarms_are_silenced_and_speak_again(sandbox: RunningSandbox) -> None:
    hook, rollout, task = CloudWatchAlarmsHook(), CloudWatchAlarmsHook(aws_conn_id=ROLLOUT), Task()
    rollout.put(alarm(HOT))
    rollout.put(alarm(QUIET, ActionsEnabled=False))
    silence = CloudWatchSilenceAlarmsOperator(task_id="it", alarm_names=[HOT, QUIET])
    # the second try finds all silent, and still knows better
    assert task.run(silence) == task.run(silence) == {HOT: True, QUIET: False}
    assert hook.actions_enabled([HOT, QUIET]) == {HOT: False, QUIET: False}
    rollout.delete([QUIET])
    restore = CloudWatchRestoreAlarmsOperator(task_id="it", before={HOT: True, QUIET: False})
    assert Task().run(restore) == [QUIET]
    assert hook.actions_enabled([HOT]) == {HOT: True}
    rollout.delete([HOT])


def test_without_a_memory_an_operator_works_as_well(sandbox: RunningSandbox, group: str) -> None:
    """Airflow before 3.3."""
    task = Task()
    context = {"ti": task.context["ti"]}
    suspend = AutoScalingSuspendProcessesOperator(task_id="it", group_name=group, processes=["AZRebalance"])
    assert suspend.execute(context) == ["AZRebalance"]
    assert suspend.execute(context) == []


def test_a_reader_comes_and_goes(cluster: str) -> None:
    task, name = Task(), "shop-op"
    arguments = {"cluster": cluster, "instance": name, "deferrable": True, **SHORT}
    assert task.run(AuroraAddReaderOperator(tags={"headroom-run": "1"}, **arguments)) == name
    for _ in range(2):
        task.run(AuroraDeleteReaderOperator(**arguments))
    assert task.deferrals == ["ClusterAvailableTrigger", "InstanceGoneTrigger", "InstanceGoneTrigger"]


def test_a_schedule_is_switched_and_brought_back(sandbox: RunningSandbox) -> None:
    sandbox.client("scheduler").create_schedule(
        Name="batch",
        ScheduleExpression="rate(1 hour)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "Arn": "arn:aws:lambda:us-east-1:123456789012:function:batch",
            "RoleArn": "arn:aws:iam::123456789012:role/scheduler",
        },
    )
    task = Task()
    off = EventBridgeSetScheduleStateOperator(task_id="it", schedule="batch", state="DISABLED")
    assert task.run(off) == task.run(off) == "ENABLED"
    assert (
        Task().run(EventBridgeSetScheduleStateOperator(task_id="it", schedule="batch", state="ENABLED")) == "DISABLED"
    )
    with pytest.raises(ValueError, match="a schedule is ENABLED or DISABLED"):
        Task(Memory()).run(EventBridgeSetScheduleStateOperator(task_id="it", schedule="batch", state="on"))
