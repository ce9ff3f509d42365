"""The command line of the set-up: order, progress, waiting, and one sentence for every failure."""

from __future__ import annotations

import ast
import errno
import fcntl
import io
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tools import bootstrap
from tools.errors import ToolError
from tools.toolchain import setup
from tools.toolchain.layout import ROOT, Layout


@dataclass
class FakePart:
    """A part that is done after its installation, unless that raises."""

    done: bool = False
    error: BaseException | None = None
    installs: list[str] = field(default_factory=list)

    def is_done(self) -> bool:
        """Say whether it was installed."""
        return self.done

    def install(self) -> str:
        """Install or fail."""
        self.installs.append("install")
        if self.error is not None:
            raise self.error
        self.done = True
        return "all of it"


def steps(*parts: FakePart) -> list[setup.Step]:
    return [setup.Step(f"part{number}", f"Part {number}", part) for number, part in enumerate(parts, start=1)]


def test_each_step_has_one_line_of_progress() -> None:
    out = io.StringIO()
    setup.run_steps(steps(FakePart(), FakePart(done=True), FakePart()), out)
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("[1/3] Part 1 ... all of it (")
    assert lines[1].startswith("[3/3] Part 3 ... all of it (")
    assert lines[2].startswith("Set-up is complete (")
    assert len(lines) == 3


def test_a_second_call_does_nothing() -> None:
    parts = FakePart(), FakePart()
    out = io.StringIO()
    setup.run_steps(steps(*parts), out)
    setup.run_steps(steps(*parts), out)
    assert [len(part.installs) for part in parts] == [1, 1]
    assert out.getvalue().splitlines()[-1].startswith("Set-up is up to date (")


def test_a_failure_stops_and_the_next_call_goes_on() -> None:
    first, second, third = FakePart(), FakePart(error=ToolError("No.")), FakePart()
    with pytest.raises(ToolError, match="No"):
        setup.run_steps(steps(first, second, third), None)
    assert third.installs == []
    second.error = None
    setup.run_steps(steps(first, second, third), None)
    assert [len(part.installs) for part in (first, second, third)] == [1, 2, 1]


def test_a_part_brings_what_it_needs() -> None:
    all_steps = [
        setup.Step("venv", "", FakePart()),
        setup.Step("java", "", FakePart(), needs=("venv",)),
        setup.Step("haproxy", "", FakePart()),
    ]
    assert [step.name for step in setup.wanted_steps(all_steps, "java")] == ["venv", "java"]
    assert [step.name for step in setup.wanted_steps(all_steps, "haproxy")] == ["haproxy"]
    assert [step.name for step in setup.wanted_steps(all_steps, "all")] == ["venv", "java", "haproxy"]


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (ToolError("Something is wrong: do this."), 2, "Set-up failed. Something is wrong: do this."),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "is full"),
        (PermissionError(errno.EACCES, "Permission denied", "/there"), 2, "Set-up failed. /there: Permission denied."),
        (KeyboardInterrupt(), 130, "The next call goes on where this one stopped."),
    ],
)
def test_every_failure_is_a_sentence_and_a_status(
    error: BaseException,
    status: int,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(setup, "_steps", lambda layout, lock: steps(FakePart(error=error)))
    assert setup.main([], Layout(tmp_path)) == status
    printed = capsys.readouterr()
    assert sentence in printed.err
    assert "Traceback" not in printed.err
    assert printed.err.strip().count("\n") == 0


def test_quiet_prints_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(setup, "_steps", lambda layout, lock: steps(FakePart()))
    assert setup.main(["--quiet"], Layout(tmp_path)) == 0
    assert capsys.readouterr().out == ""


def test_two_set_ups_of_one_folder_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(tmp_path)
    layout.toolchain.mkdir(parents=True)
    holder = os.open(layout.toolchain / ".lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(holder, fcntl.LOCK_EX)

    class Announcing(io.StringIO):
        def write(self, text: str) -> int:
            # The other set-up ends as soon as this one says that it waits.
            if "Waiting for another set-up" in text:
                order.append("waits")
                threading.Thread(target=os.close, args=(holder,)).start()
            return super().write(text)

    order: list[str] = []
    monkeypatch.setattr(setup, "_steps", lambda layout, lock: order.append("works") or steps(FakePart(done=True)))
    monkeypatch.setattr(sys, "stdout", Announcing())
    assert setup.main([], layout) == 0
    assert order == ["waits", "works"]


def test_the_bootstrap_is_parsed_by_old_pythons() -> None:
    source = (ROOT / "tools" / "bootstrap.py").read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 5))
    # Annotations, f-strings and starred lists would be syntax errors in Python 2.
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.AnnAssign | ast.JoinedStr | ast.Starred)]
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    assert all(function.returns is None for function in functions)


def test_an_old_python_is_told_what_is_needed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bootstrap, "MINIMUM", (99, 0))
    monkeypatch.setattr(bootstrap, "find_newer_python", lambda: None)
    assert bootstrap.main([]) == 2
    error = capsys.readouterr().err
    assert error.startswith("Headroom needs Python 99.0 or newer, but ")
    assert error.count("\n") == 1


def test_an_old_python_hands_over_to_a_newer_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    newer = tmp_path / "python3.13"
    newer.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\nexit 7\n', encoding="utf-8")
    newer.chmod(0o755)
    monkeypatch.setattr(bootstrap, "MINIMUM", (99, 0))
    monkeypatch.setattr(bootstrap, "find_newer_python", lambda: str(newer))
    assert bootstrap.main(["--quiet"]) == 7
    assert (tmp_path / "calls").read_text(encoding="utf-8").endswith("tools/bootstrap.py --quiet\n")


def test_a_name_that_does_not_run_is_no_newer_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "python3.13").write_text("#!/bin/sh\nexit 127\n", encoding="utf-8")
    (tmp_path / "python3.13").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert bootstrap.find_newer_python() is None
    (tmp_path / "python3.12").write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
    (tmp_path / "python3.12").chmod(0o755)
    assert bootstrap.find_newer_python() == "python3.12"


def test_the_set_up_needs_the_standard_library_only() -> None:
    code = "import sys, tools.toolchain.setup, tools.check; print({'requests', 'jgo'} & set(sys.modules))"
    command = [sys.executable, "-S", "-c", code]
    done = subprocess.run(command, cwd=ROOT, env={}, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("set()", "")
