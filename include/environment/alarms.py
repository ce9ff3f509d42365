"""The CloudWatch alarms that a test would trip, as a resource: whether their actions are on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from headroom_airflow.hooks.cloudwatch_alarms import CloudWatchAlarmsHook
from include.capacity.errors import NotReady
from include.environment.patience import sent_once
from include.environment.resource import Fields, Fit, Sleep, Value

ACTIONS = "actions of "  # begins the field of an alarm
ON, OFF = "on", "off"
# Alarms that AWS makes for target tracking are not edited; the scaling process that they call is suspended anyway.
MANAGED = "TargetTracking-"


@dataclass(frozen=True, slots=True)
class Alarms:
    """`names` may end in `*`, which stands for every alarm whose name begins so. Silenced alarms go on being
    evaluated."""

    name: str
    names: tuple[str, ...]
    hook: CloudWatchAlarmsHook
    changes: CloudWatchAlarmsHook
    kind: str = "alarms"
    last: bool = True

    @classmethod
    def of(cls, name: str, names: Sequence[str], **connection: Any) -> Alarms:
        changes = sent_once(CloudWatchAlarmsHook, **connection)
        return cls(name, tuple(names), CloudWatchAlarmsHook(**connection), changes)

    @property
    def title(self) -> str:
        return f"alarms of {self.name}"

    def reference(self) -> dict[str, str]:
        return {"kind": self.kind, "name": self.name}

    def read(self) -> dict[str, Value]:
        """Alarms that are gone are left out. Raises NotReady for a name of the profile that finds none."""
        found: dict[str, dict[str, Any]] = {}
        for pattern in (name for name in self.names if name.endswith("*")):
            matching = self.hook.with_prefix(pattern[:-1])
            found |= {name: alarm for name, alarm in matching.items() if not name.startswith(MANAGED)}
        found |= self.hook.alarms([name for name in self.names if not name.endswith("*")])
        return {ACTIONS + name: ON if found[name]["ActionsEnabled"] else OFF for name in sorted(found)}

    def check(self) -> None:
        """Raises NotReady for a name of the profile that finds no alarm."""
        found = [name.removeprefix(ACTIONS) for name in self.read()]
        for name in self.names:
            if not any(other == name or (name.endswith("*") and other.startswith(name[:-1])) for other in found):
                raise NotReady(
                    f"There is no alarm {name!r}. Check prescale.silence_alarms, aws.region and aws.connection of the "
                    "service profile."
                )

    def steps(self, now: Fields) -> Sequence[Fields]:
        return [dict.fromkeys(now, OFF)] if now else []

    def set(self, fields: Fields) -> None:
        for value, switch in ((OFF, self.changes.silence), (ON, self.changes.speak)):
            if names := sorted(name.removeprefix(ACTIONS) for name, wanted in fields.items() if wanted == value):
                switch(names)

    def fit(self, now: Fields, wanted: Fields) -> Fit:
        return Fit(wanted)

    def settle(self, within_s: float, sleep: Sleep) -> None:
        """An alarm's actions are switched at once."""
