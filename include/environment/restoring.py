"""Restoring: plays the journal back, verifies field by field, and tells what is not as before and why.

It needs nothing but the journal, may be repeated, may run twice at once, and leaves alone what somebody else has
changed. A resource that cannot be restored does not keep the others from it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from include.capacity.errors import GuardRefused, HeadroomError, StoreError
from include.environment.changing import Lock
from include.environment.journal import Journal
from include.environment.patience import bring, patiently
from include.environment.record import Entry, Row, compare, moved_before
from include.environment.resource import Fields, Resource, Sleep, Value, shown

log = logging.getLogger(__name__)

IN_FLIGHT_S = 40.0
"""A change whose process was killed may still be on its way to AWS: no client waits longer for an answer."""


@dataclass(frozen=True, slots=True)
class Report:
    """How restoring came out, or would come out.

    Attributes:
        rows: every field of every resource, as it is now.
        failures: what could not be restored (or looked at), each with the reason and the cure.
        notes: what a person may want to know and needs not act on.
    """

    rows: tuple[Row, ...] = ()
    failures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether every field equals the snapshot."""
        return not self.failures and not any(row.differs for row in self.rows)

    @property
    def differences(self) -> list[str]:
        return [row.phrase for row in self.rows if row.differs]

    @property
    def conflicts(self) -> list[str]:
        """What somebody else has changed, and what therefore cannot be put back."""
        told = [row.conflict for row in self.rows if row.differs and row.finding == "foreign"]
        blocked = [row for row in self.rows if row.differs and row.finding == "undo" and row.reason]
        return told + [f"{row.phrase}: {row.reason}." for row in blocked]

    @property
    def settled(self) -> bool:
        """Whether nothing is left for the run to put back: what differs is somebody else's decision."""
        return not self.failures and all(row.finding != "undo" or row.reason for row in self.rows if row.differs)

    def to_json(self) -> dict[str, Any]:
        return {
            "equal": self.equal,
            "differences": self.differences,
            "conflicts": self.conflicts,
            "failures": list(self.failures),
            "notes": list(self.notes),
        }


