"""The history store on a real SQLite file."""

from __future__ import annotations

import json
import multiprocessing
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from include.capacity.errors import InvalidData, StoreError
from include.history.__main__ import main
from include.history.store import HistoryStore, UnknownRun
from include.history.tables import Base

RESULTS = Path(__file__).parents[2] / "data" / "results"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/deep/history.db"


@pytest.fixture
def store(url: str) -> HistoryStore:
    store = HistoryStore(url)
    store.migrate()
    return store


def example(**changes: Any) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((RESULTS / "result.json").read_text())
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = result
        for parent in parents:
            place = place[parent]
        place[last] = value
    return result


def dump(url: str) -> list[str]:
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        return list(connection.iterdump())


def test_a_recorded_run_comes_back(store: HistoryStore) -> None:
    result = example()
    store.record(result)
    (run,) = store.runs("checkout")
    assert (run.run_id, run.tps, run.low, run.high) == (result["run_id"], 188.2, 178.8, 201.4)
    assert run.ended_at == result["ended_at"]
    assert run.result == result
    assert run.accepted
    assert run.level.conditions["instances"] == "2"


def test_recording_twice_changes_nothing(store: HistoryStore, url: str) -> None:
    store.record(example())
    before = dump(url)
    store.record(example())
    assert dump(url) == before
    assert sum('INTO "probes"' in line for line in before) == len(example()["probes"])


def test_a_second_recording_replaces_the_first(store: HistoryStore, url: str) -> None:
    store.record(example())
    changed = example(answer__tps=150.0)
    changed["probes"] = changed["probes"][:3]
    store.record(changed)
    (run,) = store.runs("checkout")
    assert run.tps == 150.0
    assert sum('INTO "probes"' in line for line in dump(url)) == 3


@pytest.mark.parametrize(
    ("change", "accepted"),
    [
        ({}, True),
        ({"comparison": None}, True),
        ({"comparison__verdict": "improvement"}, True),
        ({"comparison__verdict": "regression"}, False),
        ({"comparison__verdict": "rerun"}, False),
        ({"answer__verified": False}, False),
        ({"validity__status": "inconclusive"}, False),
    ],
)
def test_what_is_accepted_by_default(store: HistoryStore, change: dict[str, Any], accepted: bool) -> None:
    store.record(example(**change))
    assert store.runs("checkout")[0].accepted is accepted
    assert (store.last_accepted("checkout") is not None) is accepted


def test_a_persons_decision_outlives_a_second_recording(store: HistoryStore) -> None:
    regression = example(comparison__verdict="regression")
    store.record(regression)
    at = datetime(2026, 8, 3, 9, tzinfo=UTC)
    store.decide(
        "checkout", regression["run_id"], accepted=True, by="ada", because="the new tax rule costs that much", at=at
    )
    store.record(regression)
    run = store.last_accepted("checkout")
    assert run is not None
    assert (run.accepted, run.decided_by, run.decided_at) == (True, "ada", "2026-08-03T09:00:00.000Z")


def test_a_decision_about_an_unknown_run_is_refused(store: HistoryStore) -> None:
    with pytest.raises(UnknownRun, match="no run 'nope'"):
        store.decide("checkout", "nope", accepted=True, by="ada", because="so", at=datetime.now(UTC))


def test_newest_first_by_service_and_limited(store: HistoryStore) -> None:
    for day in (3, 1, 2):
        store.record(example(run_id=f"run-{day}", ended_at=f"2026-07-0{day}T03:00:00.000Z"))
    store.record(example(service="basket", run_id="run-1"))
    assert [run.run_id for run in store.runs("checkout")] == ["run-3", "run-2", "run-1"]
    assert [run.run_id for run in store.runs("checkout", limit=1)] == ["run-3"]
    assert [run.service for run in store.runs("basket")] == ["basket"]
    newest = store.last_accepted("checkout")
    assert newest is not None
    assert newest.run_id == "run-3"


def test_a_malformed_result_is_refused_and_leaves_nothing(store: HistoryStore) -> None:
    with pytest.raises(InvalidData, match=r"answer\.tps"):
        store.record(example(answer__tps="fast"))
    assert store.runs("checkout") == []


def test_the_migrations_make_the_tables_that_the_code_uses(store: HistoryStore, url: str) -> None:
    engine = create_engine(url)
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    assert differences == []


def _migrate_and_record(url: str, number: int) -> None:
    store = HistoryStore(url)
    store.migrate()
    store.record(example(run_id=f"run-{number}"))
    store.record(example(run_id="same"))


def test_processes_may_migrate_and_record_at_once(url: str) -> None:
    spawn = multiprocessing.get_context("fork")
    processes = [spawn.Process(target=_migrate_and_record, args=(url, number)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    assert sorted(run.run_id for run in HistoryStore(url).runs("checkout")) == [
        "run-0",
        "run-1",
        "run-2",
        "run-3",
        "same",
    ]


def test_readers_do_not_wait_for_a_writer(store: HistoryStore, url: str) -> None:
    store.record(example())
    with sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None) as writer:
        writer.execute("BEGIN IMMEDIATE")
        assert len(store.runs("checkout")) == 1
        writer.execute("ROLLBACK")


def test_before_migration_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"migrate first"):
        HistoryStore(f"sqlite:///{tmp_path}/history.db").runs("checkout")


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "history.db").write_text("not a database, but long enough to be taken for one " * 40)
    with pytest.raises(StoreError, match=r"history\.db refused: file is not a database"):
        HistoryStore(f"sqlite:///{tmp_path}/history.db").migrate()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be made"):
        HistoryStore(f"sqlite:///{tmp_path}/file/history.db").migrate()


@pytest.mark.parametrize("url", ["no url", "oracle9://x"])
def test_a_wrong_url(url: str) -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        HistoryStore(url)


def test_the_command_line_lists_and_decides(url: str, store: HistoryStore, capsys: pytest.CaptureFixture[str]) -> None:
    store.record(example(comparison__verdict="regression", run_id="run-1"))
    assert main(["--history", url, "accept", "checkout", "run-1", "--by", "ada", "--because", "new tax rule"]) == 0
    assert main(["--history", url, "list", "checkout"]) == 0
    out = capsys.readouterr().out
    assert "run-1 is accepted." in out
    assert "188.2 TPS  valid  regression  accepted by ada: new tax rule" in out
    assert main(["--history", url, "reject", "checkout", "run-1", "--by", "bob", "--because", "no"]) == 0
    assert store.last_accepted("checkout") is None
    assert main(["--history", url, "accept", "checkout", "run-2", "--by", "ada", "--because", "x"]) == 2
    assert "holds no run 'run-2'" in capsys.readouterr().err
