"""A real fleet of two shards, as ECS tasks of the sandbox, while its parts fail: invalid probes with a reason, no load
beyond the lease, and the run goes on when the part is back."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from include.capacity.errors import NotReady, StoreError
from include.capacity.models import ProbeResult, Step
from include.capacity.protocol import COMMAND_PATH, ShardReport, report_path, shard_folder
from include.loadgen.exits import ExitCode
from include.pipeline import fleet as module
from include.pipeline.conductor import Conductor
from include.pipeline.environment import Environment
from include.pipeline.fleet import check_plan, dismiss_fleet, open_fleet, running_shards, shard_tags
from include.pipeline.run_folder import RunFolder
from include.pipeline.run_plan import RunPlan
from include.pipeline.stages import conductor_for
from include.store.artefacts import ArtefactStore
from tests.integration.pipeline.conftest import SmallDisk, connection_to, plan_with
from tests.integration.sandbox.conftest import RunningSandbox, free_port, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

RATE_TPS = 20.0
LEASE_S = 2.0
# Limits so wide that a busy machine does not make a probe invalid: this is about the fleet.
CHANGES = {
    "slo": [{"latency_p95": "9 s"}, {"error_ratio": "50 %"}],
    "load.fleet.threads_per_shard": 20,
    "load.fleet.heap_mib": 128,
    "guard.lease": "2 s",
    "validity.max_lag_p99": "8 s",
    "validity.max_generator_cpu": 4.0,
    "validity.max_gc": "90 %",
    "validity.max_offered_deviation": "90 %",
}


def step(hold_s: float) -> Step:
    return Step("probe", RATE_TPS, hold_s, 1.0, "a test")


def later(delay_s: float, act: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(delay_s, act)
    timer.start()
    return timer


@dataclass
class Fleet:
    """Two shards whose store and, for shard 1, whose work folder are small disks."""

    sandbox: RunningSandbox
    plan: RunPlan
    folder: RunFolder
    arguments: list[dict[str, Any]]
    work: list[Path]
    store_disk: SmallDisk
    work_disk: SmallDisk
    tasks: dict[int, str] = field(default_factory=dict)
    tries: int = 0

    def start(self, shard: int) -> None:
        """Runs the shard's container as the stock operator does, with a work folder that the test knows."""
        arguments, work = self.arguments[shard], {"name": "HEADROOM_WORK", "value": str(self.work[shard])}
        (override,) = arguments["overrides"]["containerOverrides"]
        changed = {**override, "environment": [*override["environment"], work]}
        fleet = self.plan.profile.load.fleet
        answer = self.sandbox.client("ecs").run_task(
            cluster=fleet.cluster,
            taskDefinition=fleet.task_definition,
            launchType=fleet.launch_type,
            networkConfiguration=arguments["network_configuration"],
            overrides={"containerOverrides": [changed]},
            tags=[{"key": key, "value": value} for key, value in shard_tags("checkout", self.plan.run_id).items()],
        )
        self.tasks[shard] = answer["tasks"][0]["taskArn"]

    def task(self, shard: int) -> dict[str, Any]:
        cluster = self.plan.profile.load.fleet.cluster
        described = self.sandbox.client("ecs").describe_tasks(cluster=cluster, tasks=[self.tasks[shard]])
        task: dict[str, Any] = described["tasks"][0]
        return task

    def exit_code(self, shard: int) -> int:
        wait_for(f"the end of shard {shard}", lambda: self.task(shard)["lastStatus"] == "STOPPED")
        code: int = self.task(shard)["containers"][0]["exitCode"]
        return code

    def pid(self, shard: int) -> int:
        """The shard's program; JMeter is its child."""
        (pid,) = [
            pid
            for pid in self.sandbox.processes()
            if psutil.Process(pid).environ().get("HEADROOM_SHARD") == str(shard)
            and "include.loadgen" in psutil.Process(pid).cmdline()
        ]
        return pid

    def reports(self, shard: int) -> list[ShardReport]:
        """Those of the newest incarnation."""
        incarnation = [name for name in self.folder.store.names(shard_folder(shard)) if name[0].isdigit()][-1]
        names = self.folder.store.names(report_path(shard, incarnation, 0).rpartition("/")[0])
        return [
            ShardReport.loads(self.folder.store.read(report_path(shard, incarnation, int(name.split(".")[0]))))
            for name in names
        ]

    def offered(self, second: int) -> int:
        return sum(report.offered.get(second, 0) for shard in (0, 1) for report in self.reports(shard))

    def conductor(self) -> Conductor:
        """Of a new try; ready when all shards are."""
        self.tries += 1
        observe = Environment.of(self.plan.profile).observe
        conductor = conductor_for(self.folder, self.plan, "search", self.tries, observe)
        conductor.wait_ready(90.0)
        return conductor

    def probe(self, hold_s: float, conductor: Conductor | None = None) -> ProbeResult:
        conducting = conductor or self.conductor()
        result, _ = conducting.run_step(step(hold_s), 0, transactions_per_arrival=1.0)
        conducting.command(0)
        print(result.validity, result.stop, result.offered_tps)
        return result


