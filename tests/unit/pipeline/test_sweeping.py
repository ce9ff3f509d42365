"""The sweeper against an in-process AWS: what it finds, what it restores, and what it never touches."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from headroom_airflow.hooks.ec2_instances import InstancesHook
from headroom_airflow.hooks.load_fleet import LoadFleetHook
from include.capacity.errors import ConfigError
from include.capacity.guard.lease import LEASE_S
from include.environment.autoscaling_group import SUSPENDED_BY_RUN
from include.environment.kinds import connection_of
from include.pipeline import fleet, sweeping
from include.pipeline import sweep as command
from include.pipeline.environment import Environment
from include.pipeline.environment_journal import marker_path, open_journal, prescale, restore
from include.pipeline.environment_lock import claim_of, lock_path, take
from include.pipeline.fleet import shard_tags
from include.pipeline.installation import SERVICES
from include.pipeline.run_plan import RunPlan, resolve, save
from include.pipeline.sweeping import Policy, Sweep, Sweeper, as_table
from include.store.artefacts import ArtefactStore
from tests.unit.pipeline.conftest import GROUP, autoscaling

LATER_S = 3600.0


def nothing(seconds: float) -> None:
    """Instead of sleeping."""


class World:
    """A store, an environment, and runs in it."""

    def __init__(self, root: ArtefactStore, environment: Environment) -> None:
        self.root, self.environment = root, environment

    def plan(self, run_id: str = "manual__1") -> RunPlan:
        raw = yaml.safe_load((SERVICES / "checkout.yaml").read_text(encoding="utf-8"))
        return resolve(
            yaml.safe_dump(raw), "checkout.yaml", {}, dag_id="capacity_weekly__checkout", run_id=run_id, mode="weekly",
            started_at="2026-08-03",
        )  # fmt: skip

    def prescaled(self, run_id: str = "manual__1") -> RunPlan:
        """A run that brought the environment to the test size, and ended there."""
        plan = self.plan(run_id)
        folder = self.root.below(f"checkout/{plan.key}")
        save(plan, folder)
        journal = open_journal(self.environment, self.root, folder, plan.run)
        prescale(self.environment, self.root, journal, nothing)
        return plan

    def sweep(self, policy: Policy = "restore", later_s: float = LATER_S, *, everything: bool = False) -> Sweep:
        profiles = [self.environment.profile]
        sweeper = Sweeper(self.root, profiles, policy, sleep=nothing, now=lambda: time.time() + later_s)
        return sweeper.sweep(everything=everything)

    @property
    def desired(self) -> int:
        return int(self.environment.group()["DesiredCapacity"])


@pytest.fixture(scope="module")
def hooks(clients: Environment) -> tuple[LoadFleetHook, InstancesHook]:
    """Made once: their clients are slow to make."""
    connection = connection_of(clients.profile)
    return LoadFleetHook(**connection), InstancesHook(**connection)


@pytest.fixture
def world(
    environment: Environment,
    hooks: tuple[LoadFleetHook, InstancesHook],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> World:
    monkeypatch.setenv("HEADROOM_ARTEFACTS", str(tmp_path))
    monkeypatch.setattr(fleet, "_hook", lambda profile: hooks[0])
    monkeypatch.setattr(sweeping, "InstancesHook", lambda **connection: hooks[1])
    monkeypatch.setattr(sweeping.Environment, "of", lambda profile: environment)
    return World(ArtefactStore.open(str(tmp_path)), environment)


@pytest.fixture(scope="module")
def run_container(aws: dict[str, Any]) -> Callable[..., str]:
    ecs = boto3.client("ecs")
    ecs.create_cluster(clusterName="headroom-load")
    ecs.register_task_definition(
        family="headroom-shard", containerDefinitions=[{"name": "shard", "image": "shard", "memory": 64}]
    )
    boto3.client("ec2").run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1)

    def run(**tags: str) -> str:
        listed = [{"key": key, "value": value} for key, value in tags.items()]
        subnet = aws["VPCZoneIdentifier"].split(",")[0]
        network = {"awsvpcConfiguration": {"subnets": [subnet], "securityGroups": []}}
        answer = ecs.run_task(
            cluster="headroom-load", taskDefinition="headroom-shard", launchType="FARGATE", tags=listed,
            networkConfiguration=network,
        )  # fmt: skip
        return str(answer["tasks"][0]["taskArn"])

    return run


@pytest.fixture(autouse=True)
def no_containers(run_container: Callable[..., str]) -> Any:
    yield
    for arn in running():
        boto3.client("ecs").stop_task(cluster="headroom-load", task=arn)


def running() -> list[str]:
    """The containers that have not been stopped."""
    found: list[str] = boto3.client("ecs").list_tasks(cluster="headroom-load", desiredStatus="RUNNING")["taskArns"]
    return found


def kinds(found: Sweep) -> list[tuple[str, str]]:
    return [(leftover.kind, leftover.done) for leftover in found.leftovers]


def test_nothing_is_left_behind_by_nobody(world: World) -> None:
    found = world.sweep()
    assert (found.leftovers, found.living) == ((), ())
    assert as_table(found) == "Nothing is left behind."


def test_a_lost_run_is_restored(world: World) -> None:
    plan = world.prescaled()
    found = world.sweep()
    assert kinds(found) == [("journal", "restored")]
    assert (world.desired, found.to_do, claim_of(world.environment, world.root)) == (1, [], None)
    assert not world.root.exists(marker_path(plan.run))
    assert world.sweep().leftovers == ()


def test_by_policy_it_is_only_reported(world: World) -> None:
    world.prescaled()
    found = world.sweep("report")
    assert world.desired == 2
    (leftover,) = found.to_do
    assert "DesiredCapacity of Auto Scaling group checkout-web is 2 and was 1" in leftover.found
    assert "still holds 123456789012-us-east-1-checkout-web" in leftover.found
    assert leftover.cure.startswith("python -m include.pipeline.restore checkout 'manual__1'")
    print(as_table(found))
    assert "- journal manual__1 of checkout: python -m include.pipeline.restore" in as_table(found)


@pytest.mark.parametrize("later_s", [0.0, LEASE_S, LEASE_S + 100.0])
def test_a_living_run_is_never_touched(world: World, run_container: Callable[..., str], later_s: float) -> None:
    """Also not while its conductor is lost and not yet repeated: the lease has lapsed, the shards' patience has not."""
    plan = world.prescaled()
    run_container(**shard_tags("checkout", plan.run_id))
    found = world.sweep(later_s=later_s)
    assert (found.leftovers, found.living) == ((), ("manual__1 of capacity_weekly__checkout",))
    assert world.desired == 2
    assert "Under way, and left alone: manual__1 of capacity_weekly__checkout." in as_table(found)
    assert len(running()) == 1


