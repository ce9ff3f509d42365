"""A stored run replays to the same judgements and decisions; one that was tampered with does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.pipeline import replay, stages
from include.pipeline.installation import SERVICES
from include.pipeline.run_folder import RunFolder
from include.pipeline.run_plan import resolve, save
from include.store.artefacts import ArtefactStore
from tests.unit.pipeline.simulated_fleet import SimulatedFleet
from tests.unit.pipeline.test_stages import conductor

RUN_ID = "manual__1"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A whole run on the simulated fleet, stored below HEADROOM_ARTEFACTS."""
    monkeypatch.setenv("HEADROOM_ARTEFACTS", str(tmp_path))
    folder = RunFolder(ArtefactStore.open(str(tmp_path / "checkout" / RUN_ID)))
    plan = resolve(
        (SERVICES / "checkout.yaml").read_text(encoding="utf-8"),
        "checkout.yaml",
        {"upper_tps": 400, "soak_s": 20},
        dag_id="capacity_weekly__checkout",
        run_id=RUN_ID,
        mode="weekly",
        started_at="2026-08-03T03:00:00+00:00",
    )
    save(plan, folder.store)
    fleet = SimulatedFleet(folder.store, capacity_tps=120)
    stages.run_smoke(folder, plan, conductor(fleet, plan, "smoke"))
    stages.run_search(folder, plan, conductor(fleet, plan, "search"))
    stages.run_confirm(folder, plan, conductor(fleet, plan, "confirm"))
    return folder


def test_an_untouched_run_comes_out_as_recorded(folder: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert replay.main(["checkout", RUN_ID]) == 0
    assert "came out as recorded" in capsys.readouterr().out


def test_a_changed_probe_and_a_changed_answer_are_told(folder: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    path = "probes/search/002.json"
    probe = folder.store.read_json(path)
    folder.store.write_json(path, {**probe, "achieved_tps": probe["achieved_tps"] + 1})
    answer = folder.store.read_json("answer.json")
    folder.store.write_json("answer.json", {**answer, "tps": answer["tps"] * 1.1, "high": answer["high"] * 1.2})
    assert replay.main(["checkout", RUN_ID]) == 1
    printed = capsys.readouterr().out
    assert "search 2 was recorded otherwise" in printed
    assert "The answer was" in printed


def test_an_unknown_run_names_those_that_there_are(folder: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert replay.main(["checkout", "nothing"]) == 2
    assert RUN_ID in capsys.readouterr().err
