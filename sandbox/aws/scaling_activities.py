"""Scaling activities: what an Auto Scaling group did, when, why and how far it has come."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

KEPT = 500  # AWS keeps six weeks; here the newest ones of each group


def now() -> datetime:
    """The time in UTC, to the millisecond."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def as_text(moment: datetime) -> str:
    """As AWS writes times into its sentences: 2026-01-31T12:00:00Z."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(slots=True)
class ScalingActivity:
    """One launch or termination. `status` is one of AWS's status codes, `progress` is in percent."""

    group_name: str
    group_arn: str
    description: str
    cause: str
    status: str = "PreInService"
    status_message: str = ""
    progress: int = 0
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    started_at: datetime = field(default_factory=now)
    ended_at: datetime | None = None
    details: str = "{}"

    def advance(self, status: str, progress: int, message: str = "") -> None:
        """Note how far the activity has come."""
        self.status, self.progress, self.status_message = status, progress, message

    def finish(self, status: str = "Successful", message: str = "") -> None:
        """End the activity: "Successful", "Failed" or "Cancelled"."""
        self.advance(status, 100, message)
        self.ended_at = now()

    def as_response(self) -> dict[str, Any]:
        """The activity as the API shows it."""
        return {
            "ActivityId": self.id,
            "AutoScalingGroupName": self.group_name,
            "AutoScalingGroupARN": self.group_arn,
            "Description": self.description,
            "Cause": self.cause,
            "StartTime": self.started_at,
            "EndTime": self.ended_at,
            "StatusCode": self.status,
            "StatusMessage": self.status_message or None,
            "Progress": self.progress,
            "Details": self.details,
        }


class ActivityLog:
    """The activities of all groups of one account and region, the newest first."""

    def __init__(self) -> None:
        self._by_group: dict[str, list[ScalingActivity]] = {}

    def add(self, activity: ScalingActivity) -> ScalingActivity:
        entries = self._by_group.setdefault(activity.group_name, [])
        entries.insert(0, activity)
        del entries[KEPT:]
        return activity

    def of_group(self, name: str | None) -> list[ScalingActivity]:
        """Those of one group, or of all groups if `name` is None."""
        if name is not None:
            return list(self._by_group.get(name, []))
        every = [activity for entries in self._by_group.values() for activity in entries]
        return sorted(every, key=lambda activity: activity.started_at, reverse=True)
