"""Scheduled actions of Auto Scaling. They follow the real clock: a schedule says when, and is not compressed."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from croniter import croniter
from moto.autoscaling.exceptions import ValidationError
from moto.autoscaling.models import autoscaling_backends

from sandbox.aws.autoscaling import SandboxAutoScalingBackend

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


def _is_due(action: Any, since: datetime, current: datetime) -> bool:
    start = _moment(action.start_time, since)
    if action.recurrence is None:
        return action.start_time is not None and start <= current
    end = _moment(action.end_time, current)
    zone = ZoneInfo(action.time_zone) if action.time_zone else UTC
    due = croniter(action.recurrence, since.astimezone(zone)).get_next(datetime)
    return bool(start <= due <= min(current.astimezone(zone), end))


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
