"""How the program ends before there is any JMeter."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import cast

import pytest

from include.capacity.protocol import SPEC_PATH, ShardReport, incarnation_folder, shard_folder
from include.loadgen import program
from include.loadgen.program import Program, stream_seed
from include.loadgen.settings import ShardSettings
from include.store.artefacts import ArtefactStore
from tests.unit.loadgen.fakes import FailingStore, spec


@pytest.fixture(autouse=True)
def _signals_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)


@pytest.fixture
def store(tmp_path: Path) -> ArtefactStore:
    return ArtefactStore.open(str(tmp_path / "run"))


def settings(tmp_path: Path, shard: int = 0) -> ShardSettings:
    return ShardSettings(str(tmp_path / "run"), shard, sys.executable, tmp_path / "jmeter", tmp_path / "work")


def final_report(store: ArtefactStore, shard: int = 0) -> ShardReport:
    (incarnation,) = store.names(shard_folder(shard))
    folder = f"{incarnation_folder(shard, incarnation)}/reports"
    return ShardReport.loads(store.read(f"{folder}/{store.names(folder)[-1]}"))


def test_a_store_that_cannot_be_reached_is_tried_for_a_while(
    tmp_path: Path, store: ArtefactStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "STORE_PATIENCE_S", 0.0)
    failing = FailingStore(store)
    failing.broken = True
    failing.url = "s3://away"  # type: ignore[attr-defined]
    assert Program(settings(tmp_path), cast(ArtefactStore, failing)).run() == 8
    output = capsys.readouterr().out
    assert "the store fails for 0 s: the store is away" in output
    assert list((tmp_path / "work").iterdir()) == []


def test_a_plan_that_is_not_in_the_store_ends_it_with_the_reason(
    tmp_path: Path, store: ArtefactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "STORE_PATIENCE_S", 0.0)
    store.write(SPEC_PATH, spec().dumps())
    assert Program(settings(tmp_path), store).run() == 8
    assert "plan.jmx cannot be read" in final_report(store).end_reason


def test_a_shard_that_the_fleet_does_not_have_is_refused(tmp_path: Path, store: ArtefactStore) -> None:
    store.write(SPEC_PATH, spec(shards=2).dumps())
    assert Program(settings(tmp_path, shard=2), store).run() == 2
    assert "HEADROOM_SHARD is 2, but the fleet has 2 shards" in final_report(store, 2).end_reason


def test_a_plan_that_is_no_xml_is_refused(tmp_path: Path, store: ArtefactStore) -> None:
    store.write(SPEC_PATH, spec().dumps())
    store.write("plan/plan.jmx", b"no plan")
    assert Program(settings(tmp_path), store).run() == 2
    report = final_report(store)
    assert report.end_reason.startswith("plan refused: ")
    assert (report.number, report.final, report.state) == (1, True, "ending")


def test_a_specification_that_is_none_is_refused(tmp_path: Path, store: ArtefactStore) -> None:
    store.write(SPEC_PATH, b"{}")
    assert Program(settings(tmp_path), store).run() == 2
    assert "is not a fleet specification" in final_report(store).end_reason


def test_a_work_folder_that_cannot_be_made_is_refused(
    tmp_path: Path, store: ArtefactStore, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "work").write_text("a file")
    assert Program(settings(tmp_path), store).run() == 2
    assert "HEADROOM_WORK: no folder can be made there" in capsys.readouterr().out


def test_every_shard_and_incarnation_has_its_own_stream_and_a_seed_repeats() -> None:
    seeds = [stream_seed(*key) for key in ((1, 0, "a"), (2, 0, "a"), (1, 1, "a"), (1, 0, "b"))]
    assert len(set(seeds)) == 4
    assert seeds[0] == stream_seed(1, 0, "a")
    assert all(0 <= seed < 2**63 for seed in seeds)
