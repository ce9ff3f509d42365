"""The DAG of a production target: a person is asked when all checks have passed, before any change."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import airflow
import jinja2
import pytest
import yaml
from airflow.providers.standard.exceptions import HITLRejectException
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException

from include.capacity.errors import GuardRefused
from include.capacity.profile import ServiceProfile, parse_profile
from include.pipeline import approval
from include.pipeline.builder import build_run
from tests.dags.conftest import REPOSITORY

TEXT = (REPOSITORY / "include" / "services" / "checkout.yaml").read_text(encoding="utf-8")


def profile(**guard: Any) -> ServiceProfile:
    raw = {**yaml.safe_load(TEXT), "production": True, "schedule": None}
    raw["guard"] |= guard
    return parse_profile(yaml.safe_dump(raw), "checkout.yaml")


def dag_of(service: ServiceProfile) -> DAG:
    return build_run(service, "include/services/checkout.yaml", "weekly", "# A page\n")


@pytest.fixture(scope="module")
def dag() -> DAG:
    return dag_of(profile(approvers=["anna"], approval_within="2 h"))


def test_the_approval_stands_between_the_checks_and_the_first_change(dag: DAG) -> None:
    approve = dag.get_task("approve")
    assert isinstance(approve, ApprovalOperator)
    assert {task.task_id for task in approve.upstream_list} == {"check"}
    assert {task.task_id for task in approve.downstream_list} == {"journal"}
    before = {task.task_id for task in dag.get_task("journal").get_flat_relatives(upstream=True)}
    assert before == {"resolve_plan", "check", "approve"}
    assert not approve.is_setup
    assert not approve.is_teardown


def test_a_rejection_fails_the_run_at_once(dag: DAG) -> None:
    approve = dag.get_task("approve")
    assert approve.fail_on_reject
    assert approve.retries == 0
    assert approve.response_timeout == timedelta(hours=2)
    assert approve.assigned_users == [{"id": "anna", "name": "anna"}]
    assert "approve" in dag.get_task("conclude").op_args[1]
    with pytest.raises(HITLRejectException):
        approve.execute_complete({}, answered("Reject"))
    assert approve.execute_complete({}, answered("Approve"))["chosen_options"] == ["Approve"]


def answered(option: str) -> dict[str, Any]:
    return {
        "chosen_options": [option],
        "params_input": {},
        "responded_at": datetime(2026, 8, 3),
        "responded_by_user": {"id": "7", "name": "anna"},
    }


def test_the_request_tells_what_would_be_loaded_and_what_it_may_cost(dag: DAG) -> None:
    class Task:
        def xcom_pull(self, task_ids: str) -> dict[str, Any]:
            assert task_ids == "check"
            return {"target": "http://shop.internal:80", "cost": ["Cost: up to 1.34 USD.", "Budget of the run: 5 USD."]}

    body = dag.get_task("approve").body
    text = jinja2.Template(body).render(run_id="manual__1", dag=dag, ti=Task())
    print(text)
    for part in (
        "`manual__1` of `capacity_weekly__checkout`",
        "http://shop.internal:80",
        "account 123456789012, us-east-1, Auto Scaling group checkout-web",
        "up to 800 per second",
        "- Cost: up to 1.34 USD.\n- Budget of the run: 5 USD.\n",
    ):
        assert part in text
    assert "{" not in text


def test_the_form_asks_for_permission_and_says_no_by_default(dag: DAG) -> None:
    param = dag.params.get_param("allow_production")
    assert param.value is False
    assert param.schema["type"] == "boolean"


def test_only_an_answer_is_an_approval() -> None:
    assert approval.approver(answered("Approve")) == "anna"
    assert approval.approver({**answered("Approve"), "responded_by_user": {"id": "7", "name": ""}}) == "7"
    for answer in (None, answered("Reject"), {}, "Approve", {"chosen_options": None}):
        with pytest.raises(GuardRefused, match="marking it as successful is no answer"):
            approval.approver(answer)


@pytest.mark.parametrize("version", ["3.0.6", "2.11.0"])
def test_where_airflow_cannot_ask_the_task_refuses(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(airflow, "__version__", version)
    approve = dag_of(profile()).get_task("approve")
    assert not isinstance(approve, ApprovalOperator)
    assert approve.retries == 0
    assert {task.task_id for task in approve.downstream_list} == {"journal"}
    with pytest.raises(AirflowFailException, match=rf"approval of a person, and Airflow {version} cannot ask people"):
        approve.python_callable(*approve.op_args)


def test_other_targets_have_no_such_task() -> None:
    plain = build_run(
        parse_profile(TEXT, "checkout.yaml"), "include/services/checkout.yaml", "weekly", Path(__file__).name
    )
    assert "approve" not in plain.task_ids
    assert "allow_production" not in plain.params
