"""The kinds of resources: which ones a service profile brings to the test size, and how the journal finds them
again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

from headroom_airflow.hooks.cloudwatch_alarms import CloudWatchAlarmsHook
from include.capacity.errors import ConfigError
from include.capacity.profile import ServiceProfile
from include.environment.alarms import ACTIONS, Alarms
from include.environment.autoscaling_group import AutoScalingGroup
from include.environment.ecs_service import EcsService
from include.environment.patience import sent_once
from include.environment.record import Entry
from include.environment.resource import Resource

Health = Callable[[], Mapping[str, str]]


class Resources:
    """The resources of one service; each is made once, because its clients are slow to make."""

    def __init__(self, profile: ServiceProfile, health: Health) -> None:
        """`health` tells each target's state in the target group of the Auto Scaling group."""
        self.health = health
        self._profile = profile
        self._connection = connection_of(profile)
        self._made: dict[str, Resource] = {}

    @cached_property
    def group(self) -> AutoScalingGroup:
        """The Auto Scaling group that is brought to the test size."""
        size = self._profile.prescale.instances
        return AutoScalingGroup.of(self._profile.aws.autoscaling_group, self.health, size, **self._connection)

    @cached_property
    def alarm_hooks(self) -> tuple[CloudWatchAlarmsHook, CloudWatchAlarmsHook]:
        """The one that looks at alarms, and the one that changes them."""
        changes = sent_once(CloudWatchAlarmsHook, **self._connection)
        return CloudWatchAlarmsHook(**self._connection), changes

    def alarms(self, name: str, names: Iterable[str]) -> Alarms:
        return Alarms(name, tuple(names), *self.alarm_hooks)

    @cached_property
    def ecs_services(self) -> list[EcsService]:
        sizes = self._profile.prescale.ecs_services
        return [EcsService.of(one.cluster, one.service, one.tasks, **self._connection) for one in sizes]

    def changed(self) -> list[Resource]:
        """What a run changes, in the order of the changes: alarms are silent before anything moves."""
        names = self._profile.prescale.silence_alarms
        alarms: list[Resource] = [self.alarms(self._profile.service, names)] if names else []
        return [*alarms, self.group, *self.ecs_services]

    def of_entry(self, entry: Entry) -> Resource:
        """The resource of a journal's entry. Raises ConfigError for a kind that a newer version has written."""
        known: list[Resource] = [self.group, *self.ecs_services]
        for resource in known:
            if resource.reference() == entry.reference:
                return resource
        key = json.dumps([entry.reference, *entry.snapshot], sort_keys=True)
        if key not in self._made:
            self._made[key] = self._make(entry)
        return self._made[key]

    def _make(self, entry: Entry) -> Resource:
        reference = entry.reference
        if reference["kind"] == "autoscaling_group":
            return AutoScalingGroup.of(reference["name"], self.health, **self._connection)
        if reference["kind"] == "alarms":
            names = [name.removeprefix(ACTIONS) for name in entry.snapshot]
            return self.alarms(reference["name"], names)
        if reference["kind"] == "ecs_service":
            return EcsService.of(reference["cluster"], reference["service"], **self._connection)
        raise ConfigError(
            "journal",
            entry.title,
            f"is of the kind {reference['kind']!r}, which this version of Headroom does not know.",
            "Restore with the version that wrote it.",
        )


def connection_of(profile: ServiceProfile) -> dict[str, Any]:
    return {"aws_conn_id": profile.aws.connection, "region_name": profile.aws.region}
