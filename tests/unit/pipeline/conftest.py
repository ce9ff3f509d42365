"""An in-process AWS with the example service's environment, and an artefact store."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from include.capacity.profile import load_profile
from include.pipeline.environment import Environment
from include.pipeline.installation import SERVICES
from include.store.artefacts import ArtefactStore

GROUP = "checkout-web"


@functools.cache
def autoscaling() -> Any:
    return boto3.client("autoscaling")


@pytest.fixture(scope="module")
def aws() -> Iterator[dict[str, Any]]:
    """One AWS and one set of clients for all tests here: making them costs more than what they do. Yields the place of
    the group."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        for name, value in {
            "AWS_ACCESS_KEY_ID": "123456789012",
            "AWS_SECRET_ACCESS_KEY": "fake",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AIRFLOW_CONN_AWS_DEFAULT": '{"conn_type": "aws", "extra": {"region_name": "us-east-1"}}',
        }.items():
            patch.setenv(name, value)
        patch.delenv("AWS_ENDPOINT_URL", raising=False)
        ec2, elb = boto3.client("ec2"), boto3.client("elbv2")
        vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
        subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]][:2]
        balancer = elb.create_load_balancer(Name="checkout", Subnets=subnets)["LoadBalancers"][0]
        group = elb.create_target_group(Name="checkout", Protocol="HTTP", Port=8080, VpcId=vpc)["TargetGroups"][0]
        elb.create_listener(
            LoadBalancerArn=balancer["LoadBalancerArn"],
            Protocol="HTTP",
            Port=8123,
            DefaultActions=[{"Type": "forward", "TargetGroupArn": group["TargetGroupArn"]}],
        )
        ec2.create_launch_template(
            LaunchTemplateName="web", LaunchTemplateData={"ImageId": "ami-12c6146b", "InstanceType": "t3.medium"}
        )
        yield {"VPCZoneIdentifier": ",".join(subnets), "TargetGroupARNs": [group["TargetGroupArn"]]}


@pytest.fixture
def store(tmp_path: Path) -> ArtefactStore:
    return ArtefactStore.open(str(tmp_path))


@pytest.fixture(scope="module")
def clients(aws: dict[str, Any]) -> Environment:
    return Environment.of(load_profile(SERVICES / "checkout.yaml"))


@pytest.fixture
def environment(aws: dict[str, Any], clients: Environment) -> Iterator[Environment]:
    """A group of one instance."""
    autoscaling().create_auto_scaling_group(
        AutoScalingGroupName=GROUP,
        MinSize=1,
        MaxSize=4,
        DesiredCapacity=1,
        LaunchTemplate={"LaunchTemplateName": "web", "Version": "$Latest"},
        **aws,
    )
    yield clients
    for group in autoscaling().describe_auto_scaling_groups()["AutoScalingGroups"]:
        autoscaling().delete_auto_scaling_group(AutoScalingGroupName=group["AutoScalingGroupName"], ForceDelete=True)
