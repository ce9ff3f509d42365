"""One sandbox for all tests of hooks, operators and the sandbox itself that do not end it themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.processes.proc import SANDBOX_MARK, marked_processes
from tests.integration.sandbox.conftest import PLANT, RunningSandbox, free_port, run_sandbox


@pytest.fixture(scope="session")
def plant_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("plant") / "plant.yaml"
    file.write_text(PLANT)
    return file


@pytest.fixture(scope="session")
def shared_sandbox(tmp_path_factory: pytest.TempPathFactory, plant_file: Path) -> Iterator[RunningSandbox]:
    folder = tmp_path_factory.mktemp("sandbox")
    ports = ["--port", str(free_port()), "--lb-port", str(free_port())]
    started = run_sandbox("up", "--state", str(folder), "--plant", str(plant_file), *ports)
    assert started.returncode == 0, started.stderr + started.stdout
    running = RunningSandbox(folder)
    try:
        yield running
    finally:
        mark = running.state["mark"]
        ended = run_sandbox("down", "--state", str(folder))
        assert ended.returncode == 0, ended.stderr
        assert marked_processes(SANDBOX_MARK, mark) == []
