"""The kernel's machine code is made once and found again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from include.capacity.jtl import bulk_compiled
from include.capacity.jtl.bulk_memory import UNUSUAL
from include.capacity.jtl.bulk_words import BLOCK
from include.capacity.jtl.engines import KernelEngine
from include.capacity.jtl.layout import JtlOptions, Layout

pytest.importorskip("numba")
ROOT = Path(__file__).resolve().parents[4]

READ = """
import io, sys
from include.capacity.jtl.bulk import aggregate_jtl
from include.capacity.jtl.layout import JtlOptions
data = b"timeStamp,elapsed,label,success\\n" + b"1766000000000,12,home,true\\n" * 100
result = aggregate_jtl(io.BytesIO(data), options=JtlOptions(engine="kernel"))
print(result.counted, "numba" in sys.modules)
"""


def read(cache: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(cache)}
    run = subprocess.run([sys.executable, "-c", READ], env=environment, capture_output=True, text=True, timeout=100)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_the_second_process_finds_the_code_and_needs_no_compiler(tmp_path: Path) -> None:
    assert read(tmp_path) == "100 True"
    assert read(tmp_path) == "100 False"
    (kept,) = tmp_path.rglob("bulk_compiled*.o")
    code = bulk_compiled._kept(kept)
    assert code is not None
    kept.write_bytes(kept.read_bytes()[:-100])  # a disk that was full
    assert bulk_compiled._kept(kept) is None
    kept.unlink()
    assert bulk_compiled._kept(kept) is None


def test_code_that_cannot_be_kept_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    bulk_compiled._keep(tmp_path / "file" / "x.o", b"code")
    bulk_compiled._keep(tmp_path / "x.o", b"code")
    assert bulk_compiled._kept(tmp_path / "x.o") == b"code"


def test_rows_with_more_fields_than_columns_stay_within_their_arrays() -> None:
    options = JtlOptions(engine="kernel")
    engine = KernelEngine(options)
    engine.use(Layout(("timeStamp", "elapsed", "label", "success"), ","))
    room = np.full((2, 200), -7, np.int64)
    engine._begins, engine._ends = room[0, 50:54], room[1, 50:54]
    for row in (
        b"1,2,3,4,5,6,7,8,9\n",
        b'"1",2,3,4,5,6,"7",8,9\n',
        b",".join([b'"x"'] * 100) + b"\n",
        b"," * 99 + b"\n",
    ):
        buffer = np.zeros(len(row) + 1 + BLOCK, np.uint8)
        buffer[: len(row)] = np.frombuffer(row, np.uint8)
        buffer[len(row)] = 10
        assert engine.run(buffer, 0, len(row)) == (UNUSUAL, 0, 0)
    assert (room[:, :50] == -7).all()
    assert (room[:, 54:] == -7).all()
