"""Runs one component of Airflow in this process: `python -m tools.stack.component PARENT_PID airflow-arguments…`.

Airflow's own command, with two differences: the process and all that it forks die with the supervisor, and the servers
of task logs listen on the loopback address only.
"""

from __future__ import annotations

import sys
from typing import Any

from tools.stack.airflow_environment import LOOPBACK
from tools.stack.processes import chain_forks_to_parent, die_with_parent


def loopback_host() -> str:
    """The name that Airflow's processes know this machine by ([core] hostname_callable)."""
    return LOOPBACK


def serve_logs_on_loopback() -> None:
    """Airflow 3.3 starts its log servers with an empty host, which means every interface, and has no setting for it.

    Remove when there is one.
    """
    import uvicorn

    run = uvicorn.run

    def run_on_loopback(app: Any, **settings: Any) -> None:
        if not settings.get("host"):
            settings["host"] = LOOPBACK
        run(app, **settings)

    uvicorn.run = run_on_loopback


def main(arguments: list[str]) -> None:
    """Hand over to the `airflow` command."""
    die_with_parent(int(arguments[0]))
    chain_forks_to_parent()
    if arguments[1] in {"scheduler", "triggerer"}:
        serve_logs_on_loopback()
    sys.argv = ["airflow", *arguments[1:]]
    from airflow.__main__ import main as airflow

    airflow()


if __name__ == "__main__":
    main(sys.argv[1:])
