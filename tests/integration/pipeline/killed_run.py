"""A run that brings the environment to the test size, as a process of its own to be killed: `… killed_run RUN_ID`."""

from __future__ import annotations

import sys
import time

import include.pipeline.command_line  # noqa: F401
from include.pipeline.environment import Environment
from include.pipeline.environment_journal import open_journal, prescale
from include.pipeline.environment_lock import holding
from include.pipeline.installation import Installation
from include.pipeline.run_folder import RunFolder
from include.pipeline.run_plan import save
from tests.integration.pipeline.conftest import plan_with


def main() -> None:
    plan = plan_with({"prescale.ready_within": "30 s", "prescale.warm_up": "0 s"})
    root, folder = Installation.from_environment().store(), RunFolder.of(plan.service, plan.run_id).store
    environment = Environment.of(plan.profile)
    save(plan, folder)
    journal = open_journal(environment, root, folder, plan.run)
    with holding(environment, root, plan.run):
        prescale(environment, root, journal)
        time.sleep(60)  # the load, which the test does not wait for


if __name__ == "__main__":
    sys.exit(main())
