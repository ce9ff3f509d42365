"""Hooks for what starts things by the clock: EventBridge rules and EventBridge Scheduler's schedules."""

from __future__ import annotations

from typing import Any, Literal

from headroom_airflow.hooks.aws_errors import told
from headroom_airflow.hooks.base import ServiceHook
from include.capacity.errors import NotReady

State = Literal["ENABLED", "DISABLED"]
# What GetSchedule tells and UpdateSchedule takes: it replaces the whole schedule, so everything is sent again.
SCHEDULE_FIELDS = (
    "Name", "GroupName", "ScheduleExpression", "ScheduleExpressionTimezone", "StartDate", "EndDate", "Description",
    "State", "KmsKeyArn", "Target", "FlexibleTimeWindow", "ActionAfterCompletion",
)  # fmt: skip


class EventRulesHook(ServiceHook):
    """Reads EventBridge rules and switches them.

    Source: https://docs.aws.amazon.com/eventbridge/latest/APIReference/
    """

    service = "events"

    @told
    def rule(self, name: str, *, bus: str = "default") -> dict[str, Any]:
        """The rule's description. Raises NotReady when there is none."""
        try:
            found = dict(self.conn.describe_rule(Name=name, EventBusName=bus))
        except self.conn.exceptions.ResourceNotFoundException as error:
            raise NotReady(f"There is no EventBridge rule {name!r} on the bus {bus!r}. {_CURE}") from error
        return {key: value for key, value in found.items() if key != "ResponseMetadata"}

    @told
    def rules(self, prefix: str = "", *, bus: str = "default") -> list[dict[str, Any]]:
        """All rules whose name begins so, by name."""
        which = {"NamePrefix": prefix} if prefix else {}
        found = self.items("list_rules", "Rules", EventBusName=bus, **which)
        return sorted(found, key=lambda rule: str(rule["Name"]))

    @told
    def targets(self, name: str, *, bus: str = "default") -> list[dict[str, Any]]:
        """What the rule calls."""
        return self.items("list_targets_by_rule", "Targets", Rule=name, EventBusName=bus)

    @told
    def set_state(self, name: str, state: State, *, bus: str = "default") -> None:
        """Enables or disables a rule; a state that it has already changes nothing."""
        switch = self.conn.enable_rule if state == "ENABLED" else self.conn.disable_rule
        try:
            switch(Name=name, EventBusName=bus)
        except self.conn.exceptions.ResourceNotFoundException as error:
            raise NotReady(f"There is no EventBridge rule {name!r} on the bus {bus!r}. {_CURE}") from error


class SchedulesHook(ServiceHook):
    """Reads schedules of EventBridge Scheduler and switches them.

    Source: https://docs.aws.amazon.com/scheduler/latest/APIReference/
    """

    service = "scheduler"

    @told
    def schedule(self, name: str, *, group: str = "default") -> dict[str, Any]:
        """The whole schedule, without its ARN and dates of change. Raises NotReady when there is none."""
        try:
            found = self.conn.get_schedule(Name=name, GroupName=group)
        except self.conn.exceptions.ResourceNotFoundException as error:
            raise NotReady(f"There is no schedule {name!r} in the group {group!r}. {_CURE}") from error
        return {field: found[field] for field in SCHEDULE_FIELDS if found.get(field) is not None}

    @told
    def schedules(self, prefix: str = "", *, group: str = "default") -> list[dict[str, Any]]:
        """Names, states and targets of all schedules whose name begins so, by name."""
        which = {"NamePrefix": prefix} if prefix else {}
        found = self.items("list_schedules", "Schedules", GroupName=group, **which)
        return sorted(found, key=lambda schedule: str(schedule["Name"]))

    @told
    def set_state(self, name: str, state: State, *, group: str = "default") -> None:
        """Enables or disables a schedule; everything else of it stays. A state that it has already changes nothing."""
        schedule = self.schedule(name, group=group)
        if schedule.get("State", "ENABLED") != state:
            self.conn.update_schedule(**{**schedule, "State": state})


_CURE = "Check the names below aws, aws.region and aws.connection of the service profile."
