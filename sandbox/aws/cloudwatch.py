"""CloudWatch: data with percentiles, and alarms that are evaluated and act."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from moto.cloudwatch import models
from moto.cloudwatch.exceptions import InvalidParameterValue, ValidationError
from moto.cloudwatch.models import cloudwatch_backends
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.responses import ActionResult, EmptyResult

from sandbox.aws.alarm_rules import RuleError, parse
from sandbox.aws.metric_math import MathError, evaluate
from sandbox.aws.metric_store import Datum, MetricKey, MetricStore, dimension_set, is_statistic, statistic
from sandbox.aws.moto_access import ExtendedBackend, route_to
from sandbox.aws.outbox import OUTBOX
from sandbox.aws.scaling_activities import now
from sandbox.aws.server import InvalidHere

log = logging.getLogger(__name__)

HISTORY_KEPT = 500


class SandboxAlarm(models.Alarm):
    """An alarm that begins without data, as on AWS."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.state_value = "INSUFFICIENT_DATA"

    @property
    def alarm_name(self) -> str:
        """For the response: moto finds `name` by the name of its own class only."""
        return self.name

    @property
    def alarm_description(self) -> str | None:
        return self.description

    @property
    def alarm_rule(self) -> str | None:
        return self.rule

    @property
    def key(self) -> MetricKey:
        dimensions = frozenset((d.name, d.value) for d in self.dimensions)
        return MetricKey(self.namespace, self.metric_name, dimensions)  # type: ignore[arg-type]

    def adopt_state(self, old: models.Alarm) -> None:
        """An alarm that is put again keeps its state."""
        self.state_value = old.state_value
        self.state_reason = old.state_reason
        self.state_reason_data = old.state_reason_data
        self.state_updated_timestamp = old.state_updated_timestamp


