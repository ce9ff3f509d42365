"""Alarms and ECS services as resources, against an in-process AWS; sizes that must fit each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from include.capacity.errors import ConfigError, NotReady
from include.capacity.profile import load_profile
from include.environment.alarms import Alarms
from include.environment.autoscaling_group import AutoScalingGroup
from include.environment.ecs_service import EcsService
from include.environment.kinds import Resources
from include.environment.record import Entry
from include.pipeline.installation import SERVICES

CONNECTION = {"aws_conn_id": "aws_default", "region_name": "us-east-1"}


@pytest.fixture(scope="module")
def aws() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        for name, value in {
            "AWS_ACCESS_KEY_ID": "123456789012",
            "AWS_SECRET_ACCESS_KEY": "fake",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AIRFLOW_CONN_AWS_DEFAULT": '{"conn_type": "aws", "extra": {"region_name": "us-east-1"}}',
        }.items():
            patch.setenv(name, value)
        patch.delenv("AWS_ENDPOINT_URL", raising=False)
        yield


def put_alarm(name: str, *, on: bool = True) -> None:
    boto3.client("cloudwatch").put_metric_alarm(
        AlarmName=name, ActionsEnabled=on, Namespace="a", MetricName="b", Statistic="Sum", Period=60,
        EvaluationPeriods=1, Threshold=1, ComparisonOperator="GreaterThanThreshold",
    )  # fmt: skip


def test_alarms_are_silenced_and_only_those_that_spoke_speak_again(aws: None) -> None:
    for name, on in {"shop-p95": True, "shop-errors": True, "shop-old": False, "other": True}.items():
        put_alarm(name, on=on)
    put_alarm("shop-p95-TargetTracking")
    put_alarm("TargetTracking-shop-high")
    alarms = Alarms.of("shop", ["shop-*", "other"], **CONNECTION)
    alarms.check()
    before = alarms.read()
    assert before == {
        "actions of other": "on",
        "actions of shop-errors": "on",
        "actions of shop-old": "off",
        "actions of shop-p95": "on",
        "actions of shop-p95-TargetTracking": "on",
    }
    (step,) = alarms.steps(before)
    alarms.set(step)
    assert set(alarms.read().values()) == {"off"}
    alarms.set(before)
    assert alarms.read() == before
    boto3.client("cloudwatch").delete_alarms(AlarmNames=["shop-p95"])
    assert "actions of shop-p95" not in alarms.read()
    with pytest.raises(NotReady, match=r"no alarm 'gone-\*'.*prescale\.silence_alarms"):
        Alarms.of("shop", ["gone-*"], **CONNECTION).check()


def test_an_ecs_service_is_sized_and_its_scaling_suspended(aws: None) -> None:
    ecs, scaling = boto3.client("ecs"), boto3.client("application-autoscaling")
    ecs.create_cluster(clusterName="shop")
    ecs.register_task_definition(
        family="basket", containerDefinitions=[{"name": "app", "image": "app", "memory": 64, "essential": True}]
    )
    ecs.create_service(cluster="shop", serviceName="basket", taskDefinition="basket", desiredCount=2)
    service = EcsService.of("shop", "basket", 4, **CONNECTION)
    assert service.read() == {"desiredCount": 2}
    assert service.steps(service.read()) == [{"desiredCount": 4}]
    target = {
        "ServiceNamespace": "ecs",
        "ResourceId": "service/shop/basket",
        "ScalableDimension": "ecs:service:DesiredCount",
    }
    scaling.register_scalable_target(
        **target, MinCapacity=1, MaxCapacity=9, SuspendedState={"ScheduledScalingSuspended": True}
    )
    before = service.read()
    assert before == {
        "desiredCount": 2,
        "DynamicScalingInSuspended": False,
        "DynamicScalingOutSuspended": False,
        "ScheduledScalingSuspended": True,
    }
    for step in service.steps(before):
        service.set(step)
    assert service.read() == {
        "desiredCount": 4,
        "DynamicScalingInSuspended": True,
        "DynamicScalingOutSuspended": True,
        "ScheduledScalingSuspended": True,
    }
    service.set({name: value for name, value in before.items() if service.read()[name] != value})
    assert service.read() == before
    described = scaling.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"][0]
    assert (described["MinCapacity"], described["MaxCapacity"]) == (1, 9)


def test_the_journal_finds_every_kind_again_and_refuses_one_that_it_does_not_know(aws: None) -> None:
    profile = load_profile(SERVICES / "checkout.yaml")
    resources = Resources(profile, dict)
    for resource in (
        resources.group,
        AutoScalingGroup.of("another", dict, **CONNECTION),
        EcsService.of("shop", "basket", **CONNECTION),
        Alarms.of("checkout", ["other"], **CONNECTION),
    ):
        entry = Entry(resource.reference(), resource.title, {"actions of other": "on"})
        found = resources.of_entry(entry)
        assert (found.kind, found.name) == (resource.kind, resource.name)
        assert resources.of_entry(entry) is found
    with pytest.raises(ConfigError, match="of the kind 'table', which this version of Headroom does not know"):
        resources.of_entry(Entry({"kind": "table", "name": "t"}, "table t", {}))


@pytest.mark.parametrize(
    ("now", "wanted", "fitted", "moved"),
    [
        ((1, 2, 4), {"DesiredCapacity": 1}, {"DesiredCapacity": 1}, set()),
        ((3, 3, 4), {"DesiredCapacity": 1}, {}, {"DesiredCapacity"}),
        ((1, 2, 3), {"DesiredCapacity": 4}, {"DesiredCapacity": 3}, {"DesiredCapacity"}),
        ((1, 3, 9), {"MaxSize": 2}, {"MaxSize": 3}, {"MaxSize"}),
        ((1, 1, 9), {"MinSize": 2}, {}, {"MinSize"}),
        ((1, 2, 2), {"MinSize": 3, "DesiredCapacity": 3, "MaxSize": 5},
         {"MinSize": 3, "DesiredCapacity": 3, "MaxSize": 5}, set()),
        ((4, 4, 9), {"MaxSize": 2, "DesiredCapacity": 1}, {"MaxSize": 4}, {"MaxSize", "DesiredCapacity"}),
        ((1, 2, 2), {"MinSize": 3, "DesiredCapacity": 3}, {"MinSize": 2}, {"MinSize", "DesiredCapacity"}),
    ],
)  # fmt: skip
def test_sizes_give_way_to_what_somebody_else_has_set(
    now: tuple[int, int, int], wanted: dict[str, Any], fitted: dict[str, Any], moved: set[str]
) -> None:
    group = AutoScalingGroup.of("web", dict, **CONNECTION)
    found = group.fit(dict(zip(("MinSize", "DesiredCapacity", "MaxSize"), now, strict=True)), wanted)
    assert (found.fields, set(found.reasons)) == (fitted, moved)
