"""The tasks of a capacity run: each fetches the run's plan and folder, calls the stage, and translates errors."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from include.capacity.errors import ConfigError, GuardRefused, Inconclusive, InvalidData, NotReady, RunStopped
from include.pipeline.installation import Installation
from include.pipeline.run_folder import RunFolder
from include.pipeline.run_plan import RunPlan

if TYPE_CHECKING:
    from include.environment.journal import Journal
    from include.pipeline.environment_lock import Keeper
    from include.pipeline.guards_watch import Watch

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


def translated(function: Callable[P, T]) -> Callable[P, T]:
    """Errors that a retry cannot cure fail the task at once; all others may be retried."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except (ConfigError, GuardRefused, Inconclusive, InvalidData) as error:
            raise AirflowFailException(str(error)) from error

    return wrapper


def _this_run(service: str) -> tuple[RunPlan, RunFolder]:
    folder = RunFolder.of(service, get_current_context()["run_id"])
    return folder.plan(), folder


@translated
def resolve_plan(profile_file: str, mode: str) -> dict[str, Any]:
    """Validates profile and Params once and freezes them into the run's plan."""
    from include.pipeline.analysis import with_prior
    from include.pipeline.installation import REPOSITORY
    from include.pipeline.run_plan import resolve, save

    context = get_current_context()
    plan = resolve(
        _text_of(REPOSITORY / profile_file, profile_file),
        profile_file,
        context["params"],
        dag_id=context["dag"].dag_id,
        run_id=context["run_id"],
        mode=mode,
        started_at=str(context["ti"].start_date.isoformat()),
        installation=Installation.from_environment().name,
    )
    plan = with_prior(plan, Installation.from_environment())
    save(plan, RunFolder.of(plan.service, plan.run_id).store)
    return {
        "service": plan.service,
        "run_key": plan.key,
        "overrides": dict(plan.overrides),
        "prior_tps": plan.prior_tps,
        "plan_hash": plan.plan_hash,
    }


