"""Restores by hand what a run changed: `python -m include.pipeline.restore SERVICE RUN_ID [--dry-run]`."""

from __future__ import annotations

import argparse
import logging
import sys

import include.pipeline.command_line  # noqa: F401  (first: it makes the rest importable)
from include.capacity.errors import GuardRefused, HeadroomError, NotReady
from include.environment.restoring import Report, Restorer
from include.environment.table import table
from include.pipeline.environment import Environment
from include.pipeline.environment_journal import restore, restorer_of
from include.pipeline.environment_lock import holding
from include.pipeline.fleet import running_shards
from include.pipeline.installation import Installation
from include.pipeline.run_folder import RunFolder, folder_of_run
from include.store.artefacts import ArtefactStore

DESCRIPTION = """\
Restores by hand what a capacity run changed on AWS: sizes, suspended scaling, silenced alarms.

A run does this by itself when it ends, whatever the reason. Use this command when it could not: Airflow is gone, the
credentials had expired, or the task restore failed. It reads the run's journal from the artefact store
(HEADROOM_ARTEFACTS) and uses the profile's Airflow connection, so run it where Airflow runs. Nothing else of the run
has to be alive. It may be repeated, and may run while the run's own restore does.
"""
EPILOG = """\
examples:
  python -m include.pipeline.restore checkout 'manual__2026-08-03T03:00:00+00:00' --dry-run
      shows each setting before the run, as the run set it, now, and what would happen to it; changes nothing
  python -m include.pipeline.restore checkout 'manual__2026-08-03T03:00:00+00:00'
      does it, waits until the instances are in service, and compares every setting with the snapshot

a setting that is neither as before nor as the run set it was changed by somebody else meanwhile: a conflict. It is
shown and left as it is, because only that person knows. Set it as it should be; restore again if something depended on
it.

exit status:
  0  restored, or nothing to do
  1  something differs or would be changed (--dry-run), AWS does not answer, or another run holds the environment
  2  wrong input: no such run, or a journal that cannot be read
"""


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status, see EPILOG."""
    parser = argparse.ArgumentParser(
        prog="python -m include.pipeline.restore",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("service", help="name of the service profile, such as checkout")
    parser.add_argument("run_id", help="the DAG run's id as the UI shows it, in quotes")
    parser.add_argument("--dry-run", action="store_true", help="show what would happen, and change nothing")
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
    plan = folder.plan()
    environment = Environment.of(plan.profile)
    restorer = restorer_of(environment, root, folder.store, plan.run)
    if restorer.journal.phase == "none":
        print(f"{folder.store.url} holds no journal: this run changed nothing.")
    else:
        found = restorer.preview()
        _show(found)
        if dry_run:
            return _tell_preview(found, restorer, environment.name)
    if dry_run:
        return 0
    if alive := [task["taskArn"] for task in running_shards(plan.profile, plan.run_id)]:
        raise GuardRefused(
            f"Load containers of this run are still alive: {', '.join(alive)}. End the run first (mark it as failed: "
            "its teardowns restore by themselves), or stop them (`aws ecs stop-task`)."
        )
    with holding(environment, root, plan.run):
        report = restore(environment, root, folder.store, plan.run)
    for line in [*report.notes, *report.conflicts, *report.failures]:
        print(line)
    print("Restored." if report.equal else "Not equal to the state before the run; see above.")
    return 0 if report.equal else 1


def _show(report: Report) -> None:
    if report.rows:
        print(f"{table(report.rows)}\n")


def _tell_preview(report: Report, restorer: Restorer, environment: str) -> int:
    """What a dry run says below the table; returns its exit status."""
    for line in [*report.notes, *report.failures]:
        print(line)
    holder = restorer.lock.holder()
    if holder == restorer.journal.run:
        print(f"The environment {environment} is still taken by this run; restoring frees it.")
        return 1
    if holder is not None:
        print(restorer.lock.refusal())
    if report.equal:
        print("Everything is as it was before the run.")
        return 0
    if restorer.journal.phase == "concluded" and report.settled:
        print("This run was restored and has freed the environment: what differs now is left as it is.")
    return 1


if __name__ == "__main__":
    sys.exit(main())
