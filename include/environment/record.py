"""What a journal knows about one resource, and what follows for each field from how it is now. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from include.environment.resource import ABSENT, Fields, Value, shown

Phase = Literal["none", "open", "closed", "concluded"]
# as before: nothing to do. undo: it is as the run set it. foreign: somebody else has set it.
Finding = Literal["as before", "undo", "foreign"]


@dataclass(slots=True)
class Record:
    """One field that the run has changed, or was about to.

    Attributes:
        before: its value directly before the run first touched it.
        ours: every value that the run has given it, or was about to give it, in order.
        at: when the last change was recorded, in seconds since 1970.
        done: whether the last change is known to have arrived. One that is not may have arrived all the same.
        undone: whether it was put back.
    """

    before: Value
    ours: list[Value]
    at: float = 0.0
    done: bool = False
    undone: bool = False


@dataclass(slots=True)
class Entry:
    """One resource in the journal."""

    reference: Mapping[str, str]
    title: str
    snapshot: Fields
    records: dict[str, Record] = field(default_factory=dict)

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Entry:
        """From the journal's event `opened`. Raises KeyError or TypeError for something else."""
        reference = {key: str(value) for key, value in raw.items() if key not in ("title", "snapshot", "records")}
        records = {name: Record(before, [ours]) for name, (before, ours) in raw.get("records", {}).items()}
        return cls(reference, str(raw["title"]), dict(raw["snapshot"]), records)

    def intend(self, fields: Mapping[str, tuple[Value, Value]], at: float) -> None:
        for name, (before, ours) in fields.items():
            record = self.records.setdefault(name, Record(before, []))
            record.ours.append(ours)
            record.at, record.done, record.undone = at, False, False

    def finish(self, names: Iterable[str]) -> None:
        for name in names:
            self.records[name].done = True

    def undo(self, fields: Fields) -> None:
        for name in fields:
            self.records[name].undone = True

    def before(self, name: str) -> Value:
        """The value that is to come back: the one directly before the first change, else the snapshot's."""
        return self.records[name].before if name in self.records else self.snapshot[name]


@dataclass(frozen=True, slots=True)
class Row:
    """One field between snapshot and now, and what restoring makes of it.

    Attributes:
        ours: the last value that the run gave it; None if it never touched it.
        now: "absent" if there is no such field any more.
        target: the value that restoring sets; None if it sets nothing.
        reason: why it is not put back as it was; empty if it is.
    """

    title: str
    field: str
    before: Value
    ours: Value | None
    now: Value
    finding: Finding
    target: Value | None = None
    reason: str = ""

    @property
    def differs(self) -> bool:
        return self.now != self.before

    @property
    def phrase(self) -> str:
        return f"{self.field} of {self.title} is {shown(self.now)} and was {shown(self.before)}"

    @property
    def conflict(self) -> str:
        """The phrase for a field that somebody else has set."""
        by_run = "did not touch it" if self.ours is None else f"set {shown(self.ours)}"
        return (
            f"{self.field} of {self.title} is {shown(self.now)}; it was {shown(self.before)} before the run, which "
            f"{by_run}. Somebody else has changed it: left as it is."
        )


def compare(entry: Entry, now: Fields, *, held: bool) -> list[Row]:
    """A row for each field, in the order of the snapshot.

    `held`: the run still holds the environment. Once it has given it up, a field that was put back is not its own any
    more.
    """
    rows = []
    for name in entry.snapshot:
        record = entry.records.get(name)
        current, before = now.get(name, ABSENT), entry.before(name)
        finding: Finding
        if current == before:
            finding = "as before"
        elif record is not None and current in record.ours and (held or not record.undone):
            finding = "undo"
        else:
            finding = "foreign"
        ours = record.ours[-1] if record else None
        rows.append(Row(entry.title, name, before, ours, current, finding))
    return rows


def moved_before(entry: Entry) -> list[str]:
    """Fields that somebody else changed between the snapshot and the run's first change of them, as phrases."""
    return [
        f"{name} of {entry.title} was {shown(entry.snapshot[name])} when the journal was opened and "
        f"{shown(record.before)} when the run first changed it: the latter is what comes back"
        for name, record in entry.records.items()
        if name in entry.snapshot and record.before != entry.snapshot[name]
    ]
