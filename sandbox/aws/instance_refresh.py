"""Instance refreshes: what was asked for and how far it has come. The plant replaces the instances."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from moto.autoscaling.exceptions import AutoscalingClientError, ValidationError

from sandbox.aws.autoscaling_group import SandboxGroup
from sandbox.aws.scaling_activities import now
from sandbox.aws.server import InvalidHere

ACTIVE = frozenset({"Pending", "InProgress", "Cancelling"})
UNSUPPORTED_PREFERENCES = (
    "AlarmSpecification",
    "AutoRollback",
    "BakeTime",
    "CheckpointDelay",
    "CheckpointPercentages",
    "MaxHealthyPercentage",
    "StandbyInstances",
)
DEFAULT_MIN_HEALTHY = 90
PROTECTED = ("Refresh", "Ignore", "Wait")  # what may happen to instances that are protected from scale-in


@dataclass(slots=True)
class InstanceRefresh:
    """`waiting` are the instances that have not been touched yet; `leaving` the one(s) being replaced now."""

    group_name: str
    preferences: dict[str, Any]
    waiting: list[str]
    total: int
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    leaving: list[str] = field(default_factory=list)
    status: str = "Pending"
    reason: str = ""
    started_at: datetime = field(default_factory=now)
    ended_at: datetime | None = None

    @property
    def min_healthy_ratio(self) -> float:
        return float(self.preferences.get("MinHealthyPercentage", DEFAULT_MIN_HEALTHY)) / 100

    @property
    def left(self) -> int:
        return len(self.waiting) + len(self.leaving)

    def finish(self, status: str, reason: str = "") -> None:
        self.status, self.reason, self.ended_at = status, reason, now()

    def as_response(self) -> dict[str, Any]:
        """The refresh as the API shows it."""
        return {
            "InstanceRefreshId": self.id,
            "AutoScalingGroupName": self.group_name,
            "Status": self.status,
            "StatusReason": self.reason or None,
            "StartTime": self.started_at,
            "EndTime": self.ended_at,
            "PercentageComplete": 100 if not self.total else round(100 * (self.total - self.left) / self.total),
            "InstancesToUpdate": self.left,
            "Preferences": self.preferences,
            "Strategy": "Rolling",
        }


class RefreshLog:
    """The refreshes of all groups of one account and region, the newest first."""

    def __init__(self) -> None:
        self._by_group: dict[str, list[InstanceRefresh]] = {}

    def of_group(self, name: str) -> list[InstanceRefresh]:
        return list(self._by_group.get(name, []))

    def active(self, name: str) -> InstanceRefresh | None:
        return next((refresh for refresh in self.of_group(name) if refresh.status in ACTIVE), None)

    def start(self, group: SandboxGroup, preferences: dict[str, Any], desired_configuration: Any) -> InstanceRefresh:
        """Raises AWS's InstanceRefreshInProgress while another one is under way."""
        for key in UNSUPPORTED_PREFERENCES:
            if preferences.get(key) not in (None, False, "Ignore"):
                raise InvalidHere(f"The sandbox does not support the preference {key} of an instance refresh")
        if desired_configuration:
            raise InvalidHere("The sandbox refreshes to the group's own template only; update the group first")
        protected = preferences.get("ScaleInProtectedInstances", "Ignore")
        if protected not in PROTECTED:
            raise ValidationError(f"ScaleInProtectedInstances must be one of {', '.join(PROTECTED)}")
        if (other := self.active(group.name)) is not None:
            raise AutoscalingClientError(
                "InstanceRefreshInProgress", f"An Instance Refresh is already in progress ({other.id})."
            )
        matching = bool(preferences.get("SkipMatching", False))
        chosen = [
            state.instance_id
            for state in group.counted()
            if not (matching and state.launched_version == group.current_version())
            and not (state.protected_from_scale_in and protected == "Ignore")
        ]
        refresh = InstanceRefresh(group.name, preferences, chosen, len(chosen))
        self._by_group.setdefault(group.name, []).insert(0, refresh)
        return refresh

    def cancel(self, name: str) -> InstanceRefresh:
        """Raises AWS's ActiveInstanceRefreshNotFound when none is under way."""
        refresh = self.active(name)
        if refresh is None:
            raise AutoscalingClientError(
                "ActiveInstanceRefreshNotFound", f"No in progress or pending Instance Refresh found for {name}."
            )
        refresh.status, refresh.reason = "Cancelling", "Cancelled due to user request."
        return refresh
