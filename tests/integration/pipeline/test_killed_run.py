"""A run whose every process was killed with -9 is restored by hand, by the command as a person types it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from include.pipeline.environment import Environment
from include.pipeline.environment_lock import claim_of
from include.store.artefacts import ArtefactStore
from sandbox.processes.client import REPOSITORY_ROOT
from tests.integration.pipeline.conftest import RUN_ID, plan_with, settings_of
from tests.integration.sandbox.conftest import GROUP, RunningSandbox, wait_for

pytestmark = [pytest.mark.timeout(120)]


def restore(*options: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "include.pipeline.restore", "checkout", RUN_ID, *options]
    done = subprocess.run(command, cwd=REPOSITORY_ROOT, capture_output=True, text=True, timeout=90)
    print(f"$ {' '.join(command[1:])}\n{done.stdout}{done.stderr}[exit status {done.returncode}]")
    return done.returncode, " ".join(done.stdout.split())


def test_a_run_whose_every_process_was_killed_is_restored_by_hand(
    sandbox: RunningSandbox, root: ArtefactStore, group_at_rest: Any
) -> None:
    environment = Environment.of(plan_with({}).profile)
    before = settings_of(environment)
    command = [sys.executable, "-m", "tests.integration.pipeline.killed_run", RUN_ID]
    run = subprocess.Popen(command, cwd=REPOSITORY_ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for("the test size", lambda: sandbox.group()["DesiredCapacity"] == 2, timeout_s=60)
    finally:
        os.kill(run.pid, signal.SIGKILL)
        run.wait(10)
    changed = settings_of(environment)
    group_at_rest.update_auto_scaling_group(AutoScalingGroupName=GROUP, MaxSize=5)  # by somebody else, meanwhile

    status, said = restore("--dry-run")
    assert status == 1
    assert "DesiredCapacity 1 2 2 set to 1" in said
    assert "MaxSize 4 - 5 left: somebody else has changed it" in said
    assert "process AlarmNotification active suspended suspended set to active" in said
    assert "still taken by this run; restoring frees it" in said
    assert settings_of(environment) == {**changed, "MaxSize": 5}

    status, said = restore()
    assert status == 1
    assert "MaxSize of Auto Scaling group checkout-web is 5; it was 4 before the run, which did not touch it." in said
    assert settings_of(environment) == {**before, "MaxSize": 5}
    assert claim_of(environment, root) is None

    group_at_rest.update_auto_scaling_group(AutoScalingGroupName=GROUP, MaxSize=4)
    status, said = restore()
    assert (status, said.endswith("Restored.")) == (0, True)
    assert settings_of(environment) == before
