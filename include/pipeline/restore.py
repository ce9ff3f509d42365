"""Restores by hand what a run changed: `python -m include.pipeline.restore SERVICE RUN_ID [--dry-run]`.

Reads the run's journal from the artefact store (HEADROOM_ARTEFACTS) and needs the Airflow connection of the profile, so
run it where Airflow runs. Restoring twice does no harm.
"""

from __future__ import annotations

import argparse
import logging
import sys

from include.capacity.errors import HeadroomError
from include.pipeline.environment import Environment, differences_to, read_journal, restore
from include.pipeline.installation import Installation
from include.pipeline.run_folder import RunFolder


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 restored (or, with --dry-run, nothing to do), 1 something differs, 2 wrong input."""
    parser = argparse.ArgumentParser(prog="python -m include.pipeline.restore", description=__doc__.splitlines()[0])
    parser.add_argument("service", help="name of the service profile, such as checkout")
    parser.add_argument("run_id", help="the DAG run's id as the UI shows it, such as manual__2026-08-03T03:00:00+00:00")
    parser.add_argument("--dry-run", action="store_true", help="only show what differs from the journal")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder = RunFolder.of(arguments.service, arguments.run_id)
    try:
        environment = Environment.of(folder.plan().profile)
        journal = read_journal(folder.store)
        if journal is None:
            print(f"{folder.store.url} holds no journal: this run changed nothing.")
            return 0
        if arguments.dry_run:
            differences = differences_to(environment, journal)
            print("\n".join(differences) or "Everything is as it was before the run.")
            return 1 if differences else 0
        outcome = restore(environment, Installation.from_environment().store(), folder.store)
    except HeadroomError as error:
        print(error, file=sys.stderr)
        return 2
    for line in [*outcome["differences"], *outcome["conflicts"]]:
        print(line)
    print("Restored." if outcome["equal"] else "Not equal to the snapshot; see above.")
    return 0 if outcome["equal"] else 1


if __name__ == "__main__":
    sys.exit(main())
