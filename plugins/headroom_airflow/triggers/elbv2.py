"""Triggers for the targets of load balancers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headroom_airflow.hooks.elbv2 import Elbv2Hook
from headroom_airflow.triggers.base import WaitTrigger, span


class TargetsHealthyTrigger(WaitTrigger):
    """Waits until each of the targets is healthy in the target group."""

    aws_hook_class = Elbv2Hook

    def __init__(
        self,
        target_group_arn: str,
        targets: Sequence[str],
        waiter_delay: float = 5,
        waiter_max_attempts: int = 120,
        **hook: Any,
    ) -> None:
        wait = Elbv2Hook.healthy(target_group_arn, targets, **span(waiter_delay, waiter_max_attempts))
        super().__init__(wait, {"target_group_arn": target_group_arn, "targets": list(targets)}, **hook)
