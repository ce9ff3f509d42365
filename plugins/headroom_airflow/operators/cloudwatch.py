"""Operators that silence alarms and let them speak again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from headroom_airflow.hooks.cloudwatch_alarms import CloudWatchAlarmsHook
from headroom_airflow.links.console import AlarmsLink
from headroom_airflow.operators.base import ServiceOperator
from headroom_airflow.task_memory import remembered


class CloudWatchSilenceAlarmsOperator(ServiceOperator[CloudWatchAlarmsHook]):
    """Switches the actions of alarms off; they go on being evaluated. Fails when one does not exist.

    Returns name -> whether its actions were on before the first try, for CloudWatchRestoreAlarmsOperator.

    Args:
        alarm_names: metric or composite alarms.
    """

    aws_hook_class = CloudWatchAlarmsHook
    operator_extra_links = (AlarmsLink(),)
    template_fields: Sequence[str] = aws_template_fields("alarm_names")

    def __init__(self, *, alarm_names: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.alarm_names = alarm_names

    def execute(self, context: Any) -> dict[str, bool]:
        names = list(self.alarm_names)
        self.link(context, AlarmsLink, search=" ".join(names))
        before: dict[str, bool] = remembered(context, "enabled_before", lambda: self.hook.actions_enabled(names))
        self.hook.silence(names)
        self.log.info("Silenced %s", before)
        return before


class CloudWatchRestoreAlarmsOperator(ServiceOperator[CloudWatchAlarmsHook]):
    """Brings the actions of alarms back to what CloudWatchSilenceAlarmsOperator found: what was off stays off.

    Returns the names of alarms that have been deleted meanwhile.

    Args:
        before: what it returned.
    """

    aws_hook_class = CloudWatchAlarmsHook
    operator_extra_links = (AlarmsLink(),)
    template_fields: Sequence[str] = aws_template_fields("before")

    def __init__(self, *, before: Mapping[str, bool], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.before = before

    def execute(self, context: Any) -> list[str]:
        self.link(context, AlarmsLink, search=" ".join(self.before))
        gone = self.hook.restore_actions(self.before)
        if gone:
            self.log.warning("These alarms have been deleted meanwhile: %s", ", ".join(gone))
        return gone