def _text_of(path: Path, name: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        cure = "Every worker needs this file, readable and in UTF-8."
        raise ConfigError(name, "", f"cannot be read: {reason}.", cure) from None


@translated
def check(service: str) -> dict[str, Any]:
    """Guard rails: slots, limits, a free, healthy environment at rest, an allowed target that answers, a plan that is
    kept, and what the load fleet needs. Whatever can be known before a change is checked here."""
    from airflow.sdk.configuration import conf

    from include.pipeline import checks
    from include.pipeline.environment import Environment
    from include.pipeline.fleet import check_plan, check_resources
    from include.pipeline.guards_allow import allow_lists, check_allowed
    from include.pipeline.guards_budget import check_budget
    from include.pipeline.guards_target import ADDRESSES, check_host, check_target, hosts_of, pin

    plan, folder = _this_run(service)
    environment = Environment.of(plan.profile)
    context = get_current_context()
    scheduling = checks.Scheduling(
        parallelism=conf.getint("core", "parallelism"),
        max_active_tasks=context["dag"].max_active_tasks,
        heartbeat_timeout_s=conf.getfloat("scheduler", "task_instance_heartbeat_timeout"),
    )
    checks.check_scheduling(plan.profile, scheduling)
    checks.check_production(plan, context["dag"].task_ids)
    checks.check_durations(plan.profile)
    checks.check_signals(plan, folder.store, _stop_variable)
    checks.check_blackouts(plan.profile, datetime.now(UTC))
    checks.check_account(environment)
    installation = Installation.from_environment()
    target = environment.target()
    check_host(plan.profile, target[1])
    prepared = check_plan(plan.profile, target)
    pins = pin(plan.profile, hosts_of(plan.profile, target, prepared))
    check_allowed(environment, allow_lists(plan.profile, installation), pins)
    check_resources(plan.profile)
    checks.check_free(environment, installation.store(), plan.run)
    checks.check_blackouts(plan.profile, datetime.now(UTC))
    checks.check_group(environment)
    checks.check_health(environment)
    check_target(plan.profile, target, pins[target[1]])
    facts = environment.facts()
    cost = check_budget(plan, facts["sizes"]["DesiredCapacity"], installation.history, datetime.now(UTC))
    told = {"before": facts, "plan_notes": list(prepared.notes), "stopped": "", "budget": cost, ADDRESSES: pins}
    folder.note(told)
    for note in prepared.notes:
        log.info("Plan: %s", note)
    return {
        "target": "{}://{}:{}".format(*target),
        "cost": cost["told"],
        "thread_groups": {group.name: group.weight for group in prepared.groups},
    }


@translated
def journal(service: str) -> dict[str, Any]:
    """The undo record, before any change; and the environment is taken for this run. Returns what is to change."""
    from include.pipeline import checks
    from include.pipeline.environment import Environment
    from include.pipeline.environment_journal import planned_changes

    plan, folder = _this_run(service)
    environment = Environment.of(plan.profile)
    if plan.profile.production:
        _note_approval(folder)
    # An approval, or a repeated task, may come long after the check.
    checks.check_signals(plan, folder.store, _stop_variable)
    checks.check_blackouts(plan.profile, datetime.now(UTC))
    checks.check_account(environment)
    journal = _open_journal(plan, folder, environment)
    planned = planned_changes(environment, journal)
    for title, changes in planned.items():
        told = ", ".join(f"{name} from {before} to {ours}" for name, (before, ours) in changes.items())
        log.info("%s: %s", title, told or "nothing is to change")
    return {"journal": journal.url, "changes": planned}


def _note_approval(folder: RunFolder) -> None:
    from include.pipeline.approval import TASK_ID, approver

    by = approver(get_current_context()["ti"].xcom_pull(task_ids=TASK_ID))
    log.info("Approved by %s.", by)
    folder.note({"approved_by": by})


def _open_journal(plan: RunPlan, folder: RunFolder, environment: Any) -> Journal:
    from include.pipeline.environment_journal import open_journal

    began_at = get_current_context()["ti"].start_date.timestamp()
    return open_journal(environment, Installation.from_environment().store(), folder.store, plan.run, began_at)


def _holding(plan: RunPlan, environment: Any) -> AbstractContextManager[Keeper]:
    """The environment's lease is renewed for as long as the task works."""
    from include.pipeline.environment_lock import holding

    return holding(environment, Installation.from_environment().store(), plan.run)


@contextmanager
def _watching(plan: RunPlan, folder: RunFolder, environment: Any) -> Iterator[Watch]:
    """The environment's lease is renewed, and the guard rails are watched; why they ended the run is noted."""
    from include.pipeline.guards_signals import lease_look, looks
    from include.pipeline.guards_target import ADDRESSES
    from include.pipeline.guards_watch import Watch

    try:
        found = looks(plan, folder.store, _stop_variable, folder.notes().get(ADDRESSES, {}))
        with _holding(plan, environment) as keeper, Watch([*found, lease_look(keeper)]) as watch:
            watch.require()
            yield watch
    except RunStopped as stopped:
        folder.note({"stopped": str(stopped)})
        raise


def _stop_variable() -> str | None:
    from airflow.sdk import Variable

    from include.pipeline.guards_signals import STOP_VARIABLE

    value = Variable.get(STOP_VARIABLE, default=None)
    return None if value is None else str(value)


@translated
def prescale(service: str) -> dict[str, Any]:
    """Suspends scaling and brings the group to the test size; waits until it is InService, healthy and warm."""
    from include.pipeline.environment import Environment
    from include.pipeline.environment_journal import prescale as bring_to_size

    plan, folder = _this_run(service)
    environment = Environment.of(plan.profile)
    folder.note({"prescale_began_at": time.time()})
    # Opened again, which changes nothing while it is open: a task that is cleared after the restore needs a new one.
    journal = _open_journal(plan, folder, environment)
    with _watching(plan, folder, environment) as watch:
        waited = bring_to_size(environment, Installation.from_environment().store(), journal, watch.sleep)
    folder.note({"during": environment.facts(), "instances": _instances(environment)})
    return {"waited_s": round(waited, 1), **environment.observe().figures}


def _instances(environment: Any) -> list[dict[str, str]]:
    return [
        {"id": entry["InstanceId"], "type": entry.get("InstanceType", ""), "zone": entry.get("AvailabilityZone", "")}
        for entry in environment.group()["Instances"]
    ]


@translated
def open_fleet(service: str) -> list[dict[str, Any]]:
    """Puts plan and fleet specification into the store; returns the arguments of each shard's container task."""
    from include.pipeline import fleet
    from include.pipeline.environment import Environment
    from include.pipeline.guards_target import ADDRESSES, check_target, hosts_of, named_pins, pin

    plan, folder = _this_run(service)
    target = Environment.of(plan.profile).target()
    prepared = fleet.check_plan(plan.profile, target)
    pins = pin(plan.profile, hosts_of(plan.profile, target, prepared), folder.notes().get(ADDRESSES))
    check_target(plan.profile, target, pins[target[1]])
    folder.note({"fleet_opened_at": time.time(), "target": "{}://{}:{}".format(*target)})
    return fleet.open_fleet(plan, folder.store, target, prepared, named_pins(plan.profile, pins))


@translated
def conduct(service: str, stage: str) -> dict[str, Any]:
    """Runs one stage of the load: smoke, search or confirm."""
    from include.pipeline import stages
    from include.pipeline.environment import Environment
    from include.pipeline.guards_budget import SpendingLimit

    plan, folder = _this_run(service)
    environment = Environment.of(plan.profile)
    try_number = get_current_context()["ti"].try_number
    with _watching(plan, folder, environment) as watch:
        conductor = stages.conductor_for(folder, plan, stage, try_number, environment.observe, watch.reason)
        decide = SpendingLimit(plan, folder).decide
        if stage == "smoke":
            return dict(stages.run_smoke(folder, plan, conductor))
        if stage == "search":
            stages.run_search(folder, plan, conductor, decide=decide, replace_instances=environment.replace_instances)
            return {"probes": len(folder.probes(["search"]))}
        stages.run_confirm(folder, plan, conductor, decide=decide, replace_instances=environment.replace_instances)
    answer = folder.answer()
    return {"tps": answer.tps, "low": answer.low, "high": answer.high, "verified": answer.verified}


@translated
def dismiss_fleet(service: str) -> float:
    """Ends the shards, and waits until they have ended."""
    from include.pipeline import fleet
    from include.pipeline.environment import Environment

    plan, folder = _this_run(service)
    with _holding(plan, Environment.of(plan.profile)):
        waited = fleet.dismiss_fleet(plan, folder.store)
    folder.note({"fleet_ended_at": time.time()})
    return round(waited, 1)


@translated
def collect(service: str) -> dict[str, int]:
    """Scaling activities and CloudWatch series of the run's time -> artefact store."""
    from include.pipeline.collecting import collect as collect_series
    from include.pipeline.environment import Environment

    plan, folder = _this_run(service)
    environment = Environment.of(plan.profile)
    with _holding(plan, environment):
        return collect_series(plan, folder, environment)


@translated
def restore(service: str) -> dict[str, Any]:
    """From the journal, always; verifies that settings equal the snapshot."""
    from include.pipeline.environment import Environment
    from include.pipeline.environment_journal import restore as play_back

    plan, folder = _this_run(service)
    environment = Environment.of(plan.profile)
    with _holding(plan, environment):
        report = play_back(environment, Installation.from_environment().store(), folder.store, plan.run)
    folder.note({"restored_at": time.time()})
    for note in report.notes:
        log.info(note)
    if report.failures:  # which may pass by themselves: the task is repeated
        raise NotReady("Not everything is restored: " + " ".join(report.failures))
    if not report.equal:
        raise AirflowFailException(
            "The environment is not as it was: " + "; ".join([*report.differences, *report.conflicts])
        )
    return report.to_json()


@translated
def validate(service: str) -> dict[str, Any]:
    """Great Expectations over what was collected; fails when the data cannot carry an answer."""
    from include.pipeline.analysis import ARTEFACTS, validate_collected

    plan, folder = _this_run(service)
    outcomes = validate_collected(plan, folder)
    data_docs = f"{folder.store.url}/{ARTEFACTS['data_docs']}"
    log.info("Data Docs: %s", data_docs)
    for outcome in outcomes:
        level = logging.INFO if outcome.success else logging.WARNING
        log.log(level, "%s: %s (%s)", "met" if outcome.success else "NOT MET", outcome.meaning, outcome.observed)
    failed = [outcome.name for outcome in outcomes if not outcome.success and outcome.severity == "fail"]
    if failed:
        raise AirflowFailException(
            f"The collected data cannot carry an answer: {', '.join(failed)}; see the Data Docs at {data_docs}."
        )
    return {
        "data_docs": data_docs,
        "expectations": len(outcomes),
        "warnings": [outcome.name for outcome in outcomes if not outcome.success],
    }


@translated
def compare(service: str) -> dict[str, Any]:
    """The verdict against the last accepted run."""
    from include.pipeline.analysis import compare_with_history

    plan, folder = _this_run(service)
    comparison = compare_with_history(plan, folder, Installation.from_environment())
    return {"verdict": comparison.verdict, "reasons": list(comparison.reasons)}


@translated
def publish(service: str) -> dict[str, Any]:
    """result.json, history, charts and the scaling document, from what the stages stored."""
    from include.pipeline.analysis import publish as publish_result
    from include.pipeline.run_folder import RESULT_PATH

    plan, folder = _this_run(service)
    if not folder.probes(["smoke", "search", "confirm"]):
        raise AirflowSkipException("The run ended before any load; there is nothing to publish.")
    result = publish_result(plan, folder, Installation.from_environment())
    answer = result["answer"]
    return {"result": f"{folder.store.url}/{RESULT_PATH}", "tps": answer["tps"], "verified": answer["verified"]}


@translated
def conclude(service: str, must_succeed: list[str]) -> None:
    """The only leaf: the run's state tells the truth. Raises unless all that must succeed did and the answer holds."""
    from include.pipeline.stages import require_conclusive

    context = get_current_context()
    run_id, ti = context["run_id"], context["ti"]
    states = ti.get_task_states(dag_id=context["dag"].dag_id, run_ids=[run_id])[run_id]
    bad: dict[str, str | None] = {}
    for task_id in must_succeed:
        found = {key: state for key, state in states.items() if key == task_id or key.rsplit("_", 1)[0] == task_id}
        bad |= {key: state for key, state in found.items() if state != "success"}
        if not found:
            bad[task_id] = "never ran"
    if bad:
        told = ", ".join(f"{task_id} is {state}" for task_id, state in sorted(bad.items()))
        stopped = RunFolder.of(service, run_id).notes().get("stopped", "")
        raise AirflowFailException(f"The run is not good: {told}. The first of them in the graph tells why. {stopped}")
    require_conclusive(_this_run(service)[1])
