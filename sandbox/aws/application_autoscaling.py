"""Application Auto Scaling: AWS's errors, activities, and schedules that move the desired count of ECS services."""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from typing import Any

from moto.applicationautoscaling import models
from moto.applicationautoscaling.models import applicationautoscaling_backends
from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse
from moto.core.exceptions import JsonRESTError

from sandbox.aws.moto_access import ExtendedBackend, ecs, route_to
from sandbox.aws.scaling_activities import now

KEPT = 500
DEFAULT_PAGE = 50
NOTHING_SUSPENDED = {
    "DynamicScalingInSuspended": False,
    "DynamicScalingOutSuspended": False,
    "ScheduledScalingSuspended": False,
}


def _not_found(what: str) -> JsonRESTError:
    return JsonRESTError("ObjectNotFoundException", f"No {what} found.")


class SandboxApplicationAutoScalingBackend(ExtendedBackend, models.ApplicationAutoscalingBackend):
    """The state of Application Auto Scaling in one account and region."""

    MOTO_SERVICE = "applicationautoscaling"

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.activities: list[dict[str, Any]] = []
        self.scheduled_actions: list[models.FakeScheduledAction] = []

    def register_scalable_target(self, *args: Any, **kwargs: Any) -> models.FakeScalableTarget:
        state = kwargs.pop("suspended_state", None)
        _, resource_id, dimension = args
        old = self.targets.get(dimension, {}).get(resource_id)
        if old is None and (kwargs.get("min_capacity") is None or kwargs.get("max_capacity") is None):
            raise models.AWSValidationException("MinCapacity and MaxCapacity are required for a new scalable target")
        known = NOTHING_SUSPENDED if old is None else old.suspended_state
        # a state that is given replaces the whole one
        wanted = dict(known) if state is None else {**NOTHING_SUSPENDED, **state}  # type: ignore[call-overload]
        return super().register_scalable_target(*args, suspended_state=wanted, **kwargs)  # type: ignore[arg-type]

    def deregister_scalable_target(self, namespace: str, r_id: str, dimension: str) -> None:
        if not self._scalable_target_exists(r_id, dimension):
            raise _not_found(f"scalable target for {namespace}, {r_id}, {dimension}")
        super().deregister_scalable_target(namespace, r_id, dimension)
        for policy in [
            p for p in self.policies.values() if p.resource_id == r_id and p.scalable_dimension == dimension
        ]:
            self.delete_scaling_policy(policy.policy_name, namespace, r_id, dimension)
        self.scheduled_actions = [
            a for a in self.scheduled_actions if (a.resource_id, a.scalable_dimension) != (r_id, dimension)
        ]

    def put_scaling_policy(
        self,
        policy_name: str,
        service_namespace: str,
        resource_id: str,
        scalable_dimension: str,
        policy_body: dict[str, Any],
        policy_type: str | None,
    ) -> models.FakeApplicationAutoscalingPolicy:
        if not self._scalable_target_exists(resource_id, scalable_dimension):
            raise _not_found(f"scalable target for {service_namespace}, {resource_id}, {scalable_dimension}")
        key = (service_namespace, resource_id, scalable_dimension, policy_name)
        old = self.policies.get(models.FakeApplicationAutoscalingPolicy.formulate_key(*key))
        if old is not None:
            old.delete_alarms(self.account_id, self.region_name)
        return super().put_scaling_policy(
            policy_name, service_namespace, resource_id, scalable_dimension, policy_body, policy_type
        )

    def delete_scaling_policy(
        self, policy_name: str, service_namespace: str, resource_id: str, scalable_dimension: str
    ) -> None:
        key = (service_namespace, resource_id, scalable_dimension, policy_name)
        if models.FakeApplicationAutoscalingPolicy.formulate_key(*key) not in self.policies:
            raise _not_found(f"scaling policy {policy_name} for {resource_id}")
        super().delete_scaling_policy(policy_name, service_namespace, resource_id, scalable_dimension)

    def put_scheduled_action(self, *args: Any, **kwargs: Any) -> None:
        if not self._scalable_target_exists(kwargs["resource_id"], kwargs["scalable_dimension"]):
            raise _not_found(f"scalable target for {kwargs['resource_id']}")
        super().put_scheduled_action(*args, **kwargs)

    def delete_scheduled_action(
        self, service_namespace: str, scheduled_action_name: str, resource_id: str, scalable_dimension: str
    ) -> None:
        before = len(self.scheduled_actions)
        super().delete_scheduled_action(service_namespace, scheduled_action_name, resource_id, scalable_dimension)
        if len(self.scheduled_actions) == before:
            raise _not_found(f"scheduled action {scheduled_action_name} for {resource_id}")

    def find_target(self, action: models.FakeScheduledAction) -> models.FakeScalableTarget | None:
        return self.targets.get(action.scalable_dimension, {}).get(action.resource_id)

    def apply_schedule(self, action: models.FakeScheduledAction) -> None:
        """A scheduled action sets the limits; the capacity moves into them. ECS services only: the others have no
        capacity here that could move."""
        target, wanted = self.find_target(action), action.scalable_target_action or {}
        if target is None or dict(target.suspended_state).get("ScheduledScalingSuspended"):  # type: ignore[call-overload]
            return
        target.update(wanted.get("MinCapacity"), wanted.get("MaxCapacity"), None)  # type: ignore[arg-type]
        if target.service_namespace != "ecs":
            return
        _, cluster, name = target.resource_id.split("/")
        service = ecs(self.account_id, self.region_name)._get_service(cluster, name)
        low, high = target.min_capacity or 0, target.max_capacity or 0
        count = min(max(service.desired_count, low), high)
        if count == service.desired_count:
            return
        side = f"minimum capacity was set to {low}" if count == low else f"maximum capacity was set to {high}"
        service.want(count)  # type: ignore[attr-defined]
        self.note(target, count, side)

    def note(self, target: models.FakeScalableTarget, count: int, cause: str) -> None:
        """Add an activity that has been done."""
        activity = {
            "ActivityId": str(uuid.uuid4()),
            "ServiceNamespace": target.service_namespace,
            "ResourceId": target.resource_id,
            "ScalableDimension": target.scalable_dimension,
            "Description": f"Setting desired count to {count}.",
            "Cause": cause,
            "StartTime": now(),
            "EndTime": now(),
            "StatusCode": "Successful",
            "StatusMessage": f"Successfully set desired count to {count}. Change successfully fulfilled by ecs.",
        }
        self.activities.insert(0, activity)
        del self.activities[KEPT:]


class SandboxApplicationAutoScalingResponse(ApplicationAutoScalingResponse):
    """Each public method answers the action of its name."""

    def describe_scaling_activities(self) -> str:
        backend = self.applicationautoscaling_backend
        assert isinstance(backend, SandboxApplicationAutoScalingBackend)
        wanted = {key: self._get_param(key) for key in ("ServiceNamespace", "ResourceId", "ScalableDimension")}
        found = [
            activity
            for activity in backend.activities
            if all(value in (None, activity[key]) for key, value in wanted.items())
        ]
        first = int(self._get_param("NextToken") or 0)
        last = first + (self._get_int_param("MaxResults") or DEFAULT_PAGE)
        shown = [{key: _plain(value) for key, value in entry.items()} for entry in found[first:last]]
        return json.dumps({"ScalingActivities": shown, "NextToken": str(last) if last < len(found) else None})


def _plain(value: Any) -> Any:
    return value.timestamp() if isinstance(value, datetime) else value


def install() -> None:
    """Put the classes above in the place of moto's."""
    applicationautoscaling_backends.backend = SandboxApplicationAutoScalingBackend
    route_to("applicationautoscaling", SandboxApplicationAutoScalingResponse)
