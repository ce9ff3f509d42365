"""The sweeper's DAG: hourly, one task, red when something is left to do."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import AirflowFailException

from include.pipeline import sweep as command
from include.pipeline import sweeper_builder as builder
from include.pipeline.sweeping import Leftover, Sweep


@pytest.fixture
def dag(dagbag: DagBag) -> Any:
    return dagbag.dags[builder.DAG_ID]


@pytest.fixture
def sweeps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """The policies that were asked for; each sweep finds nothing."""
    asked: list[tuple[str, bool]] = []

    def sweep(policy: str, *, everything: bool) -> Sweep:
        asked.append((policy, everything))
        return Sweep((), ("manual__1 of capacity_weekly__checkout",))

    monkeypatch.setattr(command, "sweep", sweep)
    return asked


def in_context(monkeypatch: pytest.MonkeyPatch, variable: str | None = None, **params: Any) -> None:
    context = {"params": {"policy": None, "everything": False, **params}}
    monkeypatch.setattr(builder, "get_current_context", lambda: context)
    get = SimpleNamespace(get=lambda key, default: default if variable is None else variable)
    monkeypatch.setattr(builder, "Variable", get)


def test_it_runs_every_hour_one_at_a_time_and_ends(dag: Any) -> None:
    assert [task.task_id for task in dag.tasks] == ["sweep"]
    assert (dag.timetable.expression, dag.catchup, dag.max_active_runs) == ("17 * * * *", False, 1)
    assert dag.tasks[0].execution_timeout is not None
    assert dag.timetable.run_immediately.total_seconds() == 0


@pytest.mark.parametrize(
    ("params", "variable", "asked"),
    [
        ({}, None, ("restore", False)),
        ({}, "report", ("report", False)),
        ({"policy": "restore"}, "report", ("restore", False)),
        ({"policy": "report", "everything": True}, None, ("report", True)),
    ],
)
def test_the_form_goes_before_the_variable_and_that_before_the_default(
    monkeypatch: pytest.MonkeyPatch,
    sweeps: list[tuple[str, bool]],
    params: dict[str, Any],
    variable: str | None,
    asked: tuple[str, bool],
) -> None:
    in_context(monkeypatch, variable, **params)
    found = builder.sweep()
    assert sweeps == [asked]
    assert found == {"policy": asked[0], "found": 0, "living": ["manual__1 of capacity_weekly__checkout"]}


def test_a_wrong_policy_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    in_context(monkeypatch, "mend")
    with pytest.raises(AirflowFailException, match=r"'mend' is unknown\. Write one of report, restore"):
        builder.sweep()


def test_the_task_is_red_and_tells_what_to_do(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    in_context(monkeypatch)
    left = Leftover("journal", "checkout", "manual__1", "not restored: AWS refused", "tried to restore", "do this")
    monkeypatch.setattr(command, "sweep", lambda policy, everything: Sweep((left,), ()))
    with caplog.at_level(logging.INFO), pytest.raises(AirflowFailException, match="journal manual__1: not restored"):
        builder.sweep()


def test_what_was_restored_is_green(monkeypatch: pytest.MonkeyPatch) -> None:
    in_context(monkeypatch)
    left = Leftover("journal", "checkout", "manual__1", "not restored", "restored")
    monkeypatch.setattr(command, "sweep", lambda policy, everything: Sweep((left,), ()))
    assert builder.sweep()["found"] == 1
