"""Operators for EC2 Auto Scaling groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from headroom_airflow.hooks.autoscaling import AutoScalingHook
from headroom_airflow.hooks.elbv2 import Elbv2Hook
from headroom_airflow.links.console import AutoScalingGroupLink
from headroom_airflow.operators.base import ServiceOperator, WaitingOperator
from headroom_airflow.task_memory import remembered
from headroom_airflow.triggers.autoscaling import GroupAtRestTrigger, InstanceRefreshTrigger
from headroom_airflow.triggers.elbv2 import TargetsHealthyTrigger

SIZES = ("MinSize", "MaxSize", "DesiredCapacity")


class AutoScalingSetSizeOperator(WaitingOperator[AutoScalingHook]):
    """Sets the sizes of a group, and waits until its instances are InService and healthy in their target group.

    Returns the sizes from before, those before the first try: {"MinSize", "MaxSize", "DesiredCapacity"}.

    Args:
        group_name: the Auto Scaling group.
        desired_capacity: how many instances it shall have.
        min_size, max_size: limits; if None they stay, moved as far as the desired capacity needs.
        target_group: name of a target group in which every instance must be healthy, too.
    """

    aws_hook_class = AutoScalingHook
    operator_extra_links = (AutoScalingGroupLink(),)
    template_fields: Sequence[str] = aws_template_fields(
        "group_name", "desired_capacity", "min_size", "max_size", "target_group"
    )
    ui_color = "#eeaa11"

    def __init__(
        self,
        *,
        group_name: str,
        desired_capacity: int | str,
        min_size: int | str | None = None,
        max_size: int | str | None = None,
        target_group: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.group_name = group_name
        self.desired_capacity = desired_capacity
        self.min_size = min_size
        self.max_size = max_size
        self.target_group = target_group

    def execute(self, context: Any) -> dict[str, int]:
        self.link(context, AutoScalingGroupLink, group_name=self.group_name)
        before: dict[str, int] = remembered(context, "sizes_before", self._sizes)
        desired = int(self.desired_capacity)
        low = min(before["MinSize"], desired) if self.min_size is None else int(self.min_size)
        high = max(before["MaxSize"], desired) if self.max_size is None else int(self.max_size)
        self.log.info("%s: %s -> min %d, max %d, desired %d", self.group_name, before, low, high, desired)
        self.hook.set_sizes(self.group_name, minimum=low, maximum=high, desired=desired)
        if not self.wait_for_completion:
            return before
        if self.deferrable:
            trigger = GroupAtRestTrigger(self.group_name, **self.trigger_arguments)
            self.wait_there(trigger, self.group_is_at_rest, before=before)
        self.wait_here(self.hook.at_rest(self.group_name, **self.span))
        if (arn := self._target_group_arn()) is not None:
            balancers = Elbv2Hook(**self._hook_parameters)
            self.wait_here(balancers.healthy(arn, self._instances(), **self.span), balancers)
        return before

    def group_is_at_rest(self, context: Any, event: dict[str, Any] | None, before: dict[str, int]) -> dict[str, int]:
        """Called when the trigger has fired."""
        self.need_success(event)
        if (arn := self._target_group_arn()) is not None:
            trigger = TargetsHealthyTrigger(arn, self._instances(), **self.trigger_arguments)
            self.wait_there(trigger, self.targets_are_healthy, before=before)
        return before

    def targets_are_healthy(self, context: Any, event: dict[str, Any] | None, before: dict[str, int]) -> dict[str, int]:
        """Called when the second trigger has fired."""
        self.need_success(event)
        return before

    def last_message(self) -> str:
        return self.hook.last_message(self.group_name)

    def _sizes(self) -> dict[str, int]:
        group = self.hook.group(self.group_name)
        return {name: int(group[name]) for name in SIZES}

    def _instances(self) -> list[str]:
        return [entry["InstanceId"] for entry in self.hook.group(self.group_name)["Instances"]]

    def _target_group_arn(self) -> str | None:
        if self.target_group is None:
            return None
        return Elbv2Hook(**self._hook_parameters).target_group_arn(self.target_group)


class AutoScalingSuspendProcessesOperator(ServiceOperator[AutoScalingHook]):
    """Suspends scaling processes of a group.

    Returns those that it has suspended: what was suspended before is not among them, and not for
    AutoScalingResumeProcessesOperator to resume.

    Args:
        group_name: the Auto Scaling group.
        processes: such as AlarmNotification, AZRebalance, ScheduledActions.
    """

    aws_hook_class = AutoScalingHook
    operator_extra_links = (AutoScalingGroupLink(),)
    template_fields: Sequence[str] = aws_template_fields("group_name", "processes")

    def __init__(self, *, group_name: str, processes: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.group_name = group_name
        self.processes = processes

    def execute(self, context: Any) -> list[str]:
        self.link(context, AutoScalingGroupLink, group_name=self.group_name)
        before = remembered(context, "suspended_before", self._suspended)
        ours = sorted(set(self.processes) - set(before))
        if ours:
            self.hook.suspend(self.group_name, ours)
        self.log.info("%s: suspended %s; %s were so before", self.group_name, ours, before)
        return ours

    def _suspended(self) -> list[str]:
        return sorted(process["ProcessName"] for process in self.hook.group(self.group_name)["SuspendedProcesses"])


class AutoScalingResumeProcessesOperator(ServiceOperator[AutoScalingHook]):
    """Resumes scaling processes of a group; an empty list resumes nothing (AWS would resume all).

    Args:
        group_name: the Auto Scaling group.
        processes: what AutoScalingSuspendProcessesOperator returned, as a rule.
    """

    aws_hook_class = AutoScalingHook
    operator_extra_links = (AutoScalingGroupLink(),)
    template_fields: Sequence[str] = aws_template_fields("group_name", "processes")

    def __init__(self, *, group_name: str, processes: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.group_name = group_name
        self.processes = processes

    def execute(self, context: Any) -> None:
        self.link(context, AutoScalingGroupLink, group_name=self.group_name)
        if self.processes:
            self.hook.resume(self.group_name, list(self.processes))
        self.log.info("%s: resumed %s", self.group_name, list(self.processes))


class AutoScalingRefreshInstancesOperator(WaitingOperator[AutoScalingHook]):
    """Replaces the instances of a group by new ones, and waits for the end. Returns the refresh's id.

    A retried task goes on with the refresh that it started. A task that is killed cancels it: the instances replaced so
    far stay.

    Args:
        group_name: the Auto Scaling group.
        min_healthy_percent: of the desired capacity that stays in service meanwhile.
        warm_up_s: how long a new instance is not counted on; the group's own setting when None.
        skip_matching: leave instances that have the wanted template and type already.
    """

    aws_hook_class = AutoScalingHook
    operator_extra_links = (AutoScalingGroupLink(),)
    template_fields: Sequence[str] = aws_template_fields("group_name")

    def __init__(
        self,
        *,
        group_name: str,
        min_healthy_percent: int = 100,
        warm_up_s: int | None = None,
        skip_matching: bool = True,
        waiter_delay: float = 10,
        waiter_max_attempts: int = 360,
        **kwargs: Any,
    ) -> None:
        super().__init__(waiter_delay=waiter_delay, waiter_max_attempts=waiter_max_attempts, **kwargs)
        self.group_name = group_name
        self.min_healthy_percent = min_healthy_percent
        self.warm_up_s = warm_up_s
        self.skip_matching = skip_matching
        self._refresh_id: str | None = None

    def execute(self, context: Any) -> str:
        self.link(context, AutoScalingGroupLink, group_name=self.group_name)
        refresh_id = self._refresh_id = remembered(context, "refresh_id", self._start)
        if not self.wait_for_completion:
            return refresh_id
        if self.deferrable:
            trigger = InstanceRefreshTrigger(self.group_name, refresh_id, **self.trigger_arguments)
            self.wait_there(trigger, self.refresh_is_done, refresh_id=refresh_id)
        self.wait_here(self.hook.refreshed(self.group_name, refresh_id, **self.span))
        return refresh_id

    def refresh_is_done(self, context: Any, event: dict[str, Any] | None, refresh_id: str) -> str:
        """Called when the trigger has fired."""
        self.need_success(event)
        return refresh_id

    def last_message(self) -> str:
        return self.hook.last_message(self.group_name)

    def on_kill(self) -> None:
        super().on_kill()
        active = [entry["InstanceRefreshId"] for entry in self.hook.refreshes(self.group_name)[:1]]
        if self._refresh_id in active:
            self.log.info("%s: cancelled the refresh %s", self.group_name, self.hook.cancel_refresh(self.group_name))

    def _start(self) -> str:
        return self.hook.start_refresh(
            self.group_name,
            min_healthy_percent=self.min_healthy_percent,
            warm_up_s=self.warm_up_s,
            skip_matching=self.skip_matching,
        )
