"""Prescale that cannot succeed, and the way back: by the task restore and by hand."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from include.capacity.errors import NotReady, StoreError
from include.environment.journal import JOURNAL
from include.pipeline import restore as by_hand
from include.pipeline import tasks
from include.pipeline.environment import Environment
from include.pipeline.environment_lock import claim_of, release, take
from include.pipeline.fleet import dismiss_fleet, running_shards, shard_tags
from include.pipeline.run_folder import RunFolder
from include.pipeline.run_plan import RunPlan
from include.store.artefacts import ArtefactStore
from tests.integration.pipeline.conftest import (
    OTHER_RUN,
    RUN_ID,
    connection_to,
    instance_processes,
    plan_with,
    settings_of,
)
from tests.integration.sandbox.conftest import GROUP, RunningSandbox, free_port, wait_for

pytestmark = [pytest.mark.timeout(120)]

Start = Callable[[RunPlan], RunFolder]
QUICK = {"prescale.ready_within": "3 s", "prescale.warm_up": "0 s"}


def test_a_size_out_of_reach_is_told_with_each_instance_and_restored(
    sandbox: RunningSandbox, started: Start, root: ArtefactStore, group_at_rest: Any
) -> None:
    plan = plan_with(QUICK)
    environment = Environment.of(plan.profile)
    before = settings_of(environment)
    ((instance, _),) = instance_processes(sandbox).items()
    started(plan)
    tasks.journal("checkout")
    group_at_rest.suspend_processes(AutoScalingGroupName=GROUP, ScalingProcesses=["Launch"])  # by somebody else
    with pytest.raises(NotReady) as caught:
        tasks.prescale("checkout")
    text = str(caught.value)
    print(text)
    assert f"{GROUP} did not reach 2 ready instances within 3 s" in text
    assert f"1 of 2 instances ready ({instance} InService/healthy)" in text
    assert "Launch" in text.partition("suspended processes: ")[2]
    assert "prescale.ready_within" in text
    with pytest.raises(AirflowFailException, match=r"process Launch of .* is suspended; it was active before the run"):
        tasks.restore("checkout")
    assert settings_of(environment) == {**before, "suspended": ["Launch"]}
    assert claim_of(environment, root) is None  # what is left is not the run's: the next one may come
    group_at_rest.resume_processes(AutoScalingGroupName=GROUP, ScalingProcesses=["Launch"])
    assert tasks.restore("checkout")["equal"]


def test_an_instance_that_never_gets_healthy_is_named_and_everything_is_restored(
    sandbox: RunningSandbox, started: Start, root: ArtefactStore, group_at_rest: Any
) -> None:
    plan = plan_with({**QUICK, "prescale.ready_within": "5 s"})
    environment = Environment.of(plan.profile)
    group_at_rest.suspend_processes(AutoScalingGroupName=GROUP, ScalingProcesses=["HealthCheck", "ReplaceUnhealthy"])
    before = settings_of(environment)
    ((instance, pid),) = instance_processes(sandbox).items()
    started(plan)
    tasks.journal("checkout")
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_for("an unhealthy target", lambda: sandbox.target_states() == ["unhealthy"])
        with pytest.raises(NotReady) as caught:
            tasks.prescale("checkout")
    finally:
        os.kill(pid, signal.SIGCONT)
    print(caught.value)
    assert f"{instance} InService/unhealthy" in str(caught.value)
    wait_for("healthy targets", lambda: set(sandbox.target_states()) == {"healthy"})
    assert tasks.restore("checkout")["equal"]
    assert settings_of(environment) == before
    assert claim_of(environment, root) is None


def test_the_fleet_ends_even_where_the_store_takes_no_dismissal(sandbox: RunningSandbox, tmp_path: Path) -> None:
    plan = plan_with({})
    ecs, resources = sandbox.client("ecs"), sandbox.state["resources"]
    ecs.run_task(
        cluster="headroom-load",
        taskDefinition="headroom-shard",
        launchType="FARGATE",
        networkConfiguration={
            "awsvpcConfiguration": {"subnets": resources["subnets"], "securityGroups": [resources["security_group"]]}
        },
        overrides={"containerOverrides": [{"name": "shard", "command": ["sleep", "60"]}]},
        tags=[{"key": key, "value": value} for key, value in shard_tags("checkout", RUN_ID).items()],
    )
    wait_for("the shard", lambda: running_shards(plan.profile, RUN_ID))
    (tmp_path / "no-folder").write_text("")
    broken = ArtefactStore.open(str(tmp_path / "no-folder"))
    with pytest.raises(StoreError, match=r"dismissed\.json cannot be created"):
        dismiss_fleet(plan, broken)
    assert running_shards(plan.profile) == []


def test_restoring_by_hand(
    sandbox: RunningSandbox,
    started: Start,
    root: ArtefactStore,
    group_at_rest: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def restore(*arguments: str) -> tuple[int, str, str]:
        status = by_hand.main(list(arguments))
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    plan = plan_with({**QUICK, "prescale.ready_within": "30 s"})
    environment = Environment.of(plan.profile)
    before = settings_of(environment)
    folder = started(plan)
    status, said, _ = restore("checkout", RUN_ID)
    assert (status, "this run changed nothing" in said) == (0, True)

    started(plan)  # its tasks begin behind that restore
    tasks.journal("checkout")
    tasks.prescale("checkout")
    changed = settings_of(environment)
    assert changed["DesiredCapacity"] == 2
    status, said, _ = restore("checkout", RUN_ID, "--dry-run")
    assert status == 1
    assert "DesiredCapacity 1 2 2 set to 1" in " ".join(said.split())
    assert "process AlarmNotification active suspended suspended set to active" in " ".join(said.split())
    assert "still taken by this run" in said
    assert settings_of(environment) == changed

    with monkeypatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_AWS_DEFAULT", connection_to(f"http://127.0.0.1:{free_port()}"))
        patch.setenv("AWS_MAX_ATTEMPTS", "1")
        status, _, said = restore("checkout", RUN_ID)
        assert (status, "Not restored: AWS (ecs in us-east-1) does not answer" in said) == (1, True)

    with monkeypatch.context() as patch:
        patch.setattr(by_hand, "running_shards", lambda profile, run_id: [{"taskArn": "arn:aws:ecs:task/alive"}])
        status, _, said = restore("checkout", RUN_ID)
        assert (status, "Load containers of this run are still alive: arn:aws:ecs:task/alive" in said) == (1, True)
        assert settings_of(environment) == changed

    status, said, _ = restore("checkout", RUN_ID)
    assert (status, said.strip().splitlines()[-1]) == (0, "Restored.")
    assert settings_of(environment) == before
    assert claim_of(environment, root) is None
    assert sandbox.target_states() == ["healthy"]
    status, said, _ = restore("checkout", RUN_ID, "--dry-run")
    assert (status, said.strip().splitlines()[-1]) == (0, "Everything is as it was before the run.")
    assert restore("checkout", RUN_ID)[0] == 0

    group_at_rest.update_auto_scaling_group(AutoScalingGroupName=GROUP, MaxSize=3)  # by somebody, after the run
    status, said, _ = restore("checkout", RUN_ID, "--dry-run")
    assert (status, "left: somebody else has changed it" in said, "left as it is" in said) == (1, True, True)
    take(environment, root, OTHER_RUN)
    status, _, said = restore("checkout", RUN_ID)
    assert (status, "Not restored: " in said, "held by run 'manual__other'" in said) == (1, True, True)
    release(environment, root, OTHER_RUN)

    status, _, said = restore("checkout", "manual__nope")
    assert status == 2
    assert f"{root.url}: checkout/manual__nope: is no run." in said
    assert folder.store.url.rpartition("/")[2] in said  # a run that there is
    status, _, said = restore("nope", RUN_ID)
    assert status == 2
    assert "HEADROOM_ARTEFACTS" in said

    folder.store.write(f"{JOURNAL}/000001.json", b'{"sizes": {"Mi')
    status, _, said = restore("checkout", RUN_ID)
    assert status == 2
    assert f"{folder.store.url}/{JOURNAL}/000001.json is not readable" in said
    assert "by hand" in said
