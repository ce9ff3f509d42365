"""One function in which the whole run can be seen: `build_run`."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from airflow.providers.amazon.aws.operators.ecs import EcsRunTaskOperator
from airflow.sdk import DAG, CronTriggerTimetable, TriggerRule, task

from include.capacity.profile import ServiceProfile
from include.pipeline import tasks
from include.pipeline.approval import TASK_ID as APPROVAL
from include.pipeline.approval import approval_task
from include.pipeline.fleet import shard_tags
from include.pipeline.params import run_params

RETRIES = {"retries": 2, "retry_delay": timedelta(seconds=3)}
NO_RETRY = {"retries": 0}


def build_run(profile: ServiceProfile, profile_file: str, mode: Literal["weekly", "release"], doc_md: str) -> DAG:
    """The DAG of one capacity run of one service.

    Args:
        profile_file: the profile's path from the repository's root; the run reads it again when it starts.
        doc_md: the DAG's page in the UI.
    """
    service = profile.service
    with DAG(
        f"capacity_{mode}__{service}",
        schedule=_schedule(profile) if mode == "weekly" else None,
        catchup=False,
        max_active_runs=1,
        max_active_tasks=max(16, profile.load.fleet.shards + 4),
        # No dagrun_timeout: it would skip the teardowns. Each task has its own.
        default_args={"owner": profile.owner, "execution_timeout": timedelta(minutes=10), **RETRIES},
        params=run_params(profile),
        tags=["headroom", mode, service],
        doc_md=doc_md,
    ) as dag:
        resolved = task(tasks.resolve_plan)(profile_file, mode)
        checked = task(tasks.check, execution_timeout=_check_time(profile))(service)
        # The journal is the setup, and prescale ordinary work: a setup that fails half-way would not get its teardown.
        journal = task(tasks.journal)(service)
        prescaled = task(tasks.prescale)(service)
        shards = task(tasks.open_fleet)(service)
        load_fleet = _load_fleet(profile, shards)
        smoke = task(tasks.conduct, task_id="smoke")(service, "smoke")
        search = task(tasks.conduct, task_id="search", execution_timeout=_load_time(profile))(service, "search")
        confirm = task(tasks.conduct, task_id="confirm", execution_timeout=_load_time(profile))(service, "confirm")
        dismissed = task(tasks.dismiss_fleet)(service).as_teardown(setups=shards)
        collected = task(tasks.collect, trigger_rule=TriggerRule.ALL_DONE)(service)
        restored = task(tasks.restore, retries=4)(service).as_teardown(setups=journal)
        validated = task(tasks.validate)(service)
        compared = task(tasks.compare)(service)
        # Publishes what is known even if a stage failed: the reason is part of the history.
        published = task(tasks.publish, trigger_rule=TriggerRule.ALL_DONE)(service)
        work = [resolved, checked, journal, prescaled, shards, smoke, search, confirm, dismissed, collected, restored]
        must_succeed = [item.operator.task_id for item in [*work, validated, compared, published]]
        must_succeed += [load_fleet.task_id, *([APPROVAL] if profile.production else [])]
        # resolve_plan is its setup, so that it also runs when somebody marks the run as failed before the journal.
        concluded = task(tasks.conclude, **NO_RETRY)(service, must_succeed).as_teardown(
            setups=resolved, on_failure_fail_dagrun=True
        )

        resolved >> checked >> journal >> prescaled >> shards >> smoke >> search >> confirm >> dismissed
        if profile.production:  # asked when all checks have passed, before any change
            checked >> approval_task(profile) >> journal
        shards >> load_fleet  # beside the stages; dismiss_fleet must not wait for it, because it is what ends it
        [load_fleet, dismissed] >> collected >> restored  # restore when the load is gone
        [confirm, collected] >> validated >> compared  # analysis needs the answer, and what was collected
        [compared, restored] >> published >> concluded
        restored >> concluded
    return dag


def _schedule(profile: ServiceProfile) -> CronTriggerTimetable | None:
    """Never a run for a time that has passed: by default, switching a DAG on may start one at once."""
    if profile.schedule is None:
        return None
    return CronTriggerTimetable(profile.schedule, timezone="UTC", run_immediately=timedelta(0))


def _load_fleet(profile: ServiceProfile, shards: object) -> EcsRunTaskOperator:
    """One container task per shard, through the stock operator; a retried task adopts the container it had started."""
    fleet, aws = profile.load.fleet, profile.aws
    return EcsRunTaskOperator.partial(
        task_id="load_fleet",
        aws_conn_id=aws.connection,
        region_name=aws.region,
        cluster=fleet.cluster,
        task_definition=fleet.task_definition,
        container_name=fleet.container,
        launch_type=fleet.launch_type,
        tags=shard_tags(profile.service, "{{ run_id }}"),
        awslogs_group=fleet.log_group,
        awslogs_region=aws.region,
        awslogs_stream_prefix=fleet.log_stream_prefix,
        awslogs_fetch_interval=timedelta(seconds=2),
        reattach=True,
        deferrable=False,  # nothing would stop the container of a single failed instance
        waiter_delay=1,
        waiter_max_attempts=int(profile.guard.max_duration_s) + 300,
        execution_timeout=timedelta(seconds=profile.guard.max_duration_s + 300),
        retries=3,
        map_index_template="shard {{ task.overrides['containerOverrides'][0]['environment'][1]['value'] }}",
    ).expand_kwargs(shards)


def _check_time(profile: ServiceProfile) -> timedelta:
    """The check may wait until another run of the environment is over."""
    return timedelta(minutes=10, seconds=profile.guard.wait_for_environment_s)


def _load_time(profile: ServiceProfile) -> timedelta:
    """A stage may use the whole load budget, and the pauses between its steps."""
    return timedelta(seconds=profile.search.max_load_s * 1.5 + profile.search.soak_s + 300)
