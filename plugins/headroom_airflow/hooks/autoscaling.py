"""Hook for EC2 Auto Scaling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from headroom_airflow.hooks.aws_errors import told
from headroom_airflow.hooks.base import ServiceHook, chunks
from headroom_airflow.waits import Wait
from include.capacity.errors import NotReady

PROTECTED_AT_ONCE = 50  # instances that SetInstanceProtection takes


class AutoScalingHook(ServiceHook):
    """Interact with EC2 Auto Scaling groups.

    Source: https://docs.aws.amazon.com/autoscaling/ec2/APIReference/
    Additional arguments (`aws_conn_id`, `region_name`, …) go to AwsBaseHook; the connection's endpoint is honoured.
    """

    service = "autoscaling"

    # -- groups

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
    def groups_tagged(self, tags: Mapping[str, str]) -> list[dict[str, Any]]:
        """Descriptions of all groups that carry every one of the tags; an empty mapping finds all groups."""
        filters = [{"Name": f"tag:{key}", "Values": [value]} for key, value in tags.items()]
        found = self.items("describe_auto_scaling_groups", "AutoScalingGroups", Filters=filters)
        return sorted(found, key=lambda group: str(group["AutoScalingGroupName"]))

    @told
    def set_sizes(
        self, name: str, *, minimum: int | None = None, maximum: int | None = None, desired: int | None = None
    ) -> None:
        """Sets the sizes that are given, at once. AWS moves a desired capacity that is not given into new limits."""
        sizes = {"MinSize": minimum, "MaxSize": maximum, "DesiredCapacity": desired}
        given = {key: size for key, size in sizes.items() if size is not None}
        self.conn.update_auto_scaling_group(AutoScalingGroupName=name, **given)

    @staticmethod
    def at_rest(name: str, *, within_s: float, every_s: float = 5.0) -> Wait:
        """Waits until exactly the desired number of instances is there, InService and healthy.

        A group that is being deleted, or that cannot launch or terminate what is missing because that is suspended,
        fails at once.
        """
        return Wait(
            waiter="group_at_rest",
            arguments={"AutoScalingGroupNames": [name]},
            about=f"The Auto Scaling group {name!r}",
            wanted="come to rest",
            states={
                "desired": "AutoScalingGroups[0].DesiredCapacity",
                "status": "AutoScalingGroups[0].Status",
                "instances": "AutoScalingGroups[0].Instances[].[InstanceId, LifecycleState, HealthStatus]",
                "suspended": "AutoScalingGroups[0].SuspendedProcesses[].ProcessName",
            },
            cure="Look at the group's scaling activities and its suspended processes.",
            within_s=within_s,
            every_s=every_s,
        )

    # -- scaling processes

    @told
    def suspend(self, name: str, processes: Sequence[str]) -> None:
        """Suspends the named scaling processes; suspending one twice changes nothing. An empty list is refused,
        because AWS reads it as "all of them"."""
        if not processes:
            raise ValueError("suspend needs at least one process; AWS takes an empty list for all of them.")
        self.conn.suspend_processes(AutoScalingGroupName=name, ScalingProcesses=list(processes))

    @told
    def resume(self, name: str, processes: Sequence[str]) -> None:
        """Resumes the named scaling processes. An empty list is refused, because AWS reads it as "all of them"."""
        if not processes:
            raise ValueError("resume needs at least one process; AWS takes an empty list for all of them.")
        self.conn.resume_processes(AutoScalingGroupName=name, ScalingProcesses=list(processes))

    # -- protection from scale-in

    @told
    def protect(self, name: str, instance_ids: Sequence[str], protected: bool) -> None:
        """Protects instances from scale-in, or ends that; those that are so already stay so."""
        for part in chunks(instance_ids, PROTECTED_AT_ONCE):
            self.conn.set_instance_protection(
                AutoScalingGroupName=name, InstanceIds=part, ProtectedFromScaleIn=protected
            )

    @told
    def protect_new_instances(self, name: str, protected: bool) -> None:
        """Whether instances launched from now on are protected from scale-in."""
        self.conn.update_auto_scaling_group(AutoScalingGroupName=name, NewInstancesProtectedFromScaleIn=protected)

    # -- instance refresh

    @told
    def start_refresh(
        self, name: str, *, min_healthy_percent: int = 100, warm_up_s: int | None = None, skip_matching: bool = True
    ) -> str:
        """Replaces the instances by new ones; returns the refresh's id. Raises NotReady when one is under way already.

        Args:
            min_healthy_percent: of the desired capacity that stays in service meanwhile.
            warm_up_s: how long a new instance is not counted on; the group's own setting when None.
            skip_matching: leave instances that have the wanted template and type already.
        """
        preferences: dict[str, Any] = {"MinHealthyPercentage": min_healthy_percent, "SkipMatching": skip_matching}
        if warm_up_s is not None:
            preferences["InstanceWarmup"] = warm_up_s
        try:
            answer = self.conn.start_instance_refresh(AutoScalingGroupName=name, Preferences=preferences)
        except self.conn.exceptions.InstanceRefreshInProgressFault as error:
            under_way = next(iter(self.refreshes(name)), {})
            raise NotReady(
                f"An instance refresh of {name!r} is under way already: {under_way.get('InstanceRefreshId')} is "
                f"{under_way.get('Status')} ({under_way.get('PercentageComplete', 0)} % done). Wait for its end, or "
                f"cancel it (`aws autoscaling cancel-instance-refresh --auto-scaling-group-name {name}`)."
            ) from error
        return str(answer["InstanceRefreshId"])

    @told
    def cancel_refresh(self, name: str) -> str | None:
        """Stops the refresh that is under way; its id, or None when there is none. Replaced instances stay."""
        try:
            return str(self.conn.cancel_instance_refresh(AutoScalingGroupName=name)["InstanceRefreshId"])
        except self.conn.exceptions.ActiveInstanceRefreshNotFoundFault:
            return None

    @told
    def refreshes(self, name: str) -> list[dict[str, Any]]:
        """All instance refreshes that AWS remembers (six weeks), the newest first."""
        return self.items("describe_instance_refreshes", "InstanceRefreshes", AutoScalingGroupName=name)

    @staticmethod
    def refreshed(name: str, refresh_id: str, *, within_s: float, every_s: float = 10.0) -> Wait:
        """Waits for the good end of an instance refresh; one that fails, is cancelled or rolled back fails at once."""
        return Wait(
            waiter="refresh_done",
            arguments={"AutoScalingGroupName": name, "InstanceRefreshIds": [refresh_id]},
            about=f"The instance refresh {refresh_id} of the Auto Scaling group {name!r}",
            wanted="end well",
            states={
                "status": "InstanceRefreshes[0].Status",
                "percent": "InstanceRefreshes[0].PercentageComplete",
                "left to update": "InstanceRefreshes[0].InstancesToUpdate",
                "because": "InstanceRefreshes[0].StatusReason",
            },
            cure="Look at the group's instance refreshes and at the health of its new instances.",
            within_s=within_s,
            every_s=every_s,
        )

    # -- warm pool

    @told
    def warm_pool(self, name: str) -> dict[str, Any] | None:
        """Configuration and instances of the group's warm pool: {"configuration", "instances"}; None without one."""
        configuration: dict[str, Any] | None = None
        instances: list[dict[str, Any]] = []
        for page in self.conn.get_paginator("describe_warm_pool").paginate(AutoScalingGroupName=name):
            configuration = page.get("WarmPoolConfiguration") or configuration
            instances += [dict(instance) for instance in page.get("Instances", [])]
        return None if configuration is None else {"configuration": dict(configuration), "instances": instances}

    # -- policies and schedules

    @told
    def policies(self, name: str) -> list[dict[str, Any]]:
        """The group's scaling policies, by name."""
        found = self.items("describe_policies", "ScalingPolicies", AutoScalingGroupName=name)
        return sorted(found, key=lambda policy: str(policy["PolicyName"]))

    @told
    def put_policy(self, name: str, policy: Mapping[str, Any]) -> str:
        """Creates or replaces a policy; returns its ARN. `policy` holds the arguments of PutScalingPolicy."""
        return str(self.conn.put_scaling_policy(AutoScalingGroupName=name, **policy)["PolicyARN"])

    @told
    def delete_policy(self, name: str, policy_name: str) -> None:
        """Deletes a policy and the alarms that AWS made for it."""
        self.conn.delete_policy(AutoScalingGroupName=name, PolicyName=policy_name)

    @told
    def scheduled_actions(self, name: str) -> list[dict[str, Any]]:
        """The group's scheduled actions, by name."""
        found = self.items("describe_scheduled_actions", "ScheduledUpdateGroupActions", AutoScalingGroupName=name)
        return sorted(found, key=lambda action: str(action["ScheduledActionName"]))

    @told
    def put_scheduled_action(self, name: str, action: Mapping[str, Any]) -> None:
        """Creates or replaces a scheduled action; `action` holds the arguments of PutScheduledUpdateGroupAction."""
        self.conn.put_scheduled_update_group_action(AutoScalingGroupName=name, **action)

    @told
    def delete_scheduled_action(self, name: str, action_name: str) -> None:
        self.conn.delete_scheduled_action(AutoScalingGroupName=name, ScheduledActionName=action_name)

    # -- what happened

    @told
    def terminate(self, instance_id: str) -> None:
        """Terminates an instance; its group keeps its desired capacity and launches another."""
        self.conn.terminate_instance_in_auto_scaling_group(InstanceId=instance_id, ShouldDecrementDesiredCapacity=False)

    @told
    def activities(self, name: str, since: datetime) -> list[dict[str, Any]]:
        """Scaling activities that started at or after `since`, oldest first."""
        found: list[dict[str, Any]] = []
        for page in self.conn.get_paginator("describe_scaling_activities").paginate(AutoScalingGroupName=name):
            found += [activity for activity in page["Activities"] if activity["StartTime"] >= since]
            if page["Activities"] and page["Activities"][-1]["StartTime"] < since:
                break  # AWS lists the newest first
        return found[::-1]

    @told
    def last_message(self, name: str) -> str:
        """What AWS says about the group's newest scaling activity, in a sentence; empty without any."""
        newest = self.conn.describe_scaling_activities(AutoScalingGroupName=name, MaxRecords=1)["Activities"]
        if not newest:
            return ""
        activity = newest[0]
        message = activity.get("StatusMessage") or activity["Cause"]
        return f"The newest scaling activity ({activity['Description']}) is {activity['StatusCode']}: {message}"
