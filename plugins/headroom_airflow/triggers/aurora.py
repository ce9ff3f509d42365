"""Triggers for Aurora clusters."""

from __future__ import annotations

from typing import Any

from headroom_airflow.hooks.aurora import AuroraHook
from headroom_airflow.triggers.base import WaitTrigger, span


class ClusterAvailableTrigger(WaitTrigger):
    """Waits until every instance of a cluster is available."""

    aws_hook_class = AuroraHook

    def __init__(self, cluster: str, waiter_delay: float = 15, waiter_max_attempts: int = 120, **hook: Any) -> None:
        wait = AuroraHook.available(cluster, **span(waiter_delay, waiter_max_attempts))
        super().__init__(wait, {"cluster": cluster}, **hook)


class InstanceGoneTrigger(WaitTrigger):
    """Waits until an instance is deleted."""

    aws_hook_class = AuroraHook

    def __init__(self, instance: str, waiter_delay: float = 15, waiter_max_attempts: int = 120, **hook: Any) -> None:
        wait = AuroraHook.gone(instance, **span(waiter_delay, waiter_max_attempts))
        super().__init__(wait, {"instance": instance}, **hook)
