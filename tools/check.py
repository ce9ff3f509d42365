"""Runs the checks of `make test` one after another and ends with a table of their wall times.

`python3 tools/check.py PART...` with the parts setup, lint, unit, components, dags and system. Standard library only:
the set-up, which makes the virtual environment, is one of the parts. A part that fails does not stop the others, except
the set-up, which all others need.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV_PYTHON = str(ROOT / ".venv" / "bin" / "python")
# pytest's exit status where a folder holds no test.
NO_TESTS = 5


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the checks: commands that are all run, and the exit statuses that are well."""

    name: str
    commands: tuple[tuple[str, ...], ...]
    well: frozenset[int] = frozenset({0})


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a part ended, after `seconds` of wall time."""

    name: str
    passed: bool
    seconds: float


def tests(name: str, *folders: str) -> Part:
    """Return the part that runs the tests of some folders; those that do not exist (yet) are left out."""
    existing = tuple(folder for folder in folders if (ROOT / folder).is_dir())
    commands = ((VENV_PYTHON, "-m", "pytest", "-q", *existing),) if existing else ()
    return Part(name, commands, frozenset({0, NO_TESTS}))


def parts() -> dict[str, Part]:
    """Return every part by its name, in the order in which `make test` runs them."""
    ruff = (VENV_PYTHON, "-m", "ruff")
    all_parts = (
        Part("setup", ((sys.executable, str(ROOT / "tools" / "bootstrap.py")),)),
        Part("lint", ((*ruff, "check", "."), (*ruff, "format", "--check", "."), (VENV_PYTHON, "-m", "mypy"))),
        tests("unit", "tests/unit"),
        tests("components", "tests/components", "tests/faults"),
        tests("dags", "tests/dags"),
        tests("system", "tests/integration", "tests/system"),
    )
    return {part.name: part for part in all_parts}


def check_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the checks: the given one with Airflow's own settings instead of the user's."""
    own = {name: value for name, value in environment.items() if not name.startswith("AIRFLOW_")}
    return {**own, "PYTHONPATH": str(ROOT), **airflow_settings()}


def airflow_settings() -> dict[str, str]:
    """Return the settings for Airflow in tests: it keeps its files below build/."""
    return {
        "AIRFLOW_HOME": str(ROOT / "build" / "airflow-test"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "True",
    }


def run_part(part: Part, environment: Mapping[str, str]) -> Outcome:
    """Run all commands of a part, also after one that failed."""
    print(f"== {part.name}", flush=True)
    started = time.monotonic()
    statuses = [subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode for command in part.commands]
    return Outcome(part.name, all(status in part.well for status in statuses), time.monotonic() - started)


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the closing table."""
    lines = [f"{'part':<12} {'result':<8} wall time"]
    lines += [f"{one.name:<12} {'passed' if one.passed else 'FAILED':<8} {one.seconds:8.1f} s" for one in outcomes]
    lines.append(f"{'all':<12} {'':<8} {sum(one.seconds for one in outcomes):8.1f} s")
    return "\n".join(lines)


def main(names: Sequence[str]) -> int:
    """Run the named parts; return 0 if all passed, 1 if one failed, 2 for an unknown name."""
    known = parts()
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        print(f"usage: python3 tools/check.py PART...; the parts are {', '.join(known)}", file=sys.stderr)
        return 2
    environment = check_environment(os.environ)
    outcomes: list[Outcome] = []
    for name in names:
        outcomes.append(run_part(known[name], environment))
        if name == "setup" and not outcomes[-1].passed:
            break
    print("\n" + table(outcomes))
    return 0 if all(one.passed for one in outcomes) else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
