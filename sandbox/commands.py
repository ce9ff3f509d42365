"""The commands of `python -m sandbox`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sandbox.plantfile import DEFAULT_PLANT, PlantFileError, load_plant
from sandbox.processes.client import REPOSITORY_ROOT
from sandbox.processes.proc import SANDBOX_MARK, marked_processes
from sandbox.state import DEFAULT_BALANCER_PORT, DEFAULT_ENDPOINT_PORT, DEFAULT_FOLDER, Folder, SandboxError, State

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_DOWN = 3
UP_TIMEOUT_S = 120.0
DOWN_TIMEOUT_S = 25.0
KILL_TIMEOUT_S = 10.0
POLL_S = 0.05
LINES_SHOWN = 15

EPILOG = f"""examples:
  python -m sandbox up                       the shop of sandbox/plants/checkout.yaml, in the background
  python -m sandbox up --plant my.yaml       another plant (docs/plant-file.md explains the file)
  python -m sandbox status                   what runs, with process ids and addresses
  python -m sandbox truth                    the plant's true capacity, by simulation
  python -m sandbox down                     end everything

use it from any AWS client (the keys are not real; nothing leaves this machine):
  export AWS_ENDPOINT_URL=http://127.0.0.1:{DEFAULT_ENDPOINT_PORT} AWS_DEFAULT_REGION=us-east-1
  export AWS_ACCESS_KEY_ID=123456789012 AWS_SECRET_ACCESS_KEY=sandbox
  aws autoscaling describe-auto-scaling-groups

