"""Following a run: what is told, and what a stop waits for. Airflow is a script of answers."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import pytest

from include.capacity.codec import probe_to_json
from include.capacity.models import ProbeResult, Step, Validity
from tools.airflow_api import AirflowApi, AirflowError, DagRun, TaskInstance
from tools.demo.artefacts import RunArtefacts, probe_line, run_key
from tools.demo.terminal import CLEAR_LINE, Terminal
from tools.demo.watching import RunTimeout, RunWatch

PROBE = ProbeResult(
    stage="search",
    number=0,
    step=Step("ramp", 100.0, 5.0, 1.0, "ramp"),
    started_at=10.0,
    ended_at=15.0,
    measured_s=4,
    offered_tps=99.5,
    achieved_tps=99.25,
    transactions_per_arrival=1.0,
    latency_ms={"p50": 40.0, "p95": 81.4},
    error_ratio=0.005,
    errors={"ok": 398, "http": 2},
    conditions=(),
    lag_p99_ms=2.0,
    in_flight_start=3,
    in_flight_end=4,
    validity=Validity("valid"),
    sustainable=True,
    misses=(),
    stop="hold complete",
)


def task(name: str, state: str, *, map_index: int = -1, try_number: int = 1) -> TaskInstance:
    return TaskInstance(name, map_index, state, try_number, 100.0, 102.5 if state in {"success", "failed"} else None)


@dataclass
class ScriptedAirflow:
    """Each look at the run takes the next of `rounds`: the run's state and its tasks. The last one stays."""

    rounds: list[tuple[str, list[TaskInstance]]]
    marked: list[str] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)
    others: list[DagRun] = field(default_factory=list)

    def run(self, dag_id: str, run_id: str) -> DagRun:
        return DagRun(dag_id, run_id, self.rounds[0][0], 0.0, 1.0)

    def runs(self, dag_id: str) -> list[DagRun]:
        return self.others

    def task_instances(self, dag_id: str, run_id: str) -> list[TaskInstance]:
        tasks = self.rounds[0][1]
        if len(self.rounds) > 1:
            self.rounds.pop(0)
        return tasks

    def task_log(self, dag_id: str, run_id: str, task: TaskInstance) -> list[str]:
        if not self.logs:
            raise AirflowError(404, "no log")
        return self.logs

    def set_run_state(self, dag_id: str, run_id: str, state: str) -> None:
        self.marked.append(state)


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


Watched = Callable[[ScriptedAirflow], tuple[RunWatch, io.StringIO]]


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    def make(airflow: ScriptedAirflow) -> tuple[RunWatch, io.StringIO]:
        output, clock = io.StringIO(), Clock()
        artefacts = RunArtefacts(tmp_path, "checkout", "manual__1")
        api = cast(AirflowApi, airflow)
        terminal = Terminal(output, clock)
        watch = RunWatch(api, "dag", "manual__1", artefacts, Path("/logs"), terminal, clock, clock.sleep)
        return watch, output

    return make


def store(artefacts: RunArtefacts, probe: ProbeResult) -> None:
    path = artefacts.folder / "probes" / probe.stage / f"{probe.number:03d}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(probe_to_json(probe)))


def test_each_change_of_a_task_is_told_once(watched: Watched) -> None:
    airflow = ScriptedAirflow(
        [
            ("running", [task("check", "running"), task("load_fleet", "scheduled", map_index=1)]),
            ("running", [task("check", "running"), task("load_fleet", "running", map_index=1)]),
            ("success", [task("check", "success"), task("load_fleet", "success", map_index=1)]),
        ]
    )
    watch, output = watched(airflow)

    run = watch.follow(60)

    assert run.state == "success"
    told = [line.split("s  ", 1)[1] for line in output.getvalue().splitlines()]
    assert told == [
        "check: running",
        "load_fleet[1]: running",
        "check: success (2.5 s)",
        "load_fleet[1]: success (2.5 s)",
    ]


def test_each_probe_is_told_once_and_in_order(watched: Watched) -> None:
    watch, output = watched(ScriptedAirflow([("running", []), ("running", []), ("success", [])]))
    store(watch.artefacts, replace(PROBE, number=1, started_at=20.0, sustainable=False, misses=("p95 is 300 ms",)))
    store(watch.artefacts, PROBE)
    (watch.artefacts.folder / "probes" / "search" / "002.json").write_text("{half")

    watch.follow(60)

    lines = output.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("sustainable")
    assert lines[1].endswith("not sustainable: p95 is 300 ms")


def test_a_probe_in_one_line() -> None:
    line = probe_line(PROBE)
    for part in ("search", "ramp", "100.0 TPS", "offered    99.5", "achieved    99.2", "p95     81 ms", "0.50 %"):
        assert part in line
    invalid = replace(PROBE, validity=Validity("invalid", ("shard 1 is missing",)), sustainable=None, latency_ms={})
    assert probe_line(invalid).endswith("invalid: shard 1 is missing")
    assert probe_line(replace(PROBE, sustainable=None)).endswith("not judged")