def test_the_containers_of_a_lost_run_are_ended_before_it_is_restored(
    world: World, run_container: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = world.prescaled()
    arn = run_container(**shard_tags("checkout", plan.run_id))
    monkeypatch.setattr(sweeping, "dismiss_fleet", lambda plan, store, sleep: sweeping.stop_shard(plan.profile, arn))
    assert kinds(world.sweep()) == [("load task", "ended"), ("journal", "restored")]
    assert running() == []


def test_containers_of_a_run_that_is_over_are_stopped_and_unknown_ones_are_not(
    world: World, run_container: Callable[..., str]
) -> None:
    plan = world.prescaled()
    restore(world.environment, world.root, world.root.below(f"checkout/{plan.key}"), plan.run, nothing)
    over = run_container(**shard_tags("checkout", plan.run_id))
    unknown = run_container(**shard_tags("checkout", "manual__of_another_installation"))
    found = world.sweep("report")
    assert {leftover.name: leftover.cure.partition(":")[0].partition(" --")[0] for leftover in found.to_do} == {
        over: "aws ecs stop-task",
        unknown: "If that run is over",
    }
    found = world.sweep("restore")
    assert [leftover.name for leftover in found.to_do] == [unknown]
    assert running() == [unknown]


def test_instances_with_a_runs_tag_are_reported_and_never_ended(world: World) -> None:
    ec2 = boto3.client("ec2")
    (instance,) = ec2.run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1)["Instances"]
    tags = [{"Key": key, "Value": value} for key, value in shard_tags("checkout", "manual__7").items()]
    ec2.create_tags(Resources=[instance["InstanceId"]], Tags=tags)
    found = world.sweep()
    (leftover,) = found.to_do
    assert (leftover.kind, leftover.name) == ("instance", instance["InstanceId"])
    assert "of run 'manual__7', which is unknown" in leftover.found
    ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
    assert world.sweep().leftovers == ()


