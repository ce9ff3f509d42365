"""`python -m include.loadgen`: what the load container runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from include.capacity.errors import ConfigError, StoreError
from include.loadgen.exits import ExitCode
from include.loadgen.settings import HELP, read_settings


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    if arguments in (["--help"], ["-h"]):
        print(HELP, end="")
        return 0
    if arguments:
        print(f"unknown argument {arguments[0]!r}\n\n{HELP}", file=sys.stderr, end="")
        return int(ExitCode.REFUSED)
    try:
        settings = read_settings(environment)
        from include.loadgen.program import Program  # after the cheap checks
        from include.store.artefacts import ArtefactStore

        store = ArtefactStore.open(settings.store_url)
    except (ConfigError, StoreError) as error:
        print(f"{error}", file=sys.stderr, flush=True)
        return int(ExitCode.REFUSED)
    return Program(settings, store).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
