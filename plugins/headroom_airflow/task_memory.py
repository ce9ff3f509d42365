"""What a task remembers from one try to the next. Airflow 3.3 keeps it; before that there is nothing to remember."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def remembered(context: Mapping[str, Any], key: str, find_out: Callable[[], T]) -> T:
    """What an earlier try of this task found out, or what `find_out` says now, which is kept for the next try.

    For the state before a change: a second try would take the first one's change for the state before. `T` is JSON.
    """
    store = context.get("task_state_store")
    if store is None:
        return find_out()
    kept = store.get(key)
    if kept is None:
        # wrapped, because None cannot be stored
        kept = {"value": find_out()}
        store.set(key, kept)
    value: T = kept["value"]
    return value
