"""The sweeper's command: `python -m include.pipeline.sweep [--policy report|restore]`."""

from __future__ import annotations

import argparse
import logging
import sys
from typing import get_args

import include.pipeline.command_line  # noqa: F401  (first: it makes the rest importable)
from include.capacity.errors import ConfigError, HeadroomError
from include.capacity.profile import ServiceProfile, load_profile
from include.pipeline.installation import SERVICES, Installation
from include.pipeline.sweeping import Policy, Sweep, Sweeper, as_table

DESCRIPTION = """\
Looks for what capacity runs have left behind: journals that were not restored, leases of runs that are lost, load
containers and instances of runs that are over, suspended scaling and silent alarms that no journal accounts for.

A run lives as long as its tasks renew its lease in the artefact store (HEADROOM_ARTEFACTS); a living run is never
touched. Run this where Airflow runs: it needs the profiles' Airflow connections, but neither Airflow's database nor
its scheduler.
"""
EPILOG = """\
policies:
  report   (default) changes nothing and says what to do
  restore  ends load containers of runs that are over and restores from their journals; what somebody else has changed
           meanwhile is left and shown. Instances are never ended, and nothing of a run that this store does not know.

examples:
  python -m include.pipeline.sweep
  python -m include.pipeline.sweep --policy restore

exit status:
  0  nothing is left to do
  1  something is left for a person; it is listed below the table, with the command
  2  wrong input: a service profile or the store cannot be read
"""


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status, see EPILOG."""
    parser = argparse.ArgumentParser(
        prog="python -m include.pipeline.sweep",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--policy", choices=get_args(Policy), default="report", help="what to do about a leftover")
    parser.add_argument(
        "--everything", action="store_true", help="look into every run's folder, not only into those marked as open"
    )
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for name in ("airflow", "botocore"):  # they tell which credentials they found
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        found = sweep(arguments.policy, everything=arguments.everything)
    except HeadroomError as error:
        print(error, file=sys.stderr)
        return 2
    print(as_table(found))
    return 1 if found.to_do else 0


def sweep(policy: str, *, everything: bool = False) -> Sweep:
    """One sweep of this installation. Raises ConfigError for an unknown policy or a broken profile."""
    for known in get_args(Policy):
        if policy == known:
            return Sweeper(Installation.from_environment().store(), profiles(), known).sweep(everything=everything)
    raise ConfigError(
        "the sweeper's policy", "", f"{policy!r} is unknown.", f"Write one of {', '.join(get_args(Policy))}."
    )


def profiles() -> list[ServiceProfile]:
    """The service profiles of this installation."""
    return [load_profile(path) for path in sorted(SERVICES.glob("*.yaml"))]


if __name__ == "__main__":
    sys.exit(main())
