"""Triggers for Auto Scaling groups."""

from __future__ import annotations

from typing import Any

from headroom_airflow.hooks.autoscaling import AutoScalingHook
from headroom_airflow.triggers.base import WaitTrigger, span


class GroupAtRestTrigger(WaitTrigger):
    """Waits until a group has exactly the desired number of instances, InService and healthy."""

    aws_hook_class = AutoScalingHook

    def __init__(self, group_name: str, waiter_delay: float = 5, waiter_max_attempts: int = 120, **hook: Any) -> None:
        wait = AutoScalingHook.at_rest(group_name, **span(waiter_delay, waiter_max_attempts))
        super().__init__(wait, {"group_name": group_name}, **hook)


class InstanceRefreshTrigger(WaitTrigger):
    """Waits for the good end of an instance refresh, and cancels it when the task is killed meanwhile."""

    aws_hook_class = AutoScalingHook

    def __init__(
        self, group_name: str, refresh_id: str, waiter_delay: float = 10, waiter_max_attempts: int = 360, **hook: Any
    ) -> None:
        wait = AutoScalingHook.refreshed(group_name, refresh_id, **span(waiter_delay, waiter_max_attempts))
        super().__init__(wait, {"group_name": group_name, "refresh_id": refresh_id}, **hook)
        self.group_name, self.refresh_id = group_name, refresh_id

    async def on_kill(self) -> None:
        async with await self.hook().get_async_conn() as client:
            answer = await client.describe_instance_refreshes(
                AutoScalingGroupName=self.group_name, InstanceRefreshIds=[self.refresh_id]
            )
            if any(refresh["Status"] in ("Pending", "InProgress") for refresh in answer["InstanceRefreshes"]):
                await client.cancel_instance_refresh(AutoScalingGroupName=self.group_name)
                self.log.info("The instance refresh %s of %s is cancelled.", self.refresh_id, self.group_name)
