"""Whole searches on the simulated fleet: the conductor, the search and the run's folder together."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from include.capacity.errors import Inconclusive, NotReady
from include.capacity.models import Step
from include.pipeline import stages
from include.pipeline.analysis import ARTEFACTS, validate_collected
from include.pipeline.collecting import SERIES
from include.pipeline.conductor import Conductor, Stage
from include.pipeline.installation import SERVICES
from include.pipeline.run_folder import RunFolder
from include.pipeline.run_plan import RunPlan, resolve
from include.store.artefacts import ArtefactStore
from tests.unit.pipeline.simulated_fleet import SimulatedFleet

CAPACITY_TPS = 120.0


@pytest.fixture
def plan() -> RunPlan:
    return resolve(
        (SERVICES / "checkout.yaml").read_text(encoding="utf-8"),
        "checkout.yaml",
        {"upper_tps": 400, "soak_s": 30},
        dag_id="capacity_weekly__checkout",
        run_id="manual__1",
        mode="weekly",
        started_at="2026-08-03T03:00:00+00:00",
    )


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(ArtefactStore.open(str(tmp_path)))


@pytest.fixture
def fleet(folder: RunFolder) -> SimulatedFleet:
    return SimulatedFleet(folder.store, capacity_tps=CAPACITY_TPS)


def conductor(fleet: SimulatedFleet, plan: RunPlan, stage: str, try_number: int = 1) -> Conductor:
    profile = plan.profile
    return Conductor(
        fleet.store,
        Stage(stage, stages.STAGES.index(stage) * 1000 + 1000 + try_number),
        shards=fleet.shards,
        lease_s=profile.guard.lease_s,
        slo=profile.slo_conditions(),
        limits=profile.validity_limits(),
        clock=fleet.clock(),
    )


def test_smoke_search_and_confirm_find_the_capacity(fleet: SimulatedFleet, plan: RunPlan, folder: RunFolder) -> None:
    smoke = stages.run_smoke(folder, plan, conductor(fleet, plan, "smoke"))
    assert smoke["transactions_per_arrival"] == 1.0
    stages.run_search(folder, plan, conductor(fleet, plan, "search"))
    assert not folder.store.exists("answer.json")
    stages.run_confirm(folder, plan, conductor(fleet, plan, "confirm"))
    answer = folder.answer()
    assert answer.verified
    assert answer.validity.status == "valid"
    assert 0.7 * CAPACITY_TPS < answer.tps < CAPACITY_TPS  # the simulated queue is coarse; accuracy is tested elsewhere
    assert answer.low < answer.tps < answer.high
    assert "soak" in {probe.step.kind for probe in folder.probes(["confirm"])}
    fleet.advance(1)
    assert fleet.rate() == 0
    rows = folder.seconds_table()
    assert {row["stage"] for row in rows} == {"smoke", "search", "confirm"}
    stages.require_conclusive(folder)


def test_a_search_that_was_killed_goes_on_where_it_was(
    fleet: SimulatedFleet, plan: RunPlan, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages.run_smoke(folder, plan, conductor(fleet, plan, "smoke"))
    original, steps = Conductor.run_step, []

    def dies_after_four(self, step, number, **keywords):
        if len(steps) == 4:
            raise KeyboardInterrupt
        steps.append((step, number))
        return original(self, step, number, **keywords)

    monkeypatch.setattr(Conductor, "run_step", dies_after_four)
    with pytest.raises(KeyboardInterrupt):
        stages.run_search(folder, plan, conductor(fleet, plan, "search"))
    stored = folder.probes()
    assert len(stored) == 4
    fleet.advance(10)
    assert fleet.rate() == 0
    monkeypatch.setattr(Conductor, "run_step", original)
    stages.run_search(folder, plan, conductor(fleet, plan, "search", try_number=2))
    probes = folder.probes()
    assert probes[:4] == stored
    assert [probe.number for probe in probes] == list(range(len(probes)))


def test_a_target_that_answers_with_errors_stops_the_run_at_smoke(
    fleet: SimulatedFleet, plan: RunPlan, folder: RunFolder
) -> None:
    fleet.error_ratio = 0.3
    with pytest.raises(NotReady, match=r"smoke probe at 20/s failed: \d+ service_error"):
        stages.run_smoke(folder, plan, conductor(fleet, plan, "smoke"))


def test_a_disturbed_generator_ends_inconclusive_never_with_a_number(
    fleet: SimulatedFleet, plan: RunPlan, folder: RunFolder
) -> None:
    stages.run_smoke(folder, plan, conductor(fleet, plan, "smoke"))
    fleet.lag_ms = 300.0
    stages.run_search(folder, plan, conductor(fleet, plan, "search"))
    stages.run_confirm(folder, plan, conductor(fleet, plan, "confirm"))
    assert folder.answer().tps is None
    with pytest.raises(Inconclusive, match="lag"):
        stages.require_conclusive(folder)


@pytest.mark.parametrize(
    ("fault", "missed"),
    [
        ("", set()),
        ("clock", {("clocks_agree", "fail")}),
        ("gap", {("series_complete", "warn")}),
        ("elsewhere", {("load_balancer_saw_load", "fail")}),
    ],
)
def test_what_was_collected_of_a_run_is_validated(
    fleet: SimulatedFleet, plan: RunPlan, folder: RunFolder, fault: str, missed: set[tuple[str, str]]
) -> None:
    """Each part of the chain from the shards' reports to the gate: figures, Data Docs, and what is wrong with them."""
    began = fleet.now
    plan = replace(plan, started_at=datetime.fromtimestamp(began, UTC).isoformat())
    stages.run_smoke(folder, plan, conductor(fleet, plan, "smoke"))
    step = Step("probe", 60.0, 12.0, 2.0, "a test")
    result, seconds = conductor(fleet, plan, "search").run_step(step, 0, transactions_per_arrival=1.0)
    if fault == "clock":  # a judgement that overlooked it
        shards = tuple(replace(entry, delay_s=-3.0) for entry in seconds[5].shards)
        seconds[5] = replace(seconds[5], shards=shards)
    folder.add_probe(result, seconds)
    series = {
        name: [
            [datetime.fromtimestamp(5 * period, UTC).isoformat(), value]
            for period in range(int(began // 5) - 1, int(fleet.now // 5) + 1)
            if not (fault == "gap" and period == seconds[5].second // 5)
        ]
        for name, value in {**dict.fromkeys(SERIES, 60.0), "requests": 7.0 if fault == "elsewhere" else 320.0}.items()
    }
    folder.store.write_json("collected.json", {"activities": [], "series": series})
    found = [outcome for outcome in validate_collected(plan, folder) if not outcome.success]
    kept_nothing = ("results_kept", "warn")  # a simulated fleet has no JMeter whose results it could keep
    assert {(outcome.name, outcome.severity) for outcome in found} == {*missed, kept_nothing}, found
    page = folder.store.read(ARTEFACTS["data_docs"]).decode()
    assert "health" in page
    assert "series" in page
