"""Everything in the library that is an operator, a trigger, a hook or a link, found by walking it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Any

import headroom_airflow


def classes(base: type) -> list[type[Any]]:
    """All concrete classes of the library below `base`, by name; bases that only others are made from are left out."""
    found: set[type[Any]] = set()
    for module in pkgutil.walk_packages(headroom_airflow.__path__, "headroom_airflow."):
        for _, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(kind, base) and kind.__module__.startswith("headroom_airflow."):
                found.add(kind)
    leaves = {kind for kind in found if not any(issubclass(other, kind) for other in found - {kind})}
    return sorted(leaves, key=lambda kind: kind.__name__)
