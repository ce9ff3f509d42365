"""The environment variables of the load container."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from include.capacity.errors import ConfigError
from include.loadgen.__main__ import main
from include.loadgen.settings import REPOSITORY, read_settings


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    home = tmp_path / "jmeter"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "ApacheJMeter.jar").touch()
    return {
        "HEADROOM_STORE": str(tmp_path),
        "HEADROOM_SHARD": "3",
        "HEADROOM_JAVA": sys.executable,
        "HEADROOM_JMETER_HOME": str(home),
    }


def test_all_settings_are_read(environment: dict[str, str], tmp_path: Path) -> None:
    settings = read_settings({**environment, "HEADROOM_WORK": "/scratch"})
    assert (settings.store_url, settings.shard, settings.work) == (str(tmp_path), 3, Path("/scratch"))
    assert settings.jmeter_home == tmp_path / "jmeter"
    assert read_settings(environment).work is None


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("HEADROOM_STORE", None, "HEADROOM_STORE: is not set. Set it to the run's folder"),
        ("HEADROOM_SHARD", None, "HEADROOM_SHARD: is not set. Set it to the number"),
        ("HEADROOM_SHARD", "-1", "HEADROOM_SHARD: is '-1'."),
        ("HEADROOM_SHARD", "²", "HEADROOM_SHARD: is '²'."),
        ("HEADROOM_JAVA", "/no/java", "HEADROOM_JAVA: '/no/java' is no program."),
        ("HEADROOM_JMETER_HOME", "/nowhere", "HEADROOM_JMETER_HOME: '/nowhere' holds no bin/ApacheJMeter.jar."),
    ],
)
def test_a_wrong_setting_is_named(
    environment: dict[str, str],
    variable: str,
    value: str | None,
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    changed = {key: text for key, text in environment.items() if key != variable}
    if value is not None:
        changed[variable] = value
    with pytest.raises(ConfigError, match="the environment"):
        read_settings(changed)
    assert main([], changed) == 2
    assert told in capsys.readouterr().err


def test_a_store_that_no_file_system_knows_is_an_error(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([], {**environment, "HEADROOM_STORE": "nosuch://bucket"}) == 2
    assert "nosuch://bucket" in capsys.readouterr().err


def test_help_explains_every_variable(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"], {}) == 0
    text = capsys.readouterr().out
    for variable in ("STORE", "SHARD", "JAVA", "JMETER_HOME", "WORK"):
        assert f"HEADROOM_{variable} " in text
    assert main(["--wrong"], {}) == 2


def test_the_program_loads_no_heavy_library() -> None:
    code = (
        "import sys, include.loadgen.__main__, include.loadgen.program;"
        "heavy = ('airflow', 'boto3', 'botocore', 'pandas', 'pydantic', 's3fs');"
        "print([name for name in heavy if name in sys.modules])"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout
    assert loaded.strip() == "[]"
