"""Auto Scaling: what moto lacks between the API and the plant (docs/sandbox.md lists it)."""

from __future__ import annotations

import uuid
from typing import Any

from moto.autoscaling import models
from moto.autoscaling.exceptions import AutoscalingClientError, ValidationError
from moto.cloudwatch.models import cloudwatch_backends

from sandbox.aws import calls
from sandbox.aws.autoscaling_group import STANDBY, TERMINATING, SandboxGroup, SandboxInstanceState, check_sizes
from sandbox.aws.instance_refresh import RefreshLog
from sandbox.aws.moto_access import ExtendedBackend
from sandbox.aws.scaling_activities import ActivityLog, ScalingActivity, as_text, now
from sandbox.plant.scaling import simple_capacity, step_capacity

TRACKED_METRICS = {
    "ASGAverageCPUUtilization": ("AWS/EC2", "CPUUtilization", "Average"),
    "ALBRequestCountPerTarget": ("AWS/ApplicationELB", "RequestCountPerTarget", "Sum"),
}
TRACKING_PERIOD_S = 60
TRACKING_HIGH_PERIODS = 3
TRACKING_LOW_PERIODS = 15
TRACKING_LOW_FACTOR = 0.9
NOTIFICATION_TYPES = (
    "autoscaling:EC2_INSTANCE_LAUNCH",
    "autoscaling:EC2_INSTANCE_LAUNCH_ERROR",
    "autoscaling:EC2_INSTANCE_TERMINATE",
    "autoscaling:EC2_INSTANCE_TERMINATE_ERROR",
    "autoscaling:TEST_NOTIFICATION",
)


