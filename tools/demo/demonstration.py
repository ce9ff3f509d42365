"""The demonstration from start to end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sandbox.plantfile import DEFAULT_PLANT
from tools.airflow_api import AirflowApi, AirflowError, DagRun
from tools.demo.artefacts import RunArtefacts
from tools.demo.ending import (
    Times,
    answer_lines,
    clear_folder,
    copy_documents,
    data_docs,
    keep_result,
    load_seconds,
    problems,
    sandbox_truth,
)
from tools.demo.request import check_plant_fits, read_plant, read_profile, run_params, service_of
from tools.demo.terminal import Terminal
from tools.demo.watching import RunTimeout, RunWatch
from tools.errors import ToolError
from tools.stack.control import StackAddress, down, up
from tools.stack.layout import StackOptions
from tools.stack.state import supervisor_lives

PARSE_LIMIT_S = 90.0
GOOD, BAD, INTERRUPTED = 0, 1, 130


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What was typed.

    Attributes:
        plant: the plant file, None for the sandbox's default.
        overrides: Params that replace those of the plant file.
        keep: whether the stack stays up at the end.
        started_at: epoch seconds when the set-up began, None if there was none.
        folder: where result and documents go.
    """

    plant: Path | None
    dag_id: str
    overrides: Mapping[str, Any]
    keep: bool
    timeout_s: float
    started_at: float | None
    folder: Path


def demonstrate(options: DemoOptions, stack: StackOptions, terminal: Terminal) -> int:
    """Run the whole demonstration; the exit status. Raises ToolError where it cannot go on."""
    plant_file = options.plant or DEFAULT_PLANT
    set_up_s = None if options.started_at is None else max(time.time() - options.started_at, 0.0)
    plant = read_plant(plant_file)
    profile = read_profile(service_of(options.dag_id))
    check_plant_fits(plant, str(plant_file), profile)
    params = {**run_params(plant, str(plant_file)), **options.overrides}
    clear_folder(options.folder)
    stack = replace(stack, plant=plant_file)
    try:
        terminal.line(f"Plant     {plant_file}")
        began = terminal.elapsed_s
        address = up(stack, terminal.line)
        start_s = terminal.elapsed_s - began
        terminal.line(f"Airflow   {address.url}   login {address.user} / {address.password}")
        api = AirflowApi(address.url, address.user, address.password)
        _await_dag(api, options.dag_id, address.dags_read_since, terminal)
        with _scheduled_only_if_wanted(api, options.dag_id):
            watch = _trigger(api, options, stack, profile.service, params, terminal)
            run, interrupted = _follow(watch, options, terminal)
        if interrupted:
            return INTERRUPTED
        return _finish(watch, run, options, plant_file, Times(set_up_s, start_s, 0, 0, 0), address, terminal)
    except KeyboardInterrupt:
        terminal.event("Stopped.")
        return INTERRUPTED
    finally:
        terminal.live("")
        if not options.keep:
            down(stack, terminal.line)
        elif supervisor_lives(stack.lock_file):
            terminal.line("Sandbox and Airflow stay up; `make down` ends them.")


@contextlib.contextmanager
def _scheduled_only_if_wanted(api: AirflowApi, dag_id: str) -> Iterator[None]:
    """Pause the DAG again if it was paused: this machine shall not start load by itself on a Monday night."""
    was_paused = api.is_paused(dag_id)
    try:
        yield
    finally:
        if was_paused:
            with contextlib.suppress(AirflowError):
                api.set_paused(dag_id, True)


def _trigger(
    api: AirflowApi,
    options: DemoOptions,
    stack: StackOptions,
    service: str,
    params: Mapping[str, Any],
    terminal: Terminal,
) -> RunWatch:
    run_id = api.trigger(options.dag_id, params)
    terminal.event(f"{options.dag_id} triggered with {', '.join(f'{name}={value}' for name, value in params.items())}")
    terminal.line(f"          {api.address}/dags/{options.dag_id}/runs/{run_id}")
    return RunWatch(
        api,
        options.dag_id,
        run_id,
        RunArtefacts(stack.build, service, run_id),
        stack.logs / "tasks",
        terminal,
    )


def _await_dag(api: AirflowApi, dag_id: str, parsed_since: float, terminal: Terminal) -> None:
    """Wait until Airflow has parsed the DAG as it is now. Raises ToolError with the import errors if it does not."""
    deadline = time.monotonic() + PARSE_LIMIT_S
    while not api.has_dag(dag_id, parsed_since):
        errors = api.import_errors()
        if errors:
            told = "\n\n".join(f"{name}:\n{trace.rstrip()}" for name, trace in errors.items())
            raise ToolError(f"Airflow could not load these files:\n{told}")
        if time.monotonic() > deadline:
            raise ToolError(
                f"Airflow found no DAG {dag_id} within {PARSE_LIMIT_S:.0f} s: see `make logs`. "
                "It passes over files that do not contain both words, airflow and dag."
            )
        terminal.live(f"          waiting until Airflow has parsed {dag_id}")
        time.sleep(0.5)
    terminal.live("")


def _follow(watch: RunWatch, options: DemoOptions, terminal: Terminal) -> tuple[DagRun, bool]:
    """The ended run, and whether a person ended it. Whatever ends the watching early also ends the run."""
    try:
        return watch.follow(options.timeout_s), False
    except KeyboardInterrupt:
        terminal.event("Ctrl-C: ending the run; Ctrl-C again does not wait for it.")
        watch.stop()
        return watch.api.run(watch.dag_id, watch.run_id), True
    except RunTimeout:
        watch.stop()
        raise
    except AirflowError:
        terminal.event("Airflow does not answer any more. `make status` and `make logs` tell more.")
        raise


def _finish(
    watch: RunWatch,
    run: DagRun,
    options: DemoOptions,
    plant_file: Path,
    times: Times,
    address: StackAddress,
    terminal: Terminal,
) -> int:
    result = watch.artefacts.result()
    terminal.event(f"the run has ended: {run.state}")
    found = problems(run, result, watch.failed_tasks)
    run_s = run.end - run.start if run.start is not None and run.end is not None else 0.0
    if result is not None:
        # Only now: the simulation would take CPU from the measurement.
        began = terminal.elapsed_s
        terminal.live("          computing the sandbox's truth")
        try:
            truth = sandbox_truth(plant_file, result)
        except ToolError as error:
            truth = None
            found.append(str(error))
        terminal.live("")
        times = replace(times, run_s=run_s, load_s=load_seconds(result), truth_s=terminal.elapsed_s - began)
        kept = keep_result(options.folder, result, truth)
        pages = copy_documents(watch.artefacts, options.folder)
        terminal.line()
        for line in answer_lines(result, truth):
            terminal.line(line)
        terminal.line(f"Result    {kept}")
        for page in pages:
            terminal.line(f"Document  {page}")
        if (docs := data_docs(watch.artefacts, result)) is not None:
            terminal.line(f"Data Docs {docs}")
        terminal.line(f"Time      {times.text()}")
    terminal.line(f"Airflow   {address.url}   login {address.user} / {address.password}")
    if found:
        terminal.line(f"Not good: {'; '.join(found)}.")
        return BAD
    return GOOD