class SandboxCloudWatchBackend(ExtendedBackend, models.CloudWatchBackend):
    """The state of CloudWatch in one account and region."""

    MOTO_SERVICE = "cloudwatch"

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.store = MetricStore()
        self.alarm_history: list[dict[str, Any]] = []

    # -- data

    def put_metric_data(self, namespace: str, metric_data: list[dict[str, Any]]) -> None:
        for number, metric in enumerate(metric_data, start=1):
            self._validate_parameters_put_metric_data(metric, number)
        for metric in metric_data:
            key = MetricKey(namespace, metric["MetricName"], dimension_set(metric.get("Dimensions") or ()))
            self.store.put(key, _datum(metric))

    def get_metric_data(
        self, queries: list[dict[str, Any]], start_time: datetime, end_time: datetime, scan_by: str = ""
    ) -> list[dict[str, Any]]:
        start_s, end_s = _window(start_time, end_time)
        series: dict[str, dict[float, float]] = {}
        for query in queries:
            if "MetricStat" in query:
                _check_statistics([query["MetricStat"]["Stat"]])
                series[query["Id"]] = self._stat_series(query["MetricStat"], start_s, end_s)
        for query in queries:
            if "Expression" in query:
                try:
                    series[query["Id"]] = evaluate(query["Expression"], series)
                except MathError as error:
                    raise ValidationError(f"Error in expression '{query['Id']}': {error}") from error
        results = []
        for query in queries:
            if query.get("ReturnData") is False:
                continue
            points = sorted(series[query["Id"]].items(), reverse=scan_by != "TimestampAscending")
            results.append(
                {
                    "Id": query["Id"],
                    "Label": query.get("Label") or _label(query),
                    "Timestamps": [datetime.fromtimestamp(t, UTC) for t, _ in points],
                    "Values": [v for _, v in points],
                    "StatusCode": "Complete",
                }
            )
        return results

    def _stat_series(self, stat: dict[str, Any], start_s: float, end_s: float) -> dict[float, float]:
        metric = stat["Metric"]
        key = MetricKey(metric["Namespace"], metric["MetricName"], dimension_set(metric.get("Dimensions") or ()))
        points = self.store.points(key, start_s, end_s, float(stat["Period"]), stat.get("Unit"))
        values = ((point.start_s, statistic(stat["Stat"], point.data)) for point in points)
        return {start: value for start, value in values if value is not None}

    def get_statistics(
        self,
        key: MetricKey,
        start_time: datetime,
        end_time: datetime,
        period: int,
        statistics: list[str],
        extended: list[str],
        unit: str | None,
    ) -> list[dict[str, Any]]:
        """The data points of GetMetricStatistics."""
        start_s, end_s = _window(start_time, end_time)
        _check_statistics([*statistics, *extended])
        found = []
        for point in self.store.points(key, start_s, end_s, float(period), unit):
            entry: dict[str, Any] = {
                "Timestamp": datetime.fromtimestamp(point.start_s, UTC),
                "Unit": point.unit or "None",
            }
            entry.update({name: statistic(name, point.data) for name in statistics})
            percentiles = {name: statistic(name, point.data) for name in extended}
            if percentiles:
                entry["ExtendedStatistics"] = {k: v for k, v in percentiles.items() if v is not None}
            found.append(entry)
        return found

    def get_filtered_metrics(self, metric_name: str, namespace: str, dimensions: list[dict[str, str]]) -> list[Any]:
        found = []
        for key in self.store:
            names = dict(key.dimensions)
            if (namespace and key.namespace != namespace) or (metric_name and key.name != metric_name):
                continue
            if any(d["Name"] not in names or d.get("Value") not in (None, names[d["Name"]]) for d in dimensions or ()):
                continue
            shown = [{"Name": name, "Value": value} for name, value in sorted(key.dimensions)]
            found.append({"Namespace": key.namespace, "MetricName": key.name, "Dimensions": shown})
        return found

    # -- alarms

    def put_metric_alarm(self, name: str, **kwargs: Any) -> models.Alarm:  # type: ignore[override]
        if kwargs.get("metric_data_queries"):
            raise InvalidHere("The sandbox evaluates alarms on a single metric only")
        if rule := kwargs.get("rule"):
            self._check_rule(rule)
        else:
            _check_statistics([kwargs.get("extended_statistic") or kwargs["statistic"]])
        old = self.alarms.get(name)
        alarm = super().put_metric_alarm(name=name, **kwargs)
        if old is not None and isinstance(alarm, SandboxAlarm):
            alarm.adopt_state(old)
        self._remember(name, "ConfigurationUpdate", f'Alarm "{name}" {"updated" if old else "created"}')
        self.evaluate_composites()
        return alarm

    def _check_rule(self, text: str) -> None:
        try:
            names = parse(text).names
        except RuleError as error:
            raise ValidationError(str(error)) from error
        if missing := [name for name in names if name not in self.alarms]:
            raise ValidationError(f"AlarmRule must not contain any unknown alarm, such as {missing[0]}")

    def evaluate_composites(self) -> None:
        """Bring composite alarms in line with the states of the alarms below them, which may be composite, too."""
        composites = [alarm for alarm in self.alarms.values() if alarm.rule]
        for _ in composites:  # a change climbs one level each time
            changed = False
            for alarm in composites:
                rule = parse(alarm.rule or "FALSE")
                state = "ALARM" if rule.holds(self._state_of) else "OK"
                if state != alarm.state_value:
                    changed = True
                    told = ", ".join(f"{name} is {self._state_of(name)}" for name in rule.names)
                    self._change_state(alarm.name, f"{alarm.rule}: {told}", None, state)
            if not changed:
                return

    def _state_of(self, name: str) -> str:
        alarm = self.alarms.get(name)
        return alarm.state_value if alarm else "INSUFFICIENT_DATA"

    def set_alarm_state(self, alarm_name: str, reason: str, reason_data: str | None, state_value: str) -> None:  # type: ignore[override]
        self._change_state(alarm_name, reason, reason_data, state_value)
        self.evaluate_composites()

    def _change_state(self, alarm_name: str, reason: str, reason_data: str | None, state_value: str) -> None:
        alarm = self.alarms.get(alarm_name)
        old = alarm.state_value if alarm else ""
        super().set_alarm_state(alarm_name, reason, reason_data, state_value)  # type: ignore[arg-type]
        if alarm is None or old == state_value:
            return
        self._remember(alarm_name, "StateUpdate", f"Alarm updated from {old} to {state_value}")
        if not alarm.actions_enabled:
            return
        actions = {
            "ALARM": alarm.alarm_actions,
            "OK": alarm.ok_actions,
            "INSUFFICIENT_DATA": alarm.insufficient_data_actions,
        }
        for arn in actions[state_value]:
            self._act(alarm, arn, old)

    def _act(self, alarm: models.Alarm, arn: str, old: str) -> None:
        service = arn.split(":")[2]
        if service == "sns":
            OUTBOX.publish(arn, f'{alarm.state_value}: "{alarm.name}" in {self.region_name}', self._message(alarm, old))
            self._remember(alarm.name, "Action", f"Successfully executed action {arn}")
        elif service != "autoscaling":  # scaling policies are carried out by the plant, in every period in ALARM
            log.warning("alarm %s: the sandbox cannot carry out the action %s", alarm.name, arn)
            self._remember(alarm.name, "Action", f"Failed to execute action {arn}: not supported by the sandbox")

    def _message(self, alarm: models.Alarm, old: str) -> dict[str, Any]:
        return {
            "AlarmName": alarm.name,
            "AlarmDescription": alarm.description,
            "AWSAccountId": self.account_id,
            "NewStateValue": alarm.state_value,
            "NewStateReason": alarm.state_reason,
            "StateChangeTime": now().isoformat(),
            "Region": self.region_name,
            "AlarmArn": alarm.alarm_arn,
            "OldStateValue": old,
            **({"AlarmRule": alarm.rule} if alarm.rule else {"Trigger": self._trigger(alarm)}),
        }

    @staticmethod
    def _trigger(alarm: models.Alarm) -> dict[str, Any]:
        return {
            "MetricName": alarm.metric_name,
            "Namespace": alarm.namespace,
            "Statistic": alarm.statistic,
            "Dimensions": [{"name": d.name, "value": d.value} for d in alarm.dimensions],
            "Period": alarm.period,
            "EvaluationPeriods": alarm.evaluation_periods,
            "ComparisonOperator": alarm.comparison_operator,
            "Threshold": alarm.threshold,
            "TreatMissingData": alarm.treat_missing_data or "missing",
        }

    def _remember(self, alarm_name: str, kind: str, summary: str) -> None:
        entry = {
            "AlarmName": alarm_name,
            "AlarmType": "MetricAlarm",
            "Timestamp": now(),
            "HistoryItemType": kind,
            "HistorySummary": summary,
        }
        self.alarm_history.insert(0, entry)
        del self.alarm_history[HISTORY_KEPT:]


