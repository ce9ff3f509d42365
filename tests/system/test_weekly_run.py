"""The weekly run, whole: Airflow, sandbox, JMeter. Accuracy is not asserted: a busy machine must not turn it red."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from tests.system.conftest import DAG_ID, Stack

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

STAGES = (
    "resolve_plan", "check", "journal", "prescale", "open_fleet", "smoke", "search", "confirm", "dismiss_fleet",
    "collect", "restore", "validate", "compare", "publish",
)  # fmt: skip
LEASE_S = 3.0
REPORT_S = 2.0  # a shard tells its rate once a second


def told_the_truth(stack: Stack, run_id: str, state: str) -> None:
    """A run is green only if every task succeeded and the answer is valid; else `conclude` tells the reason."""
    tasks = stack.tasks(run_id)
    good = all(tasks[name].state == "success" for name in STAGES) and all(
        tasks[f"load_fleet[{shard}]"].state == "success" for shard in range(2)
    )
    if state == "success":
        assert good
        assert stack.json(run_id, "result.json")["validity"]["status"] == "valid"
    else:
        log = "\n".join(stack.api.task_log(DAG_ID, run_id, tasks["conclude"]))
        assert "The run is not good" in log or "no valid answer" in log, log[-2000:]


def test_a_run_answers_or_says_why_not_and_leaves_no_trace(stack: Stack, unchanged: dict[str, Any]) -> None:
    run_id = stack.trigger(lower_tps=110, upper_tps=400, probe_s=8, soak_s=15)
    state = stack.wait(run_id).state
    states = {name: task.state for name, task in stack.tasks(run_id).items() if name != "conclude"}
    assert set(states.values()) == {"success"}, states
    told_the_truth(stack, run_id, state)
    result = stack.json(run_id, "result.json")
    assert result["restored"] == {"equal": True, "differences": []}
    assert result["environment"]["sizes_during"]["desired"] == 2
    assert {probe["stage"] for probe in result["probes"]} >= {"smoke", "search"}
    for probe in result["probes"]:
        assert probe["offered_tps"] > 0
    assert (stack.folder(run_id) / "documents" / "checkout.md").is_file()
    assert (stack.folder(run_id) / "data-docs" / "index.html").is_file()
    assert stack.json(run_id, "collected.json")["series"]["healthy_hosts"]


def test_a_killed_conductor_leaves_no_load_and_its_retry_goes_on(stack: Stack, unchanged: dict[str, Any]) -> None:
    run_id = stack.trigger()
    stack.mid_search(run_id)
    before = len(list((stack.folder(run_id) / "probes" / "search").glob("*.json")))
    conductor = stack.tasks(run_id)["search"]
    assert conductor.pid
    os.kill(conductor.pid, signal.SIGKILL)
    print(f"no load {stack.seconds_until_no_load(run_id, LEASE_S + REPORT_S):.1f} s after the conductor's end")
    state = stack.wait(run_id).state
    assert stack.tasks(run_id)["search"].try_number >= 2
    assert len(list((stack.folder(run_id) / "probes" / "search").glob("*.json"))) >= before
    told_the_truth(stack, run_id, state)


def test_a_killed_shard_makes_a_probe_invalid_and_is_replaced(stack: Stack, unchanged: dict[str, Any]) -> None:
    run_id = stack.trigger()
    stack.mid_search(run_id)
    victim = stack.processes("include.loadgen")[0]
    jmeters = len(stack.processes("ApacheJMeter.jar"))
    os.kill(victim, signal.SIGKILL)
    stack.until("the end of its JMeter", lambda: len(stack.processes("ApacheJMeter.jar")) < jmeters, 3.0)
    state = stack.wait(run_id).state
    probes = [probe for probe in stack.json(run_id, "result.json")["probes"] if probe["stage"] in ("search", "confirm")]
    assert any(probe["validity"]["status"] == "invalid" for probe in probes)
    told_the_truth(stack, run_id, state)


def test_a_killed_scheduler_leaves_no_load_and_the_run_still_ends(stack: Stack, unchanged: dict[str, Any]) -> None:
    run_id = stack.trigger()
    stack.mid_search(run_id)
    for pid in stack.processes("scheduler"):
        os.kill(pid, signal.SIGKILL)
    print(f"no load {stack.seconds_until_no_load(run_id, LEASE_S + REPORT_S):.1f} s after the scheduler's end")
    state = stack.wait(run_id).state
    told_the_truth(stack, run_id, state)


def test_a_run_marked_failed_is_torn_down(stack: Stack, unchanged: dict[str, Any]) -> None:
    run_id = stack.trigger()
    stack.mid_search(run_id)
    stack.api.set_run_state(DAG_ID, run_id, "failed")
    print(f"no load {stack.seconds_until_no_load(run_id, LEASE_S + REPORT_S + 2):.1f} s after the mark")
    stack.until("the restore", lambda: stack.tasks(run_id)["restore"].state == "success", 90)
    stack.wait(run_id)
    assert stack.api.run(DAG_ID, run_id).state == "failed"


def test_wrong_params_change_nothing(stack: Stack, unchanged: dict[str, Any]) -> None:
    run_id = stack.trigger(lower_tps=500, upper_tps=100)
    assert stack.wait(run_id).state == "failed"
    tasks = stack.tasks(run_id)
    log = "\n".join(stack.api.task_log(DAG_ID, run_id, tasks["resolve_plan"]))
    assert "Params" in log
    assert "upper" in log
    assert tasks["prescale"].state == "upstream_failed"
