"""What must hold before anything is changed. Each check raises with the cure; the task `check` runs them in order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from include.capacity.errors import ConfigError, GuardRefused, NotReady
from include.capacity.guard.blackouts import refusal
from include.capacity.profile import ServiceProfile
from include.pipeline.approval import TASK_ID as APPROVAL
from include.pipeline.environment import Environment
from include.pipeline.environment_journal import is_settled
from include.pipeline.environment_lock import wait_until_free
from include.pipeline.fleet import RUN_TAG, running_shards, tags_of
from include.pipeline.guards_signals import looks
from include.pipeline.run_plan import ALLOW_PRODUCTION, RunPlan
from include.store.artefacts import ArtefactStore

SLOTS_BESIDE_SHARDS = 2
RETRY_AND_START_S = 30.0
# Scaling processes without which a group does not change its size, or its new instances get no load.
SCALING_NEEDS = frozenset({"AddToLoadBalancer", "Launch", "Terminate"})


@dataclass(frozen=True, slots=True)
class Scheduling:
    """What Airflow offers a run: slots, and after how many seconds without heartbeat it gives a task up."""

    parallelism: int
    max_active_tasks: int
    heartbeat_timeout_s: float


def check_scheduling(profile: ServiceProfile, scheduling: Scheduling) -> None:
    """Shards hold their slots for the whole run: with too few, smoke would wait for a shard that waits for a slot."""
    needed = profile.load.fleet.shards + SLOTS_BESIDE_SHARDS
    for key, offered in (
        ("[core] parallelism", scheduling.parallelism),
        ("max_active_tasks of the DAG", scheduling.max_active_tasks),
    ):
        if offered < needed:
            raise ConfigError(
                "Airflow's configuration",
                key,
                f"is {offered}, but {profile.load.fleet.shards} shards need {needed} slots.",
                "Raise it, or lower load.fleet.shards of the service profile.",
            )
    if scheduling.heartbeat_timeout_s + RETRY_AND_START_S > profile.guard.idle_limit_s:
        raise ConfigError(
            "Airflow's configuration",
            "[scheduler] task_instance_heartbeat_timeout",
            f"is {scheduling.heartbeat_timeout_s:g} s; shards end themselves after {profile.guard.idle_limit_s:g} s "
            f"without orders, before a lost conductor would be replaced (timeout + {RETRY_AND_START_S:g} s).",
            "Lower the timeout, or raise guard.idle_limit of the service profile.",
        )


def check_durations(profile: ServiceProfile) -> None:
    """The shards' hard limit must not cut a run that keeps within its own load budget."""
    longest = profile.search.max_load_s + profile.search.soak_s + 180
    if profile.guard.max_duration_s < longest:
        raise ConfigError(
            "service profile",
            "guard.max_duration",
            f"is {profile.guard.max_duration_s:g} s; search.max_load and search.soak with warm-up may take "
            f"{longest:g} s.",
            "Raise it, or lower search.max_load.",
        )


def check_blackouts(profile: ServiceProfile, now: datetime) -> None:
    """The run would be over before the next blackout, and there is none now."""
    longest = timedelta(seconds=profile.longest().run_s)
    if (why := refusal(profile.black_times(), now, longest)) is not None:
        raise GuardRefused(why)


def check_signals(plan: RunPlan, folder: ArtefactStore, variable: Callable[[], str | None]) -> None:
    """Nothing that would stop the run has happened already: no order, no Variable, no alarm that is on or missing."""
    for look in looks(plan, folder, variable):
        if (why := look.ask()) is not None:
            raise GuardRefused(why)


def check_production(plan: RunPlan, task_ids: Collection[str]) -> None:
    """A production target is loaded only on demand, by a DAG that asks a person first."""
    if not plan.profile.production:
        return
    if not plan.allow_production:
        raise GuardRefused(
            f"production is true in the service profile, and the Param {ALLOW_PRODUCTION} of this run is not. Trigger "
            "the run by hand with that Param, if real users may be affected by it now."
        )
    if APPROVAL not in task_ids:
        raise GuardRefused(
            f"production is true in the service profile, but this DAG has no task {APPROVAL}: it was made from an "
            "earlier version of the profile. Wait until Airflow has read the DAG files again, then trigger a new run."
        )


def check_account(environment: Environment) -> None:
    """The connection belongs to the profile's account. Airflow takes the machine's own credentials where a connection
    is missing, and those may lead anywhere."""
    aws, account = environment.profile.aws, environment.identity.account()
    if account != aws.account:
        raise GuardRefused(
            f"The connection {aws.connection!r} leads to account {account}, but aws.account of the service profile "
            f"allows only {aws.account}. Does the connection exist, and with the right credentials?"
        )


def check_free(environment: Environment, root: ArtefactStore, run: Mapping[str, str]) -> None:
    """No other run holds the environment, or none does within guard.wait_for_environment; and no shard of another run
    is alive."""
    wait_until_free(environment, root, run, is_settled, environment.profile.guard.wait_for_environment_s)
    foreign = [f"{task['taskArn']} ({_run_of(task)})" for task in running_shards(environment.profile)]
    if foreign:
        raise GuardRefused(
            f"Load containers of another run are still alive in {environment.profile.load.fleet.cluster}: "
            f"{', '.join(foreign)}. Wait for their end or stop them (`aws ecs stop-task`)."
        )


def _run_of(task: Mapping[str, Any]) -> str:
    run = tags_of(task).get(RUN_TAG)
    return f"run {run!r}" if run is not None else "of no known run"


def check_group(environment: Environment) -> None:
    """The group exists, is at rest and can be brought to the test size: the snapshot that is restored later is sane."""
    group = environment.group()
    name, size = environment.profile.aws.autoscaling_group, environment.profile.prescale.instances
    moving = [entry["InstanceId"] for entry in group["Instances"] if entry["LifecycleState"] != "InService"]
    if len(group["Instances"]) != group["DesiredCapacity"] or moving:
        raise GuardRefused(
            f"{name} is changing its size right now: {len(group['Instances'])} "
            f"instances, desired {group['DesiredCapacity']}, in transition: {', '.join(moving) or 'none'}. "
            "Start the run when it is at rest."
        )
    suspended = {process["ProcessName"] for process in group["SuspendedProcesses"]}
    if len(group["Instances"]) != size and (hindering := sorted(suspended & SCALING_NEEDS)):
        raise GuardRefused(
            f"{', '.join(hindering)} of {name} is suspended, so that its {len(group['Instances'])} instances cannot "
            f"become the {size} of prescale.instances. Resume it (`aws autoscaling resume-processes "
            f"--auto-scaling-group-name {name} --scaling-processes {' '.join(hindering)}`), or test the present size."
        )


def check_health(environment: Environment) -> None:
    """Every instance of the group is healthy in the target group. Raises NotReady with the states of the others."""
    health = environment.health()
    bad = {
        entry["InstanceId"]: health.get(entry["InstanceId"], "not registered")
        for entry in environment.group()["Instances"]
        if health.get(entry["InstanceId"]) != "healthy"
    }
    if bad:
        aws = environment.profile.aws
        raise NotReady(
            f"Instances of {aws.autoscaling_group} are not healthy in the target group {aws.target_group}: "
            f"{', '.join(f'{instance} is {state}' for instance, state in sorted(bad.items()))}. Look at their logs and "
            "at the target group's health check; is aws.target_group the one of this Auto Scaling group?"
        )
