"""A person's approval as a task. The only module that knows how Airflow asks people, and since when it can.

Human-in-the-loop operators came with Airflow 3.1. Where there are none, the task refuses: a target that needs an
approval gets no load without one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.sdk import task
from airflow.sdk.exceptions import AirflowFailException

from include.capacity.errors import GuardRefused
from include.capacity.profile import ServiceProfile

TASK_ID = "approve"
APPROVE = "Approve"

SUBJECT = "Load on a production target: {service}"
BODY = """\
The run `{{{{ run_id }}}}` of `{{{{ dag.dag_id }}}}` has passed all checks and waits. Nothing has been changed yet.

- Service: **{service}**, owned by {owner}
- Target: {{{{ (ti.xcom_pull(task_ids='check') or {{}}).get('target', 'unknown') }}}}
- Environment: account {account}, {region}, Auto Scaling group {group}
- Load: up to {max_rate:g} per second, for at most {minutes:.0f} minutes
{{% for line in (ti.xcom_pull(task_ids='check') or {{}}).get('cost', []) %}}- {{{{ line }}}}
{{% endfor %}}
*Approve* starts the run; *Reject* ends it. The run can be stopped at any time (docs/guard-rails.md).
"""


def approval_task(profile: ServiceProfile) -> Any:
    """The operator that asks, within the DAG that is being built; without Airflow's support one that refuses."""
    operator = _operator()
    if isinstance(operator, str):
        return task(task_id=TASK_ID, retries=0)(_refuse)(operator)
    words = {
        "service": profile.service,
        "owner": profile.owner,
        "account": profile.aws.account,
        "region": profile.aws.region,
        "group": profile.aws.autoscaling_group,
        "max_rate": profile.guard.max_rate_tps,
        "minutes": profile.longest().run_s / 60,
    }
    return operator(
        task_id=TASK_ID,
        subject=SUBJECT.format(**words),
        body=BODY.format(**words),
        fail_on_reject=True,  # a rejected run is red and says so; skipped tasks would leave it green
        response_timeout=timedelta(seconds=profile.guard.approval_within_s),
        assigned_users=[{"id": name, "name": name} for name in profile.guard.approvers] or None,
        retries=0,
    )


def _operator() -> Any:
    """Airflow's ApprovalOperator, or why there is none."""
    from airflow import __version__

    if tuple(int(part) for part in __version__.split(".")[:2]) < (3, 1):
        return f"Airflow {__version__} cannot ask people; its human-in-the-loop tasks came with 3.1"
    try:
        from airflow.providers.standard.operators.hitl import ApprovalOperator
    except ImportError as error:
        return f"the provider apache-airflow-providers-standard here has no ApprovalOperator ({error})"
    return ApprovalOperator


def _refuse(reason: str) -> None:
    raise AirflowFailException(
        f"A production target needs the approval of a person, and {reason}. Update it, or test another target: without "
        "an approval there is no load."
    )


def approver(answer: Any) -> str:
    """Who approved, from the answer that the task left. Raises GuardRefused when nobody did: marking the task as
    successful is no approval."""
    if isinstance(answer, Mapping) and list(answer.get("chosen_options") or ()) == [APPROVE]:
        user = answer.get("responded_by_user") or {}
        return str((user.get("name") or user.get("id")) if isinstance(user, Mapping) else user) or "unknown"
    raise GuardRefused(
        f"production is true in the service profile, and nobody has answered the task {TASK_ID} with {APPROVE!r} "
        "(marking it as successful is no answer). Clear it, and approve the run under Required Actions in the UI."
    )
