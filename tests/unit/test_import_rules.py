"""The layers, as rules: who may import whom, and what the pure domain must not touch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Where a part of the program may import from, of the program's own parts. Longest name first.
ALLOWED: dict[str, tuple[str, ...]] = {
    "include.capacity": ("include.capacity",),
    "include.store": ("include.store", "include.capacity"),
    "include.loadgen": ("include.loadgen", "include.capacity", "include.store"),
    "include.history": ("include.history", "include.capacity", "include.store"),
    "include.environment": ("include.environment", "headroom_airflow", "include.capacity", "include.store"),
    "include.aws": ("include.aws", "include.capacity", "include.store"),
    "headroom_airflow": ("headroom_airflow", "include.aws", "include.history", "include.capacity", "include.store"),
    "headroom_plugin": ("headroom_plugin", "headroom_airflow"),
    "include.pipeline": ("include", "headroom_airflow"),
    "include": ("include",),
    "dags": ("include.pipeline", "include.capacity"),
}
OWN = ("include", "headroom_airflow", "headroom_plugin", "dags", "plugins", "sandbox", "tools", "tests", "benchmarks")
FORBIDDEN_IN_DOMAIN = ("airflow", "boto3", "botocore", "matplotlib", "pandas", "sqlalchemy", "great_expectations")

IMPORT_ALL = """
import importlib, os, sys
class Watched(type(os.environ)):
    def _refuse(self, key):
        frame = sys._getframe(2)
        while frame:
            if frame.f_globals.get("__name__", "").startswith("include.capacity"):
                raise AssertionError(f"{frame.f_globals['__name__']} reads the environment: {key!r}")
            frame = frame.f_back if "importlib" in frame.f_globals.get("__name__", "") or \\
                frame.f_globals.get("__name__") in ("os", "_collections_abc") else None
    def __getitem__(self, key):
        self._refuse(key)
        return super().__getitem__(key)
os.environ.__class__ = Watched
for name in sys.argv[2:]:
    importlib.import_module(name)
loaded = sorted(set(sys.argv[1].split(",")) & set(sys.modules))
sys.exit(f"importing the domain loads {', '.join(loaded)}" if loaded else 0)
"""


def modules(folder: str) -> Iterator[tuple[str, Path]]:
    """Name and file of each module below a folder, named as the program imports it."""
    base = ROOT / "plugins" if folder.startswith("plugins") else ROOT
    for file in sorted((ROOT / folder).rglob("*.py")):
        parts = file.relative_to(base).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), file


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(), str(file))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_below(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")


def part_of(module: str) -> str | None:
    return next((part for part in sorted(ALLOWED, key=len, reverse=True) if is_below(module, part)), None)


def breaches(module: str, names: Iterator[str]) -> list[str]:
    """Imports of own parts that the module's layer may not make."""
    part = part_of(module)
    allowed = ALLOWED[part] if part else ()
    own = sorted({name for name in names if any(is_below(name, each) for each in OWN)})
    # `from include import capacity` yields "include", too: a name that an allowed part lies below is no breach
    return [name for name in own if not any(is_below(name, each) or is_below(each, name) for each in allowed)]


@pytest.mark.parametrize("folder", ["include", "plugins", "dags"])
def test_imports_point_one_way(folder: str) -> None:
    wrong = {name: found for name, file in modules(folder) if (found := breaches(name, imported(file)))}
    assert wrong == {}


def test_nothing_that_is_deployed_imports_the_sandbox_or_the_tools() -> None:
    wrong = [
        f"{name} imports {target}"
        for folder in ("include", "plugins", "dags")
        for name, file in modules(folder)
        for target in imported(file)
        if any(is_below(target, part) for part in ("sandbox", "tools", "tests", "benchmarks"))
    ]
    assert wrong == []


def test_the_domain_is_pure() -> None:
    names = [name for name, _ in modules("include/capacity")]
    assert "include.capacity.search.decision" in names
    run = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, ",".join(FORBIDDEN_IN_DOMAIN), *names],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr


def test_the_domain_reads_no_clock_no_environment_and_no_global_random() -> None:
    calls = {
        "os": {"environ", "getenv"},
        "time": {"time", "monotonic", "perf_counter", "sleep", "time_ns", "monotonic_ns"},
        "datetime": {"now", "utcnow", "today"},
        "random": {"random", "choice", "gauss", "shuffle", "randint", "uniform", "seed", "expovariate"},
    }
    wrong = []
    for name, file in modules("include/capacity"):
        for node in ast.walk(ast.parse(file.read_text(), str(file))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                if node.attr in calls.get(node.value.id, ()):
                    wrong.append(f"{name}:{node.lineno} uses {node.value.id}.{node.attr}")
            elif isinstance(node, ast.ImportFrom) and node.module in calls:
                wrong += [
                    f"{name}:{node.lineno} imports {node.module}.{alias.name}"
                    for alias in node.names
                    if alias.name in calls[node.module]
                ]
    assert wrong == []


@pytest.mark.parametrize(
    ("module", "target", "wrong"),
    [
        ("include.capacity.search", "include.store.artefacts", True),
        ("include.capacity.search", "include.capacity.models", False),
        ("include.loadgen.shard", "include.pipeline.builder", True),
        ("include.loadgen.shard", "include.store.artefacts", False),
        ("headroom_airflow.hooks", "include.pipeline.builder", True),
        ("include.pipeline.builder", "headroom_airflow.hooks", False),
        ("dags.weekly", "sandbox.plant", True),
        ("include.store.artefacts", "plugins.x", True),
        ("include.capacity.x", "json", False),
    ],
)
def test_the_rules_tell_right_from_wrong(module: str, target: str, wrong: bool) -> None:
    assert bool(breaches(module, iter([target]))) is wrong
