"""The weekly DAG: it loads, reads like the run, and its edges hold what they must."""

from __future__ import annotations

import ast
import itertools
from datetime import timedelta

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.providers.amazon.aws.operators.ecs import EcsRunTaskOperator

from tests.dags.conftest import REPOSITORY

DAG_ID = "capacity_weekly__checkout"
ORDER = [
    "resolve_plan", "check", "journal", "prescale", "open_fleet", "smoke", "search", "confirm", "dismiss_fleet",
    "collect", "restore", "publish", "conclude",
]  # fmt: skip


@pytest.fixture
def dag(dagbag: DagBag):
    return dagbag.dags[DAG_ID]


def upstream(dag, task_id: str) -> set[str]:
    return {task.task_id for task in dag.get_task(task_id).get_flat_relatives(upstream=True)}


def test_every_dag_loads_without_errors(dagbag: DagBag) -> None:
    assert dagbag.import_errors == {}
    assert DAG_ID in dagbag.dags


@pytest.mark.parametrize(("before", "after"), list(itertools.pairwise(ORDER)))
def test_the_stages_come_in_their_order(dag, before: str, after: str) -> None:
    assert before in upstream(dag, after)


def test_the_fleet_runs_beside_the_stages_and_is_ended_by_dismiss(dag) -> None:
    assert "open_fleet" in upstream(dag, "load_fleet")
    assert "load_fleet" not in upstream(dag, "dismiss_fleet")
    assert "load_fleet" not in upstream(dag, "smoke")
    assert "load_fleet" in upstream(dag, "restore")


def test_analysis_needs_the_answer_and_comes_after_the_fleet(dag) -> None:
    assert {task.task_id for task in dag.get_task("validate").upstream_list} == {"confirm", "collect"}
    assert "dismiss_fleet" in upstream(dag, "validate")


def test_every_setup_has_its_teardown(dag) -> None:
    teardowns = {task.task_id for task in dag.tasks if task.is_teardown}
    setups = {task.task_id for task in dag.tasks if task.is_setup}
    assert setups == {"resolve_plan", "journal", "open_fleet"}
    assert teardowns == {"dismiss_fleet", "restore", "conclude"}
    assert "journal" in {task.task_id for task in dag.get_task("restore").upstream_list}


def test_conclude_is_the_only_leaf_and_decides_the_state(dag) -> None:
    assert [task.task_id for task in dag.tasks if not task.downstream_list] == ["conclude"]
    assert dag.get_task("conclude").on_failure_fail_dagrun
    must_succeed = set(dag.get_task("conclude").op_args[1])
    assert must_succeed == {task.task_id for task in dag.tasks} - {"conclude"}


def test_the_load_runs_through_the_stock_operator(dag) -> None:
    load_fleet = dag.get_task("load_fleet")
    assert load_fleet.operator_class is EcsRunTaskOperator
    arguments = load_fleet.partial_kwargs
    assert arguments["reattach"] is True
    assert arguments["deferrable"] is False


def test_time_and_overlap_are_bounded(dag) -> None:
    assert dag.max_active_runs == 1
    assert dag.dagrun_timeout is None  # it would skip the teardowns
    assert dag.catchup is False
    for task in dag.tasks:
        timeout = task.execution_timeout
        assert timeout is not None, task.task_id


def test_switching_the_dag_on_starts_no_run(dag) -> None:
    """With Airflow's default, a run of up to a tenth of the interval ago would be made up for."""
    assert dag.timetable.run_immediately == timedelta(0)


def test_every_param_is_typed_explained_and_may_stay_empty(dag) -> None:
    assert set(dag.params) >= {"slo_latency_ms", "lower_tps", "upper_tps", "instances", "shards", "soak_s"}
    for name, param in dag.params.items():
        schema = param.schema
        assert param.value is None, name
        assert "null" in schema["type"], name
        assert schema["title"], name
        assert param.description, name


def test_the_page_tells_what_an_operator_needs(dag) -> None:
    for heading in ("What", "When to run", "Params", "Cost", "If it fails", "Owner"):
        assert f"### {heading}\n" in dag.doc_md, heading


@pytest.mark.parametrize("path", sorted((REPOSITORY / "dags").glob("*.py")), ids=lambda path: path.name)
def test_dag_files_stay_thin(path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    heavy = ("pandas", "great_expectations", "matplotlib", "boto3", "sandbox")
    assert not [name for name in imported if name and name.startswith(heavy)]
    assert len(tree.body) <= 8
