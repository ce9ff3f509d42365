"""Runs Airflow's commands in forks of the supervisor, which has imported Airflow once for all of them.

Importing Airflow takes seconds of CPU; four components that each do it by themselves take four times that at every
start, on a machine that may have two cores. The forks also share the memory of what was imported.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from tools.stack.airflow_environment import LOOPBACK
from tools.stack.processes import COMPONENT_MARK

# What the components import first; importing any of these neither starts a thread nor opens the database.
_PRELOADED = (
    "airflow.__main__",
    "airflow.api_fastapi.core_api.app",
    "airflow.api_fastapi.execution_api.app",
    "airflow.cli.commands.api_server_command",
    "airflow.cli.commands.dag_processor_command",
    "airflow.cli.commands.db_command",
    "airflow.cli.commands.scheduler_command",
    "airflow.cli.commands.triggerer_command",
    "airflow.executors.local_executor",
    "airflow.jobs.dag_processor_job_runner",
    "airflow.jobs.scheduler_job_runner",
    "airflow.jobs.triggerer_job_runner",
    "airflow.providers.amazon.aws.operators.ecs",  # each task parses a DAG that needs it
)


def loopback_host() -> str:
    """The name that Airflow's processes know this machine by ([core] hostname_callable)."""
    return LOOPBACK


def preload() -> None:
    """Import Airflow. The environment must be complete: Airflow reads its settings while it is imported."""
    for name in _PRELOADED:
        importlib.import_module(name)
    _serve_logs_on_loopback()
    _keep_task_logs_to_themselves()
    # A thread would be missing in the forks, with whatever lock it holds.
    if threading.active_count() > 1:
        raise RuntimeError(f"importing Airflow started threads: {threading.enumerate()}")
    gc.collect()
    gc.freeze()  # so that no collection writes to the pages that the forks share


def _serve_logs_on_loopback() -> None:
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


def _keep_task_logs_to_themselves() -> None:
    """Airflow 3.3's LocalExecutor copies each task's log to the scheduler's output, where nobody masks the secrets that
    the task's own log masks, and there is no setting against it.

    Remove when there is one, or when the copy is masked.
    """
    from airflow.executors.base_executor import BaseExecutor

    run_workload = BaseExecutor.run_workload

    def run_without_copy(*arguments: Any, **settings: Any) -> int:
        return run_workload(*arguments, **{**settings, "subprocess_logs_to_stdout": False})

    BaseExecutor.run_workload = staticmethod(run_without_copy)  # type: ignore[method-assign]


def fork_airflow(arguments: Sequence[str], log: Path, mark: str, close: Sequence[int] = ()) -> int:
    """Run `airflow ARGUMENTS` in a forked process that leads a session of its own; returns its process id.

    Its output is appended to `log`. Programs that it or its tasks start carry `mark`. The file descriptors `close` are
    the supervisor's alone.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _run(arguments, log, mark, close)
    return pid


def _run(arguments: Sequence[str], log: Path, mark: str, close: Sequence[int]) -> NoReturn:
    """In the fork. Nothing of the supervisor's own ending must run here, so it ends by os._exit."""
    status = 1
    try:
        os.setsid()
        os.environ[COMPONENT_MARK] = mark
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for descriptor in close:
            os.close(descriptor)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        status = _airflow(arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)


def _airflow(arguments: Sequence[str]) -> int:
    from airflow.__main__ import main
    from setproctitle import setproctitle

    setproctitle(" ".join(["airflow", *arguments]))
    sys.argv = ["airflow", *arguments]
    try:
        main()
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or 0
        print(ended.code, file=sys.stderr)
        return 1
    return 0
