"""The frozen plan of a run: permission for production, and whose it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from include.capacity.errors import ConfigError, GuardRefused
from include.pipeline.checks import check_production
from include.pipeline.run_plan import RunPlan, load, resolve, save
from include.store.artefacts import ArtefactStore

TEXT = Path("include/services/checkout.yaml").read_text(encoding="utf-8")
PRODUCTION = yaml.safe_dump({**yaml.safe_load(TEXT), "production": True, "schedule": None})


def plan(text: str = PRODUCTION, installation: str = "east", **params: Any) -> RunPlan:
    return resolve(
        text,
        "checkout.yaml",
        params,
        dag_id="capacity_weekly__checkout",
        run_id="scheduled__2026-08-03T03:00:00+00:00",
        mode="weekly",
        started_at="2026-08-03T03:00:00+00:00",
        installation=installation,
    )


@pytest.fixture
def store(tmp_path: Path) -> ArtefactStore:
    return ArtefactStore.open(str(tmp_path))


def test_permission_is_no_override_and_survives_the_store(store: ArtefactStore) -> None:
    permitted = plan(allow_production=True, instances=3)
    assert permitted.allow_production
    assert permitted.overrides == {"instances": 3}
    assert permitted.plan_hash == plan(allow_production=False, instances=3).plan_hash
    save(permitted, store)
    assert load(store) == permitted


@pytest.mark.parametrize("given", [{}, *({"allow_production": value} for value in (False, None, 1, "true"))])
def test_without_permission_a_production_target_is_refused(given: dict[str, Any]) -> None:
    asked = plan(**given)
    assert not asked.allow_production
    with pytest.raises(GuardRefused, match="the Param allow_production of this run is not"):
        check_production(asked, ["check", "approve", "journal"])


def test_a_dag_without_the_approval_is_refused() -> None:
    check_production(plan(allow_production=True), ["check", "approve", "journal"])
    with pytest.raises(GuardRefused, match="this DAG has no task approve"):
        check_production(plan(allow_production=True), ["check", "journal"])
    check_production(plan(TEXT), ["check", "journal"])


def test_other_targets_know_no_such_param() -> None:
    with pytest.raises(ConfigError, match="allow_production: is no known Param"):
        plan(TEXT, allow_production=True)


def test_equal_run_ids_of_two_installations_do_not_share_a_folder(store: ArtefactStore) -> None:
    save(plan(installation="east"), store)
    save(plan(installation="east"), store)  # a repeated task
    with pytest.raises(GuardRefused, match=r"belongs to the run .* of the Airflow installation 'east'; this one"):
        save(plan(installation="west"), store)
    assert load(store).installation == "east"
