"""Finds what runs that are over or lost have left behind, and restores or reports it.

Whether a run lives is known from the artefact store alone: its tasks renew the lease on its environment. Airflow's
database is not asked; it may be the very thing that was lost. A living run is never touched, and neither is anything
whose run this store does not know: it may be another installation's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from headroom_airflow.hooks.ec2_instances import InstancesHook
from include.capacity.errors import ConfigError, HeadroomError, InvalidData
from include.capacity.guard.lease import Lease
from include.capacity.profile import ServiceProfile
from include.environment.alarms import ACTIONS, OFF
from include.environment.autoscaling_group import PROCESS, SUSPENDED, SUSPENDED_BY_RUN
from include.environment.journal import Journal
from include.environment.kinds import connection_of
from include.pipeline.environment import Environment
from include.pipeline.environment_journal import OPEN_JOURNALS, marker_path, restore, restorer_of
from include.pipeline.environment_lock import LOCKS, holding
from include.pipeline.fleet import RUN_TAG, SERVICE_TAG, dismiss_fleet, running_shards, stop_shard, tags_of
from include.pipeline.run_folder import folder_of_run
from include.pipeline.run_plan import RunPlan
from include.store.artefacts import ArtefactStore

log = logging.getLogger(__name__)

Policy = Literal["report", "restore"]
IGNORE_TAG = "headroom-sweeper"  # a group that carries it with the value "ignore" is suspended on purpose
Run = Mapping[str, str]
Sleep = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something that a run has left behind.

    Attributes:
        kind: such as "journal", "lock", "load task".
        name: the run, or what else it is called where a person looks it up.
        found: its state.
        done: what the sweeper did about it; empty for nothing.
        cure: what a person has to do; empty when nothing is left to do.
    """

    kind: str
    service: str
    name: str
    found: str
    done: str = ""
    cure: str = ""


@dataclass(frozen=True, slots=True)
class Sweep:
    """What was found. `living` names the runs that are under way and were left alone."""

    leftovers: tuple[Leftover, ...]
    living: tuple[str, ...]

    @property
    def to_do(self) -> list[Leftover]:
        """What is left for a person."""
        return [leftover for leftover in self.leftovers if leftover.cure]


