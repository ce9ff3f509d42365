"""What must hold after a case: the environment is as before or as somebody else wants it, and nobody was
overwritten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.faults.lifecycle.state import LOOKS, State

SIZES = ("asg.MinSize", "asg.MaxSize", "asg.DesiredCapacity")


@dataclass(frozen=True, slots=True)
class Foreign:
    """A field that somebody else set last: to what, and whether a write of ours came so soon that it could not be
    seen."""

    field: str
    value: Any
    unseen: bool


def foreign_changes(events: Sequence[Mapping[str, Any]]) -> list[Foreign]:
    found: dict[str, Foreign] = {}
    for place, event in enumerate(events):
        if event["who"] != "foreign":
            continue
        for name, (_, value) in event["fields"].items():
            found[name] = Foreign(name, value, _overwritten_unseen(name, events[place + 1 :]))
    return list(found.values())


def _overwritten_unseen(name: str, later: Sequence[Mapping[str, Any]]) -> bool:
    for event in later:
        if event["what"] == f"looks at {_look_of(name)}":
            return False
        if name in event["fields"]:
            return True
    return False


def _look_of(name: str) -> str:
    return next(prefix for prefix in LOOKS.values() if name.startswith(prefix))


def judge_settings(pristine: State, now: State, events: Sequence[Mapping[str, Any]], said: str) -> list[str]:
    """What is wrong with the settings at the end; empty if nothing is. `said` is what the restore told."""
    foreign = {change.field: change for change in foreign_changes(events)}
    wrong = []
    for name in sorted({*pristine, *now}):
        before, current = pristine.get(name), now.get(name)
        if name not in foreign:
            # a size that somebody else's limit keeps from coming back must be told
            gives_way = name in SIZES and any(other in foreign for other in SIZES) and "does not fit to" in said
            if current != before and not gives_way:
                wrong.append(f"{name} is {current} and was {before}")
            continue
        wanted = foreign[name].value
        allowed = [wanted] + ([before] if foreign[name].unseen or _is_ours(name, wanted, events) else [])
        if current not in allowed and not (name in SIZES and foreign[name].unseen):
            wrong.append(f"{name} is {current}, but somebody else had set {wanted} (it was {before})")
    return wrong


def _is_ours(name: str, value: Any, events: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the run itself has set this very value, so that nobody can tell whose it is."""
    return any(event["who"] == "run" and event["fields"].get(name, [None, None])[1] == value for event in events)


def changes_made_twice(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """Changing calls that were carried out and changed nothing: they had been made before."""
    return [
        f"{event['what']} (call {event['call']}) changed nothing"
        for event in events
        if event["who"] == "run" and not event["fields"] and not event["what"].startswith("looks at ")
    ]
