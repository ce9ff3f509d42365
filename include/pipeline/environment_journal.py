"""A run's hold on its environment: taking it, the journal before any change, prescaling and restoring.

Journal first, then change: the journal names for each setting the value before and the value that this run sets. So
restoring needs nothing but the journal, may be repeated, and sees what somebody else has changed meanwhile. How that is
done is `include.environment`; here it meets the profile, the environment's lock and the run's folder.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from include.capacity.errors import GuardRefused
from include.environment.changing import Changer
from include.environment.journal import Journal
from include.environment.resource import Value
from include.environment.restoring import Report, Restorer
from include.pipeline.environment import Environment
from include.pipeline.environment_lock import claim_of, held_message, release, take
from include.pipeline.run_plan import run_key
from include.store.artefacts import ArtefactStore

RESTORED_PATH = "restored.json"
OPEN_JOURNALS = "open-journals"


@dataclass(frozen=True, slots=True)
class EnvironmentLock:
    """The lock of one environment as one run sees it."""

    environment: Environment
    root: ArtefactStore
    run: Mapping[str, str]

    def holder(self) -> Mapping[str, str] | None:
        return claim_of(self.environment, self.root)

    def take(self) -> None:
        take(self.environment, self.root, self.run, is_settled)

    def release(self) -> None:
        release(self.environment, self.root, self.run)

    def refusal(self) -> str:
        return held_message(self.environment, self.root)


def open_journal(
    environment: Environment,
    root: ArtefactStore,
    folder: ArtefactStore,
    run: Mapping[str, str],
    began_at: float | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Journal:
    """Takes the environment for this run and opens its journal with a snapshot, both before any change.

    A journal that was not restored yet (the task is repeated) stays as it is: it knows the state before the first
    change. The lock comes first, so that the snapshot shows no other run's work; should this end in between, the lease
    lapses, and without a journal there is nothing to restore.

    Args:
        began_at: when the task began, in seconds since 1970; one that began before the last restore opens nothing.

    Raises GuardRefused when another run holds the environment, or the run was restored since the task began.
    """
    began_at = time.time() if began_at is None else began_at
    Journal.read(folder, sleep=sleep).require_not_late(began_at, run)
    lock = EnvironmentLock(environment, root, run)
    lock.take()
    root.create(marker_path(run), json.dumps(dict(run), sort_keys=True).encode(), durable=True)
    journal = Journal.read(folder, sleep=sleep)
    try:
        journal.open(run, began_at, environment.resources.changed)
    except GuardRefused:
        if journal.phase == "concluded":  # the restore was over before this took the lock
            lock.release()
        raise
    return journal


def planned_changes(environment: Environment, journal: Journal) -> dict[str, dict[str, list[Value]]]:
    """Resource -> field -> [value in the snapshot, value during the run], of what prescaling is going to change."""
    plan: dict[str, dict[str, list[Value]]] = {}
    for resource in environment.resources.changed():
        entry = journal.entry_of(resource)
        wanted = {name: value for step in resource.steps(entry.snapshot) for name, value in step.items()}
        plan[entry.title] = {
            name: [entry.snapshot[name], value] for name, value in wanted.items() if entry.snapshot[name] != value
        }
    return plan


def marker_path(run: Mapping[str, str]) -> str:
    """The object that says where a journal may be open: the sweeper need not look through all runs there ever were."""
    return f"{OPEN_JOURNALS}/{run['service']}/{run_key(run['run_id'])}.json"


def is_settled(root: ArtefactStore, run: Mapping[str, str]) -> bool:
    """Whether nothing of what a run changed is left for it to restore: so its lapsed lease may be taken over.

    The journal of a run that ended before its first change is closed by this: a process of it that lives on cannot
    begin to change anything any more.
    """
    journal = Journal.read(root.below(f"{run['service']}/{run_key(run['run_id'])}"))
    if journal.phase != "concluded" and not journal.touched:
        journal.end_untouched({"equal": True})
    return journal.phase == "concluded" and journal.settled


def prescale(
    environment: Environment,
    root: ArtefactStore,
    journal: Journal,
    sleep: Callable[[float], None] = time.sleep,
) -> float:
    """Silences alarms, suspends scaling and brings everything to the test size; waits until it is in service, healthy
    and warm. Idempotent. Returns the seconds that the wait took.

    Raises GuardRefused when the run is being restored meanwhile or somebody else changes the same settings.
    """
    profile = environment.profile
    changer = Changer(journal, EnvironmentLock(environment, root, journal.run), sleep)
    begun = time.monotonic()
    changer.prescale(environment.resources.changed(), profile.prescale.ready_within_s)
    waited = time.monotonic() - begun
    sleep(profile.prescale.warm_up_s)
    return waited


def restore(
    environment: Environment,
    root: ArtefactStore,
    folder: ArtefactStore,
    run: Mapping[str, str],
    sleep: Callable[[float], None] = time.sleep,
) -> Report:
    """Plays the journal back, verifies field by field and frees the environment. Restoring twice does no harm.

    What could not be restored is in the report, with the reason. A setting that somebody else changed meanwhile is not
    touched: it is a conflict. Raises GuardRefused when another run holds the environment.
    """
    report = restorer_of(environment, root, folder, run, sleep).restore()
    folder.write_json(RESTORED_PATH, report.to_json())
    if report.settled:
        root.delete(marker_path(run))
    return report


def restorer_of(
    environment: Environment,
    root: ArtefactStore,
    folder: ArtefactStore,
    run: Mapping[str, str],
    sleep: Callable[[float], None] = time.sleep,
) -> Restorer:
    """What restores a run, or shows what that would do."""
    journal = Journal.read(folder, sleep=sleep)
    lock = EnvironmentLock(environment, root, journal.run or run)
    return Restorer(
        journal,
        lock,
        environment.resources.of_entry,
        environment.profile.prescale.ready_within_s,
        sleep,
        time.time,
    )
