"""The Auto Scaling API: the actions that moto lacks or answers differently from AWS."""

from __future__ import annotations

from typing import Any

from moto.autoscaling import models
from moto.autoscaling.exceptions import ValidationError
from moto.autoscaling.models import autoscaling_backends
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult, EmptyResult

from sandbox.aws.autoscaling import (
    GROUP_METRICS,
    NOTIFICATION_TYPES,
    SCALING_PROCESSES,
    SandboxAutoScalingBackend,
    SandboxPolicy,
)
from sandbox.aws.autoscaling_group import SandboxGroup, SandboxInstanceState
from sandbox.aws.moto_access import route_to
from sandbox.aws.scaling_activities import as_text, now
from sandbox.aws.server import InvalidHere

# Settings of a group that are stored and shown, by parameter; moto drops them.
STORED_SETTINGS = {
    "DefaultCooldown": "default_cooldown",
    "DefaultInstanceWarmup": "default_instance_warmup",
    "MaxInstanceLifetime": "max_instance_lifetime",
    "CapacityRebalance": "capacity_rebalance",
    "PlacementGroup": "placement_group",
    "TerminationPolicies": "termination_policies",
}
UNSUPPORTED_SETTINGS = (
    "AvailabilityZoneDistribution",
    "AvailabilityZoneImpairmentPolicy",
    "CapacityReservationSpecification",
    "DesiredCapacityType",
    "InstanceMaintenancePolicy",
    "LifecycleHookSpecificationList",
    "TrafficSources",
)
DEFAULT_PAGE = 100