class SandboxPolicy(models.FakeScalingPolicy):
    """A scaling policy that knows the alarms which point at it."""

    def __init__(self, *args: Any, enabled: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.enabled = enabled
        self._id = str(uuid.uuid4())

    @property
    def arn(self) -> str:
        head, _, tail = super().arn.partition(":scalingPolicy:")
        return f"{head}:scalingPolicy:{self._id}:{tail.partition(':')[2]}"

    policy_arn = arn  # type: ignore[assignment]

    @property
    def alarms(self) -> list[dict[str, str]]:
        backend = self.autoscaling_backend
        alarms = cloudwatch_backends[backend.account_id][backend.region_name].alarms.values()
        return [{"AlarmName": a.name, "AlarmARN": a.alarm_arn} for a in alarms if self.arn in a.alarm_actions]


class SandboxAutoScalingBackend(ExtendedBackend, models.AutoScalingBackend):
    """The state of Auto Scaling in one account and region."""

    MOTO_SERVICE = "autoscaling"

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.activities = ActivityLog()
        self.refreshes = RefreshLog()
        self.notifications: dict[str, dict[str, list[str]]] = {}

    # -- groups

    def group(self, name: str) -> SandboxGroup:
        """Raises AWS's ValidationError if there is no such group."""
        group = self.autoscaling_groups.get(name)
        if group is None:
            raise ValidationError(f"AutoScalingGroup name not found - AutoScalingGroup '{name}' not found")
        return group  # type: ignore[return-value]

    def create_auto_scaling_group(self, **kwargs: Any) -> SandboxGroup:
        name = kwargs["name"]
        if name in self.autoscaling_groups:
            raise AutoscalingClientError(
                "AlreadyExists",
                f"AutoScalingGroup by this name already exists - A group with the name {name} already exists",
            )
        check_sizes(kwargs["desired_capacity"], kwargs["min_size"], kwargs["max_size"])
        grace_s = kwargs.get("health_check_period")
        group: SandboxGroup = super().create_auto_scaling_group(**kwargs)  # type: ignore[assignment]
        group.health_check_grace_period = grace_s or 0
        group.capacity_cause = (
            f"At {as_text(now())} a user request created an AutoScalingGroup changing the desired capacity "
            f"from 0 to {group.desired_capacity}."
        )
        return group

    def resize(
        self,
        name: str,
        desired: int | None,
        minimum: int | None,
        maximum: int | None,
        because: str = "a user request update of AutoScalingGroup constraints",
    ) -> None:
        """The size part of UpdateAutoScalingGroup: a size outside new limits moves to the nearest limit."""
        group = self.group(name)
        group.check_range(desired, minimum, maximum)
        group.min_size = group.min_size if minimum is None else minimum
        group.max_size = group.max_size if maximum is None else maximum
        if desired is None:
            desired = min(max(group.desired_capacity or 0, group.min_size or 0), group.max_size or 0)
        group.change_desired(
            desired,
            f"{because} to min: {group.min_size}, max: {group.max_size}, desired: {desired}",
        )

    def set_desired_capacity(self, group_name: str, desired_capacity: int | None) -> None:
        group = self.group(group_name)
        if desired_capacity is not None and desired_capacity > (group.max_size or 0):
            raise ValidationError(
                f"New SetDesiredCapacity value {desired_capacity} is above max value {group.max_size} "
                "for the AutoScalingGroup."
            )
        if desired_capacity is not None and desired_capacity < (group.min_size or 0):
            raise ValidationError(
                f"New SetDesiredCapacity value {desired_capacity} is below min value {group.min_size} "
                "for the AutoScalingGroup."
            )
        if desired_capacity is not None:
            group.change_desired(desired_capacity, "a user request explicitly set group desired capacity")

    def delete_group(self, name: str, force: bool) -> None:
        """Instances end first; the plant removes the group when they have."""
        group = self.group(name)
        if group.instance_states and not force:
            raise AutoscalingClientError(
                "ResourceInUse",
                "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) "
                "still in the group.",
            )
        group.min_size = group.desired_capacity = 0
        group.status = "Delete in progress"
        for state in group.states():
            state.begin_termination(f"At {as_text(now())} a user request deleted the AutoScalingGroup with force.")
        for policy in [p for p in self.policies.values() if p.auto_scaling_group_name == name]:
            self.delete_group_policy(name, policy.name)
        self.notifications.pop(name, None)
        if not group.instance_states:
            self.autoscaling_groups.pop(name)

    def enable_metrics_collection(self, group_name: str, metrics: list[str] | None) -> None:
        group = self.group(group_name)
        group.metrics = list(dict.fromkeys([*group.metrics, *(metrics or GROUP_METRICS)]))

    def suspend_processes(self, group_name: str, scaling_processes: list[str]) -> None:
        self.group(group_name)
        unknown = set(scaling_processes) - set(SCALING_PROCESSES)
        if unknown:
            raise ValidationError(f"Invalid scaling process(es): {', '.join(sorted(unknown))}")
        super().suspend_processes(group_name, scaling_processes)

    def resume_processes(self, group_name: str, scaling_processes: list[str]) -> None:
        self.group(group_name)
        super().resume_processes(group_name, scaling_processes)

    # -- instances

    def find_state(self, instance_id: str) -> SandboxInstanceState:
        """Raises AWS's ValidationError if the instance is in no group."""
        for group in self.autoscaling_groups.values():
            for state in group.instance_states:
                if state.instance_id == instance_id:
                    return state  # type: ignore[return-value]
        raise ValidationError(f"Instance Id not found - No managed instance found for instance ID: {instance_id}")

    def terminate_instance(self, instance_id: str, should_decrement: bool) -> Any:
        state = self.find_state(instance_id)
        group = self.group(state.auto_scaling_group_name)
        calls.add(AutoScalingGroupName=group.name)
        cause = f"At {as_text(now())} instance {instance_id} was taken out of service in response to a user request"
        if should_decrement:
            old, new = group.desired_capacity or 0, (group.desired_capacity or 0) - 1
            if new < (group.min_size or 0):
                raise ValidationError(
                    f"Currently, desiredSize equals minSize ({group.min_size}). Terminating instance without "
                    "replacement will violate group's min size constraint. Either set shouldDecrementDesiredCapacity "
                    "flag to false or lower group's min size."
                )
            group.desired_capacity = new
            cause += f", shrinking the capacity from {old} to {new}"
        state.begin_termination(f"{cause}.")
        return ScalingActivity(
            group.name, group.arn, f"Terminating EC2 instance: {instance_id}", f"{cause}.", "InProgress"
        ).as_response()

    def set_instance_health(self, instance_id: str, health_status: str) -> None:
        self.find_state(instance_id).health_status = health_status

    def notify_terminate_instances(self, instance_ids: list[str]) -> None:
        """EC2 ended instances by itself: a health check will notice, as on AWS. moto replaces them on the spot."""
        for group in self.autoscaling_groups.values():
            for state in group.instance_states:
                if state.instance_id in instance_ids and state.lifecycle_state != TERMINATING:
                    state.health_status = "Unhealthy"

    def enter_standby_instances(self, group_name: str, instance_ids: list[str], should_decrement: bool) -> list[Any]:
        group = self.group(group_name)
        if should_decrement and (group.desired_capacity or 0) - len(instance_ids) < (group.min_size or 0):
            raise ValidationError(
                f"AutoScalingGroup {group_name} has min-size={group.min_size}, desired-capacity="
                f"{group.desired_capacity}. To place into standby without replacement, lower the min size first."
            )
        return super().enter_standby_instances(group_name, instance_ids, should_decrement)

    def exit_standby_instances(self, group_name: str, instance_ids: list[str]) -> list[Any]:
        group = self.group(group_name)
        leaving = [s for s in group.states() if s.instance_id in instance_ids and s.lifecycle_state == STANDBY]
        activities = super().exit_standby_instances(group_name, [s.instance_id for s in leaving])
        for state in leaving:
            state.lifecycle_state = "Pending"
        return activities

    def update_attached_target_groups(self, group_name: str) -> None:
        """The plant registers instances when they are launched; moto does it here."""

    # -- policies

    def put_scaling_policy(self, *, enabled: bool = True, **kwargs: Any) -> SandboxPolicy:  # type: ignore[override]
        group, name = self.group(kwargs["as_name"]), kwargs["name"]
        tracking = kwargs["target_tracking_config"]
        old = self.policies.get(f"{group.name}/{name}")
        policy = SandboxPolicy(autoscaling_backend=self, enabled=enabled, **kwargs)
        if isinstance(old, SandboxPolicy):
            policy._id = old._id
            self._delete_tracking_alarms(old)
        if policy.policy_type == "TargetTrackingScaling":
            if not tracking:
                raise ValidationError("TargetTrackingConfiguration is required for the policy type")
            self.policies[f"{group.name}/{name}"] = policy
            self._put_tracking_alarms(policy, group, tracking)
        self.policies[f"{group.name}/{name}"] = policy
        return policy

    def _put_tracking_alarms(self, policy: SandboxPolicy, group: SandboxGroup, tracking: dict[str, Any]) -> None:
        namespace, metric, statistic, dimensions = tracked_metric(group.name, tracking)
        target = float(tracking["TargetValue"])
        sides = [("High", "GreaterThanThreshold", target, TRACKING_HIGH_PERIODS)]
        if not tracking.get("DisableScaleIn"):
            sides.append(("Low", "LessThanThreshold", target * TRACKING_LOW_FACTOR, TRACKING_LOW_PERIODS))
        for side, comparison, threshold, periods in sides:
            cloudwatch_backends[self.account_id][self.region_name].put_metric_alarm(
                name=f"TargetTracking-{group.name}-Alarm{side}-{policy._id}",
                namespace=namespace,
                metric_name=metric,
                comparison_operator=comparison,
                evaluation_periods=periods,
                period=TRACKING_PERIOD_S,
                threshold=threshold,
                statistic=statistic,
                description=f"DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {policy.arn}.",
                dimensions=dimensions,
                alarm_actions=[policy.arn],
            )

    def _delete_tracking_alarms(self, policy: SandboxPolicy) -> None:
        if policy.policy_type == "TargetTrackingScaling":
            names = [alarm["AlarmName"] for alarm in policy.alarms if alarm["AlarmName"].startswith("TargetTracking-")]
            cloudwatch_backends[self.account_id][self.region_name].delete_alarms(names)

    def find_policy(self, name_or_arn: str, group_name: str | None) -> SandboxPolicy:
        """Raises AWS's ValidationError if there is no such policy."""
        for policy in self.policies.values():
            if policy.arn == name_or_arn or (
                policy.name == name_or_arn and group_name in (None, policy.auto_scaling_group_name)
            ):
                return policy  # type: ignore[return-value]
        raise ValidationError(f"PolicyName not found - No policy found with name: {name_or_arn}")

    def delete_group_policy(self, group_name: str | None, name_or_arn: str) -> None:
        policy = self.find_policy(name_or_arn, group_name)
        self._delete_tracking_alarms(policy)
        self.policies.pop(f"{policy.auto_scaling_group_name}/{policy.name}")

    def apply_policy(self, policy: SandboxPolicy, breach: float, ready: int, because: str) -> bool:
        """Carry out a simple or step policy; `breach` is metric minus threshold, `ready` the warm instances."""
        group = self.group(policy.auto_scaling_group_name)
        desired, low, high = group.desired_capacity or 0, group.min_size or 0, group.max_size or 0
        if policy.policy_type == "StepScaling":
            wanted = step_capacity(
                policy.step_adjustments,
                policy.adjustment_type,
                policy.min_adjustment_magnitude,
                breach=breach,
                ready=ready,
                desired=desired,
            )
        else:
            wanted = simple_capacity(
                policy.adjustment_type, policy.scaling_adjustment or 0, policy.min_adjustment_magnitude, desired
            )
        return group.change_desired(min(max(wanted, low), high), because)


GROUP_METRICS = (
    "GroupMinSize",
    "GroupMaxSize",
    "GroupDesiredCapacity",
    "GroupInServiceInstances",
    "GroupPendingInstances",
    "GroupStandbyInstances",
    "GroupTerminatingInstances",
    "GroupTotalInstances",
)
SCALING_PROCESSES = (
    "Launch",
    "Terminate",
    "AddToLoadBalancer",
    "AlarmNotification",
    "AZRebalance",
    "HealthCheck",
    "InstanceRefresh",
    "ReplaceUnhealthy",
    "ScheduledActions",
)


def tracked_metric(group: str, tracking: dict[str, Any]) -> tuple[str, str, str, list[dict[str, str]]]:
    """Namespace, metric, statistic and dimensions that a target tracking configuration follows."""
    custom = tracking.get("CustomizedMetricSpecification")
    if custom:
        if "MetricName" not in custom:
            raise ValidationError("The sandbox tracks a single metric; metric math in a policy is not supported")
        return custom["Namespace"], custom["MetricName"], custom["Statistic"], list(custom.get("Dimensions") or [])
    predefined = tracking.get("PredefinedMetricSpecification") or {}
    kind = predefined.get("PredefinedMetricType", "")
    if kind not in TRACKED_METRICS:
        raise ValidationError(f"The sandbox does not publish {kind or 'this metric'}; it has {sorted(TRACKED_METRICS)}")
    namespace, metric, statistic = TRACKED_METRICS[kind]
    if kind == "ASGAverageCPUUtilization":
        return namespace, metric, statistic, [{"Name": "AutoScalingGroupName", "Value": group}]
    # app/<load balancer>/<id>/targetgroup/<target group>/<id>
    parts = str(predefined.get("ResourceLabel", "")).split("/")
    if len(parts) != 6:
        raise ValidationError("ResourceLabel must be app/<load balancer>/<id>/targetgroup/<target group>/<id>")
    dimensions = [
        {"Name": "LoadBalancer", "Value": "/".join(parts[:3])},
        {"Name": "TargetGroup", "Value": "/".join(parts[3:])},
    ]
    return namespace, metric, statistic, dimensions
