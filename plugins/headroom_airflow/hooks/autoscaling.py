"""Hook for EC2 Auto Scaling."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

from headroom_airflow.hooks.aws_errors import told
from include.capacity.errors import NotReady


class AutoScalingHook(AwsBaseHook):
    """Interact with EC2 Auto Scaling groups.

    Source: https://docs.aws.amazon.com/autoscaling/ec2/APIReference/
    Additional arguments (`aws_conn_id`, `region_name`, …) go to AwsBaseHook; the connection's endpoint is honoured.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["client_type"] = "autoscaling"
        super().__init__(*args, **kwargs)

    @told
    def group(self, name: str) -> dict[str, Any]:
        """The group's description. Raises NotReady when there is no such group in the account and region."""
        groups = self.conn.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]
        if not groups:
            raise NotReady(
                f"There is no Auto Scaling group {name!r} in {self.region_name or self.conn.meta.region_name}. "
                f"Check aws.autoscaling_group, aws.region and aws.connection of the service profile."
            )
        return dict(groups[0])

    @told
    def set_sizes(self, name: str, *, minimum: int, maximum: int, desired: int) -> None:
        self.conn.update_auto_scaling_group(
            AutoScalingGroupName=name, MinSize=minimum, MaxSize=maximum, DesiredCapacity=desired
        )

    @told
    def suspend(self, name: str, processes: Sequence[str]) -> None:
        """Suspends the named scaling processes; suspending one twice changes nothing."""
        self.conn.suspend_processes(AutoScalingGroupName=name, ScalingProcesses=list(processes))

    @told
    def resume(self, name: str, processes: Sequence[str]) -> None:
        """Resumes the named scaling processes. An empty list is refused, because AWS reads it as "all of them"."""
        if not processes:
            raise ValueError("resume needs at least one process; AWS takes an empty list for all of them.")
        self.conn.resume_processes(AutoScalingGroupName=name, ScalingProcesses=list(processes))

    @told
    def activities(self, name: str, since: datetime) -> list[dict[str, Any]]:
        """Scaling activities that started at or after `since`, oldest first."""
        found: list[dict[str, Any]] = []
        for page in self.conn.get_paginator("describe_scaling_activities").paginate(AutoScalingGroupName=name):
            found += [activity for activity in page["Activities"] if activity["StartTime"] >= since]
            if page["Activities"] and page["Activities"][-1]["StartTime"] < since:
                break  # AWS lists the newest first
        return found[::-1]
