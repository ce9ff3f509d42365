"""A resource in memory that can refuse, lose answers and be changed by somebody else; and a lock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from include.capacity.errors import GuardRefused, NotReady
from include.environment.resource import Fields, Fit, Sleep, Value

RUN = {"service": "checkout", "dag_id": "capacity_weekly__checkout", "run_id": "manual__1"}


def refused(code: str, status: int = 400) -> NotReady:
    """What a hook raises when AWS answers so."""
    answer: Any = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    error = NotReady(f"AWS refused: {code}.")
    error.__cause__ = ClientError(answer, "Set")
    return error


@dataclass
class Thing:
    """`before_set` and `after_set` are called around each setting, with the fields; what they raise is raised."""

    state: dict[str, Value]
    wanted: Sequence[Fields] = ()
    name: str = "thing"
    last: bool = False
    kind: str = "thing"
    sets: list[dict[str, Value]] = field(default_factory=list)
    before_set: Callable[[Fields], None] = lambda fields: None
    after_set: Callable[[Fields], None] = lambda fields: None
    on_read: Callable[[], None] = lambda: None
    settled: int = 0

    @property
    def title(self) -> str:
        return self.name

    def reference(self) -> dict[str, str]:
        return {"kind": self.kind, "name": self.name}

    def check(self) -> None:
        pass

    def read(self) -> dict[str, Value]:
        self.on_read()
        return dict(self.state)

    def steps(self, now: Fields) -> Sequence[Fields]:
        return self.wanted

    def set(self, fields: Fields) -> None:
        self.before_set(fields)
        self.sets.append(dict(fields))
        self.state.update(fields)
        self.after_set(fields)

    def fit(self, now: Fields, wanted: Fields) -> Fit:
        return Fit(wanted)

    def settle(self, within_s: float, sleep: Sleep) -> None:
        self.settled += 1


@dataclass
class FakeLock:
    run: Mapping[str, str] = field(default_factory=lambda: dict(RUN))
    held: Mapping[str, str] | None = field(default_factory=lambda: dict(RUN))

    def holder(self) -> Mapping[str, str] | None:
        return self.held

    def take(self) -> None:
        if self.held not in (None, self.run):
            raise GuardRefused(self.refusal())
        self.held = self.run

    def release(self) -> None:
        if self.held == self.run:
            self.held = None

    def refusal(self) -> str:
        return f"held by {self.held}"


class Sleeper:
    """Instead of sleeping: counts the seconds."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)