docs/sandbox.md says what behaves as on AWS and what does not."""


def main(argv: Sequence[str]) -> int:
    """Run one command. Returns 0 when done, 1 when it failed, 2 for wrong use, 3 when nothing is up (status)."""
    if argv[:1] == ["truth"]:
        from sandbox.truth import main as truth

        return truth(list(argv[1:])) or EXIT_OK
    options = _parser().parse_args(argv)
    folder = Folder(Path(options.state))
    try:
        result: int = options.run(folder, options)
        return result
    except (SandboxError, PlantFileError) as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, PlantFileError | OtherPlantIsUp) else EXIT_FAILED


class OtherPlantIsUp(SandboxError):
    """`up` was asked for one plant while another one is up."""


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--state", default=str(DEFAULT_FOLDER), metavar="DIR", help="folder for state and logs (default: %(default)s)"
    )
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description="An AWS on this machine: Auto Scaling, load balancing, CloudWatch, ECS and more,\n"
        "with real processes that serve, scale and fail. Everything binds to loopback addresses.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    up = commands.add_parser("up", parents=[shared], help="start a sandbox and wait until its instances are healthy")
    up.add_argument(
        "--plant", type=Path, default=DEFAULT_PLANT, metavar="FILE", help="the plant file (default: %(default)s)"
    )
    up.add_argument(
        "--port",
        type=_port,
        metavar="N",
        help=f"port of the AWS endpoint (default: as last time, else {DEFAULT_ENDPOINT_PORT}, else a free one)",
    )
    up.add_argument(
        "--lb-port",
        type=_port,
        metavar="N",
        help=f"port of the load balancer (default: as last time, else {DEFAULT_BALANCER_PORT}, else a free one)",
    )
    where = up.add_mutually_exclusive_group()
    where.add_argument("--detach", action="store_true", help="run in the background (the default)")
    where.add_argument("--foreground", action="store_true", help="stay in the terminal; Ctrl-C ends everything")
    up.set_defaults(run=_up)

    down = commands.add_parser("down", parents=[shared], help="end a sandbox with all its processes")
    down.set_defaults(run=_down)

    status = commands.add_parser(
        "status",
        parents=[shared],
        help="what runs: instances, load balancer targets, ECS tasks (exit 3 if nothing is up)",
    )
    status.add_argument("--json", action="store_true", help="print JSON for programs")
    status.set_defaults(run=_status)

    commands.add_parser("truth", add_help=False, help="the plant's true capacity, by simulation (truth --help)")
    return parser


def _port(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port; write a number from 1 to 65535")
    return int(text)


# -- up


def _up(folder: Folder, options: argparse.Namespace) -> int:
    plant_file = options.plant.resolve()
    plant = load_plant(plant_file)  # an error in it is shown before anything starts
    state = folder.read()
    if state is not None and state.alive:
        if state.plant_file != str(plant_file):
            raise OtherPlantIsUp(
                f"it is up with the plant {state.plant} ({state.plant_file}): `python -m sandbox down"
                f"{_state_option(folder)}` first"
            )
        state = _wait_until_ready(folder, None)
        print(f"The sandbox is up already with the plant {plant.name}.")
        _print_addresses(folder, state)
        return EXIT_OK
    _clear_leftovers(folder, state)
    if options.foreground:
        folder.logs.mkdir(parents=True, exist_ok=True)
        from sandbox.supervisor import serve

        return serve(plant_file, folder, options.port, options.lb_port, to_terminal=True)
    folder.begin_logs()
    child = _start_detached(folder, plant_file, options)
    try:
        state = _wait_until_ready(folder, child)
    except KeyboardInterrupt:
        child.terminate()
        child.wait()
        raise SandboxError("interrupted; nothing was left behind") from None
    print(f"The sandbox is up with the plant {plant.name}.")
    _print_addresses(folder, state)
    return EXIT_OK


def _start_detached(folder: Folder, plant_file: Path, options: argparse.Namespace) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "sandbox", "up", "--foreground"]
    command += ["--state", str(folder.path.resolve()), "--plant", str(plant_file)]
    for name, value in (("--port", options.port), ("--lb-port", options.lb_port)):
        if value is not None:
            command += [name, str(value)]
    with (folder.logs / "start.log").open("wb") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=REPOSITORY_ROOT,
            start_new_session=True,
        )


def _wait_until_ready(folder: Folder, child: subprocess.Popen[bytes] | None) -> State:
    """Raises SandboxError with the end of the log if the sandbox ends or takes too long."""
    deadline = time.monotonic() + UP_TIMEOUT_S
    while time.monotonic() < deadline:
        ended = child is not None and child.poll() is not None
        state = folder.read()
        if state is not None and state.alive and state.status == "ready":
            return state
        if ended or (child is None and (state is None or not state.alive)):
            raise SandboxError(f"it did not start. The end of {folder.logs / 'start.log'}:\n{_last_lines(folder)}")
        time.sleep(POLL_S)
    if child is not None:
        child.terminate()
    raise SandboxError(f"it was not ready within {UP_TIMEOUT_S:g} s: see {folder.logs}")


def _last_lines(folder: Folder) -> str:
    try:
        lines = (folder.logs / "start.log").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "(no log)"
    return "\n".join(f"  {line}" for line in lines[-LINES_SHOWN:])


def _print_addresses(folder: Folder, state: State) -> None:
    print(f"  AWS endpoint   {state.endpoint_url} (region {state.region}, account {state.account_id})")
    print(f"  load balancer  {state.load_balancer_url}")
    print(f"  time           one AWS minute lasts {60 / state.time_scale:g} s")
    print(f"  state, logs    {folder.state_file}, {folder.logs}/")
    print(f"  end it with    python -m sandbox down{_state_option(folder)}")


def _state_option(folder: Folder) -> str:
    return "" if folder.path == DEFAULT_FOLDER else f" --state {folder.path}"


# -- down


def _down(folder: Folder, options: argparse.Namespace) -> int:
    state = folder.read()
    if state is None or not state.alive:
        left = _clear_leftovers(folder, state)
        print(f"The sandbox was not up; {left} left-over processes were ended." if left else "The sandbox is not up.")
        return EXIT_OK
    os.kill(state.pid, signal.SIGTERM)
    if not _wait_for_end(state, DOWN_TIMEOUT_S):
        os.kill(state.pid, signal.SIGKILL)
        _wait_for_end(state, KILL_TIMEOUT_S)
    _clear_leftovers(folder, state)
    print("The sandbox has ended.")
    return EXIT_OK


def _wait_for_end(state: State, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while state.alive:
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def _clear_leftovers(folder: Folder, state: State | None) -> int:
    """Forget a sandbox that has ended without clearing up. Returns how many of its processes had to be ended.

    Only processes that carry this sandbox's own mark in their environment are touched.
    """
    if state is None:
        folder.clear()
        return 0
    deadline = time.monotonic() + KILL_TIMEOUT_S
    ended: set[int] = set()
    while (left := marked_processes(SANDBOX_MARK, state.mark)) and time.monotonic() < deadline:
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
                ended.add(pid)
            except ProcessLookupError:
                pass
        time.sleep(POLL_S)
    folder.clear()
    return len(ended)


# -- status


def _status(folder: Folder, options: argparse.Namespace) -> int:
    state = folder.read()
    if state is None or not state.alive:
        print(json.dumps({"up": False}) if options.json else "The sandbox is not up.")
        return EXIT_DOWN
    try:
        picture: dict[str, Any] = json.loads(folder.snapshot_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        picture = {}
    if options.json:
        known = json.loads(folder.state_file.read_text(encoding="utf-8"))
        print(json.dumps({"up": True, **known, **picture}, indent=2))
        return EXIT_OK
    print(f"The sandbox is {'up' if state.status == 'ready' else 'starting'} with the plant {state.plant}.")
    _print_addresses(folder, state)
    for group in picture.get("groups", []):
        suspended = f", suspended: {', '.join(group['suspended'])}" if group["suspended"] else ""
        print(f"\ngroup {group['name']}: desired {group['desired']} ({group['min']} to {group['max']}){suspended}")
        for instance in picture["instances"]:
            if instance["group"] == group["name"]:
                shown = next((t["status"] for t in picture["targets"] if t["id"] == instance["id"]), "no target")
                print(
                    f"  {instance['id']}  {instance['address']:22} pid {instance['pid']:<8} "
                    f"{instance['state']}, {shown}"
                )
    print(f"\nECS tasks: {len(picture.get('tasks', []))}")
    for task in picture.get("tasks", []):
        ending = "" if task["exit_code"] is None else f", exit code {task['exit_code']}"
        print(f"  {task['arn'].rpartition('/')[2]}  pid {task['pid'] or '-':<8} {task['status']}{ending}")
    return EXIT_OK
