"""Hook for Application Auto Scaling: what scales ECS services, Aurora replicas and DynamoDB tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from headroom_airflow.hooks.aws_errors import told
from headroom_airflow.hooks.base import ServiceHook
from include.capacity.errors import NotReady

Capacity = Literal["read", "write"]
# The three kinds of scaling that a target can suspend, by the name that the API gives them.
SUSPENDABLE = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")


@dataclass(frozen=True, slots=True)
class Scalable:
    """What can be scaled, as Application Auto Scaling names it.

    Source: https://docs.aws.amazon.com/autoscaling/application/APIReference/API_RegisterScalableTarget.html
    """

    namespace: str
    resource_id: str
    dimension: str

    @classmethod
    def ecs_service(cls, cluster: str, service: str) -> Scalable:
        """By names, not ARNs."""
        return cls("ecs", f"service/{cluster}/{service}", "ecs:service:DesiredCount")

    @classmethod
    def aurora_replicas(cls, cluster: str) -> Scalable:
        return cls("rds", f"cluster:{cluster}", "rds:cluster:ReadReplicaCount")

    @classmethod
    def dynamodb_table(cls, table: str, capacity: Capacity) -> Scalable:
        return cls("dynamodb", f"table/{table}", f"dynamodb:table:{capacity.capitalize()}CapacityUnits")

    @classmethod
    def dynamodb_index(cls, table: str, index: str, capacity: Capacity) -> Scalable:
        return cls("dynamodb", f"table/{table}/index/{index}", f"dynamodb:index:{capacity.capitalize()}CapacityUnits")

    def key(self) -> dict[str, str]:
        """The arguments that every call about it takes."""
        return {
            "ServiceNamespace": self.namespace,
            "ResourceId": self.resource_id,
            "ScalableDimension": self.dimension,
        }

    def __str__(self) -> str:
        return self.resource_id


class ApplicationAutoScalingHook(ServiceHook):
    """Interact with Application Auto Scaling.

    Source: https://docs.aws.amazon.com/autoscaling/application/APIReference/
    """

    service = "application-autoscaling"

    @told
    def find(self, scalable: Scalable) -> dict[str, Any] | None:
        """The registered target, SuspendedState included; None when nothing scales this resource."""
        found = self.conn.describe_scalable_targets(
            ServiceNamespace=scalable.namespace,
            ResourceIds=[scalable.resource_id],
            ScalableDimension=scalable.dimension,
        )["ScalableTargets"]
        return dict(found[0]) if found else None

    def target(self, scalable: Scalable) -> dict[str, Any]:
        """The registered target. Raises NotReady when there is none."""
        found = self.find(scalable)
        if found is None:
            raise NotReady(
                f"{scalable.resource_id} is not registered with Application Auto Scaling for {scalable.dimension}. "
                "Check the names below aws of the service profile; a resource that nothing scales needs no suspending."
            )
        return found

    @told
    def set_range(self, scalable: Scalable, *, minimum: int, maximum: int) -> None:
        """Sets the limits; the target is registered if it was not, and what is suspended stays so."""
        self.conn.register_scalable_target(**scalable.key(), MinCapacity=minimum, MaxCapacity=maximum)

    @told
    def set_suspended(self, scalable: Scalable, suspended: Mapping[str, bool]) -> None:
        """Sets each kind of scaling that is named (see SUSPENDABLE); the limits and the others stay as they are.

        AWS replaces the whole state, so that the others are read and sent again. Raises NotReady when nothing is
        registered: AWS would register the resource instead.
        """
        state = suspended_state(self.target(scalable)) | dict(suspended)
        if unknown := sorted(set(state) - set(SUSPENDABLE)):
            raise ValueError(f"{', '.join(unknown)} cannot be suspended; {', '.join(SUSPENDABLE)} can.")
        self.conn.register_scalable_target(**scalable.key(), SuspendedState=state)

    @told
    def deregister(self, scalable: Scalable) -> None:
        """Ends the scaling of a resource, and deletes its policies and scheduled actions. No harm where none is."""
        try:
            self.conn.deregister_scalable_target(**scalable.key())
        except self.conn.exceptions.ObjectNotFoundException:
            self.log.info("%s was not registered.", scalable)

    @told
    def policies(self, scalable: Scalable) -> list[dict[str, Any]]:
        """The target's scaling policies, by name."""
        found = self.items("describe_scaling_policies", "ScalingPolicies", **scalable.key())
        return sorted(found, key=lambda policy: str(policy["PolicyName"]))

    @told
    def put_policy(self, scalable: Scalable, policy: Mapping[str, Any]) -> str:
        """Creates or replaces a policy; returns its ARN. `policy` holds the other arguments of PutScalingPolicy."""
        return str(self.conn.put_scaling_policy(**scalable.key(), **policy)["PolicyARN"])

    @told
    def delete_policy(self, scalable: Scalable, policy_name: str) -> None:
        """No harm when it is gone already."""
        try:
            self.conn.delete_scaling_policy(**scalable.key(), PolicyName=policy_name)
        except self.conn.exceptions.ObjectNotFoundException:
            self.log.info("The policy %s of %s was gone already.", policy_name, scalable)

    @told
    def scheduled_actions(self, scalable: Scalable) -> list[dict[str, Any]]:
        """The target's scheduled actions, by name."""
        found = self.items("describe_scheduled_actions", "ScheduledActions", **scalable.key())
        return sorted(found, key=lambda action: str(action["ScheduledActionName"]))

    @told
    def put_scheduled_action(self, scalable: Scalable, action: Mapping[str, Any]) -> None:
        """Creates or replaces a scheduled action; `action` holds the other arguments of PutScheduledAction."""
        self.conn.put_scheduled_action(**scalable.key(), **action)

    @told
    def delete_scheduled_action(self, scalable: Scalable, action_name: str) -> None:
        """No harm when it is gone already."""
        try:
            self.conn.delete_scheduled_action(**scalable.key(), ScheduledActionName=action_name)
        except self.conn.exceptions.ObjectNotFoundException:
            self.log.info("The scheduled action %s of %s was gone already.", action_name, scalable)

    @told
    def activities(self, scalable: Scalable, since: datetime) -> list[dict[str, Any]]:
        """Scaling activities that started at or after `since`, oldest first."""
        found: list[dict[str, Any]] = []
        for page in self.conn.get_paginator("describe_scaling_activities").paginate(**scalable.key()):
            found += [activity for activity in page["ScalingActivities"] if activity["StartTime"] >= since]
            if page["ScalingActivities"] and page["ScalingActivities"][-1]["StartTime"] < since:
                break  # AWS lists the newest first
        return found[::-1]


def suspended_state(target: Mapping[str, Any]) -> dict[str, bool]:
    """What a described target suspends, each kind named; AWS leaves out what was never set."""
    state = target.get("SuspendedState") or {}
    return {kind: bool(state.get(kind, False)) for kind in SUSPENDABLE}
