"""Budgets of real runs: the month's spend from the history, and a search on the simulated fleet that must end early."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from include.capacity.errors import GuardRefused
from include.capacity.models import ProbeResult
from include.history.store import HistoryStore
from include.pipeline import replay, stages
from include.pipeline.guards_budget import CUTS_PATH, SpendingLimit, check_budget, stored_cuts
from include.pipeline.run_folder import RunFolder
from include.pipeline.run_plan import RunPlan, resolve, save
from include.store.artefacts import ArtefactStore
from tests.unit.pipeline.simulated_fleet import SimulatedFleet
from tests.unit.pipeline.test_stages import CAPACITY_TPS, conductor

TEXT = Path("include/services/checkout.yaml").read_text(encoding="utf-8")
NOW = datetime(2026, 8, 20, 12, tzinfo=UTC)


def plan_with(budget: str) -> RunPlan:
    return resolve(
        f"{TEXT}\nbudget: {budget}\n",
        "checkout.yaml",
        {"upper_tps": 400, "soak_s": 30},
        dag_id="capacity_weekly__checkout",
        run_id="manual__1",
        mode="weekly",
        started_at="2026-08-03T03:00:00+00:00",
    )


@pytest.fixture
def history_url(tmp_path: Path) -> str:
    """Runs of July, of August (one in another currency), and of another service."""
    url = f"sqlite:///{tmp_path / 'history.db'}"
    store = HistoryStore(url)
    store.migrate()
    result = json.loads(Path("tests/data/results/result.json").read_text(encoding="utf-8"))
    runs = [
        ("a", "checkout", "2026-07-31T23:59:00.000Z", 100.0, "USD"),
        ("b", "checkout", "2026-08-01T00:00:00.000Z", 1.25, "USD"),
        ("c", "checkout", "2026-08-10T00:00:00.000Z", 0.75, "USD"),
        ("d", "checkout", "2026-08-11T00:00:00.000Z", 9.0, "EUR"),
        ("e", "search", "2026-08-12T00:00:00.000Z", 50.0, "USD"),
        ("manual__1", "checkout", "2026-08-13T00:00:00.000Z", 70.0, "USD"),
    ]
    for run_id, service, ended_at, total, currency in runs:
        cost = {**result["cost"], "total": total, "currency": currency}
        store.record({**result, "run_id": run_id, "service": service, "ended_at": ended_at, "cost": cost})
    store.close()
    return url


def test_the_month_counts_its_own_runs_of_the_service(history_url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    facts = check_budget(plan_with("{per_run: 5.0, per_month: 10.0}"), 1, history_url, NOW)
    assert facts["month"] == {"month": "2026-08", "currency": "USD", "total": 2.0, "runs": 2, "unknown": 1}
    assert 0 < facts["estimate"]["total"] < 0.1
    assert "of which 2 runs took 2.00 USD" in caplog.text
    with pytest.raises(GuardRefused, match=r"2 runs cost 2\.00 USD already, and budget\.per_month .* allows 2\.01 USD"):
        check_budget(plan_with("{per_month: 2.01}"), 1, history_url, NOW)
    with pytest.raises(GuardRefused, match=r"budget\.per_run of the service profile allows 0\.01 USD"):
        check_budget(plan_with("{per_run: 0.01}"), 1, history_url, NOW)


def test_without_a_monthly_budget_the_history_is_not_needed() -> None:
    assert check_budget(plan_with("{per_run: 5.0}"), 1, "sqlite:////nowhere/history.db", NOW)["month"] is None


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(ArtefactStore.open(str(tmp_path / "run")))


def searched(plan: RunPlan, folder: RunFolder, budget_s: float | None) -> list[ProbeResult]:
    """A whole search of a run whose budget lasts for some seconds of load; all probes."""
    fleet = SimulatedFleet(folder.store, capacity_tps=CAPACITY_TPS)
    stages.run_smoke(folder, plan, conductor(fleet, plan, "smoke"))
    folder.note({"fleet_opened_at": fleet.now, "prescale_began_at": fleet.now})
    if budget_s is not None:
        profile = plan.profile
        lasts_s = SpendingLimit(plan, folder, clock=lambda: fleet.now).seconds_left()
        per_second = profile.load.fleet.shards * profile.prices.shard_hour / 3600
        assert profile.budget is not None
        assert profile.budget.per_run is not None
        per_run = profile.budget.per_run - (lasts_s - budget_s) * per_second
        text = plan.profile_text.replace("per_run: 5.0", f"per_run: {per_run:.9f}")
        plan = resolve(
            text, plan.profile_source, plan.overrides, dag_id=plan.dag_id, run_id=plan.run_id, mode=plan.mode,
            started_at=plan.started_at,
        )  # fmt: skip
    save(plan, folder.store)
    for stage, run in (("search", stages.run_search), ("confirm", stages.run_confirm)):
        limit = SpendingLimit(plan, folder, clock=lambda: fleet.now)  # a task of its own
        run(folder, plan, conductor(fleet, plan, stage), decide=limit.decide)
        assert limit.seconds_left() >= 0  # the run ends within its budget
    return folder.probes()


def test_a_budget_that_lasts_changes_nothing(folder: RunFolder) -> None:
    searched(plan_with("{per_run: 5.0}"), folder, None)
    assert not folder.store.exists(CUTS_PATH)
    assert folder.answer().verified


def test_a_budget_that_runs_out_ends_the_search_with_a_verified_answer(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole search takes 150 s here; the money lasts for less: fewer probes, but still a soak."""
    probes = searched(plan_with("{per_run: 5.0}"), folder, 90.0)
    answer = folder.answer()
    assert stored_cuts(folder)
    assert answer.verified
    assert answer.tps is not None
    assert answer.tps < CAPACITY_TPS
    assert answer.why[-1].startswith("The search was cut short: more load would cost more than budget.per_run")
    assert "soak" in {probe.step.kind for probe in probes}
    assert replay.decided_otherwise(folder) == []  # the cuts explain it
    folder.store.delete(CUTS_PATH)
    assert replay.decided_otherwise(folder) != []


def test_a_budget_too_small_for_a_soak_gives_an_honest_answer(folder: RunFolder) -> None:
    searched(plan_with("{per_run: 5.0}"), folder, 25.0)
    answer = folder.answer()
    assert not answer.verified
    assert answer.bound in ("at_least", "unknown")
    assert "budget.per_run" in answer.why[-1]
    assert replay.decided_otherwise(folder) == []


def test_a_repeated_task_keeps_the_cut(folder: RunFolder) -> None:
    plan = plan_with("{per_run: 5.0}")
    probes = searched(plan, folder, 90.0)
    cuts = stored_cuts(folder)
    rich = SpendingLimit(plan, folder, clock=lambda: 0.0)
    settings, slo = plan.profile.search_settings(), plan.profile.slo_conditions()
    number = cuts[0].after
    assert rich.decide(settings, slo, probes[:number]) == probes[number].step
    assert stored_cuts(folder) == cuts