def test_a_lease_without_a_journal_is_given_back(world: World) -> None:
    plan = world.plan()
    save(plan, world.root.below(f"checkout/{plan.key}"))
    take(world.environment, world.root, plan.run)
    assert kinds(world.sweep()) == [("journal", "restored")]
    assert claim_of(world.environment, world.root) is None


def test_a_mark_that_outlived_its_restore_goes_away_silently(world: World) -> None:
    plan = world.prescaled()
    restore(world.environment, world.root, world.root.below(f"checkout/{plan.key}"), plan.run, nothing)
    world.root.create(marker_path(plan.run), world.root.read(lock_path(world.environment)))
    world.root.write_json(marker_path(plan.run), plan.run)
    assert world.sweep().leftovers == ()
    assert not world.root.exists(marker_path(plan.run))


def test_a_journal_whose_mark_and_lease_were_lost_is_found_by_looking_everywhere(world: World) -> None:
    plan = world.prescaled()
    world.root.delete(marker_path(plan.run))
    world.root.delete(lock_path(world.environment))
    found = world.sweep("report")
    assert [leftover.kind for leftover in found.leftovers] == ["suspended processes"]
    assert "no journal accounts for it" in found.leftovers[0].found
    assert kinds(world.sweep(everything=True)) == [("journal", "restored")]
    assert world.desired == 1


def test_processes_that_are_suspended_on_purpose_are_left_in_peace(world: World) -> None:
    autoscaling().suspend_processes(AutoScalingGroupName=GROUP, ScalingProcesses=[*SUSPENDED_BY_RUN, "HealthCheck"])
    assert [leftover.kind for leftover in world.sweep().to_do] == ["suspended processes"]
    tag = {"ResourceId": GROUP, "ResourceType": "auto-scaling-group", "PropagateAtLaunch": False}
    autoscaling().create_or_update_tags(Tags=[{**tag, "Key": "headroom-sweeper", "Value": "ignore"}])
    assert world.sweep().leftovers == ()


def test_what_somebody_else_changed_is_left_and_told_once(world: World) -> None:
    world.prescaled()
    autoscaling().update_auto_scaling_group(AutoScalingGroupName=GROUP, MaxSize=9)
    found = world.sweep()
    (leftover,) = found.to_do
    assert leftover.done.startswith("restored, but for MaxSize of Auto Scaling group checkout-web is 9")
    assert world.sweep().leftovers == ()


def test_what_cannot_be_restored_is_told_each_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.prescaled()
    autoscaling().delete_auto_scaling_group(AutoScalingGroupName=GROUP, ForceDelete=True)
    for _ in range(2):
        found = world.sweep()
        assert "There is no Auto Scaling group 'checkout-web'" in found.to_do[0].found
        assert found.to_do[0].cure.startswith("python -m include.pipeline.restore checkout")


def test_what_cannot_be_read_is_told_with_the_objects_to_delete(world: World) -> None:
    plan = world.prescaled()
    world.root.delete(f"checkout/{plan.key}/plan.json")
    found = world.sweep()
    assert f"delete {world.root.url}/{lock_path(world.environment)} and " in found.to_do[0].cure
    assert marker_path(plan.run) in found.to_do[0].cure
    world.root.write(lock_path(world.environment), b"{")
    assert "not readable" in next(one for one in world.sweep().to_do if one.kind == "lock").found


def test_the_command_tells_and_ends_with_a_status(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([]) == 0
    assert capsys.readouterr().out == "Nothing is left behind.\n"
    world.prescaled()
    assert command.main(["--policy", "restore"]) == 0  # it lives
    assert "Under way, and left alone" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="'mend' is unknown"):
        command.sweep("mend")
    with pytest.raises(SystemExit):
        command.main(["--policy", "mend"])
    with pytest.raises(SystemExit):
        command.main(["--help"])
    assert "something is left for a person" in capsys.readouterr().out
