"""The cases of the campaign, numbered: which process dies where, what AWS, the store and other people do meanwhile.

The list is made from a recording of one good run, so that it holds every point that there is; the same code gives the
same list, so that a case's number repeats it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from tests.faults.lifecycle.aws import AwsFaults
from tests.faults.lifecycle.points import StoreFaults
from tests.faults.lifecycle.state import FOREIGN

LIFECYCLE = ("journal", "prescale", "restore")
# How the run goes on after its processes died: by the command; by Airflow's retry; by the sweeper.
Way = Literal["hand", "retry", "sweeper"]
SHARE = 0.3


@dataclass(frozen=True, slots=True)
class Case:
    """One case. First the tasks `stages` run; then what is left is restored on the `way`, without further faults.

    Attributes:
        group: what kind of case it is.
        kill_at: the point at which the process that runs the tasks is killed.
        stop_at: the point at which it is stopped; it goes on when the run has been restored (or repeated).
        kill_again_at: the point at which the process that then restores is killed; it is repeated.
        stop_again_at: the point at which it is stopped; the stopped task goes on first, and it afterwards.
        at_once: how many processes then restore at the same time.
        name: the point's name, for a person.
    """

    group: str
    stages: tuple[str, ...] = LIFECYCLE
    kill_at: int | None = None
    stop_at: int | None = None
    kill_again_at: int | None = None
    stop_again_at: int | None = None
    at_once: int = 1
    way: Way = "hand"
    aws: AwsFaults = field(default_factory=AwsFaults)
    aws_again: AwsFaults = field(default_factory=AwsFaults)
    store: StoreFaults = field(default_factory=StoreFaults)
    name: str = ""
    number: int = 0

    def __str__(self) -> str:
        return f"case {self.number} ({self.group}{f', {self.name}' if self.name else ''})"


@dataclass(frozen=True, slots=True)
class Recording:
    """One good run: the points of its tasks, of the restore by hand, and of the sweeper; operations and calls."""

    tasks: tuple[str, ...]
    prescale_ends: int
    by_hand: tuple[str, ...]
    sweeper: tuple[str, ...]
    operations: int
    calls: int


def all_cases(recording: Recording) -> list[Case]:
    """Every case, numbered from 1."""
    found = [
        *_kills(recording),
        *_stops(recording),
        *_weather(),
        *_expired(recording),
        *_store(recording),
        *_foreign(recording),
        *_at_once(),
        *_storms(recording),
    ]
    return [replace(case, number=number) for number, case in enumerate(found, start=1)]


def short(cases: list[Case], count: int, seed: int = 1) -> list[Case]:
    """One case of each group at least, and `count` in all; the same at every time."""
    chance = random.Random(seed)
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(case.group, []).append(case)
    chosen = {case.number: case for case in (chance.choice(group) for group in groups.values())}
    for case in chance.sample(cases, min(count, len(cases))):
        if len(chosen) < count:
            chosen.setdefault(case.number, case)
    return [chosen[number] for number in sorted(chosen)]


def _kills(recording: Recording) -> Iterator[Case]:
    """Every point for the restore by hand. The others differ only in who comes then, so that they get those points
    beside which something has changed: killed between two looks at AWS, a process leaves what it left before them."""
    for at, name in enumerate(recording.tasks):
        yield Case("killed, then restore by hand", kill_at=at, name=name)
    others: tuple[Way, ...] = ("retry", "sweeper")
    for way in others:
        for at, name in enumerate(recording.tasks):
            if not _looks(name):
                yield Case(f"killed, then {way}", kill_at=at, way=way, name=name)
    for at, name in enumerate(recording.by_hand):
        yield Case("killed in the restore by hand", LIFECYCLE[:2], kill_again_at=at, name=name)
    for at, name in enumerate(recording.sweeper):
        yield Case("killed in the sweeper", LIFECYCLE[:2], kill_again_at=at, way="sweeper", name=name)


def _looks(name: str) -> bool:
    """Whether a point is beside a call that changes nothing."""
    return any(f":{verb}" in name for verb in ("Describe", "List", "Get"))


def _stops(recording: Recording) -> Iterator[Case]:
    """A task that Airflow gave up goes on later: behind a restore, or behind its own retry."""
    ways: dict[Way, str] = {"hand": "stopped during the restore by hand", "retry": "stopped during the retry"}
    for way, group in ways.items():
        for at, name in enumerate(recording.tasks[: recording.prescale_ends]):
            yield Case(group, LIFECYCLE[:2], stop_at=at, way=way, name=name)
    for seed in range(1, 121):
        chance = random.Random(seed)
        at, again = chance.randrange(recording.prescale_ends), chance.randrange(len(recording.by_hand))
        name = f"{recording.tasks[at]}; {recording.by_hand[again]}"
        yield Case("stopped, and goes on amid the restore", LIFECYCLE[:2], stop_at=at, stop_again_at=again, name=name)


def _weather() -> Iterator[Case]:
    kinds = {
        "30 % throttled": AwsFaults(throttled=SHARE),
        "30 % failing": AwsFaults(failed=SHARE),
        "30 % of the answers lost": AwsFaults(lost=SHARE),
        "30 % of the connections cut": AwsFaults(cut=SHARE),
        "all of it at once, and slow": AwsFaults(throttled=0.1, failed=0.1, lost=0.1, cut=0.05, latency_s=0.02),
    }
    for group, faults in kinds.items():
        for seed in range(1, 41):
            yield Case(group, aws=replace(faults, seed=seed), name=f"seed {seed}")


def _expired(recording: Recording) -> Iterator[Case]:
    for call in range(recording.calls):
        yield Case("credentials expired", aws=AwsFaults(expired_from=call), name=f"from call {call}")


def _store(recording: Recording) -> Iterator[Case]:
    for at in range(recording.operations):
        yield Case("store gone", store=StoreFaults(fails_from=at), name=f"from operation {at}")
        yield Case("store cannot be written", store=StoreFaults(fails_from=at, readable=True), name=f"from {at}")
        yield Case("store fails once", store=StoreFaults(fails_from=at, fails_until=at + 1), name=f"operation {at}")
        yield Case("store's answer lost", store=StoreFaults(lost_at=at), name=f"operation {at}")


def _foreign(recording: Recording) -> Iterator[Case]:
    for name in FOREIGN:
        for call in range(recording.calls):
            yield Case("foreign change", aws=AwsFaults(foreign=name, foreign_at=call), name=f"{name}, call {call}")


def _at_once() -> Iterator[Case]:
    for seed in range(1, 31):
        faults = AwsFaults(seed=seed, latency_s=0.02)
        yield Case("two restores at once", LIFECYCLE[:2], at_once=2, aws_again=faults, name=f"seed {seed}")


def _storms(recording: Recording) -> Iterator[Case]:
    """Everything by chance: bad weather, a death, somebody else, and bad weather while restoring as well."""
    for seed in range(1, 151):
        chance = random.Random(seed)
        faults = AwsFaults(
            seed=seed, throttled=0.1, failed=0.1, lost=0.1, cut=0.05, foreign=chance.choice([*FOREIGN]),
            foreign_at=chance.randrange(recording.calls * 2),
        )  # fmt: skip
        ways: tuple[Way, ...] = ("hand", "retry", "sweeper")
        yield Case(
            "storm",
            kill_at=chance.randrange(len(recording.tasks) * 2),
            way=chance.choice(ways),
            aws=faults,
            aws_again=AwsFaults(seed=seed, throttled=0.1, failed=0.1, lost=0.1, cut=0.05),
            name=f"seed {seed}",
        )
