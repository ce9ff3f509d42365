"""The pipeline's own functions against a sandbox: wrong input, missing parts and failures, as a run meets them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from include.pipeline import tasks
from include.pipeline.environment import SIZES, Environment
from include.pipeline.installation import SERVICES
from include.pipeline.run_folder import RunFolder
from include.pipeline.run_plan import PLAN_PATH, RunPlan, resolve, save
from include.store.artefacts import ArtefactStore
from sandbox.processes.proc import SANDBOX_MARK, marked_processes
from tests.integration.sandbox.conftest import GROUP, PLANT, RunningSandbox, free_port, run_sandbox, wait_for

RUN_ID = "manual__2026-08-03T03:00:00+00:00"
OTHER_RUN = {"service": "checkout", "dag_id": "capacity_weekly__checkout", "run_id": "manual__other"}


def connection_to(endpoint_url: str) -> str:
    settings = {
        "conn_type": "aws",
        "login": "123456789012",
        "password": "sandbox",
        "extra": {"region_name": "us-east-1", "endpoint_url": endpoint_url},
    }
    return json.dumps(settings)


def plan_with(changes: Mapping[str, Any]) -> RunPlan:
    """The example service's plan, some dotted keys of its profile changed."""
    raw = yaml.safe_load((SERVICES / "checkout.yaml").read_text(encoding="utf-8"))
    for place, value in changes.items():
        *sections, key = place.split(".")
        section = raw
        for part in sections:
            section = section[part]
        section[key] = value
    return resolve(
        yaml.safe_dump(raw),
        "checkout.yaml",
        {},
        dag_id="capacity_weekly__checkout",
        run_id=RUN_ID,
        mode="weekly",
        started_at="2026-08-03T03:00:00+00:00",
    )


@dataclass(frozen=True)
class SmallDisk:
    """A folder that can be filled and freed again."""

    folder: Path

    def fill(self) -> None:
        with open(self.folder / "filler", "wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"\0" * 4096)
            except OSError:
                return

    def free(self) -> None:
        (self.folder / "filler").unlink(missing_ok=True)


@pytest.fixture(scope="session")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], SmallDisk]]:
    """Mounts a file system in memory, such as of "16m"; skips the test where that is not allowed."""
    mounted: list[Path] = []

    def mount(size: str) -> SmallDisk:
        folder = tmp_path_factory.mktemp("disk")
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
        mounted.append(folder)
        return SmallDisk(folder)

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="session")
def shared_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    plant = tmp_path_factory.mktemp("plant") / "plant.yaml"
    plant.write_text(PLANT)
    folder = tmp_path_factory.mktemp("sandbox")
    ports = ["--port", str(free_port()), "--lb-port", str(free_port())]
    started = run_sandbox("up", "--state", str(folder), "--plant", str(plant), *ports)
    assert started.returncode == 0, started.stderr + started.stdout
    running = RunningSandbox(folder)
    mark = running.state["mark"]
    try:
        yield running
    finally:
        ended = run_sandbox("down", "--state", str(folder))
        assert ended.returncode == 0, ended.stderr
        assert marked_processes(SANDBOX_MARK, mark) == []


@pytest.fixture
def sandbox(shared_sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> RunningSandbox:
    """A sandbox with one instance; the Airflow connection leads to it, and Airflow is set as a run needs it."""
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", connection_to(shared_sandbox.state["endpoint_url"]))
    monkeypatch.setenv("AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT", "40")
    return shared_sandbox


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch) -> str:
    """The connection leads to a port at which nothing listens; returns its address."""
    endpoint = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", connection_to(endpoint))
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    return endpoint


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ArtefactStore:
    """The artefact store of this installation."""
    monkeypatch.setenv("HEADROOM_ARTEFACTS", str(tmp_path / "artefacts"))
    return ArtefactStore.open(str(tmp_path / "artefacts"))


@pytest.fixture
def started(root: ArtefactStore, monkeypatch: pytest.MonkeyPatch) -> Callable[[RunPlan], RunFolder]:
    """Freezes a plan as resolve_plan does; the functions of include.pipeline.tasks then are tasks of that run."""

    def start(plan: RunPlan) -> RunFolder:
        folder = RunFolder.of(plan.service, plan.run_id)
        folder.store.delete(PLAN_PATH)  # the first one would stay
        save(plan, folder.store)
        context = {
            "run_id": plan.run_id,
            "dag": SimpleNamespace(dag_id=plan.dag_id, max_active_tasks=16, task_ids=["check", "journal"]),
            "ti": SimpleNamespace(try_number=1, start_date=datetime.now(UTC)),
            "params": {},
        }
        monkeypatch.setattr(tasks, "get_current_context", lambda: context)
        return folder

    return start


def settings_of(environment: Environment) -> dict[str, Any]:
    """What a run changes and must restore."""
    group = environment.group()
    suspended = sorted(process["ProcessName"] for process in group["SuspendedProcesses"])
    return {**{name: group[name] for name in SIZES}, "suspended": suspended}


@pytest.fixture
def group_at_rest(sandbox: RunningSandbox) -> Iterator[Any]:
    """The client of Auto Scaling; the group is brought back to one instance with everything resumed."""
    client = sandbox.client("autoscaling")
    yield client
    client.resume_processes(AutoScalingGroupName=GROUP)
    client.update_auto_scaling_group(AutoScalingGroupName=GROUP, MinSize=1, MaxSize=4)
    sandbox.scale_to(1)


def instance_processes(sandbox: RunningSandbox) -> dict[str, int]:
    """Instance id -> process id."""

    def look() -> dict[str, int]:
        found = json.loads((sandbox.folder / "status.json").read_text())["instances"]
        return {entry["id"]: entry["pid"] for entry in found if entry.get("pid")}

    return wait_for("an instance", look)
