"""What a person reads when a program fails, for what pip, uv and apt-get really print."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tools.toolchain.programs import Finished, LoggedPrograms, explain

UV_HASH = """  × Failed to download `jinja2==3.1.6`
  ╰─▶ Hash mismatch for `jinja2==3.1.6`

      Expected:
        sha256:0000000000000000000000000000000000000000000000000000000000000000
"""
PIP_HASH = """ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you have updated the \
package versions, please update the hashes. Otherwise, examine the package contents carefully; someone may have \
tampered with them.
    uv==0.13.9 from file:///cache/uv.whl (from -r /tmp/uv.txt (line 1)):
        Expected sha256 0000
"""
PIP_OFFLINE = """WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by \
'NewConnectionError: Failed to establish a new connection: [Errno 111] Connection refused'
ERROR: Could not find a version that satisfies the requirement uv==0.13.9 (from versions: none)
ERROR: No matching distribution found for uv==0.13.9
"""
UV_OFFLINE = """error: Request failed after 3 retries
  Caused by: error sending request for url
  Caused by: client error (Connect)
  Caused by: dns error
"""
UV_FULL = "error: failed to copy file to /repo/.venv/lib/x.so: No space left on device (os error 28)\n"
PIP_FULL = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n"


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        (UV_HASH, "jinja2==3.1.6 does not have the hash that requirements.txt says"),
        (PIP_HASH, "uv==0.13.9 does not have the hash that requirements.txt says"),
        (PIP_OFFLINE, "no connection to the package index"),
        (UV_OFFLINE, "no connection to the package index"),
        (UV_FULL, "is full"),
        (PIP_FULL, "is full"),
        ("Traceback\nValueError: something else\n\n", "failed: ValueError: something else (the whole output is in"),
        ("", "failed: it printed nothing"),
    ],
)
def test_each_failure_has_its_sentence(output: str, sentence: str, tmp_path: Path) -> None:
    error = str(explain(Finished(1, output), "Installing", [tmp_path], 1100, tmp_path / "setup.log"))
    assert sentence in error
    assert "\n" not in error


def test_a_full_disk_tells_what_is_needed(tmp_path: Path) -> None:
    error = str(explain(Finished(1, UV_FULL), "Installing", [tmp_path], 1100, tmp_path / "setup.log"))
    assert "this step needs about 1100 MiB" in error


def test_output_is_returned_and_logged(tmp_path: Path) -> None:
    log = tmp_path / "setup.log"
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    done = LoggedPrograms(log).call([sys.executable, "-c", code])
    assert (done.status, sorted(done.output.split())) == (3, ["err", "out"])
    assert done.last_line in ("out", "err")
    assert "[exit status 3]" in log.read_text(encoding="utf-8")


def test_a_log_that_cannot_be_written_hides_nothing(tmp_path: Path) -> None:
    done = LoggedPrograms(tmp_path / "no folder" / "setup.log").call([sys.executable, "-c", "print('out')"])
    assert done.last_line == "out"


def test_a_child_holds_the_lock(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR)
    try:
        code = f"import os; print(os.fstat({descriptor}).st_ino)"
        done = LoggedPrograms(tmp_path / "log", descriptor).call([sys.executable, "-c", code])
        assert done.last_line == str(os.fstat(descriptor).st_ino)
    finally:
        os.close(descriptor)
