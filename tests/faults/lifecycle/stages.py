"""What a campaign's processes do: the tasks of a run as Airflow would call and repeat them, restoring by hand,
sweeping.

Each function runs in a forked process; the AWS clients were made before the fork.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from headroom_airflow.hooks.ec2_instances import InstancesHook
from include.capacity.errors import HeadroomError
from include.environment.kinds import connection_of
from include.pipeline import fleet, restore, sweeping, tasks
from include.pipeline import sweep as sweep_command
from include.pipeline.environment import Environment
from include.pipeline.guards_watch import Watch
from include.pipeline.installation import SERVICES
from include.pipeline.run_folder import RunFolder
from include.pipeline.run_plan import RunPlan, resolve, save
from sandbox.plant.resources import FLEET_NAME
from tests.faults.lifecycle.points import Points
from tests.faults.lifecycle.virtual_time import CLOCK

SERVICE = "checkout"
DAG_ID = "capacity_weekly__checkout"
# As in the builder: how often Airflow repeats a task.
RETRIES = {"journal": 2, "prescale": 2, "restore": 4}


def plan_of(run_id: str) -> RunPlan:
    """The example service's plan, with all kinds of resources."""
    raw = yaml.safe_load((SERVICES / "checkout.yaml").read_text(encoding="utf-8"))
    raw["prescale"] |= {
        "instances": 2,
        "ecs_services": [{"cluster": FLEET_NAME, "service": "basket", "tasks": 3}],
        "silence_alarms": ["checkout-*"],
    }
    return resolve(
        yaml.safe_dump(raw), "checkout.yaml", {}, dag_id=DAG_ID, run_id=run_id, mode="weekly", started_at="2026-08-03"
    )


class Clients:
    """One environment and its clients, made once; everything that would make new ones gets these."""

    def __init__(self) -> None:
        # A pause of a minute takes a millisecond here: those who watch beside the work would seem to be blind so long.
        Watch.__init__.__kwdefaults__["blind_s"] = math.inf  # type: ignore[index]
        self.environment = Environment.of(plan_of("any").profile)
        self._fleet_hook = fleet._hook(self.environment.profile)
        Environment.of = lambda profile: self.environment  # type: ignore[method-assign, assignment]
        fleet._hook = lambda profile: self._fleet_hook
        resources = self.environment.resources
        hooks: list[Any] = [self.environment.groups, self.environment.balancers, self.environment.identity]
        hooks += [self._fleet_hook, resources.group.hook, resources.group.changes]
        for service in resources.ecs_services:
            hooks += [service.hook, service.changes, service.scaling, service.scaling_changes]
        hooks += resources.alarm_hooks
        instances = InstancesHook(**connection_of(self.environment.profile))
        sweeping.InstancesHook = lambda **connection: instances  # type: ignore[misc, assignment]
        self.all = [hook.conn for hook in [*hooks, instances]]


@dataclass(slots=True)
class Outcome:
    """How a process's work came out, as it tells the campaign."""

    states: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    tries: dict[str, int] = field(default_factory=dict)
    slept_s: float = 0.0
    said: str = ""
    status: int = 0
    points: list[str] = field(default_factory=list)
    operations: int = 0
    injected: int = 0

    def save(self, file: Path) -> None:
        self.slept_s = CLOCK.slept_s
        temporary = file.with_suffix(".part")
        temporary.write_text(json.dumps(asdict(self)))
        os.rename(temporary, file)

    @classmethod
    def load(cls, file: Path) -> Outcome | None:
        """None when the process died before it could tell."""
        return cls(**json.loads(file.read_text())) if file.exists() else None


def run_tasks(run_id: str, stages: Sequence[str], outcome: Outcome, progress: Path, points: Points) -> None:
    """Tasks of a run, with Airflow's retries; a restore runs whatever happened, if the journal task succeeded.

    Each task's name is written to the file `progress` when it begins. Nothing begins behind a task that was stopped.
    """
    plan = plan_of(run_id)
    save(plan, RunFolder.of(SERVICE, run_id).store)
    for stage in stages:
        failed = any(state == "failed" for state in outcome.states.values())
        if failed and (stage != "restore" or outcome.states.get("journal") == "failed"):
            continue
        if points.reached:
            return
        with progress.open("a") as file:
            file.write(f"{stage}\n")
        _run_task(plan, stage, outcome, points)


def _run_task(plan: RunPlan, stage: str, outcome: Outcome, points: Points) -> None:
    for number in range(1, RETRIES[stage] + 2):
        if points.reached:
            return
        outcome.tries[stage] = number
        context = {
            "run_id": plan.run_id,
            "dag": SimpleNamespace(dag_id=DAG_ID, max_active_tasks=16),
            "ti": SimpleNamespace(try_number=number, start_date=datetime.now(UTC)),
            "params": {},
        }
        tasks.get_current_context = lambda context=context: context  # type: ignore[assignment, misc]
        try:
            getattr(tasks, stage)(SERVICE)
            outcome.states[stage] = "success"
            outcome.errors.pop(stage, None)
            return
        except AirflowFailException as error:
            outcome.states[stage], outcome.errors[stage] = "failed", str(error)
            return
        except (HeadroomError, AirflowException) as error:
            outcome.states[stage], outcome.errors[stage] = "failed", str(error)


def restore_by_hand(run_id: str, outcome: Outcome) -> None:
    """The command, in this process."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        outcome.status = restore.main([SERVICE, run_id])
    outcome.said = said.getvalue()


def sweep(outcome: Outcome) -> None:
    """The sweeper's command, which restores what lost runs have left."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        outcome.status = sweep_command.main(["--policy", "restore"])
    outcome.said = said.getvalue()