@dataclass(slots=True)
class Restorer:
    """
    Attributes:
        resource_of: the resource of a journal's entry. Raises ConfigError for a kind that this version does not know.
        within_s: how long each resource may take until what was set has come about.
    """

    journal: Journal
    lock: Lock
    resource_of: Callable[[Entry], Resource]
    within_s: float
    sleep: Sleep
    now: Callable[[], float]
    _failures: list[str] = field(default_factory=list)
    _unrecorded: list[str] = field(default_factory=list)
    _resources: dict[int, Resource] = field(default_factory=dict)

    def preview(self) -> Report:
        """What restoring would find and do. Changes nothing."""
        self._failures = []
        return self._look(held=self._holds())

    def restore(self) -> Report:
        """Raises GuardRefused when another run holds the environment; what else goes wrong is in the report."""
        self._failures, self._unrecorded = [], []
        holder = self.lock.holder()
        if holder is None and self.journal.phase == "concluded" and (review := self._review()) is not None:
            return review
        if not self.journal.touched:
            return self._untouched()
        if holder not in (None, self.journal.run):
            raise GuardRefused(self.lock.refusal())
        if holder is None:
            self.lock.take()  # no other run may begin meanwhile
        self._record(self.journal.close)
        touched = [entry for entry in reversed(self.journal.entries) if entry.records]
        self._play_back(touched)
        if not self._failures and (rest := self._in_flight_s()) > 0:
            log.info("A change of a task that was killed may still be on its way: looking again in %.0f s.", rest)
            self.sleep(rest)
            self._play_back(touched)
        report = self._look(held=True)
        self._record(lambda: self.journal.conclude(settled=report.settled, report=report.to_json()))
        if self._unrecorded:
            return replace(report, failures=(*report.failures, *self._unrecorded))
        if report.settled:
            self.lock.release()
        return report

    def _review(self) -> Report | None:
        """Of a run that was restored and has freed the environment: what differs now is not its own. None when
        something of it can be put back after all, because somebody has settled a conflict that was in the way."""
        report = self._look(held=False)
        if self.journal.report.get("equal"):
            changed = [f"{phrase}: changed since the run was restored." for phrase in report.differences]
            return Report(notes=("The run was restored before.", *changed, *report.failures))
        if not report.settled and not report.failures:
            return None
        if report.equal:
            self._record(lambda: self.journal.conclude(settled=True, report=report.to_json()))
        return report

    def _untouched(self) -> Report:
        """A run that ended before its first change: closed, so that nothing of it can begin one any more."""
        report = Report(notes=("The run changed nothing.",))
        self.journal.end_untouched(report.to_json())
        self.lock.release()
        return report

    def _holds(self) -> bool:
        return self.lock.holder() == self.journal.run or self.journal.phase != "concluded"

    def _play_back(self, entries: Sequence[Entry]) -> None:
        resources = [(entry, resource) for entry in entries if (resource := self._found(entry)) is not None]
        for last in (False, True):
            chosen = [(entry, resource) for entry, resource in resources if resource.last is last]
            undone = [(entry, resource) for entry, resource in chosen if self._try(entry, self._undo, entry, resource)]
            for entry, resource in undone:
                self._try(entry, resource.settle, self.within_s, self.sleep)

    def _found(self, entry: Entry) -> Resource | None:
        if id(entry) not in self._resources:
            self._try(entry, lambda: self._resources.update({id(entry): self.resource_of(entry)}))
        return self._resources.get(id(entry))

    def _try(self, entry: Entry, action: Callable[..., Any], *arguments: Any) -> bool:
        """Whether it went well; what went wrong is kept for the report."""
        try:
            action(*arguments)
        except GuardRefused:
            raise  # another run has the environment: nothing more may be touched
        except HeadroomError as error:
            log.warning("%s: %s", entry.title, error)
            failure = f"{entry.title}: {error}"
            if failure not in self._failures:
                self._failures.append(failure)
            return False
        return True

    def _undo(self, entry: Entry, resource: Resource) -> None:
        """Puts back every field that is as the run set it."""
        undone: dict[str, Value] = {}

        def decide(now: dict[str, Value]) -> Fields:
            fit = resource.fit(now, _wanted(entry, now))
            todo = {name: value for name, value in fit.fields.items() if now.get(name) != value}
            if not todo:
                return {}
            if self.lock.holder() != self.journal.run:
                raise GuardRefused(self.lock.refusal())
            other = {
                name: (now[name], value)
                for name, value in todo.items()
                if name in fit.reasons and value not in entry.records[name].ours
            }
            if other:  # not the value before, so that it must be known as this run's
                self._record(lambda: self.journal.intend(entry, other, restoring=True))
            log.info("%s: %s", entry.title, ", ".join(f"{name} goes to {shown(value)}" for name, value in todo.items()))
            undone.update({name: value for name, value in todo.items() if value == entry.records[name].before})
            return todo

        bring(resource, decide, self.sleep)
        if undone:
            self._record(lambda: self.journal.undone(entry, undone))

    def _record(self, write: Callable[[], None]) -> None:
        """Putting back does not wait for a store that cannot be written; that it was not recorded is told. What comes
        after an event that is missing is not recorded either: the journal would tell another story."""
        if self._unrecorded:
            return
        try:
            write()
        except StoreError as error:
            log.warning("%s", error)
            told = f"The environment was put back as told here, but that could not be recorded: {error}"
            self._unrecorded = [told]

    def _in_flight_s(self) -> float:
        """For how long a change that was begun and not finished may still arrive."""
        begun = [record.at for entry in self.journal.entries for record in entry.records.values() if not record.done]
        return max(begun) + IN_FLIGHT_S - self.now() if begun else 0.0

    def _look(self, *, held: bool) -> Report:
        rows: list[Row] = []
        notes: list[str] = []
        for entry in self.journal.entries:
            resource = self._found(entry)
            if resource is not None and self._try(entry, self._add_rows, rows, entry, resource, held):
                notes += moved_before(entry)
        return Report(tuple(rows), tuple(self._failures), tuple(notes))

    def _add_rows(self, rows: list[Row], entry: Entry, resource: Resource, held: bool) -> None:
        now = patiently(resource.read, self.sleep)
        fit = resource.fit(now, _wanted(entry, now, held=held))
        rows += [
            replace(row, target=fit.fields.get(row.field, row.now), reason=fit.reasons.get(row.field, ""))
            if row.finding == "undo"
            else row
            for row in compare(entry, now, held=held)
        ]


def _wanted(entry: Entry, now: Fields, *, held: bool = True) -> Fields:
    return {row.field: row.before for row in compare(entry, now, held=held) if row.finding == "undo"}
