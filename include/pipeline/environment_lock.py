"""One run at a time holds an environment: an object in the artefact store says which.

A pool of Airflow holds a task and not a run, and two installations may share an environment; both share the store.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

from include.capacity.errors import GuardRefused
from include.store.artefacts import ArtefactStore
from include.store.documents import mapping_in


class Named(Protocol):
    @property
    def name(self) -> str:
        """Identifies the environment among all runs."""


def lock_path(environment: Named) -> str:
    return f"environments/{environment.name}.json"


def take(environment: Named, root: ArtefactStore, run: Mapping[str, str]) -> None:
    """Takes the environment for a run that may hold it already. Raises GuardRefused when another run holds it."""
    claim = json.dumps(dict(run), sort_keys=True).encode()
    if not root.create(lock_path(environment), claim, durable=True) and claim_of(environment, root) != dict(run):
        raise GuardRefused(held_message(environment, root))


def release(environment: Named, root: ArtefactStore, run: Mapping[str, str]) -> None:
    """Frees the environment if this run holds it."""
    if claim_of(environment, root) == dict(run):
        root.delete(lock_path(environment))


def claim_of(environment: Named, root: ArtefactStore) -> dict[str, Any] | None:
    """The run that holds the environment; None when it is free. Raises InvalidData for a lock that cannot be read."""
    data = root.read_or_none(lock_path(environment))
    cure = "If no run of this environment is under way or unrestored, delete this object."
    return None if data is None else mapping_in(data, f"{root.url}/{lock_path(environment)}", cure)


def held_message(environment: Named, root: ArtefactStore) -> str:
    holder = claim_of(environment, root) or {}
    return (
        f"The environment {environment.name} is held by run {holder.get('run_id', 'unknown')!r} of "
        f"{holder.get('dag_id', 'unknown')}. Wait for its end; if it is over and was not restored, "
        f"run `python -m include.pipeline.restore {holder.get('service', '<service>')} "
        f"{holder.get('run_id', '<run id>')!r}`."
    )
