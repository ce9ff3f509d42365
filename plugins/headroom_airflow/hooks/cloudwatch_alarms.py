"""Hook for CloudWatch alarms: read, silence and bring back exactly what was."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from headroom_airflow.hooks.aws_errors import told
from headroom_airflow.hooks.base import ServiceHook, chunks
from include.capacity.errors import NotReady

ALARMS_AT_ONCE = 100  # what DescribeAlarms, DeleteAlarms and the two switches of actions take
KINDS = ("MetricAlarm", "CompositeAlarm")
# What DescribeAlarms tells of an alarm and PutMetricAlarm (PutCompositeAlarm) takes. The rest is state.
METRIC_FIELDS = (
    "AlarmName", "AlarmDescription", "ActionsEnabled", "OKActions", "AlarmActions", "InsufficientDataActions",
    "MetricName", "Namespace", "Statistic", "ExtendedStatistic", "Dimensions", "Period", "Unit", "EvaluationPeriods",
    "DatapointsToAlarm", "Threshold", "ComparisonOperator", "TreatMissingData", "EvaluateLowSampleCountPercentile",
    "Metrics", "ThresholdMetricId",
)  # fmt: skip
COMPOSITE_FIELDS = (
    "AlarmName", "AlarmDescription", "ActionsEnabled", "OKActions", "AlarmActions", "InsufficientDataActions",
    "AlarmRule", "ActionsSuppressor", "ActionsSuppressorWaitPeriod", "ActionsSuppressorExtensionPeriod",
)  # fmt: skip


class CloudWatchAlarmsHook(ServiceHook):
    """Reads alarms, switches their actions, puts and deletes them.

    Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/
    """

    service = "cloudwatch"

    @told
    def alarms(self, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Name -> description, of metric and composite alarms. A name that does not exist is left out."""
        found: dict[str, dict[str, Any]] = {}
        for part in chunks(names, ALARMS_AT_ONCE):
            found |= self._described(AlarmNames=part)
        return found

    @told
    def with_prefix(self, prefix: str) -> dict[str, dict[str, Any]]:
        """Name -> description of all alarms whose name begins so."""
        return self._described(AlarmNamePrefix=prefix)

    @told
    def with_action(self, action_arn_prefix: str) -> dict[str, dict[str, Any]]:
        """Name -> description of all alarms that act on an ARN which begins so, such as a topic or a policy."""
        return self._described(ActionPrefix=action_arn_prefix)

    def _described(self, **which: Any) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for page in self.conn.get_paginator("describe_alarms").paginate(AlarmTypes=list(KINDS), **which):
            for alarm in [*page.get("MetricAlarms", []), *page.get("CompositeAlarms", [])]:
                found[alarm["AlarmName"]] = dict(alarm)
        return found

    def existing(self, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Name -> description. Raises NotReady with the names that do not exist."""
        found = self.alarms(names)
        if missing := sorted(set(names) - set(found)):
            raise NotReady(
                f"There is no alarm {', '.join(repr(name) for name in missing)}. "
                "Check the names of alarms, aws.region and aws.connection of the service profile."
            )
        return found

    def in_alarm(self, names: Sequence[str]) -> dict[str, str]:
        """Name -> reason of those that are in ALARM now. Raises NotReady for a name that does not exist."""
        return {
            name: str(alarm.get("StateReason", ""))
            for name, alarm in self.existing(names).items()
            if alarm["StateValue"] == "ALARM"
        }

    # -- silencing, as a pair with the way back

    @told
    def silence(self, names: Sequence[str]) -> None:
        """Switches the actions off; the alarms go on being evaluated. Silencing twice changes nothing."""
        for part in chunks(names, ALARMS_AT_ONCE):
            self.conn.disable_alarm_actions(AlarmNames=part)

    @told
    def speak(self, names: Sequence[str]) -> None:
        """Switches the actions on."""
        for part in chunks(names, ALARMS_AT_ONCE):
            self.conn.enable_alarm_actions(AlarmNames=part)

    def actions_enabled(self, names: Sequence[str]) -> dict[str, bool]:
        """Name -> whether its actions are on: what to keep before silencing. Raises NotReady for an unknown name."""
        return {name: bool(alarm["ActionsEnabled"]) for name, alarm in self.existing(names).items()}

    def restore_actions(self, before: Mapping[str, bool]) -> list[str]:
        """Brings back what `actions_enabled` told, an alarm that was off stays off. Returns the names that have gone
        meanwhile, for which nothing can be done."""
        now = {name: bool(alarm["ActionsEnabled"]) for name, alarm in self.alarms(list(before)).items()}
        self.speak([name for name, enabled in now.items() if before[name] and not enabled])
        self.silence([name for name, enabled in now.items() if not before[name] and enabled])
        return sorted(set(before) - set(now))

    # -- definitions

    @told
    def put(self, definition: Mapping[str, Any], tags: Mapping[str, str] | None = None) -> None:
        """Creates or replaces an alarm. One that exists keeps its state; AWS takes `tags` for a new one only."""
        call = self.conn.put_composite_alarm if "AlarmRule" in definition else self.conn.put_metric_alarm
        call(**definition, **({"Tags": _pairs(tags)} if tags else {}))

    @told
    def delete(self, names: Sequence[str]) -> None:
        """Deletes alarms; one that is gone already does no harm."""
        for part in chunks(sorted(self.alarms(names)), ALARMS_AT_ONCE):
            self.conn.delete_alarms(AlarmNames=part)

    @told
    def snapshot(self, names: Sequence[str]) -> dict[str, dict[str, Any] | None]:
        """Name -> {"definition", "tags"}, None for an alarm that does not exist. Plain data: `put_back` takes it."""
        found = self.alarms(names)
        taken: dict[str, dict[str, Any] | None] = dict.fromkeys(names)
        for name, alarm in found.items():
            answer = self.conn.list_tags_for_resource(ResourceARN=alarm["AlarmArn"])
            taken[name] = {"definition": definition_of(alarm), "tags": _mapping(answer["Tags"])}
        return taken

    def put_back(self, before: Mapping[str, Mapping[str, Any] | None]) -> list[str]:
        """Brings alarms to what `snapshot` saw: deletes those that were not there, recreates or replaces the others.
        Returns the names of those that had to be changed."""
        now = self.snapshot(list(before))
        changed = [name for name, taken in before.items() if now[name] != taken]
        self.delete([name for name in changed if before[name] is None])
        for name in changed:
            if (taken := before[name]) is not None:
                self.put(taken["definition"], taken["tags"])
                self._set_tags(name, taken["tags"])
        return changed

    @told
    def _set_tags(self, name: str, tags: Mapping[str, str]) -> None:
        arn = self.existing([name])[name]["AlarmArn"]
        now = _mapping(self.conn.list_tags_for_resource(ResourceARN=arn)["Tags"])
        if gone := sorted(set(now) - set(tags)):
            self.conn.untag_resource(ResourceARN=arn, TagKeys=gone)
        if wanted := {key: value for key, value in tags.items() if now.get(key) != value}:
            self.conn.tag_resource(ResourceARN=arn, Tags=_pairs(wanted))

    @told
    def history(self, name: str, **window: Any) -> list[dict[str, Any]]:
        """What happened to an alarm, oldest first. `window` may hold StartDate, EndDate and HistoryItemType."""
        return self.items("describe_alarm_history", "AlarmHistoryItems", AlarmName=name, **window)[::-1]


def definition_of(alarm: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that would make a described alarm again: everything but its state."""
    fields: Iterable[str] = COMPOSITE_FIELDS if "AlarmRule" in alarm else METRIC_FIELDS
    return {field: alarm[field] for field in fields if alarm.get(field) not in (None, [])}


def _pairs(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _mapping(tags: Iterable[Mapping[str, str]]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags}