class SandboxCloudWatchResponse(CloudWatchResponse):
    """Each public method answers the action of its name."""

    @property
    def cloudwatch_backend(self) -> SandboxCloudWatchBackend:
        return super().cloudwatch_backend  # type: ignore[return-value]

    def get_metric_statistics(self) -> ActionResult:
        statistics = self._get_param("Statistics") or []
        extended = self._get_param("ExtendedStatistics") or []
        if not statistics and not extended:
            raise InvalidParameterValue("Must specify either Statistics or ExtendedStatistics")
        name = self._get_param("MetricName")
        key = MetricKey(self._get_param("Namespace"), name, dimension_set(self._get_param("Dimensions") or ()))
        points = self.cloudwatch_backend.get_statistics(
            key,
            self._get_param("StartTime"),
            self._get_param("EndTime"),
            self._get_param("Period"),
            statistics,
            extended,
            self._get_param("Unit"),
        )
        return ActionResult({"Label": name, "Datapoints": points})

    def describe_alarm_history(self) -> ActionResult:
        name, kind = self._get_param("AlarmName"), self._get_param("HistoryItemType")
        start, end = self._get_param("StartDate"), self._get_param("EndDate")
        items = [
            item
            for item in self.cloudwatch_backend.alarm_history
            if name in (None, item["AlarmName"])
            and kind in (None, item["HistoryItemType"])
            and (start is None or item["Timestamp"] >= start)
            and (end is None or item["Timestamp"] <= end)
        ]
        return ActionResult({"AlarmHistoryItems": items[: self._get_int_param("MaxRecords") or 100]})

    def put_composite_alarm(self) -> EmptyResult:
        if self._get_param("ActionsSuppressor"):
            raise InvalidHere("The sandbox has no suppressor of the actions of composite alarms")
        self.put_metric_alarm()
        return EmptyResult()


def _datum(metric: dict[str, Any]) -> Datum:
    moment = metric.get("Timestamp")
    time_s = _seconds(moment) if moment is not None else time.time()
    unit = metric.get("Unit")
    if metric.get("StatisticValues"):
        s = metric["StatisticValues"]
        summary = (float(s["Sum"]), float(s["Minimum"]), float(s["Maximum"]), float(s["SampleCount"]))
        return Datum(time_s, unit, (), (), summary)
    values = tuple(float(v) for v in metric.get("Values") or [metric.get("Value", 0.0)])
    counts = tuple(float(c) for c in metric.get("Counts") or [1.0] * len(values))
    return Datum(time_s, unit, values, counts)


def _seconds(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _window(start: datetime, end: datetime) -> tuple[float, float]:
    start_s, end_s = _seconds(start), _seconds(end)
    if start_s >= end_s:
        raise ValidationError("The parameter StartTime must be less than the parameter EndTime.")
    return start_s, end_s


def _check_statistics(names: Iterable[str]) -> None:
    for name in names:
        if not is_statistic(name):
            raise InvalidHere(
                f"The sandbox does not compute the statistic {name}; it has Average, Sum, Minimum, Maximum, "
                "SampleCount, and percentiles such as p95 or p99.9"
            )


def _label(query: dict[str, Any]) -> str:
    return query["MetricStat"]["Metric"]["MetricName"] if "MetricStat" in query else query["Id"]


def install() -> None:
    """Put the classes above in the place of moto's."""
    models.Alarm = SandboxAlarm  # type: ignore[misc]
    cloudwatch_backends.backend = SandboxCloudWatchBackend
    route_to("cloudwatch", SandboxCloudWatchResponse)
