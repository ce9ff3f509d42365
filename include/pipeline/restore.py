"""Restores by hand what a run changed: `python -m include.pipeline.restore SERVICE RUN_ID [--dry-run]`.

Reads the run's journal from the artefact store (HEADROOM_ARTEFACTS) and needs the Airflow connection of the profile, so
run it where Airflow runs. Restoring twice does no harm.
"""

from __future__ import annotations

import argparse
import logging
import sys

from include.capacity.errors import GuardRefused, HeadroomError, NotReady
from include.pipeline.environment import (
    RESTORED_PATH,
    Environment,
    differences_to,
    read_journal,
    restore,
)
from include.pipeline.environment_lock import claim_of
from include.pipeline.fleet import running_shards
from include.pipeline.installation import Installation
from include.pipeline.run_folder import RunFolder, folder_of_run
from include.store.artefacts import ArtefactStore


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 restored (with --dry-run: nothing to do), 1 not restored or something differs, 2 wrong input."""
    parser = argparse.ArgumentParser(
        prog="python -m include.pipeline.restore",
        description=(__doc__ or "").splitlines()[0],
        epilog="Exit status: 0 restored, or nothing to do; 1 something differs or AWS does not answer; 2 wrong input.",
    )
    parser.add_argument("service", help="name of the service profile, such as checkout")
    parser.add_argument("run_id", help="the DAG run's id as the UI shows it, such as manual__2026-08-03T03:00:00+00:00")
    parser.add_argument("--dry-run", action="store_true", help="only show what differs from the journal")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for name in ("airflow", "botocore"):  # they tell which credentials they found
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        root = Installation.from_environment().store()
        folder = folder_of_run(root, arguments.service, arguments.run_id)
        return _restore(root, folder, dry_run=arguments.dry_run)
    except (GuardRefused, NotReady) as error:
        print(f"Not restored: {error}", file=sys.stderr)
        return 1
    except HeadroomError as error:
        print(error, file=sys.stderr)
        return 2


def _restore(root: ArtefactStore, folder: RunFolder, *, dry_run: bool) -> int:
    environment = Environment.of(folder.plan().profile)
    journal = read_journal(folder.store)
    if journal is None:
        print(f"{folder.store.url} holds no journal: this run changed nothing.")
        return 0
    if dry_run:
        found = differences_to(environment, journal)
        if claim_of(environment, root) == journal["run"]:
            found.append(f"the environment {environment.name} is still taken by this run")
        elif found and folder.store.exists(RESTORED_PATH):
            found.append("This run was restored and has freed the environment: what differs now is left as it is.")
        print("\n".join(found) or "Everything is as it was before the run.")
        return 1 if found else 0
    plan = folder.plan()
    if alive := [task["taskArn"] for task in running_shards(plan.profile, plan.run_id)]:
        raise GuardRefused(
            f"Load containers of this run are still alive: {', '.join(alive)}. End the run first (mark it as failed: "
            "its teardowns restore by themselves), or stop them (`aws ecs stop-task`)."
        )
    outcome = restore(environment, root, folder.store)
    for line in [*outcome["differences"], *outcome["conflicts"]]:
        print(line)
    print("Restored." if outcome["equal"] else "Not equal to the state before the run; see above.")
    return 0 if outcome["equal"] else 1


if __name__ == "__main__":
    sys.exit(main())
