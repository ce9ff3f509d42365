"""Operators for ECS services and their scaling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from headroom_airflow.hooks.application_autoscaling import (
    SUSPENDABLE,
    ApplicationAutoScalingHook,
    Scalable,
    suspended_state,
)
from headroom_airflow.hooks.ecs_service import EcsServiceHook, last_event
from headroom_airflow.links.console import EcsServiceLink
from headroom_airflow.operators.base import ServiceOperator, WaitingOperator
from headroom_airflow.task_memory import remembered
from headroom_airflow.triggers.ecs_service import ServiceSteadyTrigger


class EcsSetDesiredCountOperator(WaitingOperator[EcsServiceHook]):
    """Sets how many tasks a service wants, and waits until so many run. Returns the count from before the first try.

    Args:
        cluster, service: names.
        desired_count: how many tasks it shall have.
    """

    aws_hook_class = EcsServiceHook
    operator_extra_links = (EcsServiceLink(),)
    template_fields: Sequence[str] = aws_template_fields("cluster", "service", "desired_count")

    def __init__(self, *, cluster: str, service: str, desired_count: int | str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cluster = cluster
        self.service = service
        self.desired_count = desired_count

    def execute(self, context: Any) -> int:
        self.link(context, EcsServiceLink, cluster=self.cluster, service=self.service)
        before: int = remembered(context, "count_before", self._count)
        self.log.info("%s: %d -> %s tasks", self.service, before, self.desired_count)
        self.hook.set_desired(self.service, cluster=self.cluster, count=int(self.desired_count))
        if not self.wait_for_completion:
            return before
        if self.deferrable:
            trigger = ServiceSteadyTrigger(self.service, self.cluster, **self.trigger_arguments)
            self.wait_there(trigger, self.service_is_steady, before=before)
        self.wait_here(self.hook.steady(self.service, cluster=self.cluster, **self.span))
        return before

    def service_is_steady(self, context: Any, event: dict[str, Any] | None, before: int) -> int:
        """Called when the trigger has fired."""
        self.need_success(event)
        return before

    def last_message(self) -> str:
        event = last_event(self.hook.describe(self.service, cluster=self.cluster))
        return f"ECS says last: {event}" if event else ""

    def _count(self) -> int:
        return int(self.hook.describe(self.service, cluster=self.cluster)["desiredCount"])


class ApplicationAutoScalingSuspendOperator(ServiceOperator[ApplicationAutoScalingHook]):
    """Suspends the scaling of an ECS service, of Aurora's replicas or of a DynamoDB table.

    Returns the state from before the first try, for ApplicationAutoScalingRestoreOperator.

    Args:
        namespace, resource_id, dimension: as Application Auto Scaling names it; see `Scalable`, such as
            `**asdict(Scalable.ecs_service("cluster", "web"))`.
        kinds: what to suspend; everything by default.
    """

    aws_hook_class = ApplicationAutoScalingHook
    template_fields: Sequence[str] = aws_template_fields("namespace", "resource_id", "dimension", "kinds")

    def __init__(
        self, *, namespace: str, resource_id: str, dimension: str, kinds: Sequence[str] = SUSPENDABLE, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.namespace = namespace
        self.resource_id = resource_id
        self.dimension = dimension
        self.kinds = kinds

    def execute(self, context: Any) -> dict[str, bool]:
        scalable = Scalable(self.namespace, self.resource_id, self.dimension)
        before: dict[str, bool] = remembered(
            context, "suspended_before", lambda: suspended_state(self.hook.target(scalable))
        )
        self.hook.set_suspended(scalable, dict.fromkeys(self.kinds, True))
        self.log.info("%s: suspended %s; before: %s", scalable, list(self.kinds), before)
        return before


class ApplicationAutoScalingRestoreOperator(ServiceOperator[ApplicationAutoScalingHook]):
    """Brings back what ApplicationAutoScalingSuspendOperator found.

    Args:
        namespace, resource_id, dimension: as there.
        before: what it returned.
    """

    aws_hook_class = ApplicationAutoScalingHook
    template_fields: Sequence[str] = aws_template_fields("namespace", "resource_id", "dimension", "before")

    def __init__(
        self, *, namespace: str, resource_id: str, dimension: str, before: Mapping[str, bool], **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.namespace = namespace
        self.resource_id = resource_id
        self.dimension = dimension
        self.before = before

    def execute(self, context: Any) -> None:
        self.hook.set_suspended(Scalable(self.namespace, self.resource_id, self.dimension), self.before)
