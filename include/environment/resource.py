"""What a run changes on AWS, of whatever kind, behind one small protocol: read, set, read back.

A resource's settings are *fields*: names with plain values. Everything else (journal, comparison, restoring, the table
that a person reads) knows fields only, so that a further kind of resource is one class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

Value = bool | int | str
Fields = Mapping[str, Value]
Sleep = Callable[[float], None]

ABSENT = "absent"  # the value of a field of something that no longer exists


@dataclass(frozen=True, slots=True)
class Fit:
    """What of some wanted fields AWS can take beside the values that stay; a field that gets another value has a
    reason."""

    fields: Fields
    reasons: Mapping[str, str] = field(default_factory=dict)


class Resource(Protocol):
    """One thing on AWS whose settings a run changes and puts back.

    Every method but `fit` asks AWS and raises NotReady with the cure when AWS refuses or does not answer.
    """

    @property
    def kind(self) -> str:
        """The kind's name in the journal."""

    @property
    def name(self) -> str:
        """What a person calls it; no two resources of a run share kind and name."""

    @property
    def title(self) -> str:
        """Kind and name, as words at the start of a line."""

    @property
    def last(self) -> bool:
        """Whether it is put back only when everything else has settled, such as alarms that the way back would trip."""

    def reference(self) -> dict[str, str]:
        """What finds it again in another process (see `include.environment.kinds`)."""

    def check(self) -> None:
        """Raises NotReady with the cure when the profile names what does not exist. Before the first change only."""

    def read(self) -> dict[str, Value]:
        """All fields that a run might change or that somebody else must not have, as they are now."""

    def steps(self, now: Fields) -> Sequence[Fields]:
        """What a run sets, in order; each step is what belongs together. Steps that hold already are harmless."""

    def set(self, fields: Fields) -> None:
        """Sets these fields to these values, and no others. Setting twice changes nothing more."""

    def fit(self, now: Fields, wanted: Fields) -> Fit:
        """What of `wanted` AWS can take while all other fields stay as they are now."""

    def settle(self, within_s: float, sleep: Sleep) -> None:
        """Waits until what was set has come about. Raises NotReady with the last state when time is up."""


def shown(value: Value | None) -> str:
    """A value as a person reads it."""
    if value is None:
        return "-"
    return ("on" if value else "off") if isinstance(value, bool) else str(value)
