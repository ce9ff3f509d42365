"""CloudWatch data of the plant, alarms that act, and policies that scale real instances."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.integration.sandbox.conftest import GROUP, RunningSandbox, wait_for

SLOTS_TPS = 4 / 0.020  # what one instance of the test plant can do


def labels(sandbox: RunningSandbox) -> tuple[str, str]:
    """The values of the dimensions LoadBalancer and TargetGroup."""
    resources = sandbox.state["resources"]
    return (
        resources["load_balancer_arn"].partition("loadbalancer/")[2],
        resources["target_group_arn"].rpartition(":")[2],
    )


class Load:
    """About `rate` requests a second, sent whether answers come or not."""

    def __init__(self, sandbox: RunningSandbox, rate: float) -> None:
        self._url = f"{sandbox.state['load_balancer_url']}/products"
        self._interval_s = 1 / rate
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(32)
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._pool.shutdown(cancel_futures=True)

    def _send(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            self._pool.submit(self._get)
            due += self._interval_s
            time.sleep(max(0.0, due - time.monotonic()))

    def _get(self) -> None:
        with urllib.request.urlopen(self._url, timeout=10) as answer:
            answer.read()


def latest(sandbox: RunningSandbox, namespace: str, metric: str, statistic: str, **dimensions: str) -> float | None:
    points = sandbox.client("cloudwatch").get_metric_data(
        StartTime=datetime.now(UTC) - timedelta(seconds=6),
        EndTime=datetime.now(UTC),
        ScanBy="TimestampDescending",
        MetricDataQueries=[
            {
                "Id": "m",
                "MetricStat": {
                    "Metric": {
                        "Namespace": namespace,
                        "MetricName": metric,
                        "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
                    },
                    "Period": 1,
                    "Stat": statistic,
                },
            }
        ],
    )["MetricDataResults"][0]["Values"]
    return points[0] if points else None


def test_the_plant_publishes_what_aws_publishes(sandbox: RunningSandbox) -> None:
    balancer, target_group = labels(sandbox)
    both = {"LoadBalancer": balancer, "TargetGroup": target_group}
    with Load(sandbox, 40):
        time.sleep(3.5)
        requests = latest(sandbox, "AWS/ApplicationELB", "RequestCount", "Sum", LoadBalancer=balancer)
        per_target = latest(sandbox, "AWS/ApplicationELB", "RequestCountPerTarget", "Sum", TargetGroup=target_group)
        cpu = latest(sandbox, "AWS/EC2", "CPUUtilization", "Average", AutoScalingGroupName=GROUP)
        p95 = latest(sandbox, "AWS/ApplicationELB", "TargetResponseTime", "p95", **both)
        desired = latest(sandbox, "AWS/AutoScaling", "GroupDesiredCapacity", "Average", AutoScalingGroupName=GROUP)
        healthy = latest(sandbox, "AWS/ApplicationELB", "HealthyHostCount", "Maximum", **both)
    # 40 a second are 2400 in an AWS minute, which lasts one second here; a busy test machine may send fewer.
    assert requests == per_target
    assert requests is not None
    assert 600 < requests < 3600
    assert cpu == pytest.approx(100 * requests / 60 / SLOTS_TPS, rel=0.35)
    assert p95 is not None
    assert 0.019 < p95 < 0.2
    assert (desired, healthy) == (1, 1)
    names = {m["MetricName"] for m in sandbox.client("cloudwatch").list_metrics(Namespace="AWS/AutoScaling")["Metrics"]}
    assert "GroupInServiceInstances" in names


def test_statistics_and_percentiles_of_own_data(sandbox: RunningSandbox) -> None:
    cloudwatch = sandbox.client("cloudwatch")
    moment = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=30)
    for namespace, values in (("Own", list(range(1, 101))), ("Other", [7000])):
        cloudwatch.put_metric_data(
            Namespace=namespace,
            MetricData=[
                {
                    "MetricName": "latency",
                    "Dimensions": [{"Name": "service", "Value": "checkout"}],
                    "Timestamp": moment,
                    "Values": [float(value) for value in values],
                    "Unit": "Milliseconds",
                }
            ],
        )
    points = cloudwatch.get_metric_statistics(
        Namespace="Own",
        MetricName="latency",
        Dimensions=[{"Name": "service", "Value": "checkout"}],
        StartTime=moment - timedelta(seconds=60),
        EndTime=moment + timedelta(seconds=60),
        Period=60,
        ExtendedStatistics=["p95", "p99.9"],
    )["Datapoints"]
    assert [point["ExtendedStatistics"] for point in points] == [{"p95": 95.0, "p99.9": 100.0}]
    assert points[0]["Unit"] == "Milliseconds"
    with pytest.raises(ClientError, match="does not compute the statistic TM99"):
        cloudwatch.get_metric_data(
            StartTime=moment - timedelta(seconds=60),
            EndTime=moment + timedelta(seconds=60),
            MetricDataQueries=[
                {
                    "Id": "m",
                    "MetricStat": {
                        "Metric": {"Namespace": "Own", "MetricName": "latency", "Dimensions": []},
                        "Period": 60,
                        "Stat": "TM99",
                    },
                }
            ],
        )


def test_an_alarm_goes_to_alarm_and_tells_its_topic(sandbox: RunningSandbox) -> None:
    cloudwatch, sns, sqs = (sandbox.client(service) for service in ("cloudwatch", "sns", "sqs"))
    topic = sns.create_topic(Name="alarms")["TopicArn"]
    queue = sqs.create_queue(QueueName="alarms")["QueueUrl"]
    queue_arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue_arn)
    cloudwatch.put_metric_alarm(
        AlarmName="too-many-instances",
        Namespace="AWS/AutoScaling",
        MetricName="GroupInServiceInstances",
        Dimensions=[{"Name": "AutoScalingGroupName", "Value": GROUP}],
        Statistic="Average",
        Period=60,
        EvaluationPeriods=2,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
        AlarmActions=[topic],
        TreatMissingData="notBreaching",
    )

    def state() -> str:
        value: str = cloudwatch.describe_alarms(AlarmNames=["too-many-instances"])["MetricAlarms"][0]["StateValue"]
        return value

    assert state() == "INSUFFICIENT_DATA"
    wait_for("OK", lambda: state() == "OK")
    sandbox.scale_to(2)
    wait_for("ALARM", lambda: state() == "ALARM")
    messages: list[dict[str, Any]] = []

    def message_arrived() -> bool:
        for message in sqs.receive_message(QueueUrl=queue).get("Messages", []):
            messages.append(json.loads(json.loads(message["Body"])["Message"]))
        return bool(messages)

    wait_for("the message", message_arrived)
    assert (messages[0]["AlarmName"], messages[0]["NewStateValue"]) == ("too-many-instances", "ALARM")
    history = cloudwatch.describe_alarm_history(AlarmName="too-many-instances", HistoryItemType="StateUpdate")
    assert "Alarm updated from OK to ALARM" in [item["HistorySummary"] for item in history["AlarmHistoryItems"]]


def test_target_tracking_scales_out_and_suspending_stops_it(sandbox: RunningSandbox) -> None:
    autoscaling, cloudwatch = sandbox.client("autoscaling"), sandbox.client("cloudwatch")
    balancer, target_group = labels(sandbox)
    autoscaling.suspend_processes(AutoScalingGroupName=GROUP, ScalingProcesses=["AlarmNotification"])
    answer = autoscaling.put_scaling_policy(
        AutoScalingGroupName=GROUP,
        PolicyName="requests",
        PolicyType="TargetTrackingScaling",
        TargetTrackingConfiguration={
            "PredefinedMetricSpecification": {
                "PredefinedMetricType": "ALBRequestCountPerTarget",
                "ResourceLabel": f"{balancer}/{target_group}",
            },
            "TargetValue": 900.0,
        },
    )
    names = [alarm["AlarmName"] for alarm in answer["Alarms"]]
    assert [name.split("-Alarm")[1].split("-")[0] for name in names] == ["High", "Low"]
    (policy,) = autoscaling.describe_policies(AutoScalingGroupName=GROUP)["ScalingPolicies"]
    assert (policy["PolicyARN"], policy["Enabled"]) == (answer["PolicyARN"], True)
    assert [alarm["AlarmName"] for alarm in policy["Alarms"]] == names
    high, low = cloudwatch.describe_alarms(AlarmNames=names)["MetricAlarms"]
    assert (high["Threshold"], high["EvaluationPeriods"]) == (900.0, 3)
    assert (low["Threshold"], low["EvaluationPeriods"]) == (810.0, 15)

    with Load(sandbox, 40):
        alarm = lambda: cloudwatch.describe_alarms(AlarmNames=names[:1])["MetricAlarms"][0]["StateValue"]  # noqa: E731
        wait_for("the high alarm", lambda: alarm() == "ALARM")
        time.sleep(1.5)
        assert sandbox.group()["DesiredCapacity"] == 1, "AlarmNotification is suspended"
        autoscaling.resume_processes(AutoScalingGroupName=GROUP)
        wait_for("more instances", lambda: len(sandbox.in_service()) >= 2)
    cause = next(a for a in sandbox.activities() if a["Description"].startswith("Launching"))["Cause"]
    assert f"a monitor alarm {names[0]} in state ALARM triggered policy requests" in cause

    autoscaling.delete_policy(AutoScalingGroupName=GROUP, PolicyName="requests")
    assert cloudwatch.describe_alarms(AlarmNames=names)["MetricAlarms"] == []


def test_a_step_policy_is_carried_out_by_hand_and_by_its_alarm(sandbox: RunningSandbox) -> None:
    autoscaling, cloudwatch = sandbox.client("autoscaling"), sandbox.client("cloudwatch")
    arn = autoscaling.put_scaling_policy(
        AutoScalingGroupName=GROUP,
        PolicyName="steps",
        PolicyType="StepScaling",
        AdjustmentType="ChangeInCapacity",
        StepAdjustments=[
            {"MetricIntervalLowerBound": 0.0, "MetricIntervalUpperBound": 10.0, "ScalingAdjustment": 1},
            {"MetricIntervalLowerBound": 10.0, "ScalingAdjustment": 2},
        ],
    )["PolicyARN"]
    autoscaling.execute_policy(AutoScalingGroupName=GROUP, PolicyName="steps", MetricValue=75.0, BreachThreshold=50.0)
    assert sandbox.group()["DesiredCapacity"] == 3
    sandbox.scale_to(1)
    cloudwatch.put_metric_alarm(
        AlarmName="steps",
        Namespace="Own",
        MetricName="pressure",
        Statistic="Maximum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=50,
        ComparisonOperator="GreaterThanThreshold",
        AlarmActions=[arn],
    )
    cloudwatch.put_metric_data(Namespace="Own", MetricData=[{"MetricName": "pressure", "Value": 55.0}])
    wait_for("one more", lambda: sandbox.group()["DesiredCapacity"] == 2)


def test_a_schedule_changes_the_sizes_unless_suspended(sandbox: RunningSandbox) -> None:
    autoscaling = sandbox.client("autoscaling")
    autoscaling.suspend_processes(AutoScalingGroupName=GROUP, ScalingProcesses=["ScheduledActions"])
    soon = datetime.now(UTC) + timedelta(seconds=1)
    autoscaling.put_scheduled_update_group_action(
        AutoScalingGroupName=GROUP, ScheduledActionName="never", StartTime=soon, DesiredCapacity=3
    )
    wait_for("the action's time", lambda: not autoscaling.describe_scheduled_actions()["ScheduledUpdateGroupActions"])
    assert sandbox.group()["DesiredCapacity"] == 1
    autoscaling.resume_processes(AutoScalingGroupName=GROUP)
    autoscaling.put_scheduled_update_group_action(
        AutoScalingGroupName=GROUP, ScheduledActionName="soon", StartTime=datetime.now(UTC), DesiredCapacity=2
    )
    wait_for("the scheduled size", lambda: sandbox.group()["DesiredCapacity"] == 2)
