"""An Auto Scaling group whose instances are real: sizes, draining, suspended processes, health, notifications."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from tests.integration.sandbox.conftest import GROUP, RunningSandbox, wait_for


class Shoppers:
    """Closed-loop clients on keep-alive connections; every answer but 200 is an error."""

    def __init__(self, url: str, clients: int = 4) -> None:
        self.answers = 0
        self.errors: list[str] = []
        self.served_by: set[str] = set()
        self._address = urlsplit(url).netloc
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._shop) for _ in range(clients)]

    def __enter__(self) -> Shoppers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _shop(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=10)
        while not self._stop.is_set():
            try:
                connection.request("GET", "/products")
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.errors.append(repr(error))
                connection.close()
                continue
            self.answers += 1
            self.served_by.add(answer.headers.get("X-Instance", ""))
            if answer.status != 200:
                self.errors.append(str(answer.status))
            time.sleep(0.005)


def test_scaling_out_and_in_under_traffic_loses_no_request(sandbox: RunningSandbox) -> None:
    before = {activity["ActivityId"] for activity in sandbox.activities()}
    with Shoppers(sandbox.state["load_balancer_url"]) as shoppers:
        sandbox.scale_to(2)
        wait_for("traffic on both", lambda: len(shoppers.served_by) == 2)
        sandbox.scale_to(1)
        left = sandbox.in_service()[0]
        shoppers.served_by.clear()
        wait_for("traffic on the one that is left", lambda: left in shoppers.served_by)
    assert shoppers.errors == []
    assert shoppers.answers > 50
    assert shoppers.served_by == {left}

    new = [activity for activity in sandbox.activities() if activity["ActivityId"] not in before]
    termination, launch = new
    assert launch["Description"].startswith("Launching a new EC2 instance: i-")
    assert "explicitly set group desired capacity changing the desired capacity from 1 to 2" in launch["Cause"]
    assert "increasing the capacity from 1 to 2" in launch["Cause"]
    assert "shrinking the capacity from 2 to 1" in termination["Cause"]
    for activity in new:
        assert (activity["StatusCode"], activity["Progress"]) == ("Successful", 100)
        assert activity["EndTime"] >= activity["StartTime"]


def test_a_new_instance_is_pending_and_its_target_initial_until_it_serves(sandbox: RunningSandbox) -> None:
    sandbox.client("autoscaling").set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=2)
    seen: set[tuple[str, ...]] = set()

    def both_serve() -> bool:
        lifecycle = sorted(instance["LifecycleState"] for instance in sandbox.group()["Instances"])
        seen.add((*lifecycle, *sandbox.target_states()))
        return lifecycle == ["InService", "InService"]

    wait_for("two instances in service", both_serve)
    assert ("InService", "Pending", "healthy", "initial") in seen


def test_launch_suspended(sandbox: RunningSandbox) -> None:
    autoscaling = sandbox.client("autoscaling")
    autoscaling.suspend_processes(AutoScalingGroupName=GROUP, ScalingProcesses=["Launch"])
    autoscaling.set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=2)
    time.sleep(1.0)
    assert len(sandbox.group()["Instances"]) == 1
    assert [p["ProcessName"] for p in sandbox.group()["SuspendedProcesses"]] == ["Launch"]
    autoscaling.resume_processes(AutoScalingGroupName=GROUP, ScalingProcesses=["Launch"])
    wait_for("the launch after the resumption", lambda: len(sandbox.in_service()) == 2)


def test_add_to_load_balancer_suspended(sandbox: RunningSandbox) -> None:
    autoscaling = sandbox.client("autoscaling")
    autoscaling.suspend_processes(AutoScalingGroupName=GROUP, ScalingProcesses=["AddToLoadBalancer"])
    autoscaling.set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=2)
    wait_for("two instances in service", lambda: len(sandbox.in_service()) == 2)
    assert sandbox.target_states() == ["healthy"]
    autoscaling.resume_processes(AutoScalingGroupName=GROUP)
    autoscaling.set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=1)
    wait_for("one instance", lambda: len(sandbox.group()["Instances"]) == 1)
    if sandbox.target_states() == []:  # the one that is left is the one that was never registered
        sandbox.client("elbv2").register_targets(
            TargetGroupArn=sandbox.state["resources"]["target_group_arn"], Targets=[{"Id": sandbox.in_service()[0]}]
        )


def test_sizes_that_aws_refuses(sandbox: RunningSandbox) -> None:
    autoscaling = sandbox.client("autoscaling")
    with pytest.raises(ClientError, match="New SetDesiredCapacity value 99 is above max value 4") as above:
        autoscaling.set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=99)
    assert above.value.response["Error"]["Code"] == "ValidationError"
    with pytest.raises(ClientError, match="below min value 1"):
        autoscaling.set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=0)
    with pytest.raises(ClientError, match="Desired capacity:9 must be between"):
        autoscaling.update_auto_scaling_group(AutoScalingGroupName=GROUP, DesiredCapacity=9)
    with pytest.raises(ClientError, match="Max bound, 1, must be greater than or equal to min bound, 2"):
        autoscaling.update_auto_scaling_group(AutoScalingGroupName=GROUP, MinSize=2, MaxSize=1)
    with pytest.raises(ClientError, match="AutoScalingGroup name not found"):
        autoscaling.set_desired_capacity(AutoScalingGroupName="no-such-group", DesiredCapacity=1)
    assert sandbox.group()["DesiredCapacity"] == 1


def test_an_update_keeps_what_it_does_not_name(sandbox: RunningSandbox) -> None:
    autoscaling = sandbox.client("autoscaling")
    before = sandbox.group()
    autoscaling.update_auto_scaling_group(AutoScalingGroupName=GROUP, MinSize=2, DefaultInstanceWarmup=90)
    changed = sandbox.group()
    assert (changed["MinSize"], changed["DesiredCapacity"], changed["DefaultInstanceWarmup"]) == (2, 2, 90)
    autoscaling.update_auto_scaling_group(
        AutoScalingGroupName=GROUP, MinSize=1, DesiredCapacity=1, DefaultInstanceWarmup=before["DefaultInstanceWarmup"]
    )
    after = sandbox.group()
    assert {k: v for k, v in after.items() if k != "Instances"} == {k: v for k, v in before.items() if k != "Instances"}


def test_a_killed_instance_is_noticed_and_replaced(sandbox: RunningSandbox) -> None:
    (lost,) = sandbox.in_service()
    picture = wait_for("the instance in the picture", lambda: sandbox.status().get("instances"))
    os.kill(next(i["pid"] for i in picture if i["id"] == lost), signal.SIGKILL)
    wait_for("another instance in its place", lambda: sandbox.in_service() not in ([], [lost]) and sandbox.in_service())
    wait_for("a healthy target", lambda: sandbox.target_states() == ["healthy"])
    launch, termination = sandbox.activities()[:2]
    assert "unhealthy instance needing to be replaced" in launch["Cause"]
    assert lost in termination["Description"]
    assert "in response to an EC2 health check" in termination["Cause"]
    wait_for("the end of the termination", lambda: sandbox.activities()[1]["StatusCode"] == "Successful")


def test_replacement_suspended(sandbox: RunningSandbox) -> None:
    autoscaling = sandbox.client("autoscaling")
    autoscaling.suspend_processes(AutoScalingGroupName=GROUP, ScalingProcesses=["ReplaceUnhealthy"])
    (lost,) = sandbox.in_service()
    autoscaling.set_instance_health(InstanceId=lost, HealthStatus="Unhealthy", ShouldRespectGracePeriod=False)
    time.sleep(1.0)
    (instance,) = sandbox.group()["Instances"]
    assert (instance["InstanceId"], instance["HealthStatus"]) == (lost, "Unhealthy")
    autoscaling.resume_processes(AutoScalingGroupName=GROUP, ScalingProcesses=["ReplaceUnhealthy"])
    wait_for("the replacement", lambda: lost not in [i["InstanceId"] for i in sandbox.group()["Instances"]])


def test_a_terminated_instance_is_drained_and_the_capacity_shrinks(sandbox: RunningSandbox) -> None:
    sandbox.scale_to(2)
    gone = sandbox.in_service()[0]
    sandbox.client("autoscaling").terminate_instance_in_auto_scaling_group(
        InstanceId=gone, ShouldDecrementDesiredCapacity=True
    )
    wait_for(
        "one instance",
        lambda: (
            [i["InstanceId"] for i in sandbox.group()["Instances"]] != []
            and gone not in (i["InstanceId"] for i in sandbox.group()["Instances"])
        ),
    )
    assert sandbox.group()["DesiredCapacity"] == 1
    reservation = sandbox.client("ec2").describe_instances(InstanceIds=[gone])["Reservations"][0]
    assert reservation["Instances"][0]["State"]["Name"] == "terminated"
    with pytest.raises(ClientError, match="min size"):
        sandbox.client("autoscaling").terminate_instance_in_auto_scaling_group(
            InstanceId=sandbox.in_service()[0], ShouldDecrementDesiredCapacity=True
        )


def test_an_instance_terminated_behind_the_groups_back_is_replaced(sandbox: RunningSandbox) -> None:
    (lost,) = sandbox.in_service()
    sandbox.client("ec2").terminate_instances(InstanceIds=[lost])
    wait_for("another instance in its place", lambda: sandbox.in_service() not in ([], [lost]))


def test_a_deregistered_target_gets_no_traffic_and_the_instance_lives(sandbox: RunningSandbox) -> None:
    sandbox.scale_to(2)
    quiet, busy = sandbox.in_service()
    target_group = sandbox.state["resources"]["target_group_arn"]
    elb = sandbox.client("elbv2")
    elb.deregister_targets(TargetGroupArn=target_group, Targets=[{"Id": quiet}])
    wait_for("one target", lambda: sandbox.target_states() == ["healthy"])
    with Shoppers(sandbox.state["load_balancer_url"], clients=2) as shoppers:
        wait_for("some answers", lambda: shoppers.answers > 20)
    assert (shoppers.errors, shoppers.served_by) == ([], {busy})
    assert set(sandbox.in_service()) == {quiet, busy}
    wait_for("HAProxy has forgotten it", lambda: [t["id"] for t in sandbox.status()["targets"]] == [busy])
    elb.register_targets(TargetGroupArn=target_group, Targets=[{"Id": quiet}])
    wait_for("two targets", lambda: sandbox.target_states() == ["healthy", "healthy"])


def test_notifications_reach_a_queue_through_the_topic(sandbox: RunningSandbox) -> None:
    topic = sandbox.state["resources"]["topic_arn"]
    sqs, sns, autoscaling = (sandbox.client(service) for service in ("sqs", "sns", "autoscaling"))
    queue = sqs.create_queue(QueueName="scaling-events")["QueueUrl"]
    queue_arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue_arn)
    kinds = ["autoscaling:EC2_INSTANCE_LAUNCH", "autoscaling:EC2_INSTANCE_TERMINATE"]
    autoscaling.put_notification_configuration(AutoScalingGroupName=GROUP, TopicARN=topic, NotificationTypes=kinds)
    shown = autoscaling.describe_notification_configurations()["NotificationConfigurations"]
    assert [entry["NotificationType"] for entry in shown] == kinds
    sandbox.scale_to(2)
    sandbox.scale_to(1)
    events: list[dict[str, Any]] = []

    def both_arrived() -> bool:
        for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
            events.append(json.loads(json.loads(message["Body"])["Message"]))
        return len(events) >= 2

    wait_for("two messages", both_arrived)
    assert [event["Event"] for event in events] == kinds
    assert events[0]["AutoScalingGroupName"] == GROUP
    assert events[0]["StatusCode"] == "Successful"
    autoscaling.delete_notification_configuration(AutoScalingGroupName=GROUP, TopicARN=topic)
    assert autoscaling.describe_notification_configurations()["NotificationConfigurations"] == []


def test_missing_actions_and_services_are_named_at_once(sandbox: RunningSandbox) -> None:
    began = time.monotonic()
    with pytest.raises(ClientError, match="does not have the action autoscaling:RollbackInstanceRefresh"):
        sandbox.client("autoscaling").rollback_instance_refresh(AutoScalingGroupName=GROUP)
    with pytest.raises(ClientError, match="does not have the action pricing:ListPriceLists"):
        sandbox.client("pricing").list_price_lists(
            ServiceCode="AmazonEC2", EffectiveDate="2026-08-03", CurrencyCode="USD"
        )
    with pytest.raises(ClientError, match="does not have the service savingsplans"):
        sandbox.client("savingsplans").describe_savings_plans()
    assert time.monotonic() - began < 5, "boto3 must not repeat such a call"


def test_calls_are_recorded(sandbox: RunningSandbox) -> None:
    sandbox.client("autoscaling").describe_scaling_activities(AutoScalingGroupName=GROUP)
    calls = [json.loads(line) for line in (sandbox.folder / "logs" / "aws-calls.jsonl").read_text().splitlines()]
    last = next(call for call in reversed(calls) if call["action"] == "DescribeScalingActivities")
    assert (last["service"], last["status"], last["region"]) == ("autoscaling", 200, "us-east-1")
    assert last["resources"] == {"AutoScalingGroupName": GROUP}
    assert "Boto3" in last["user_agent"]
