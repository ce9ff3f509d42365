"""The frozen plan of one run: profile and Params, validated once. Every later task reads only this."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from include.capacity.errors import GuardRefused, InvalidData
from include.capacity.models import SearchSettings
from include.capacity.profile import ServiceProfile, parse_profile, with_overrides
from include.store.artefacts import ArtefactStore

PLAN_PATH = "plan.json"
STAGES = ("smoke", "search", "confirm")
INSTALLATION = "airflow"  # of one that was given no name
ALLOW_PRODUCTION = "allow_production"  # the Param without which no production target is loaded


def run_key(run_id: str) -> str:
    """The run id as a folder name."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", run_id)


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What this run is going to do.

    Attributes:
        mode: `weekly` or `release`.
        started_at: ISO time of the run's start.
        profile_text: the service profile as it was at the start; `profile_source` is its file's name.
        overrides: the Params that were given (without the nulls).
        installation: name of the Airflow installation that runs it; several may share a store and an environment.
        prior_tps: the answer of an earlier comparable run; None without one, or where the profile wants none.
        allow_production: whether the run was told to load a production target.
    """

    dag_id: str
    run_id: str
    mode: str
    started_at: str
    profile_text: str
    profile_source: str
    overrides: Mapping[str, Any]
    profile: ServiceProfile
    installation: str = INSTALLATION
    prior_tps: float | None = None
    allow_production: bool = False

    def search_settings(self) -> SearchSettings:
        return self.profile.search_settings(self.prior_tps)

    @property
    def run(self) -> dict[str, str]:
        """Identifies the run among all that may hold its environment."""
        return {
            "service": self.service,
            "dag_id": self.dag_id,
            "run_id": self.run_id,
            "installation": self.installation,
        }

    @property
    def service(self) -> str:
        return self.profile.service

    @property
    def key(self) -> str:
        return run_key(self.run_id)

    @property
    def seed(self) -> int:
        """Base of all random streams of the run."""
        return int.from_bytes(hashlib.sha256(f"{self.dag_id} {self.run_id}".encode()).digest()[:6], "big")

    @property
    def plan_hash(self) -> str:
        """Identifies what was asked: equal for runs of the same profile and Params."""
        asked = json.dumps([self.profile_text, dict(self.overrides), self.mode], sort_keys=True)
        return hashlib.sha256(asked.encode()).hexdigest()


def resolve(
    text: str,
    source: str,
    params: Mapping[str, Any],
    *,
    dag_id: str,
    run_id: str,
    mode: str,
    started_at: str,
    installation: str = INSTALLATION,
) -> RunPlan:
    """Raises ConfigError when the profile is wrong or the Params contradict it."""
    stated = parse_profile(text, source)
    allowed = stated.production and params.get(ALLOW_PRODUCTION) is True
    not_of_the_profile = {ALLOW_PRODUCTION} if stated.production else set()
    overrides = {name: value for name, value in params.items() if value is not None and name not in not_of_the_profile}
    profile = with_overrides(stated, overrides)
    return RunPlan(dag_id, run_id, mode, started_at, text, source, overrides, profile, installation, None, allowed)


def save(plan: RunPlan, store: ArtefactStore) -> None:
    """Stores the plan. The first one stays, so that a repeated task cannot change what the run is about.

    Raises GuardRefused when the folder belongs to a run of another installation: equal schedules give equal run ids.
    """
    raw = {
        "schema": 1,
        "dag_id": plan.dag_id,
        "run_id": plan.run_id,
        "mode": plan.mode,
        "started_at": plan.started_at,
        "profile_text": plan.profile_text,
        "profile_source": plan.profile_source,
        "overrides": dict(plan.overrides),
        "installation": plan.installation,
        "prior_tps": plan.prior_tps,
        "allow_production": plan.allow_production,
    }
    store.create(PLAN_PATH, json.dumps(raw, indent=1, sort_keys=True).encode())
    owner = load(store).installation
    if owner != plan.installation:
        raise GuardRefused(
            f"{store.url} belongs to the run {plan.run_id!r} of the Airflow installation {owner!r}; this one is "
            f"{plan.installation!r} (HEADROOM_INSTALLATION). Two installations that share a store need schedules that "
            "differ by a minute, or a folder each (HEADROOM_ARTEFACTS) for services that share no environment. Was the "
            "installation only renamed, trigger a new run."
        )


def load(store: ArtefactStore) -> RunPlan:
    """Reads the plan from a run's folder. Raises InvalidData when there is none or it cannot be read."""
    try:
        raw = store.read_json(PLAN_PATH)
        plan = resolve(
            raw["profile_text"],
            raw["profile_source"],
            {**raw["overrides"], **({ALLOW_PRODUCTION: True} if raw.get("allow_production") else {})},
            dag_id=raw["dag_id"],
            run_id=raw["run_id"],
            mode=raw["mode"],
            started_at=raw["started_at"],
            installation=raw.get("installation", INSTALLATION),
        )
        return replace(plan, prior_tps=raw.get("prior_tps"))
    except (FileNotFoundError, KeyError, TypeError) as error:
        raise InvalidData(f"{store.url}/{PLAN_PATH} is not a run plan ({error!r}). Did resolve_plan succeed?") from None
