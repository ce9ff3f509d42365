"""The campaign's command: `python -m tests.faults.lifecycle [--cases …] [--short N] [--group …]`."""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
from pathlib import Path

from tests.faults.lifecycle.virtual_time import CLOCK, real_monotonic

REPOSITORY = Path(__file__).resolve().parents[3]


def main() -> int:
    """Returns 0 if every case was survived, 1 if one was not, 2 for wrong input."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.lifecycle", description=__doc__)
    parser.add_argument("--case", type=int, action="append", help="only this number; may be given more than once")
    parser.add_argument("--group", help="only groups whose name holds this text")
    parser.add_argument("--short", type=int, metavar="N", help="about N cases, some of each group")
    parser.add_argument("--list", action="store_true", help="print the cases and run none")
    parser.add_argument("--report", type=Path, default=REPOSITORY / "build" / "faults" / "lifecycle")
    parser.add_argument("--part", default="1/1", help="such as 2/4: the second quarter of the cases")
    options = parser.parse_args()
    began = real_monotonic()
    CLOCK.install()  # before anything of the project is imported
    os.environ.update(_settings())
    from tests.faults.lifecycle.running import Run

    fast = Path("/dev/shm")
    place = fast if os.access(fast, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="headroom-faults-", dir=place, ignore_cleanup_errors=True) as folder:
        run = Run(Path(folder), options.report)
        gc.collect()
        gc.freeze()  # what is loaded now is shared with every fork
        return run.main(options, began)


def _settings() -> dict[str, str]:
    from tools.check import airflow_settings

    return {**airflow_settings(), "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR", "AWS_EC2_METADATA_DISABLED": "true"}


if __name__ == "__main__":
    sys.exit(main())
