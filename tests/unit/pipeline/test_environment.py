"""Journal, prescale and restore against an in-process AWS."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from include.capacity.errors import GuardRefused, NotReady
from include.capacity.profile import load_profile
from include.pipeline import environment as module
from include.pipeline.environment import Environment, differences_to, open_journal, read_journal
from include.pipeline.environment_lock import claim_of
from include.pipeline.installation import SERVICES
from include.store.artefacts import ArtefactStore

RUN = {"service": "checkout", "dag_id": "capacity_weekly__checkout", "run_id": "manual__1"}
OTHER = {**RUN, "run_id": "manual__2"}
GROUP = "checkout-web"
prescale = functools.partial(module.prescale, sleep=lambda seconds: None)
restore = functools.partial(module.restore, sleep=lambda seconds: None)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "123456789012",
        "AWS_SECRET_ACCESS_KEY": "fake",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AIRFLOW_CONN_AWS_DEFAULT": '{"conn_type": "aws", "extra": {"region_name": "us-east-1"}}',
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
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
        autoscaling().create_auto_scaling_group(
            AutoScalingGroupName=GROUP,
            MinSize=1,
            MaxSize=4,
            DesiredCapacity=1,
            VPCZoneIdentifier=",".join(subnets),
            TargetGroupARNs=[group["TargetGroupArn"]],
            LaunchTemplate={"LaunchTemplateName": "web", "Version": "$Latest"},
        )
        yield


@pytest.fixture
def store(tmp_path: Path) -> ArtefactStore:
    return ArtefactStore.open(str(tmp_path))


@pytest.fixture
def environment(aws: None) -> Environment:
    return Environment.of(load_profile(SERVICES / "checkout.yaml"))


def autoscaling() -> boto3.client:
    return boto3.client("autoscaling")


def described() -> dict[str, object]:
    group = autoscaling().describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])["AutoScalingGroups"][0]
    suspended = sorted(process["ProcessName"] for process in group["SuspendedProcesses"])
    return {**{name: group[name] for name in module.SIZES}, "suspended": suspended}


def test_prescale_and_restore_leave_the_group_as_it_was(environment: Environment, store: ArtefactStore) -> None:
    autoscaling().suspend_processes(AutoScalingGroupName=GROUP, ScalingProcesses=["AZRebalance"])
    before = described()
    folder = store.below("checkout/manual__1")
    journal = open_journal(environment, store, folder, RUN)
    prescale(environment, journal)
    assert described() == {"MinSize": 1, "MaxSize": 4, "DesiredCapacity": 2, "suspended": sorted(module.SUSPENDED)}
    assert restore(environment, store, folder) == {"equal": True, "differences": [], "conflicts": []}
    assert described() == before
    assert restore(environment, store, folder)["equal"]  # twice does no harm
    assert claim_of(environment, store) is None


def test_a_repeated_journal_keeps_the_state_before_the_first_change(
    environment: Environment, store: ArtefactStore
) -> None:
    folder = store.below("checkout/manual__1")
    journal = open_journal(environment, store, folder, RUN)
    prescale(environment, journal)
    assert open_journal(environment, store, folder, RUN) == journal
    assert restore(environment, store, folder)["equal"]
    assert described()["DesiredCapacity"] == 1


def test_a_run_that_is_cleared_after_its_restore_takes_a_new_snapshot(
    environment: Environment, store: ArtefactStore
) -> None:
    folder = store.below("checkout/manual__1")
    open_journal(environment, store, folder, RUN)
    restore(environment, store, folder)
    autoscaling().update_auto_scaling_group(AutoScalingGroupName=GROUP, MinSize=2, DesiredCapacity=3)
    prescale(environment, open_journal(environment, store, folder, RUN))
    assert restore(environment, store, folder)["equal"]
    assert described() == {"MinSize": 2, "MaxSize": 4, "DesiredCapacity": 3, "suspended": []}


def test_another_run_is_refused_while_the_environment_is_held(environment: Environment, store: ArtefactStore) -> None:
    open_journal(environment, store, store.below("checkout/manual__1"), RUN)
    with pytest.raises(GuardRefused, match=r"held by run 'manual__1'.*include\.pipeline\.restore checkout"):
        open_journal(environment, store, store.below("checkout/manual__2"), OTHER)
    assert described()["DesiredCapacity"] == 1


def test_an_old_run_does_not_touch_the_environment_of_a_new_one(environment: Environment, store: ArtefactStore) -> None:
    old, new = store.below("checkout/manual__1"), store.below("checkout/manual__2")
    prescale(environment, open_journal(environment, store, old, RUN))
    restored = restore(environment, store, old)
    prescale(environment, open_journal(environment, store, new, OTHER))
    with pytest.raises(GuardRefused, match="held by run 'manual__2'"):
        restore(environment, store, old)
    assert described()["DesiredCapacity"] == 2
    restore(environment, store, new)
    autoscaling().update_auto_scaling_group(AutoScalingGroupName=GROUP, DesiredCapacity=2)
    assert restore(environment, store, old) == restored
    assert described()["DesiredCapacity"] == 2  # somebody's wish of today, not this run's of yesterday


def test_what_somebody_else_changed_meanwhile_is_a_conflict_and_stays(
    environment: Environment, store: ArtefactStore
) -> None:
    folder = store.below("checkout/manual__1")
    prescale(environment, open_journal(environment, store, folder, RUN))
    autoscaling().update_auto_scaling_group(AutoScalingGroupName=GROUP, MaxSize=9)
    outcome = restore(environment, store, folder)
    assert not outcome["equal"]
    assert outcome["conflicts"] == ["MaxSize is 9; it was 4 before the run, which set 4. Left as it is."]
    assert described() == {"MinSize": 1, "MaxSize": 9, "DesiredCapacity": 1, "suspended": []}
    assert claim_of(environment, store) is None  # nothing is left for this run to undo


def test_a_size_above_the_maximum_raises_the_maximum_for_the_run(
    environment: Environment, store: ArtefactStore
) -> None:
    autoscaling().update_auto_scaling_group(AutoScalingGroupName=GROUP, MaxSize=1)
    folder = store.below("checkout/manual__1")
    prescale(environment, open_journal(environment, store, folder, RUN))
    assert described()["MaxSize"] == 2
    restore(environment, store, folder)
    assert described()["MaxSize"] == 1


def test_restore_without_a_journal_changes_nothing(environment: Environment, store: ArtefactStore) -> None:
    folder = store.below("checkout/manual__9")
    assert read_journal(folder) is None
    assert restore(environment, store, folder)["equal"]


def test_differences_are_told_without_changing_anything(environment: Environment, store: ArtefactStore) -> None:
    folder = store.below("checkout/manual__1")
    journal = open_journal(environment, store, folder, RUN)
    prescale(environment, journal)
    assert differences_to(environment, journal)[0] == "DesiredCapacity is 2 and was 1"
    assert described()["DesiredCapacity"] == 2


def test_a_size_that_is_not_reached_names_every_instance(environment: Environment) -> None:
    with pytest.raises(NotReady, match=r"did not reach 3 ready instances within 0 s: 1 of 3 instances ready \(i-"):
        environment.wait_for_size(3, 0)


def test_missing_resources_name_the_profile_key(environment: Environment) -> None:
    autoscaling().delete_auto_scaling_group(AutoScalingGroupName=GROUP, ForceDelete=True)
    with pytest.raises(NotReady, match=r"no Auto Scaling group 'checkout-web'.*aws\.autoscaling_group"):
        environment.group()


def test_the_target_is_the_load_balancers_address(environment: Environment) -> None:
    scheme, host, port = environment.target()
    assert (scheme, port) == ("http", 8123)
    assert host.endswith("amazonaws.com")
