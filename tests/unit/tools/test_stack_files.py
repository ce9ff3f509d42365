"""State file, lock, ports, database note, logs and the sandbox's state, as files on disk."""

from __future__ import annotations

import io
import json
import os
import socket
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from tools.errors import ToolError
from tools.stack import control
from tools.stack.airflow_environment import Ports
from tools.stack.database import is_migrated, note_migration, use_write_ahead_log
from tools.stack.layout import StackOptions
from tools.stack.logs import show_logs
from tools.stack.ports import choose_ports, is_free
from tools.stack.sandbox_control import running_sandbox, runs_other_plant
from tools.stack.state import ComponentStatus, StackState, supervisor_lives, supervisor_lock


@pytest.fixture
def options(tmp_path: Path) -> StackOptions:
    stack = replace(
        StackOptions.default(),
        state=tmp_path / "stack",
        airflow_home=tmp_path / "airflow",
        build=tmp_path,
        sandbox=tmp_path / "sandbox",
    )
    stack.logs.mkdir(parents=True)
    return stack


def test_the_state_reads_back_as_it_was_written(tmp_path: Path) -> None:
    state = StackState(
        pid=7,
        phase="running",
        started_at=1.5,
        ports=Ports(1, 2, 3),
        components={"scheduler": ComponentStatus("healthy", 8, 2.5, 1)},
        progress=[(0.5, "Airflow is loaded")],
    )
    path = tmp_path / "state.json"

    state.write(path)

    assert StackState.read(path) == state
    assert os.listdir(tmp_path) == ["state.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}'])
def test_a_damaged_state_reads_as_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "state.json"
    path.write_text(text)

    assert StackState.read(path) is None
    assert StackState.read(tmp_path / "missing.json") is None


def test_only_one_supervisor_holds_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "stack" / "lock"
    assert not supervisor_lives(path)

    with supervisor_lock(path) as first:
        assert first is not None
        assert supervisor_lives(path)
        with supervisor_lock(path) as second:
            assert second is None

    assert not supervisor_lives(path)


def test_ports_differ_and_the_last_ones_are_kept() -> None:
    first = choose_ports(None, None)

    assert len({first.api, first.worker_logs, first.trigger_logs}) == 3
    assert choose_ports(None, first) == first


def test_a_port_in_use_is_passed_over_unless_it_was_asked_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        assert not is_free(taken)

        assert choose_ports(None, Ports(taken, taken, taken)).api != taken
        with pytest.raises(ToolError, match=rf"Port {taken} is in use by another program"):
            choose_ports(taken, None)
    assert choose_ports(taken, None).api == taken


def database_at(options: StackOptions, revision: str) -> None:
    use_write_ahead_log(options.database)
    with sqlite3.connect(options.database) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS alembic_version (version_num TEXT)")
        connection.execute("DELETE FROM alembic_version")
        connection.execute("INSERT INTO alembic_version VALUES (?)", (revision,))
    connection.close()


def test_a_database_is_migrated_once_per_version(options: StackOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_migrated(options)
    database_at(options, "abc")
    assert not is_migrated(options)

    note_migration(options)

    assert is_migrated(options)
    monkeypatch.setattr("tools.stack.database._version", lambda: "3.99.0")
    assert not is_migrated(options)


def test_a_database_that_was_replaced_is_migrated_again(options: StackOptions) -> None:
    database_at(options, "abc")
    note_migration(options)

    database_at(options, "older")
    assert not is_migrated(options)

    options.database.unlink()
    assert not is_migrated(options)


def test_a_database_without_tables_is_not_migrated(options: StackOptions) -> None:
    use_write_ahead_log(options.database)
    note_migration(options)

    assert not is_migrated(options)


def test_logs_show_the_end_of_each_file_behind_its_name(options: StackOptions) -> None:
    options.log_of("scheduler").write_text("one\ntwo\nthree\n")
    options.log_of("api-server").write_text("four\n")
    output = io.StringIO()

    show_logs(control.log_files(options, None), 2, output)

    assert output.getvalue().splitlines() == ["api-server | four", "scheduler  | two", "scheduler  | three"]


def test_an_unknown_component_is_answered_with_the_known_ones(options: StackOptions) -> None:
    options.log_of("scheduler").write_text("one\n")

    with pytest.raises(ToolError, match=r"no log of 'scheduller' in .*; there are: scheduler\."):
        control.log_files(options, "scheduller")


def write_sandbox(folder: Path, **changes: object) -> None:
    values = {
        "status": "ready",
        "pid": os.getpid(),
        "plant": "checkout",
        "plant_file": "/plants/checkout.yaml",
        "endpoint_url": "http://127.0.0.1:1",
        "load_balancer_url": "http://127.0.0.1:2",
        "region": "us-east-1",
        "account_id": "123456789012",
    }
    folder.mkdir(exist_ok=True)
    (folder / "state.json").write_text(json.dumps({**values, **changes}))


def test_a_sandbox_runs_if_it_is_ready_and_its_process_lives(tmp_path: Path) -> None:
    folder = tmp_path / "sandbox"
    assert running_sandbox(folder) is None

    write_sandbox(folder)
    sandbox = running_sandbox(folder)
    assert sandbox is not None
    assert sandbox.address.endpoint_url == "http://127.0.0.1:1"

    write_sandbox(folder, status="starting")
    assert running_sandbox(folder) is None
    write_sandbox(folder, pid=2**22 + 1)
    assert running_sandbox(folder) is None


def test_a_sandbox_is_kept_unless_another_plant_is_wanted(options: StackOptions, tmp_path: Path) -> None:
    assert options.sandbox is not None
    plant, other = tmp_path / "checkout.yaml", tmp_path / "narrow.yaml"
    plant.write_text("a")
    other.write_text("b")
    write_sandbox(options.sandbox, plant_file=str(plant))
    sandbox = running_sandbox(options.sandbox)
    assert sandbox is not None

    assert not runs_other_plant(options, sandbox)
    assert not runs_other_plant(replace(options, plant=plant), sandbox)
    assert runs_other_plant(replace(options, plant=other), sandbox)


def test_a_plant_file_that_does_not_exist_is_refused_before_anything_starts(options: StackOptions) -> None:
    with pytest.raises(ToolError, match=r"There is no plant file .*nowhere\.yaml"):
        control.up(replace(options, plant=options.build / "nowhere.yaml"), print)
    assert not options.state_file.exists()
