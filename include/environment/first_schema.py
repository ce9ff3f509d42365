"""Reads journals of schema 1: one object that knew one Auto Scaling group, its sizes and its suspended processes."""

from __future__ import annotations

from typing import Any

from include.capacity.errors import InvalidData
from include.environment.resource import Fields
from include.store.artefacts import ArtefactStore
from include.store.documents import mapping_in

FIRST_JOURNAL = "journal.json"
FIRST_OUTCOME = "restored.json"
_CURE = "Restore the group's sizes and suspended processes by hand; the log of the task journal shows them."


def opening_of_first_schema(folder: ArtefactStore) -> dict[str, Any] | None:
    """The journal as the event `opened` of today; None when there is none of schema 1.

    It recorded no single changes: every field may have been changed, or not. Raises InvalidData for a broken one.
    """
    data = folder.read_or_none(FIRST_JOURNAL)
    if data is None:
        return None
    path = f"{folder.url}/{FIRST_JOURNAL}"
    raw = mapping_in(data, path, _CURE)
    try:
        group = str(raw["autoscaling_group"])
        sizes = {name: [values["before"], values["ours"]] for name, values in raw["sizes"].items()}
        before, ours = set(raw["suspended"]["before"]), set(raw["suspended"]["ours"])
        run = dict(raw["run"])
    except (KeyError, TypeError) as error:
        raise InvalidData(f"{path} is no journal ({error!r}). {_CURE}") from None
    snapshot: Fields = {name: pair[0] for name, pair in sizes.items()} | dict.fromkeys(
        (_process(name) for name in sorted(before | ours)), "active"
    )
    snapshot = {**snapshot, **{_process(name): "suspended" for name in before}}
    records = {**sizes, **{_process(name): ["active", "suspended"] for name in sorted(ours - before)}}
    return {
        "event": "opened",
        "at": 0.0,
        "run": run,
        "resources": [
            {
                "kind": "autoscaling_group",
                "name": group,
                "title": f"Auto Scaling group {group}",
                "snapshot": dict(snapshot),
                "records": records,
            }
        ],
        "concluded": _outcome(folder),
    }


def _outcome(folder: ArtefactStore) -> dict[str, Any] | None:
    """How the restore came out; None when there was none. What it left is somebody else's decision."""
    data = folder.read_or_none(FIRST_OUTCOME)
    cure = "Delete this object to restore once more."
    return None if data is None else mapping_in(data, f"{folder.url}/{FIRST_OUTCOME}", cure)


def _process(name: str) -> str:
    return f"process {name}"
