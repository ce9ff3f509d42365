"""Prices for a service profile from the Price List, as a person asks for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from headroom_airflow.hooks.load_fleet import LoadFleetHook
from include.capacity.errors import NotReady
from include.pipeline.price_list import ListedPrices, main
from tests.integration.pipeline.conftest import plan_with
from tests.integration.sandbox.conftest import RunningSandbox
from tools.check import ROOT

pytestmark = pytest.mark.system


def test_prices_for_the_example_are_printed(sandbox: RunningSandbox, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checkout"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    # a t3.medium; a task of one vCPU and one GB
    assert printed == {"prices": {"currency": "USD", "instance_hour": 0.0416, "shard_hour": 0.044925}}
    assert main(["none"]) == 2
    assert "none.yaml" in capsys.readouterr().err


def test_the_command_starts_where_airflow_runs(tmp_path: Path) -> None:
    """With Airflow's own settings and the repository on the path, as on a worker."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "include.pipeline.price_list", "--help"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Exit status" in done.stdout


def test_what_has_no_price_is_told(sandbox: RunningSandbox) -> None:
    for changes, told in (
        ({"load.fleet.launch_type": "EC2"}, "Write prices.shard_hour of the service profile by hand"),
        ({"load.fleet.task_definition": "other"}, "There is no ECS task definition 'other'"),
        ({"prices.currency": "EUR"}, "no price in EUR for an hour of t3.medium in us-east-1"),
    ):
        with pytest.raises(NotReady, match=told):
            ListedPrices().prices(plan_with(changes).profile)


def test_a_task_definition_without_sizes_is_told(sandbox: RunningSandbox) -> None:
    sandbox.client("ecs").register_task_definition(
        family="unsized", containerDefinitions=[{"name": "x", "image": "x", "memory": 64, "essential": True}]
    )
    with pytest.raises(NotReady, match="'unsized' does not say how much CPU and memory a task has"):
        LoadFleetHook().task_size("unsized")
