"""Scheduled actions of Auto Scaling and Application Auto Scaling, by the real clock: a schedule says when, and is not
compressed."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from croniter import croniter
from moto.applicationautoscaling.models import applicationautoscaling_backends
from moto.autoscaling.exceptions import ValidationError
from moto.autoscaling.models import autoscaling_backends

from sandbox.aws.application_autoscaling import SandboxApplicationAutoScalingBackend
from sandbox.aws.autoscaling import SandboxAutoScalingBackend

RATE_UNITS_S = {"minute": 60, "hour": 3600, "day": 86400}

log = logging.getLogger(__name__)


class Schedules:
    """Remembers up to when schedules have been carried out. Its method needs the lock around moto."""

    def __init__(self) -> None:
        self._last_look = datetime.now(UTC)

    def carry_out(self) -> None:
        """Carry out all actions that have become due since the last call."""
        current = datetime.now(UTC)
        since, self._last_look = self._last_look, current
        for _, _, backend in list(autoscaling_backends.iter_backends()):
            if not isinstance(backend, SandboxAutoScalingBackend):
                continue
            for name, action in list(backend.scheduled_actions.items()):
                if _is_due(action, since, current):
                    _apply(backend, action)
                if action.recurrence is None and _moment(action.start_time, current) <= current:
                    backend.scheduled_actions.pop(name, None)  # AWS forgets an action that can never run again
        for _, _, application in list(applicationautoscaling_backends.iter_backends()):
            if isinstance(application, SandboxApplicationAutoScalingBackend):
                for action in list(application.scheduled_actions):
                    if is_due(action, since, current):
                        application.apply_schedule(action)
                        log.info("scheduled action %s of %s", action.scheduled_action_name, action.resource_id)


def _is_due(action: Any, since: datetime, current: datetime) -> bool:
    start = _moment(action.start_time, since)
    if action.recurrence is None:
        return action.start_time is not None and start <= current
    end = _moment(action.end_time, current)
    zone = ZoneInfo(action.time_zone) if action.time_zone else UTC
    due = croniter(action.recurrence, since.astimezone(zone)).get_next(datetime)
    return bool(start <= due <= min(current.astimezone(zone), end))


def is_due(action: Any, since: datetime, current: datetime) -> bool:
    """Whether a scheduled action of Application Auto Scaling fell due in (since, current].

    Source: https://docs.aws.amazon.com/autoscaling/application/userguide/scheduled-scaling-using-cron-expressions.html
    """
    kind, _, rest = str(action.schedule).partition("(")
    expression, zone = rest.rstrip(")"), ZoneInfo(action.timezone) if action.timezone else UTC
    begin, end = _moment(action.start_time, since), _moment(action.end_time, current)
    if kind == "at":
        due = datetime.fromisoformat(expression).replace(tzinfo=zone)
    elif kind == "rate":
        count, unit = expression.split()
        span_s = int(count) * RATE_UNITS_S[unit.rstrip("s")]
        first = _moment(action.start_time, datetime.fromtimestamp(action.creation_time, UTC)).timestamp()
        rounds = int((current.timestamp() - first) // span_s)
        due = datetime.fromtimestamp(first + rounds * span_s, UTC)
        if rounds < 1 and action.start_time is None:
            return False
    else:
        due = croniter(_unix_cron(expression), since.astimezone(zone)).get_next(datetime)
    return since < due <= current and begin <= due <= end


def _unix_cron(expression: str) -> str:
    """AWS's six fields (the last is the year, Sunday is 1, ? is "any") as cron's five (Sunday is 0)."""
    *fields, days, _ = expression.replace("?", "*").split()
    return " ".join([*fields, re.sub(r"\d+", lambda found: str(int(found[0]) - 1), days)])


def _moment(value: Any, default: datetime) -> datetime:
    if value is None:
        return default
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _apply(backend: SandboxAutoScalingBackend, action: Any) -> None:
    group = backend.autoscaling_groups.get(action.auto_scaling_group_name)
    if group is None or group.is_suspended("ScheduledActions"):  # type: ignore[attr-defined]
        return
    try:
        backend.resize(
            group.name,
            action.desired_capacity,
            action.min_size,
            action.max_size,
            because=f"a scheduled action {action.scheduled_action_name} update of AutoScalingGroup constraints",
        )
        log.info("scheduled action %s changed group %s", action.scheduled_action_name, group.name)
    except ValidationError as error:
        log.warning("scheduled action %s: %s", action.scheduled_action_name, error)