class SandboxAutoScalingResponse(AutoScalingResponse):
    """Each public method answers the action of its name."""

    @property
    def autoscaling_backend(self) -> SandboxAutoScalingBackend:
        return super().autoscaling_backend  # type: ignore[return-value]

    def _group(self) -> SandboxGroup:
        return self.autoscaling_backend.group(self._get_param("AutoScalingGroupName"))

    # -- groups

    def create_auto_scaling_group(self) -> ActionResult:
        self._refuse_unsupported()
        result = super().create_auto_scaling_group()
        self._store_settings(self._group())
        return result

    def update_auto_scaling_group(self) -> ActionResult:
        self._refuse_unsupported()
        group = self._group()
        sizes = [self._get_int_param(key) for key in ("DesiredCapacity", "MinSize", "MaxSize")]
        group.check_range(*sizes)
        mixed = self._get_param("MixedInstancesPolicy")
        if any(self._get_param(key) for key in ("LaunchTemplate", "LaunchConfigurationName", "VPCZoneIdentifier")) or (
            mixed or self._get_param("AvailabilityZones")
        ):
            kept = None if self._get_param("LaunchTemplate") else mixed or group.mixed_instances_policy
            group._set_azs_and_vpcs(
                self._get_param("AvailabilityZones", []), self._get_param("VPCZoneIdentifier"), update=True
            )
            group.mixed_instances_policy = kept
            group._set_launch_configuration(
                self._get_param("LaunchConfigurationName"), self._get_param("LaunchTemplate", {}), mixed
            )
        for key, attribute in {
            "HealthCheckGracePeriod": "health_check_grace_period",
            "HealthCheckType": "health_check_type",
            "NewInstancesProtectedFromScaleIn": "new_instances_protected_from_scale_in",
        }.items():
            if (value := self._get_param(key)) is not None:
                setattr(group, attribute, value)
        self.autoscaling_backend.resize(group.name, *sizes)
        self._store_settings(group)
        return EmptyResult()

    def _refuse_unsupported(self) -> None:
        for key in UNSUPPORTED_SETTINGS:
            if self._get_param(key) is not None:
                raise InvalidHere(f"The sandbox does not support the parameter {key} of an Auto Scaling group")

    def _store_settings(self, group: SandboxGroup) -> None:
        for key, attribute in STORED_SETTINGS.items():
            value = self._get_param(key)
            if key == "DefaultInstanceWarmup" and value == -1:  # AWS: -1 removes the setting
                group.default_instance_warmup = None
            elif value is not None:
                setattr(group, attribute, value)

    def delete_auto_scaling_group(self) -> ActionResult:
        self.autoscaling_backend.delete_group(
            self._get_param("AutoScalingGroupName"), self._get_bool_param("ForceDelete", False)
        )
        return EmptyResult()

    def set_desired_capacity(self) -> ActionResult:
        self._group()
        return super().set_desired_capacity()

    def describe_scaling_activities(self) -> ActionResult:
        activities = self.autoscaling_backend.activities.of_group(self._get_param("AutoScalingGroupName"))
        wanted = self._get_param("ActivityIds", [])
        entries = [activity for activity in activities if not wanted or activity.id in wanted]
        first = int(self._get_param("NextToken") or 0)
        last = first + (self._get_int_param("MaxRecords") or DEFAULT_PAGE)
        return ActionResult(
            {
                "Activities": [activity.as_response() for activity in entries[first:last]],
                "NextToken": str(last) if last < len(entries) else None,
            }
        )

    def describe_scaling_process_types(self) -> ActionResult:
        return ActionResult({"Processes": [{"ProcessName": name} for name in SCALING_PROCESSES]})

    def disable_metrics_collection(self) -> ActionResult:
        group = self._group()
        ended = self._get_param("Metrics") or GROUP_METRICS
        group.metrics = [metric for metric in group.metrics if metric not in ended]
        return EmptyResult()

    # -- instance refresh

    def start_instance_refresh(self) -> ActionResult:
        if (self._get_param("Strategy") or "Rolling") != "Rolling":
            raise InvalidHere("The sandbox refreshes instances by the strategy Rolling only")
        refresh = self.autoscaling_backend.refreshes.start(
            self._group(), dict(self._get_param("Preferences") or {}), self._get_param("DesiredConfiguration")
        )
        return ActionResult({"InstanceRefreshId": refresh.id})

    def cancel_instance_refresh(self) -> ActionResult:
        return ActionResult({"InstanceRefreshId": self.autoscaling_backend.refreshes.cancel(self._group().name).id})

    def describe_instance_refreshes(self) -> ActionResult:
        wanted = self._get_param("InstanceRefreshIds", [])
        found = self.autoscaling_backend.refreshes.of_group(self._group().name)
        entries = [refresh for refresh in found if not wanted or refresh.id in wanted]
        first = int(self._get_param("NextToken") or 0)
        last = first + (self._get_int_param("MaxRecords") or DEFAULT_PAGE)
        return ActionResult(
            {
                "InstanceRefreshes": [refresh.as_response() for refresh in entries[first:last]],
                "NextToken": str(last) if last < len(entries) else None,
            }
        )

    # -- notifications

    def put_notification_configuration(self) -> ActionResult:
        group = self._group()
        types = self._get_param("NotificationTypes", [])
        unknown = sorted(set(types) - set(NOTIFICATION_TYPES))
        if unknown:
            raise ValidationError(f"Invalid notification type(s): {', '.join(unknown)}")
        self.autoscaling_backend.notifications.setdefault(group.name, {})[self._get_param("TopicARN")] = types
        return EmptyResult()

    def describe_notification_configurations(self) -> ActionResult:
        wanted = self._get_param("AutoScalingGroupNames", [])
        return ActionResult(
            {
                "NotificationConfigurations": [
                    {"AutoScalingGroupName": group, "TopicARN": topic, "NotificationType": kind}
                    for group, topics in self.autoscaling_backend.notifications.items()
                    if not wanted or group in wanted
                    for topic, kinds in topics.items()
                    for kind in kinds
                ]
            }
        )

    def delete_notification_configuration(self) -> ActionResult:
        group = self._group()
        self.autoscaling_backend.notifications.get(group.name, {}).pop(self._get_param("TopicARN"), None)
        return EmptyResult()

    def describe_auto_scaling_notification_types(self) -> ActionResult:
        return ActionResult({"AutoScalingNotificationTypes": list(NOTIFICATION_TYPES)})

    # -- policies

    def put_scaling_policy(self) -> ActionResult:
        params = self._get_params()
        kind = params.get("PolicyType", "SimpleScaling")
        if kind == "PredictiveScaling":
            raise InvalidHere("The sandbox does not support predictive scaling")
        policy: SandboxPolicy = self.autoscaling_backend.put_scaling_policy(
            name=params.get("PolicyName"),
            policy_type=kind,
            metric_aggregation_type=params.get("MetricAggregationType") or "Average",
            adjustment_type=params.get("AdjustmentType"),
            as_name=params.get("AutoScalingGroupName"),
            min_adjustment_magnitude=params.get("MinAdjustmentMagnitude"),
            scaling_adjustment=self._get_int_param("ScalingAdjustment"),
            cooldown=self._get_int_param("Cooldown"),
            target_tracking_config=params.get("TargetTrackingConfiguration", {}),
            step_adjustments=params.get("StepAdjustments", []),
            estimated_instance_warmup=params.get("EstimatedInstanceWarmup"),
            predictive_scaling_configuration={},
            enabled=self._get_bool_param("Enabled", True),
        )
        return ActionResult({"PolicyARN": policy.arn, "Alarms": policy.alarms})

    def delete_policy(self) -> ActionResult:
        self.autoscaling_backend.delete_group_policy(
            self._get_param("AutoScalingGroupName"), self._get_param("PolicyName")
        )
        return EmptyResult()

    def execute_policy(self) -> ActionResult:
        backend = self.autoscaling_backend
        policy = backend.find_policy(self._get_param("PolicyName"), self._get_param("AutoScalingGroupName"))
        if policy.policy_type == "TargetTrackingScaling":
            raise ValidationError("ExecutePolicy is not supported for policies of type TargetTrackingScaling")
        breach = 0.0
        if policy.policy_type == "StepScaling":
            metric, threshold = self._get_float_param("MetricValue"), self._get_float_param("BreachThreshold")
            if metric is None or threshold is None:
                raise ValidationError("MetricValue and BreachThreshold are required for policies of type StepScaling")
            breach = metric - threshold
        group = backend.group(policy.auto_scaling_group_name)
        ready = sum(1 for state in group.states() if state.lifecycle_state == "InService")
        backend.apply_policy(policy, breach, ready, f"a user request executed policy {policy.name}")
        return EmptyResult()

    def describe_adjustment_types(self) -> ActionResult:
        kinds = ("ChangeInCapacity", "ExactCapacity", "PercentChangeInCapacity")
        return ActionResult({"AdjustmentTypes": [{"AdjustmentType": kind} for kind in kinds]})

    # -- instances

    def set_instance_health(self) -> ActionResult:
        status = self._get_param("HealthStatus")
        if status not in {"Healthy", "Unhealthy"}:
            raise ValidationError("Valid instance health states are: [Healthy, Unhealthy].")
        self.autoscaling_backend.set_instance_health(self._get_param("InstanceId"), status)
        return EmptyResult()

    def detach_instances(self) -> ActionResult:
        group = self._group()
        gone = [self.autoscaling_backend.find_state(i) for i in self._get_param("InstanceIds", [])]
        decrement = self._get_bool_param("ShouldDecrementDesiredCapacity", False)
        if decrement and (group.desired_capacity or 0) - len(gone) < (group.min_size or 0):
            raise ValidationError(f"Detaching {len(gone)} instances would violate the group's min size constraint.")
        result: Any = super().detach_instances()
        if decrement:
            group.capacity_cause = f"At {as_text(now())} a user request detached {len(gone)} instances."
        return result


def install() -> None:
    """Put the classes above in the place of moto's."""
    models.FakeAutoScalingGroup = SandboxGroup  # type: ignore[misc]
    models.InstanceState = SandboxInstanceState  # type: ignore[misc]
    autoscaling_backends.backend = SandboxAutoScalingBackend
    route_to("autoscaling", SandboxAutoScalingResponse)
