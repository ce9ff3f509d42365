"""Alarms, schedules, prices, stacks and tags through their hooks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from headroom_airflow.hooks.cloudwatch_alarms import CloudWatchAlarmsHook
from headroom_airflow.hooks.eventbridge import EventRulesHook, SchedulesHook
from headroom_airflow.hooks.pricing import PricingHook
from headroom_airflow.hooks.resources import StackHook, StackResource, TaggedResourcesHook
from include.capacity.errors import NotReady
from tests.integration.aws.conftest import ROLLOUT
from tests.integration.sandbox.conftest import GROUP, RunningSandbox

pytestmark = pytest.mark.system
HOT, QUIET, EITHER = "headroom-checkout-hot", "headroom-checkout-quiet", "headroom-checkout-either"


def alarm(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "AlarmName": name,
        "Namespace": "Headroom/Tests",  # no data comes: the state stays what a test sets
        "MetricName": "CPUUtilization",
        "Dimensions": [{"Name": "AutoScalingGroupName", "Value": GROUP}],
        "Statistic": "Average",
        "Period": 60,
        "EvaluationPeriods": 3,
        "Threshold": 80.0,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "ignore",
        **changes,
    }


@pytest.fixture
def rollout(sandbox: RunningSandbox) -> Iterator[CloudWatchAlarmsHook]:
    """As the role that may make alarms; one of the two is silent already."""
    hook = CloudWatchAlarmsHook(aws_conn_id=ROLLOUT)
    hook.put(alarm(HOT), {"team": "shop"})
    hook.put(alarm(QUIET, ActionsEnabled=False))
    yield hook
    hook.delete([EITHER, HOT, QUIET])


def test_silencing_is_a_pair_with_the_way_back(rollout: CloudWatchAlarmsHook) -> None:
    alarms = CloudWatchAlarmsHook()
    before = alarms.actions_enabled([HOT, QUIET])
    assert before == {HOT: True, QUIET: False}
    alarms.silence([HOT, QUIET])
    alarms.silence([HOT, QUIET])
    assert alarms.actions_enabled([HOT, QUIET]) == {HOT: False, QUIET: False}
    assert alarms.restore_actions({**before, "gone": True}) == ["gone"]
    assert alarms.actions_enabled([HOT, QUIET]) == before  # what was off stays off
    with pytest.raises(NotReady, match="There is no alarm 'other'"):
        alarms.actions_enabled([HOT, "other"])


def test_an_alarm_comes_back_as_it_was(rollout: CloudWatchAlarmsHook) -> None:
    new = f"{HOT}-new"
    before = rollout.snapshot([HOT, new])
    assert json.loads(json.dumps(before)) == before
    assert before[new] is None
    rollout.put(alarm(HOT, Threshold=95.0))
    rollout.put(alarm(new))
    assert rollout.put_back(before) == [HOT, new]
    assert rollout.snapshot([HOT, new]) == before
    rollout.delete([HOT])
    assert rollout.put_back(before) == [HOT]
    assert rollout.snapshot([HOT, new]) == before  # tags as well
    assert rollout.put_back(before) == []


def test_a_composite_alarm_is_read_silenced_and_comes_back(
    rollout: CloudWatchAlarmsHook, sandbox: RunningSandbox
) -> None:
    alarms = CloudWatchAlarmsHook()
    rollout.put({"AlarmName": EITHER, "AlarmRule": f'ALARM("{HOT}") OR ALARM("{QUIET}")', "AlarmDescription": "pages"})
    assert alarms.in_alarm([EITHER]) == {}
    sandbox.client("cloudwatch").set_alarm_state(AlarmName=HOT, StateValue="ALARM", StateReason="a test")
    assert f"{HOT} is ALARM" in alarms.in_alarm([EITHER])[EITHER]
    before = rollout.snapshot([EITHER])
    alarms.silence([EITHER])
    assert alarms.actions_enabled([EITHER]) == {EITHER: False}
    assert rollout.put_back(before) == [EITHER]
    rollout.delete([EITHER])
    assert rollout.put_back(before) == [EITHER]
    assert rollout.snapshot([EITHER]) == before
    assert f"{HOT} is ALARM" in alarms.in_alarm([EITHER])[EITHER]


def test_the_tags_of_an_alarm_come_back(rollout: CloudWatchAlarmsHook, sandbox: RunningSandbox) -> None:
    before = rollout.snapshot([HOT])
    arn = rollout.existing([HOT])[HOT]["AlarmArn"]
    tags = [{"Key": "team", "Value": "other"}, {"Key": "new", "Value": "1"}]
    sandbox.client("cloudwatch").tag_resource(ResourceARN=arn, Tags=tags)
    assert rollout.put_back(before) == [HOT]
    assert rollout.snapshot([HOT]) == before


def test_alarms_are_found_and_read(rollout: CloudWatchAlarmsHook, sandbox: RunningSandbox) -> None:
    alarms, topic = CloudWatchAlarmsHook(), sandbox.state["resources"]["topic_arn"]
    rollout.put(alarm(HOT, AlarmActions=[topic]))
    assert set(alarms.with_prefix(HOT[:-1])) == {HOT}
    assert set(alarms.with_action(topic)) == {HOT}
    assert set(alarms.existing([HOT, QUIET])) == set(alarms.alarms([HOT, QUIET, "other"])) == {HOT, QUIET}
    sandbox.client("cloudwatch").set_alarm_state(AlarmName=QUIET, StateValue="ALARM", StateReason="a test")
    assert alarms.in_alarm([HOT, QUIET]) == {QUIET: "a test"}
    kinds = [item["HistoryItemType"] for item in alarms.history(QUIET)]
    assert kinds[-1] == "StateUpdate"


def test_rules_are_switched(sandbox: RunningSandbox) -> None:
    events = sandbox.client("events")
    events.put_rule(Name="nightly", ScheduleExpression="rate(5 minutes)")
    events.put_targets(Rule="nightly", Targets=[{"Id": "1", "Arn": sandbox.state["resources"]["topic_arn"]}])
    hook = EventRulesHook()
    for state in ("DISABLED", "DISABLED", "ENABLED"):
        hook.set_state("nightly", state)
        assert hook.rule("nightly")["State"] == state
    assert [rule["Name"] for rule in hook.rules("night")] == ["nightly"]
    assert [target["Id"] for target in hook.targets("nightly")] == ["1"]
    for call in (lambda: hook.rule("other"), lambda: hook.set_state("other", "ENABLED")):
        with pytest.raises(NotReady, match="There is no EventBridge rule 'other' on the bus 'default'"):
            call()


def test_a_schedule_is_switched_and_keeps_everything_else(sandbox: RunningSandbox) -> None:
    sandbox.client("scheduler").create_schedule(
        Name="nightly",
        ScheduleExpression="cron(0 3 * * ? *)",
        ScheduleExpressionTimezone="Europe/Berlin",
        FlexibleTimeWindow={"Mode": "OFF"},
        Description="a batch",
        Target={
            "Arn": "arn:aws:lambda:us-east-1:123456789012:function:batch",
            "RoleArn": "arn:aws:iam::123456789012:role/scheduler",
            "Input": '{"all": true}',
        },
    )
    hook = SchedulesHook()
    before = hook.schedule("nightly")
    hook.set_state("nightly", "DISABLED")
    assert hook.schedule("nightly") == {**before, "State": "DISABLED"}
    hook.set_state("nightly", "ENABLED")
    assert hook.schedule("nightly") == before
    assert [schedule["Name"] for schedule in hook.schedules("night")] == ["nightly"]
    with pytest.raises(NotReady, match="There is no schedule 'other' in the group 'default'"):
        hook.schedule("other")


def test_prices_are_those_of_the_list(sandbox: RunningSandbox) -> None:
    hook = PricingHook()
    assert hook.instance_hour("t3.medium", region="us-east-1") == 0.0416
    assert hook.instance_hour("t3.medium", region="eu-west-1") == 0.0456
    # neither ARM's nor Windows' price
    assert hook.fargate_hour(vcpu=1, memory_gib=2, region="us-east-1") == pytest.approx(0.04048 + 2 * 0.004445)
    assert hook.aurora_hour("db.r6g.large", engine="aurora-postgresql", region="us-east-1") == 0.26
    assert len(hook.products("AmazonEC2", {"regionCode": "us-east-1"})) == 40
    with pytest.raises(NotReady, match=r"no price in USD for an hour of t3\.huge in us-east-1"):
        hook.instance_hour("t3.huge", region="us-east-1")
    with pytest.raises(NotReady, match="no price in EUR"):
        hook.instance_hour("t3.medium", region="us-east-1", currency="EUR")
    with pytest.raises(NotReady, match="no engine of Aurora"):
        hook.aurora_hour("db.r6g.large", engine="oracle", region="us-east-1")


def test_the_price_list_has_pages(sandbox: RunningSandbox) -> None:
    client = sandbox.client("pricing")
    pages = client.get_paginator("get_products").paginate(ServiceCode="AmazonEC2", PaginationConfig={"PageSize": 7})
    assert len([product for page in pages for product in page["PriceList"]]) == 64
    codes = [service["ServiceCode"] for service in client.describe_services()["Services"]]
    assert codes == ["AmazonEC2", "AmazonECS", "AmazonRDS"]
    values = client.get_attribute_values(ServiceCode="AmazonEC2", AttributeName="operatingSystem")["AttributeValues"]
    assert [value["Value"] for value in values] == ["Linux", "Windows"]


def test_stacks_and_tags_lead_to_resources(sandbox: RunningSandbox) -> None:
    template = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "of-a-stack"}}}}
    stacks = sandbox.client("cloudformation")
    stacks.create_stack(StackName="shop", TemplateBody=json.dumps(template))
    hook = StackHook()
    (topic,) = hook.resources("shop", ["AWS::SNS::Topic"])
    assert topic == StackResource("AWS::SNS::Topic", "Topic", topic.name, "CREATE_COMPLETE")
    assert topic.name.endswith(":of-a-stack")
    assert hook.resources("shop", ["AWS::ECS::Service"]) == []
    stacks.delete_stack(StackName="shop")
    with pytest.raises(NotReady, match="There is no CloudFormation stack 'other'"):
        hook.resources("other")
    found = TaggedResourcesHook().arns({"service": "checkout"}, ["elasticloadbalancing:targetgroup"])
    assert found == {sandbox.state["resources"]["target_group_arn"]: {"service": "checkout"}}