def test_a_failed_task_shows_the_end_of_its_log_and_its_place(watched: Watched) -> None:
    airflow = ScriptedAirflow([("failed", [task("load_fleet", "failed", map_index=1, try_number=3)])])
    airflow.logs = [f"line {number}" for number in range(40)]
    watch, output = watched(airflow)

    watch.follow(60)

    text = output.getvalue()
    assert "| line 39" in text
    assert "| line 24\n" not in text
    assert "/logs/dag_id=dag/run_id=manual__1/task_id=load_fleet/map_index=1/attempt=3.log" in text
    assert watch.failed_tasks == ["load_fleet[1]"]


def test_a_retry_is_told_with_its_reason_but_is_no_failure(watched: Watched) -> None:
    airflow = ScriptedAirflow(
        [("running", [task("smoke", "up_for_retry")]), ("success", [task("smoke", "running", try_number=2)])]
    )
    airflow.logs = ["the fleet is not ready"]
    watch, output = watched(airflow)

    watch.follow(60)

    assert "smoke: up for retry" in output.getvalue()
    assert "| the fleet is not ready" in output.getvalue()
    assert "smoke: running (try 2)" in output.getvalue()
    assert watch.failed_tasks == []


def test_a_run_that_takes_too_long_is_given_up(watched: Watched) -> None:
    watch, _ = watched(ScriptedAirflow([("running", [])]))

    with pytest.raises(RunTimeout, match=r"did not end within 30 s \(--timeout\)"):
        watch.follow(30)


def test_a_queued_run_says_what_it_waits_for(watched: Watched) -> None:
    airflow = ScriptedAirflow([("queued", [])] * 6 + [("success", [])])
    airflow.others = [DagRun("dag", "scheduled__1", "running", 0.0, None)]
    watch, output = watched(airflow)

    watch.follow(60)

    assert output.getvalue().count("The run waits for the end of scheduled__1") == 1


def test_a_stop_waits_for_the_teardowns(watched: Watched) -> None:
    airflow = ScriptedAirflow(
        [
            ("running", [task("search", "running"), task("restore", "none")]),
            ("failed", [task("search", "failed"), task("restore", "running")]),
            ("failed", [task("search", "failed"), task("restore", "success")]),
        ]
    )
    airflow.logs = ["SIGTERM"]
    watch, output = watched(airflow)

    assert watch.stop() is True

    assert "SIGTERM" not in output.getvalue()
    assert airflow.marked == ["failed"]
    assert len(airflow.rounds) == 1
    assert "restore: success" in output.getvalue()


def test_a_stop_ends_at_its_limit(watched: Watched) -> None:
    watch, output = watched(ScriptedAirflow([("running", [task("restore", "running")])]))

    assert watch.stop(limit_s=10) is False
    assert "make down" in output.getvalue()


def test_a_run_that_has_not_started_needs_no_waiting(watched: Watched) -> None:
    airflow = ScriptedAirflow([("queued", [task("restore", "none")])])
    watch, _ = watched(airflow)

    assert watch.stop() is True
    assert airflow.marked == ["failed"]


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def test_the_live_line_stays_below_the_lines() -> None:
    screen = Screen()
    terminal = Terminal(screen, Clock())

    terminal.live("holding")
    terminal.line("done")
    terminal.live("")

    assert screen.getvalue() == f"{CLEAR_LINE}holding{CLEAR_LINE}done\nholding{CLEAR_LINE}"


def test_without_a_terminal_there_is_no_control_code() -> None:
    output = io.StringIO()
    terminal = Terminal(output, Clock())

    terminal.live("holding")
    terminal.event("done")

    assert output.getvalue() == "   0.0 s  done\n"


def test_the_running_hold_is_forgotten_when_nothing_is_told_any_more(tmp_path: Path) -> None:
    artefacts = RunArtefacts(tmp_path, "checkout", "r")
    artefacts.folder.mkdir(parents=True)
    path = artefacts.folder / "progress.json"
    path.write_text(
        json.dumps({"stage": "search", "kind": "ramp", "rate_tps": 50, "elapsed_s": 2, "hold_s": 5, "p95_ms": None})
    )
    os.utime(path, (1000, 1000))

    hold = artefacts.hold(1002)

    assert hold is not None
    assert (hold.stage, hold.rate_tps, hold.p95_ms, hold.in_flight) == ("search", 50, None, None)
    assert artefacts.hold(1010) is None
    path.write_text("{half")
    os.utime(path, (1000, 1000))
    assert artefacts.hold(1002) is None


def test_the_folder_of_a_run_has_a_name_that_any_file_system_takes() -> None:
    assert run_key("manual__2026-03-02T03:00:00+00:00") == "manual__2026-03-02T03_00_00_00_00"
