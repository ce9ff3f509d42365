"""Trigger for ECS services."""

from __future__ import annotations

from typing import Any

from headroom_airflow.hooks.ecs_service import EcsServiceHook
from headroom_airflow.triggers.base import WaitTrigger, span


class ServiceSteadyTrigger(WaitTrigger):
    """Waits until a service runs as many tasks as it wants, all of its newest deployment."""

    aws_hook_class = EcsServiceHook

    def __init__(
        self, service: str, cluster: str, waiter_delay: float = 5, waiter_max_attempts: int = 120, **hook: Any
    ) -> None:
        wait = EcsServiceHook.steady(service, cluster=cluster, **span(waiter_delay, waiter_max_attempts))
        super().__init__(wait, {"service": service, "cluster": cluster}, **hook)
