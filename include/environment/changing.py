"""Changes to the environment during a run: each is recorded before it is made, and again when it has arrived."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

from include.capacity.errors import GuardRefused
from include.environment.journal import Journal
from include.environment.patience import bring, patiently
from include.environment.record import Entry
from include.environment.resource import Fields, Resource, Sleep, Value, shown

log = logging.getLogger(__name__)


class Lock(Protocol):
    """One run at a time holds the environment."""

    def holder(self) -> Mapping[str, str] | None:
        """The run that holds it; None when it is free."""

    def take(self) -> None:
        """For the journal's run. Raises GuardRefused when another run holds it."""

    def release(self) -> None:
        """Frees it if the journal's run holds it."""

    def refusal(self) -> str:
        """Who holds it, and what to do."""


class Changer:
    """Brings resources to the values of a run. Every method raises GuardRefused once the run is being restored, and
    NotReady or StoreError when AWS or the store fails: nothing is then changed that the journal does not know."""

    def __init__(self, journal: Journal, lock: Lock, sleep: Sleep) -> None:
        self._journal, self._lock, self._sleep = journal, lock, sleep

    def prescale(self, resources: Sequence[Resource], within_s: float) -> None:
        """Makes every resource's changes in order, waits until all have come about, and looks if they still hold."""
        wanted: list[tuple[Entry, Resource, dict[str, Value]]] = []
        for resource in resources:
            entry = self._journal.entry_of(resource)
            steps = resource.steps(patiently(resource.read, self._sleep))
            wanted.append((entry, resource, {name: value for step in steps for name, value in step.items()}))
            for step in steps:
                self.change(entry, resource, step)
        for resource in resources:
            resource.settle(within_s, self._sleep)
        for entry, resource, fields in wanted:
            now = patiently(resource.read, self._sleep)
            for name in (name for name, value in fields.items() if now.get(name) != value):
                raise GuardRefused(_conflict(entry, name, now.get(name), entry.before(name), fields[name]))

    def change(self, entry: Entry, resource: Resource, fields: Fields) -> None:
        """Gives fields these values. What has them already is not touched.

        Raises GuardRefused when somebody else has changed a field of them since the run first did.
        """
        try:
            bring(resource, lambda now: self._intend(entry, now, fields), self._sleep)
            unfinished = [name for name in fields if (record := entry.records.get(name)) and not record.done]
            if unfinished:
                self._journal.done(entry, unfinished)
        except GuardRefused:
            self._take_back(entry, resource, fields)
            raise

    def _intend(self, entry: Entry, now: Fields, fields: Fields) -> Fields:
        """Records what is about to be changed; returns it."""
        todo = {name: value for name, value in fields.items() if now.get(name) != value}
        if not todo:
            return {}
        self._journal.require_open()
        if self._lock.holder() != self._journal.run:
            raise GuardRefused(self._lock.refusal())
        fresh: dict[str, tuple[Value, Value]] = {}
        for name, value in todo.items():
            record = entry.records.get(name)
            if record is not None and now.get(name) not in (record.before, *record.ours):
                raise GuardRefused(_conflict(entry, name, now.get(name), record.before, record.ours[-1]))
            if record is None or record.done or record.ours[-1] != value:
                fresh[name] = (now[name], value)
        if fresh:
            self._journal.intend(entry, fresh)
        return todo

    def _take_back(self, entry: Entry, resource: Resource, fields: Fields) -> None:
        """What this task changed although the restore had begun meanwhile (it was stopped between its record and its
        change, say) is put back, unless another run has the environment by now."""
        if self._journal.phase == "open" or self._lock.holder() not in (None, self._journal.run):
            return
        mine = {
            name: record.before
            for name in fields
            if (record := entry.records.get(name)) and not record.done and record.before != fields[name]
        }
        log.warning("The run was restored while this task was under way: what it has changed since is put back.")
        bring(resource, lambda now: {name: mine[name] for name in mine if now.get(name) == fields[name]}, self._sleep)


def _conflict(entry: Entry, name: str, now: Value | None, before: Value, ours: Value) -> str:
    return (
        f"{name} of {entry.title} is {shown(now)}; this run found {shown(before)} and set {shown(ours)}: somebody else "
        "changes the environment at the same time. It is left as it is. Start a new run when they are done."
    )
