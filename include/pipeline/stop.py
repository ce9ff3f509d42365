"""Stops a run from outside: `python -m include.pipeline.stop SERVICE RUN_ID --reason TEXT`.

Writes an order into the run's folder of the artefact store (HEADROOM_ARTEFACTS). The conductor sees it within seconds,
stands the load down and fails the run, whose teardowns restore the environment. It needs the store alone, neither
Airflow's API nor AWS. Marking the running task as failed in the UI does the same.
"""

from __future__ import annotations

import argparse
import getpass
import logging
import socket
import sys
from datetime import UTC, datetime

from include.capacity.errors import HeadroomError
from include.pipeline.environment import Environment
from include.pipeline.environment_lock import claim_of
from include.pipeline.guards_signals import STOP_PATH, order_stop, ordered_stop
from include.pipeline.installation import Installation
from include.pipeline.run_folder import folder_of_run


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 ordered (or withdrawn), 1 the run does not hold its environment (over, or not begun), 2 wrong
    input or no store."""
    parser = argparse.ArgumentParser(
        prog="python -m include.pipeline.stop",
        description=(__doc__ or "").splitlines()[0],
        epilog="Exit status: 0 ordered or withdrawn; 1 ordered, but the run is over or has not begun; 2 wrong input, "
        "or the store cannot be reached.",
    )
    parser.add_argument("service", help="name of the service profile, such as checkout")
    parser.add_argument("run_id", help="the DAG run's id as the UI shows it, such as manual__2026-08-03T03:00:00+00:00")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--reason", help="why; the run's log and its result show it")
    what.add_argument("--withdraw", action="store_true", help="take the order back, so that the run can be cleared")
    parser.add_argument("--by", default="", help="who orders it; by default this user on this machine")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        return _stop(arguments)
    except HeadroomError as error:
        print(error, file=sys.stderr)
        return 2


def _stop(arguments: argparse.Namespace) -> int:
    root = Installation.from_environment().store()
    folder = folder_of_run(root, arguments.service, arguments.run_id)
    if arguments.withdraw:
        standing = ordered_stop(folder.store)
        folder.store.delete(STOP_PATH)
        print("Withdrawn." if standing else "There was no order to stop this run.")
        return 0
    order = order_stop(folder.store, arguments.reason, arguments.by or _user(), datetime.now(UTC))
    print(f"Ordered in {folder.store.url}/{STOP_PATH}. {order}")
    plan = folder.plan()
    if claim_of(Environment.of(plan.profile), root) == plan.run:
        print("Within seconds the load stands down; then the run fails, and its teardowns restore the environment.")
        return 0
    print(
        "This run does not hold its environment: it is over or has not begun. Should it come to load, it stops; "
        "--withdraw takes the order back."
    )
    return 1


def _user() -> str:
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a container without an entry for its user
        name = "somebody"
    return f"{name}@{socket.gethostname()}"


if __name__ == "__main__":
    sys.exit(main())
