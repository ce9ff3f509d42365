"""`python -m sandbox`: start, look at and end an AWS on this machine."""

from __future__ import annotations

import sys

from sandbox.commands import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
