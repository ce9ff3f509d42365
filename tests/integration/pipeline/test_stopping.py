"""A run under load is stopped from outside: by an order, an alarm, the Variable, or the loss of its environment. The
load is at zero within seconds, the run fails with the reason, and the environment is restored."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from include.capacity.protocol import ShardReport, report_path, shard_folder
from include.pipeline import environment_lock, stop, tasks
from include.pipeline.environment import Environment
from include.pipeline.environment_lock import claim_of, release, take
from include.pipeline.fleet import dismiss_fleet, running_shards, shard_tags
from include.pipeline.guards_signals import STOP_PATH
from include.pipeline.run_folder import RunFolder
from include.pipeline.run_plan import RunPlan
from include.store.artefacts import ArtefactStore
from tests.integration.pipeline.conftest import OTHER_RUN, RUN_ID, plan_with, settings_of
from tests.integration.pipeline.test_refusals import refusal
from tests.integration.sandbox.conftest import RunningSandbox, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

Start = Callable[[RunPlan], RunFolder]
ALARM = "checkout-errors"
WITHIN_S = 6.0
CHANGES = {
    "prescale.instances": 1,
    "prescale.warm_up": "0 s",
    "load.fleet.shards": 1,
    "load.fleet.threads_per_shard": 20,
    "load.fleet.heap_mib": 128,
    "guard.stop_alarms": [ALARM],
}


@pytest.fixture
def alarm(sandbox: RunningSandbox) -> Iterator[Callable[[str], None]]:
    """Sets the state of an alarm, and holds it: the sandbox evaluates it anew every second."""
    client = sandbox.client("cloudwatch")
    client.put_metric_alarm(
        AlarmName=ALARM,
        Namespace="Shop",
        MetricName="Errors",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )

    wanted, over = ["OK"], threading.Event()

    def hold() -> None:
        while not over.wait(0.1):
            client.set_alarm_state(AlarmName=ALARM, StateValue=wanted[0], StateReason="five errors in a minute")

    def put(state: str) -> None:
        wanted[0] = state
        wait_for(state, lambda: client.describe_alarms(AlarmNames=[ALARM])["MetricAlarms"][0]["StateValue"] == state)

    thread = threading.Thread(target=hold)
    thread.start()
    yield put
    over.set()
    thread.join()
    client.delete_alarms(AlarmNames=[ALARM])


def start_shard(sandbox: RunningSandbox, plan: RunPlan, arguments: dict[str, Any]) -> None:
    fleet = plan.profile.load.fleet
    sandbox.client("ecs").run_task(
        cluster=fleet.cluster,
        taskDefinition=fleet.task_definition,
        launchType=fleet.launch_type,
        networkConfiguration=arguments["network_configuration"],
        overrides=arguments["overrides"],
        tags=[{"key": key, "value": value} for key, value in shard_tags("checkout", plan.run_id).items()],
    )


def reports(folder: RunFolder) -> list[ShardReport]:
    names = [name for name in folder.store.names(shard_folder(0)) if name[0].isdigit()]
    if not names:
        return []
    numbers = folder.store.names(report_path(0, names[-1], 0).rpartition("/")[0])
    return [
        ShardReport.loads(folder.store.read(report_path(0, names[-1], int(name.split(".")[0])))) for name in numbers
    ]


def rate(folder: RunFolder) -> float:
    return reports(folder)[-1].rate_per_s if reports(folder) else 0.0


def stopped(folder: RunFolder, act: Callable[[], object]) -> str:
    """Conducts until there is load, acts, and returns why the stage failed. Checks how soon the load was gone."""
    failures: list[BaseException] = []
    ended_at: list[float] = []

    def conduct() -> None:
        try:
            tasks.conduct("checkout", "smoke")
        except BaseException as error:
            failures.append(error)
        ended_at.append(time.time())

    thread = threading.Thread(target=conduct)
    thread.start()
    wait_for("load", lambda: rate(folder) > 0 or failures, 90.0)
    acted_at = time.time()
    act()
    wait_for("the end of the load", lambda: rate(folder) == 0, WITHIN_S)
    thread.join(WITHIN_S)
    assert not thread.is_alive()
    (error,) = failures
    assert isinstance(error, AirflowFailException)
    print(f"\nafter {ended_at[0] - acted_at:.1f} s: {error}")
    offered: dict[int, int] = {}
    for report in reports(folder):
        for second, count in report.offered.items():
            offered[second] = offered.get(second, 0) + count
    assert max(second for second, count in offered.items() if count) <= acted_at + WITHIN_S
    return str(error)


def test_a_run_under_load_is_stopped_from_outside_and_restores(
    sandbox: RunningSandbox,
    group_at_rest: Any,
    started: Start,
    root: ArtefactStore,
    alarm: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plan = plan_with(CHANGES)
    environment = Environment.of(plan.profile)
    before = settings_of(environment)
    folder = started(plan)
    tries = tasks.get_current_context()["ti"]
    tasks.journal("checkout")
    tasks.prescale("checkout")
    (arguments,) = tasks.open_fleet("checkout")
    start_shard(sandbox, plan, arguments)
    try:
        order = ["checkout", RUN_ID, "--reason", "the shop is on fire", "--by", "ann"]
        text = stopped(folder, lambda: stop.main(order))
        assert "stopped by ann at " in text
        assert "the shop is on fire" in text
        assert "Within seconds the load stands down" in capsys.readouterr().out
        assert folder.notes()["stopped"] == text
        tries.try_number += 1
        with pytest.raises(AirflowFailException, match="the shop is on fire"):
            tasks.conduct("checkout", "smoke")  # a retry does not load either
        assert stop.main(["checkout", RUN_ID, "--withdraw"]) == 0
        assert not folder.store.exists(STOP_PATH)

        tries.try_number += 1
        text = stopped(folder, lambda: alarm("ALARM"))
        assert f"guard.stop_alarms is in ALARM: {ALARM} (five errors in a minute)" in text
        alarm("OK")

        tries.try_number += 1
        text = stopped(folder, lambda: monkeypatch.setenv("AIRFLOW_VAR_HEADROOM_STOP", '{"checkout": "a freeze"}'))
        assert "The Airflow Variable headroom_stop stops the runs of checkout: a freeze" in text
        monkeypatch.delenv("AIRFLOW_VAR_HEADROOM_STOP")

        tries.try_number += 1
        monkeypatch.setattr(environment_lock, "RENEW_S", 0.5)

        def lose() -> None:
            release(environment, root, plan.run)
            take(environment, root, OTHER_RUN)

        text = stopped(folder, lose)
        assert "does not hold the environment" in text
        assert "held by run 'manual__other'" in text
        release(environment, root, OTHER_RUN)
        take(environment, root, plan.run)
    finally:
        dismiss_fleet(plan, folder.store)
    assert running_shards(plan.profile) == []
    assert tasks.restore("checkout")["equal"]
    assert settings_of(environment) == before
    assert claim_of(environment, root) is None
    assert stop.main(["checkout", RUN_ID, "--reason", "too late"]) == 1
    assert "does not hold its environment" in capsys.readouterr().out


def test_a_stop_ends_the_wait_for_the_instances(
    sandbox: RunningSandbox, group_at_rest: Any, started: Start, root: ArtefactStore
) -> None:
    plan = plan_with({"prescale.warm_up": "1 min"})
    folder = started(plan)
    tasks.journal("checkout")
    timer = threading.Timer(1.0, lambda: folder.store.write(STOP_PATH, b""))
    timer.start()
    began = time.monotonic()
    with pytest.raises(AirflowFailException, match="stopped by an object without a reason"):
        tasks.prescale("checkout")
    assert time.monotonic() - began < 15
    timer.join()
    assert tasks.restore("checkout")["equal"]


def test_what_would_stop_the_run_already_refuses_it(
    sandbox: RunningSandbox, started: Start, alarm: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_with({"guard.stop_alarms": [ALARM]})
    alarm("ALARM")
    assert "guard.stop_alarms is in ALARM: checkout-errors (five errors in a minute)" in refusal(started, plan)
    alarm("INSUFFICIENT_DATA")
    monkeypatch.setenv("AIRFLOW_VAR_HEADROOM_STOP", "a release freeze")
    assert "Delete it, or empty it, to allow runs again" in refusal(started, plan)
    monkeypatch.delenv("AIRFLOW_VAR_HEADROOM_STOP")
    folder = started(plan)
    assert stop.main(["checkout", RUN_ID, "--reason", "not today"]) == 1
    assert "not today" in refusal(started, plan)
    folder.store.delete(STOP_PATH)
    assert "no alarm 'nope'" in refusal(started, plan_with({"guard.stop_alarms": ["nope"]}))
    started(plan)
    tasks.check("checkout")
