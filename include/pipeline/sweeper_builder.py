"""The DAG around the sweeper: one task, hourly."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, CronTriggerTimetable, Param, Variable, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from include.pipeline.tasks import translated

log = logging.getLogger(__name__)

DAG_ID = "leftover_sweeper"
POLICY_VARIABLE = "headroom_sweeper_policy"
DEFAULT_POLICY = "restore"
OWNER = "headroom"


@translated
def sweep() -> dict[str, Any]:
    """Restores or reports what lost runs have left; fails when something is left that a person must do."""
    from include.pipeline.sweep import sweep as sweep_once
    from include.pipeline.sweeping import as_table

    context = get_current_context()
    policy = context["params"]["policy"] or Variable.get(POLICY_VARIABLE, default=DEFAULT_POLICY)
    found = sweep_once(policy, everything=bool(context["params"]["everything"]))
    for line in as_table(found).splitlines():
        log.info(line)
    if found.to_do:
        told = "\n".join(f"- {one.kind} {one.name}: {one.found}. {one.cure}" for one in found.to_do)
        raise AirflowFailException(f"Something is left that a person must do:\n{told}")
    return {"policy": policy, "found": len(found.leftovers), "living": list(found.living)}


def build_sweeper(doc_md: str) -> DAG:
    """The DAG; `doc_md` is its page in the UI."""
    with DAG(
        DAG_ID,
        # Seventeen minutes past: on the hour everybody else starts something, capacity runs included.
        schedule=CronTriggerTimetable("17 * * * *", timezone="UTC", run_immediately=timedelta(0)),
        catchup=False,
        max_active_runs=1,
        default_args={
            "owner": OWNER,
            "execution_timeout": timedelta(minutes=50),
            "retries": 1,
            "retry_delay": timedelta(minutes=1),
        },
        params={
            "policy": Param(
                None,
                type=["null", "string"],
                enum=[None, "report", "restore"],
                title="Policy",
                description=f"Empty takes the Variable {POLICY_VARIABLE}; without one it is {DEFAULT_POLICY}.",
            ),
            "everything": Param(
                False,
                type="boolean",
                title="Look into every run's folder",
                description="Not only where a journal is marked as open. Slow in a large store.",
            ),
        },
        tags=["headroom", "sweeper"],
        doc_md=doc_md,
    ) as dag:
        task(sweep)()
    return dag