@pytest.fixture(scope="module")
def whole_fleet(
    shared_sandbox: RunningSandbox, small_disk: Callable[[str], SmallDisk], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    store_disk, work_disk = small_disk("24m"), small_disk("80m")
    plan = plan_with(CHANGES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_AWS_DEFAULT", connection_to(shared_sandbox.state["endpoint_url"]))
        folder = RunFolder(ArtefactStore.open(str(store_disk.folder / "run")))
        target = Environment.of(plan.profile).target()
        arguments = open_fleet(plan, folder.store, target, check_plan(plan.profile, target))
        work = [tmp_path_factory.mktemp("work"), work_disk.folder / "work"]
        fleet = Fleet(shared_sandbox, plan, folder, arguments, work, store_disk, work_disk)
        for shard in (0, 1):
            fleet.start(shard)
        yield fleet
        took_s = dismiss_fleet(plan, folder.store)
        assert took_s < module.ORDERLY_END_S
        assert running_shards(plan.profile) == []
        assert [fleet.exit_code(shard) for shard in (0, 1)] == [ExitCode.DISMISSED, ExitCode.DISMISSED]
        assert not [pid for pid in shared_sandbox.processes() if "java" in psutil.Process(pid).name()]


@pytest.fixture
def fleet(whole_fleet: Fleet, sandbox: RunningSandbox) -> Iterator[Fleet]:
    yield whole_fleet
    whole_fleet.store_disk.free()
    whole_fleet.work_disk.free()
    for shard in (0, 1):
        if whole_fleet.task(shard)["lastStatus"] == "STOPPED":
            whole_fleet.start(shard)


def test_a_whole_fleet_gives_a_valid_probe_even_without_a_look_at_the_environment(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    conductor = fleet.conductor()
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", connection_to(f"http://127.0.0.1:{free_port()}"))
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    result = fleet.probe(4.0, conductor)
    assert result.validity.status == "valid", result.validity
    assert result.environment == {}


def test_a_killed_shard_makes_the_probe_invalid_and_its_successor_goes_on(fleet: Fleet) -> None:
    conductor = fleet.conductor()
    victim = fleet.pid(1)
    children = [child.pid for child in psutil.Process(victim).children(recursive=True)]
    assert children
    timer = later(2.0, lambda: os.kill(victim, signal.SIGKILL))
    result = fleet.probe(9.0, conductor)
    timer.join()
    assert result.validity.status == "invalid"
    assert "Shard 1 did not report" in " ".join(result.validity.reasons)
    assert result.sustainable is None
    assert fleet.exit_code(1) == 128 + signal.SIGKILL
    assert not [pid for pid in children if psutil.pid_exists(pid)]
    fleet.start(1)
    conductor.wait_ready(90.0)
    assert fleet.probe(4.0, conductor).validity.status == "valid"


def test_an_unreadable_command_is_no_command(fleet: Fleet) -> None:
    conductor = fleet.conductor()
    conductor.command(RATE_TPS)
    wait_for("load", lambda: all(fleet.reports(shard)[-1].rate_per_s > 0 for shard in (0, 1)))
    fleet.folder.store.write(COMMAND_PATH, b'{"epoch": 99999, "seq": 1, "rate_')
    broken_at = time.time()
    time.sleep(LEASE_S + 2.5)
    for shard in (0, 1):
        assert fleet.reports(shard)[-1].rate_per_s == 0
    assert fleet.offered(int(broken_at + LEASE_S + 1)) == 0
    assert fleet.probe(4.0, conductor).validity.status == "valid"  # the shards still obey


def test_a_line_cut_in_the_results_makes_the_probe_invalid(fleet: Fleet) -> None:
    conductor = fleet.conductor()
    (results,) = fleet.work[0].glob("*/results.jtl")

    def cut() -> None:
        """JMeter writes its next line over this; the shard, which has read it already, sees neither whole."""
        for _ in range(20):
            with open(results, "ab", buffering=0) as file:
                file.write(b"brows")
            time.sleep(0.15)

    timer = later(2.0, cut)
    result = fleet.probe(5.0, conductor)
    timer.join()
    assert result.validity.status == "invalid"
    assert "result lines could not be read" in " ".join(result.validity.reasons)
    rejects = [reject for report in fleet.reports(0) for reject in report.rejects]
    assert any("brow" in reject for reject in rejects)
    assert fleet.probe(4.0, conductor).validity.status == "valid"


def test_a_full_store_ends_the_load_within_the_lease_and_the_run_goes_on(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    conductor = fleet.conductor()
    filled_at: list[float] = []

    def fill() -> None:
        fleet.store_disk.fill()
        filled_at.append(time.time())

    timers = [later(2.0, fill), later(12.0, fleet.store_disk.free)]
    result, _ = conductor.run_step(step(6.0), 0, transactions_per_arrival=1.0)
    with pytest.raises(StoreError, match=r"command\.json cannot be written: .*No space left on device"):
        conductor.command(RATE_TPS)
    print(result.validity, result.stop)
    assert result.validity.status == "invalid"
    assert "The command could not be renewed" in caplog.text
    assert "No space left on device" in caplog.text
    conductor.wait_ready(30.0)  # patient until the store is free again
    for timer in timers:
        timer.join()
    assert fleet.offered(int(filled_at[0]) - 1) > 0
    silent = range(int(filled_at[0] + LEASE_S + 1.5), int(filled_at[0] + 6))
    assert [fleet.offered(second) for second in silent] == [0] * len(silent)
    assert fleet.probe(4.0, conductor).validity.status == "valid"


def test_a_full_disk_in_a_shard_ends_it_with_the_reason(fleet: Fleet) -> None:
    conductor = fleet.conductor()
    timer = later(2.0, fleet.work_disk.fill)
    result = fleet.probe(9.0, conductor)
    timer.join()
    assert result.validity.status == "invalid"
    assert "Shard 1 did not report" in " ".join(result.validity.reasons)
    assert fleet.exit_code(1) == ExitCode.DISK_FULL
    assert "disk full" in fleet.reports(1)[-1].end_reason
    with pytest.raises(NotReady, match="shard 1: disk full") as caught:
        conductor.wait_ready(2.0)
    print(caught.value)
