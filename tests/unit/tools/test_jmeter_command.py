"""The command line of the JMeter installer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.tools.conftest import FakeRepository
from tools.jmeter import __main__ as command
from tools.jmeter.lock import JMeterLock


@pytest.fixture(autouse=True)
def offline(repository: FakeRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every jar comes out of memory."""
    monkeypatch.setattr(command, "repository_from_environment", lambda url: repository)


def test_install_then_verify(lock: JMeterLock, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home, lock_path = str(tmp_path / "home"), str(lock.source)
    assert command.main(["install", "--home", home, "--lock", lock_path]) == 0
    assert "5 jars, 5 downloaded" in capsys.readouterr().out
    assert (tmp_path / "jars").is_dir()
    assert command.main(["verify", "--home", home, "--lock", lock_path]) == 0


def test_a_second_install_fetches_nothing(
    lock: JMeterLock, repository: FakeRepository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["install", "--home", str(tmp_path / "home"), "--lock", str(lock.source), "--quiet"]
    assert command.main(arguments) == 0
    repository.calls.clear()
    assert command.main(arguments) == 0
    assert repository.calls == []
    assert capsys.readouterr().out == ""


def test_a_damaged_home_fails_the_verification_in_one_line(
    lock: JMeterLock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    assert command.main(["install", "--home", str(home), "--lock", str(lock.source)]) == 0
    (home / "lib/jorphan-5.6.3.jar").unlink()
    assert command.main(["verify", "--home", str(home), "--lock", str(lock.source)]) == 2
    error = capsys.readouterr().err
    assert "1 of 5 jars" in error
    assert error.count("\n") == 1


def test_a_wrong_lock_ends_with_status_2_and_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = tmp_path / "wrong.lock"
    wrong.write_text("nonsense\n", encoding="utf-8")
    assert command.main(["install", "--home", str(tmp_path / "home"), "--lock", str(wrong)]) == 2
    error = capsys.readouterr().err
    assert "wrong.lock, line 1" in error
    assert error.count("\n") == 1
