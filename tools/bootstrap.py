#!/usr/bin/env python3
"""Sets up everything that Headroom needs, from a bare machine: `python3 tools/bootstrap.py`, or `make setup`.

Needs the standard library only. This file keeps to what every Python parses, types in comments included, so that an old
one can say that it is too old.
"""

import os
import subprocess
import sys

MINIMUM = (3, 11)
NEWER_PYTHONS = ("python3.13", "python3.12", "python3.11")
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def too_old_sentence(version):
    # type: (tuple[int, int]) -> str
    """Return what a user of a Python that is too old reads."""
    return (
        "Headroom needs Python %d.%d or newer, but %s is %d.%d: install a newer one (Debian 12 and Ubuntu 24.04 have "
        "it: apt-get install python3 python3-venv), or name yours: make setup PYTHON=/path/to/python3."
        % (MINIMUM + (sys.executable,) + version)
    )


def find_newer_python():
    # type: () -> str | None
    """Return the name of a newer Python on the PATH that really runs, or None."""
    for name in NEWER_PYTHONS:
        try:
            with open(os.devnull, "wb") as nothing:
                if subprocess.call([name, "-c", "import venv"], stdout=nothing, stderr=nothing) == 0:
                    return name
        except OSError:
            continue
    return None


def main(arguments):
    # type: (list[str]) -> int
    """Check the Python, then hand over to the steps; return the exit status."""
    version = sys.version_info[0], sys.version_info[1]
    if version < MINIMUM:
        newer = find_newer_python()
        if newer is None:
            sys.stderr.write(too_old_sentence(version) + "\n")
            return 2
        return subprocess.call([newer, os.path.abspath(__file__)] + arguments)
    # The folder of this file is on the import path; the modules are named from the root.
    sys.path[0] = ROOT
    from tools.toolchain.setup import main as set_up

    return set_up(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