class Sweeper:
    """One sweep over a store and the environments of the profiles."""

    def __init__(
        self,
        root: ArtefactStore,
        profiles: Iterable[ServiceProfile],
        policy: Policy,
        sleep: Sleep = time.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._root, self._profiles, self._policy = root, list(profiles), policy
        self._sleep, self._now = sleep, now
        self._leftovers: list[Leftover] = []
        self._living: dict[tuple[str, str], str] = {}
        self._held: set[str] = set()  # environments whose run lives, or is not restored yet
        self._environments: dict[str, Environment] = {}

    def sweep(self, *, everything: bool = False) -> Sweep:
        """Looks at all open journals, leases, load tasks, instances and environments.

        Args:
            everything: look into the folder of every run that there ever was, and not only where a journal is marked
            open.
        """
        leases = dict(self._leases())
        runs = {_key(run): run for lease in leases.values() if (run := lease.run) is not None}
        runs |= {_key(run): run for run in self._marked()}
        if everything:
            runs |= {_key(run): run for run in self._unrestored()}
        for run in runs.values():
            self._try("run", run["service"], run["run_id"], self._look_at_run, run, leases)
        for profile in self._profiles:
            self._try("load task", profile.service, "", self._look_for_load, profile, leases)
            self._try("instance", profile.service, "", self._look_for_instances, profile, leases)
            self._try("environment", profile.service, "", self._look_at_environment, profile)
        return Sweep(tuple(self._leftovers), tuple(self._living.values()))

    # -- where to look

    def _leases(self) -> Iterator[tuple[str, Lease]]:
        """Environment -> its lease. One that cannot be read is a leftover."""
        for name in self._root.names(LOCKS):
            if not name.endswith(".json"):
                continue
            data = self._root.read_or_none(f"{LOCKS}/{name}")
            try:
                if data is not None:
                    yield name.removesuffix(".json"), Lease.loads(data)
            except InvalidData as error:
                cure = (
                    f"If no run of this environment is under way or unrestored, delete {self._root.url}/{LOCKS}/{name}."
                )
                self._add("lock", "", name, f"not readable: {error}", cure=cure)

    def _marked(self) -> Iterator[Run]:
        for service in self._root.names(OPEN_JOURNALS):
            for name in self._root.names(f"{OPEN_JOURNALS}/{service}"):
                path = f"{OPEN_JOURNALS}/{service}/{name}"
                run = self._root.read_json(path)
                if isinstance(run, dict) and {"service", "run_id"} <= set(run):
                    yield run

    def _unrestored(self) -> Iterator[Run]:
        """Every run in the store whose journal is not concluded."""
        for profile in self._profiles:
            for name in self._root.names(profile.service):
                journal = Journal.read(self._root.below(f"{profile.service}/{name}"), sleep=self._sleep)
                if journal.phase != "none" and not (journal.phase == "concluded" and journal.settled):
                    yield journal.run

    # -- one run

    def _look_at_run(self, run: Run, leases: Mapping[str, Lease]) -> None:
        service, run_id = run["service"], run["run_id"]
        try:
            folder = folder_of_run(self._root, service, run_id)
            plan = folder.plan()
        except (ConfigError, InvalidData) as error:
            self._add(
                "journal", service, run_id, f"its folder cannot be read: {error}", cure=self._orphan_cure(run, leases)
            )
            return
        environment = self._environment_of(plan.profile)
        lease = leases.get(environment.name)
        if self._lives(plan, lease):
            self._living[_key(run)] = f"{run_id} of {plan.dag_id}"
            self._held.add(environment.name)
            return
        journal = Journal.read(folder.store, sleep=self._sleep)
        held = lease is not None and lease.held_by(run)
        if not held and (journal.phase == "none" or (journal.phase == "concluded" and journal.settled)):
            self._root.delete(marker_path(run))  # it ended between its restore and this
            return
        self._held.add(environment.name)
        if self._policy == "report":
            self._report_run(plan, environment, folder.store, held)
        else:
            self._restore_run(plan, environment, folder.store)

    def _lives(self, plan: RunPlan, lease: Lease | None) -> bool:
        """A conductor that was lost is repeated before the shards would end themselves; only then is a run lost."""
        if lease is None or not lease.held_by(plan.run):
            return False
        return not lease.lapsed(self._now() - plan.profile.guard.idle_limit_s)

    def _report_run(self, plan: RunPlan, environment: Environment, folder: ArtefactStore, held: bool) -> None:
        report = restorer_of(environment, self._root, folder, plan.run, self._sleep).preview()
        parts = [*report.differences, *report.failures] or ["nothing differs from the snapshot"]
        found = f"not restored: {'; '.join(parts)}" + (f"; it still holds {environment.name}" if held else "")
        self._add("journal", plan.service, plan.run_id, found, cure=_by_hand(plan))

    def _restore_run(self, plan: RunPlan, environment: Environment, folder: ArtefactStore) -> None:
        if alive := running_shards(plan.profile, plan.run_id):
            dismiss_fleet(plan, folder, self._sleep)
            self._add("load task", plan.service, plan.run_id, f"{len(alive)} of a run that is over", "ended")
        with holding(environment, self._root, plan.run):
            report = restore(environment, self._root, folder, plan.run, self._sleep)
        if report.failures:
            found = f"not restored: {' '.join(report.failures)}"
            self._add("journal", plan.service, plan.run_id, found, "tried to restore", _by_hand(plan))
            return
        self._held.discard(environment.name)
        cure = "" if report.equal else "Set these as they should be; nothing else is left of the run."
        done = "restored" + ("" if report.equal else f", but for {'; '.join(report.conflicts)}")
        self._add("journal", plan.service, plan.run_id, "not restored", done, cure)

    def _orphan_cure(self, run: Run, leases: Mapping[str, Lease]) -> str:
        held = [name for name, lease in leases.items() if lease.held_by(run)]
        objects = [f"{self._root.url}/{LOCKS}/{name}.json" for name in held]
        if self._root.exists(marker_path(run)):
            objects.append(f"{self._root.url}/{marker_path(run)}")
        return f"Restore by hand what it may have changed, then delete {' and '.join(objects)}."

    # -- what carries a tag

    def _look_for_load(self, profile: ServiceProfile, leases: Mapping[str, Lease]) -> None:
        for task in running_shards(profile):
            tags = tags_of(task)
            arn, run_id = task["taskArn"], tags.get(RUN_TAG, "")
            state = self._state_of(profile, run_id, leases)
            if state == "living":
                continue
            stop = f"aws ecs stop-task --cluster {profile.load.fleet.cluster} --task {arn}"
            if state == "unknown":
                found = f"of run {run_id!r}, which this store does not know"
                self._add("load task", profile.service, arn, found, cure=f"If that run is over: {stop}")
            elif self._policy == "report":
                self._add("load task", profile.service, arn, f"of run {run_id!r}, which is over", cure=stop)
            else:
                stop_shard(profile, arn)
                self._add("load task", profile.service, arn, f"of run {run_id!r}, which is over", "stopped")

    def _look_for_instances(self, profile: ServiceProfile, leases: Mapping[str, Lease]) -> None:
        found = InstancesHook(**connection_of(profile)).tagged({SERVICE_TAG: profile.service})
        for instance_id, instance in found.items():
            run_id = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}.get(RUN_TAG, "")
            state = self._state_of(profile, run_id, leases)
            if state != "living":
                told = f"{instance['State']['Name']}, of run {run_id!r}, which is {state}"
                cure = f"If nobody needs it: aws ec2 terminate-instances --instance-ids {instance_id}"
                self._add("instance", profile.service, instance_id, told, cure=cure)

    def _state_of(self, profile: ServiceProfile, run_id: str, leases: Mapping[str, Lease]) -> str:
        """living, over, or unknown (to this store)."""
        if not run_id:
            return "unknown"
        if (profile.service, run_id) in self._living:
            return "living"
        try:
            plan = folder_of_run(self._root, profile.service, run_id).plan()
        except (ConfigError, InvalidData):
            return "unknown"
        lease = leases.get(self._environment_of(plan.profile).name)
        return "living" if self._lives(plan, lease) else "over"

    # -- what no journal accounts for

    def _look_at_environment(self, profile: ServiceProfile) -> None:
        """Suspended processes and silent alarms of an environment that no run holds: their journal may be lost."""
        environment = self._environment_of(profile)
        if environment.name in self._held:
            return
        group = environment.resources.group
        fields = group.read()
        tags = {tag["Key"]: tag["Value"] for tag in environment.group().get("Tags", [])}
        if all(fields[PROCESS + name] == SUSPENDED for name in SUSPENDED_BY_RUN) and tags.get(IGNORE_TAG) != "ignore":
            cure = (
                f"aws autoscaling resume-processes --auto-scaling-group-name {group.name} --scaling-processes "
                f"{' '.join(SUSPENDED_BY_RUN)}; look at its sizes as well. If it is meant so, tag the group "
                f"{IGNORE_TAG}=ignore."
            )
            found = f"{', '.join(SUSPENDED_BY_RUN)} are suspended, as a run does, and no journal accounts for it"
            self._add("suspended processes", profile.service, group.name, found, cure=cure)
        if names := profile.prescale.silence_alarms:
            alarms = environment.resources.alarms(profile.service, names).read()
            for name in (name.removeprefix(ACTIONS) for name, value in alarms.items() if value == OFF):
                self._add("silent alarm", profile.service, name, "its actions are off, and no run is under way", "left")

    def _environment_of(self, profile: ServiceProfile) -> Environment:
        environment = Environment.of(profile)
        return self._environments.setdefault(f"{profile.aws.connection} {environment.name}", environment)

    def _try(self, kind: str, service: str, name: str, look: Callable[..., None], *arguments: Any) -> None:
        """What cannot be looked at is a leftover, too: nobody knows what is there."""
        try:
            look(*arguments)
        except HeadroomError as error:
            log.warning("%s %s of %s: %s", kind, name, service, error)
            self._add(kind, service, name, "could not be looked at", cure=str(error))

    def _add(self, kind: str, service: str, name: str, found: str, done: str = "", cure: str = "") -> None:
        self._leftovers.append(Leftover(kind, service, name, found, done, cure))


def as_table(sweep: Sweep) -> str:
    """What a person reads: a line for each leftover, and below it what is to do."""
    lines = []
    if sweep.leftovers:
        head = ("what", "service", "name", "state", "done")
        rows = [head, *((one.kind, one.service, one.name, one.found, one.done or "-") for one in sweep.leftovers)]
        widths = [min(60, max(len(row[column]) for row in rows)) for column in range(len(head) - 1)]
        lines = ["  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[-1]]) for row in rows]
    else:
        lines = ["Nothing is left behind."]
    if sweep.living:
        lines += ["", f"Under way, and left alone: {', '.join(sorted(sweep.living))}."]
    if sweep.to_do:
        lines += ["", "To do:"]
        lines += [
            f"- {one.kind} {one.name}{f' of {one.service}' if one.service else ''}: {one.cure}" for one in sweep.to_do
        ]
    return "\n".join(lines)


def _key(run: Run) -> tuple[str, str]:
    return run["service"], run["run_id"]


def _by_hand(plan: RunPlan) -> str:
    return f"python -m include.pipeline.restore {plan.service} {plan.run_id!r} (first with --dry-run)"
