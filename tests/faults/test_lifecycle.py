"""The short version of `make faults-lifecycle`: some cases of each kind, the same at every time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
CASES = 30


@pytest.mark.slow
def test_what_dies_or_fails_is_restored(tmp_path: Path) -> None:
    report = tmp_path / "lifecycle"
    command = [sys.executable, "-m", "tests.faults.lifecycle", "--short", str(CASES), "--report", str(report)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=110)
    print(done.stdout)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(report.with_suffix(".json").read_text())
    assert (told["leaked"], told["survived"]) == (0, told["cases"])
    assert told["cases"] >= CASES
    assert told["injected"] > told["cases"]
    assert len(told["groups"]) >= 15
