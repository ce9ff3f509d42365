"""The runner of the checks, and the Makefile around it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools import check


def part(name: str, *statuses: int, well: frozenset[int] = frozenset({0})) -> check.Part:
    commands = tuple((sys.executable, "-S", "-c", f"import sys; sys.exit({status})") for status in statuses)
    return check.Part(name, commands, well)


@pytest.mark.parametrize(
    ("statuses", "well", "passed"),
    [
        ((), {0}, True),
        ((0, 0), {0}, True),
        ((1, 0), {0}, False),
        ((check.NO_TESTS,), {0, check.NO_TESTS}, True),
        ((check.NO_TESTS,), {0}, False),
    ],
)
def test_a_part_passes_if_all_its_commands_do(statuses: tuple[int, ...], well: set[int], passed: bool) -> None:
    assert check.run_part(part("one", *statuses, well=frozenset(well)), {}).passed is passed


def test_a_folder_without_tests_is_no_failure() -> None:
    assert check.tests("none", "tests/no such folder").commands == ()
    assert check.NO_TESTS in check.tests("unit", "tests/unit").well


def test_a_failed_part_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check, "parts", lambda: {"lint": part("lint", 1), "unit": part("unit", 0)})
    assert check.main(["lint", "unit"]) == 1
    printed = capsys.readouterr().out
    assert re.search(r"^lint +FAILED +\d+\.\d s$", printed, re.MULTILINE)
    assert re.search(r"^unit +passed +\d+\.\d s$", printed, re.MULTILINE)


def test_a_failed_set_up_stops_everything(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(check, "parts", lambda: {"setup": part("setup", 2), "unit": part("unit", 0)})
    assert check.main(["setup", "unit"]) == 1
    assert "== unit" not in capsys.readouterr().out


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["nonsense"]) == 2
    assert "the parts are setup, lint, unit" in capsys.readouterr().err


def test_the_user_s_own_airflow_is_not_touched() -> None:
    environment = check.check_environment(
        {"HOME": "/home/me", "AIRFLOW_HOME": "/home/me/airflow", "AIRFLOW_VAR_X": "1"}
    )
    assert environment["AIRFLOW_HOME"] == str(check.ROOT / "build" / "airflow-test")
    assert environment["HOME"] == "/home/me"
    assert "AIRFLOW_VAR_X" not in environment


def test_make_explains_every_target() -> None:
    makefile = (check.ROOT / "Makefile").read_text(encoding="utf-8")
    declared = re.search(r"^\.PHONY: (.*?[^\\])$", makefile, re.MULTILINE | re.DOTALL)
    assert declared is not None
    printed = subprocess.run(["make", "-s"], cwd=check.ROOT, capture_output=True, text=True, check=True).stdout
    for target in declared[1].replace("\\\n", " ").split():
        assert re.search(rf"^{target} +\S+", printed, re.MULTILINE), target


def test_ci_runs_the_command_of_the_makefile() -> None:
    script = check.ROOT / ".ci" / "run"
    assert "make test" in script.read_text(encoding="utf-8")
    assert Path(script).stat().st_mode & 0o111
