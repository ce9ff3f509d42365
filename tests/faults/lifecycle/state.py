"""The state of the campaign's AWS, read straight from moto, and what somebody else does to it meanwhile.

An oracle of its own: it shares no code with what it judges.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moto.applicationautoscaling.models import applicationautoscaling_backends
from moto.autoscaling.models import autoscaling_backends
from moto.cloudwatch.models import cloudwatch_backends
from moto.ecs.models import ecs_backends

from sandbox.aws.moto_access import ACCOUNT_ID, REGION

GROUP = "checkout-web"
State = dict[str, Any]
SUSPENDABLE = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")
# Which description shows which fields: a change behind such a look has been seen.
LOOKS = {
    "DescribeAutoScalingGroups": "asg.",
    "DescribeAlarms": "alarm.",
    "DescribeServices": "ecs.",
    "DescribeScalableTargets": "aas.",
}


def group() -> Any:
    return autoscaling_backends[ACCOUNT_ID][REGION].autoscaling_groups[GROUP]


def alarms() -> dict[str, Any]:
    return cloudwatch_backends[ACCOUNT_ID][REGION].alarms


def service() -> Any:
    return next(iter(ecs_backends[ACCOUNT_ID][REGION].services.values()))


def scalable() -> Any:
    return next(iter(applicationautoscaling_backends[ACCOUNT_ID][REGION].targets["ecs:service:DesiredCount"].values()))


def settings() -> State:
    """Every setting, by a flat name."""
    web, target = group(), scalable()
    found: State = {
        "asg.MinSize": web.min_size,
        "asg.MaxSize": web.max_size,
        "asg.DesiredCapacity": web.desired_capacity,
        "asg.protect": bool(web.new_instances_protected_from_scale_in),
        "asg.template": str(web.launch_template),
        "asg.targets": ",".join(web.target_group_arns),
        "ecs.desiredCount": service().desired_count,
        "aas.MinCapacity": target.min_capacity,
        "aas.MaxCapacity": target.max_capacity,
    }
    found |= {f"aas.{name}": bool((target.suspended_state or {}).get(name)) for name in SUSPENDABLE}
    found |= {f"asg.suspended.{name}": True for name in web._suspended_processes}
    for name, alarm in alarms().items():
        found[f"alarm.{name}"] = bool(alarm.actions_enabled)
        found[f"alarm.{name}.definition"] = [alarm.threshold, alarm.period, list(alarm.alarm_actions)]
    return found


def running() -> State:
    """What runs: it follows the settings."""
    states = group().instance_states
    return {
        "instances": len(states),
        "in service": sum(state.lifecycle_state == "InService" for state in states),
        "tasks": service().running_count,
    }


def _size(**sizes: int) -> Callable[[], None]:
    def change() -> None:
        web = group()
        for name, value in sizes.items():
            setattr(web, name, value)

    return change


def _suspend(name: str, *, on: bool) -> Callable[[], None]:
    def change() -> None:
        suspended = group()._suspended_processes
        suspended.append(name) if on and name not in suspended else None
        suspended.remove(name) if not on and name in suspended else None

    return change


def _alarm(name: str, *, on: bool) -> Callable[[], None]:
    def change() -> None:
        if name in alarms():
            alarms()[name].actions_enabled = on

    return change


def _count(value: int) -> Callable[[], None]:
    def change() -> None:
        service().desired_count = value

    return change


# What somebody else may do at any moment: each is one change, and none of them is what a run does.
FOREIGN: dict[str, Callable[[], None]] = {
    "raises MaxSize": _size(max_size=9),
    "scales to 3": _size(desired_capacity=3, max_size=7),
    "raises the minimum": _size(min_size=3, desired_capacity=3, max_size=6),
    "scales to nothing": _size(min_size=0, desired_capacity=0),
    "suspends ReplaceUnhealthy": _suspend("ReplaceUnhealthy", on=True),
    "resumes AlarmNotification": _suspend("AlarmNotification", on=False),
    "resumes AZRebalance": _suspend("AZRebalance", on=False),
    "silences an alarm": _alarm("checkout-errors", on=False),
    "lets an alarm speak": _alarm("checkout-old", on=True),
    "deletes an alarm": lambda: alarms().pop("checkout-latency", None),
    "scales the service": _count(5),
}
