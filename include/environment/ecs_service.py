"""An ECS service as a resource: how many tasks it wants, and what may scale it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from headroom_airflow.hooks.application_autoscaling import (
    SUSPENDABLE,
    ApplicationAutoScalingHook,
    Scalable,
    suspended_state,
)
from headroom_airflow.hooks.ecs_service import EcsServiceHook
from include.environment.patience import sent_once
from include.environment.resource import Fields, Fit, Sleep, Value

COUNT = "desiredCount"


@dataclass(frozen=True, slots=True)
class EcsService:
    """`tasks` is the test size, None where it is not known. What scales the service by itself is suspended
    meanwhile."""

    cluster: str
    service: str
    hook: EcsServiceHook
    changes: EcsServiceHook
    scaling: ApplicationAutoScalingHook
    scaling_changes: ApplicationAutoScalingHook
    tasks: int | None = None
    kind: str = "ecs_service"
    last: bool = False

    @classmethod
    def of(cls, cluster: str, service: str, tasks: int | None = None, **connection: Any) -> EcsService:
        return cls(
            cluster,
            service,
            EcsServiceHook(**connection),
            sent_once(EcsServiceHook, **connection),
            ApplicationAutoScalingHook(**connection),
            sent_once(ApplicationAutoScalingHook, **connection),
            tasks,
        )

    @property
    def name(self) -> str:
        return f"{self.cluster}/{self.service}"

    @property
    def title(self) -> str:
        return f"ECS service {self.name}"

    def reference(self) -> dict[str, str]:
        return {"kind": self.kind, "name": self.name, "cluster": self.cluster, "service": self.service}

    def check(self) -> None:
        """Reading tells."""

    def read(self) -> dict[str, Value]:
        fields: dict[str, Value] = {COUNT: int(self.hook.describe(self.service, cluster=self.cluster)["desiredCount"])}
        if (target := self.scaling.find(self._scalable)) is not None:
            fields |= suspended_state(target)
        return fields

    @property
    def _scalable(self) -> Scalable:
        return Scalable.ecs_service(self.cluster, self.service)

    def steps(self, now: Fields) -> Sequence[Fields]:
        if self.tasks is None:
            return []
        suspended: Fields = {name: True for name in SUSPENDABLE if name in now}
        return [*([suspended] if suspended else []), {COUNT: self.tasks}]

    def set(self, fields: Fields) -> None:
        if COUNT in fields:
            self.changes.set_desired(self.service, cluster=self.cluster, count=int(fields[COUNT]))
        if suspended := {name: bool(value) for name, value in fields.items() if name in SUSPENDABLE}:
            self.scaling_changes.set_suspended(self._scalable, suspended)

    def fit(self, now: Fields, wanted: Fields) -> Fit:
        return Fit(wanted)

    def settle(self, within_s: float, sleep: Sleep) -> None:
        self.hook.wait_until(self.hook.steady(self.service, cluster=self.cluster, within_s=within_s), sleep=sleep)
