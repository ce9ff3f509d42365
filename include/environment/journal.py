"""The undo record of a run: a log of events in its folder of the artefact store, one object each, that only ever grows.

An event's number is its object's name, and an object is created only if there is none: of two writers one wins and the
other reads what was written before it goes on. So a task that Airflow has given up cannot change anything more once
the restore has closed the log, and nothing that was recorded can be lost by a later write.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from include.capacity.errors import GuardRefused, InvalidData, StoreError
from include.environment.first_schema import FIRST_JOURNAL, opening_of_first_schema
from include.environment.record import Entry, Phase
from include.environment.resource import Fields, Resource, Value, shown
from include.store.artefacts import ArtefactStore
from include.store.documents import mapping_in

log = logging.getLogger(__name__)

JOURNAL = "journal"
SCHEMA = 2
CURE = "Restore what it names by hand; the logs of the tasks journal and prescale show every setting as it was."
STORE_PAUSES_S = (0.2, 0.5, 1.0)
_NAME = re.compile(r"^\d{6}\.json$")


class Journal:
    """Reads and extends the journal of one run. What is recorded is durable when a method returns.

    Every method raises StoreError when the store fails, and InvalidData for a journal that cannot be read.
    """

    def __init__(
        self, folder: ArtefactStore, sleep: Callable[[float], None] = time.sleep, now: Callable[[], float] = time.time
    ) -> None:
        self.folder = folder
        self.run: dict[str, str] = {}
        self.phase: Phase = "none"
        self.generation = 0
        self.entries: list[Entry] = []
        self.closed_at = 0.0
        self.settled = False  # whether nothing of the run was left when it was restored
        self.report: dict[str, Any] = {}  # how restoring came out
        self._sleep, self._now = sleep, now
        self._writer = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._next = 0
        self._mine = 0  # the generation that this object was made for

    @classmethod
    def read(cls, folder: ArtefactStore, **clock: Any) -> Journal:
        """The journal as it is now; its phase is "none" when the run has never opened one, and so changed nothing."""
        journal = cls(folder, **clock)
        journal.refresh()
        journal._mine = journal.generation
        return journal

    @property
    def url(self) -> str:
        return f"{self.folder.url}/{JOURNAL}"

    @property
    def touched(self) -> bool:
        """Whether the run may have changed anything."""
        return any(entry.records for entry in self.entries)

    # -- reading

    def refresh(self) -> None:
        """Takes in what others have written meanwhile."""
        names = self._patiently(lambda: self.folder.names(JOURNAL))
        numbers = [int(name[:6]) for name in names if _NAME.match(name)]
        if numbers != list(range(len(numbers))):
            raise InvalidData(f"{self.url} lacks {_name(_first_gap(numbers))}. {CURE}")
        if not numbers and self._next == 0 and (event := opening_of_first_schema(self.folder)) is not None:
            self._fold(event)
        while self._next < len(numbers):
            self._take(self._next)

    def _take(self, number: int) -> dict[str, Any]:
        path = f"{JOURNAL}/{_name(number)}"
        data = self._patiently(lambda: self.folder.read(path))
        event = mapping_in(data, f"{self.folder.url}/{path}", CURE)
        if event.get("schema") != SCHEMA:
            raise InvalidData(
                f"{self.folder.url}/{path} is of schema {event.get('schema')!r}, and this version of Headroom reads "
                f"{SCHEMA}: restore with the version that wrote it."
            )
        try:
            self._fold(event)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise InvalidData(f"{self.folder.url}/{path} is no event of a journal ({error!r}). {CURE}") from None
        self._next = number + 1
        return event

    def _fold(self, event: Mapping[str, Any]) -> None:
        kind = event["event"]
        if kind == "opened":
            outcome: dict[str, Any] | None = event.get("concluded")  # known at once for a journal that was of schema 1
            self.run, self.report = dict(event["run"]), dict(outcome or {})
            self.phase = "open" if outcome is None else "concluded"
            self.settled = outcome is not None and len(outcome["differences"]) == len(outcome["conflicts"])
            self.generation += 1
            self.entries = [Entry.of(raw) for raw in event["resources"]]
        elif kind == "reopened":
            self.phase = "open"
        elif kind == "closed":
            self.phase, self.closed_at = "closed", float(event["at"])
        elif kind == "concluded":
            self.phase, self.closed_at = "concluded", float(event["at"])
            self.settled, self.report = bool(event["settled"]), dict(event["report"])
        else:
            entry = self.entries[event["resource"]]
            if kind == "intended":
                pairs = {name: (before, ours) for name, (before, ours) in event["fields"].items()}
                entry.intend(pairs, float(event["at"]))
            elif kind == "done":
                entry.finish(event["fields"])
            elif kind == "undone":
                entry.undo(event["fields"])
            else:
                raise ValueError(kind)

    # -- writing

    def open(self, run: Mapping[str, str], began_at: float, resources: Callable[[], Sequence[Resource]]) -> None:
        """Opens the journal with a snapshot of the resources; one that is open already stays as it is.

        `began_at` is when the writer's task began: one that began before the last restore was given up by Airflow and
        lives on, and must not change anything. Raises GuardRefused for such a one.
        """
        if self.phase == "open":
            return
        self.require_not_late(began_at, run)
        if self.phase == "closed":  # cleared by a person before the restore came to its end: the first values count
            self._append("reopened", {}, allowed=("closed",))
            return
        snapshots = []
        for resource in resources():
            resource.check()
            fields = resource.read()
            log.info("%s is as follows: %s", resource.title, ", ".join(f"{k} {shown(v)}" for k, v in fields.items()))
            snapshots.append({**resource.reference(), "title": resource.title, "snapshot": fields})
        self._append("opened", {"run": dict(run), "resources": snapshots}, allowed=("none", "concluded"))

    def entry_of(self, resource: Resource) -> Entry:
        """What the journal knows of a resource. Raises GuardRefused when it was opened without it."""
        reference = resource.reference()
        for entry in self.entries:
            if entry.reference == reference:
                return entry
        raise GuardRefused(
            f"The journal {self.url} has no snapshot of the {resource.title}: it was opened for another profile. "
            "Restore the run, and start a new one."
        )

    def require_not_late(self, began_at: float, run: Mapping[str, str]) -> None:
        """Raises GuardRefused when the run was restored since `began_at`, in seconds since 1970."""
        if self.phase in ("closed", "concluded") and began_at <= self.closed_at:
            raise GuardRefused(_late(run))

    def require_open(self) -> None:
        """Raises GuardRefused when the run is being restored, or was, by now."""
        self.refresh()
        if self.phase != "open" or self.generation != self._mine:
            raise GuardRefused(_late(self.run))

    def intend(self, entry: Entry, fields: Mapping[str, tuple[Value, Value]], *, restoring: bool = False) -> None:
        """Records what is about to be changed: field -> (as it is now, as it is going to be).

        Raises GuardRefused when the run is being restored, unless the restore itself asks.
        """
        for name, (before, ours) in fields.items():
            log.info("%s: %s goes from %s to %s.", entry.title, name, shown(before), shown(ours))
        allowed: Iterable[Phase] = ("closed",) if restoring else ("open",)
        self._record("intended", entry, {name: list(pair) for name, pair in fields.items()}, allowed)

    def done(self, entry: Entry, fields: Iterable[str]) -> None:
        """Records that a change has arrived. Raises GuardRefused when the restore has begun meanwhile."""
        self._record("done", entry, sorted(fields), ("open",))

    def undone(self, entry: Entry, fields: Fields) -> None:
        """Records that fields have been put back."""
        self._record("undone", entry, dict(fields), ("closed", "concluded"))

    def close(self) -> None:
        """From here on no change is allowed but putting back."""
        if self.phase != "closed":
            self._append("closed", {}, allowed=("open", "closed", "concluded"))

    def end_untouched(self, report: Mapping[str, Any]) -> None:
        """Ends a journal of a run that has changed nothing, also one that was never opened: a process of it that lives
        on can open none any more."""
        if self.phase in ("open", "closed"):
            self.close()
        self._append("concluded", {"settled": True, "report": dict(report)}, allowed=("none", "closed", "concluded"))

    def conclude(self, *, settled: bool, report: Mapping[str, Any]) -> None:
        """Records how restoring came out; `settled` when nothing of the run is left."""
        self._append("concluded", {"settled": settled, "report": dict(report)}, allowed=("closed", "concluded"))

    def _record(self, kind: str, entry: Entry, fields: Any, allowed: Iterable[Phase]) -> None:
        body = {"resource": self.entries.index(entry), "generation": self.generation, "fields": fields}
        self._append(kind, body, allowed)

    def _append(self, kind: str, body: Mapping[str, Any], allowed: Iterable[Phase]) -> None:
        """Writes an event behind all that there are, if the phase allows it then; takes it in."""
        if self.phase != "none" and self._next == 0:
            self._adopt_first_schema()
        while True:
            if self.phase not in allowed or self.generation != self._mine:
                raise GuardRefused(_late(self.run))
            event = {
                "schema": SCHEMA,
                "event": kind,
                "at": self._now(),
                "writer": self._writer,
                "number": self._next,
                **body,
            }
            self._create(event)
            own = self._take(self._next)["writer"] == self._writer
            if kind == "opened" and self.phase == "open":
                # perhaps another try of this task was faster: its snapshot is as good
                self._mine = self.generation
                return
            if own:
                return

    def _create(self, event: Mapping[str, Any]) -> None:
        """Creates the event's object if there is none of its number; that there is one is found out by reading it."""
        data = (json.dumps(event, indent=1, sort_keys=True) + "\n").encode()
        path = f"{JOURNAL}/{_name(event['number'])}"
        self._patiently(lambda: self.folder.create(path, data, durable=True))

    def _adopt_first_schema(self) -> None:
        """A journal of schema 1 is taken over as the first event, before anything is added to it."""
        event = opening_of_first_schema(self.folder)
        if event is None:
            raise InvalidData(f"{self.folder.url}/{FIRST_JOURNAL} has disappeared. {CURE}")
        self.generation = 0
        self._create({**event, "schema": SCHEMA, "writer": self._writer, "number": 0})
        self._take(0)

    def _patiently(self, action: Callable[[], Any]) -> Any:
        """A store's failure may pass in a moment. Repeating is harmless: an event is recognised by its writer."""
        for pause in STORE_PAUSES_S:
            try:
                return action()
            except StoreError as error:
                log.warning("%s Tried again in %g s.", error, pause)
                self._sleep(pause)
        return action()


def _name(number: int) -> str:
    return f"{number:06d}.json"


def _first_gap(numbers: Sequence[int]) -> int:
    return next(place for place, number in enumerate(numbers) if place != number)


def _late(run: Mapping[str, str]) -> str:
    return (
        f"The run {run.get('run_id', 'unknown')!r} is being restored, or was restored, since this task began: it "
        "changes nothing more. Clear the task journal to begin anew."
    )
