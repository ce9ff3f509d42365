"""Operator for EventBridge Scheduler; the provider has operators for EventBridge rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from headroom_airflow.hooks.eventbridge import SchedulesHook, State
from headroom_airflow.links.console import ScheduleLink
from headroom_airflow.operators.base import ServiceOperator
from headroom_airflow.task_memory import remembered


class EventBridgeSetScheduleStateOperator(ServiceOperator[SchedulesHook]):
    """Enables or disables a schedule; everything else of it stays. Returns its state from before the first try.

    Args:
        schedule: its name.
        state: ENABLED or DISABLED; what another task of this operator returned, to bring it back.
        group: its schedule group.
    """

    aws_hook_class = SchedulesHook
    operator_extra_links = (ScheduleLink(),)
    template_fields: Sequence[str] = aws_template_fields("schedule", "state", "group")

    def __init__(self, *, schedule: str, state: str, group: str = "default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.schedule = schedule
        self.state = state
        self.group = group

    def execute(self, context: Any) -> str:
        self.link(context, ScheduleLink, schedule=self.schedule, group=self.group)
        if self.state not in ("ENABLED", "DISABLED"):
            raise ValueError(f"state is {self.state!r}; a schedule is ENABLED or DISABLED.")
        before: str = remembered(context, "state_before", self._state)
        self.hook.set_state(self.schedule, cast(State, self.state), group=self.group)
        self.log.info("%s: %s -> %s", self.schedule, before, self.state)
        return before

    def _state(self) -> str:
        return str(self.hook.schedule(self.schedule, group=self.group).get("State", "ENABLED"))
