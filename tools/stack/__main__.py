"""The command line of the local stack: `python -m tools.stack up|down|status|logs`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from tools.errors import ToolError
from tools.stack.control import StackAddress, down, log_files, status, stay, up
from tools.stack.layout import DEFAULT_PARALLELISM, StackOptions
from tools.stack.logs import follow_logs, show_logs

FAILURE = 1
INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run one command: 0, 1 after a sentence on standard error, 2 for a wrong command line, 130 for Ctrl-C."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except ToolError as error:
        print(error, file=sys.stderr)
        return FAILURE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return FAILURE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.stack",
        description="Run the sandbox and Airflow on this machine, without Docker and without an AWS account.",
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    start = commands.add_parser("up", help="start the sandbox and Airflow, and wait until both are healthy")
    start.add_argument(
        "--plant",
        type=Path,
        default=Path(os.environ["PLANT"]) if os.environ.get("PLANT") else None,
        metavar="FILE",
        help="the plant file that the sandbox runs (default: $PLANT, else what it runs already)",
    )
    start.add_argument("--foreground", action="store_true", help="stay in the foreground; Ctrl-C ends everything")
    start.add_argument("--port", type=int, help="the port of the UI (default: the last one, or one from 18400)")
    start.add_argument(
        "--parallelism", type=_positive, default=DEFAULT_PARALLELISM, help="tasks at a time (default: %(default)s)"
    )
    start.add_argument("--no-sandbox", action="store_true", help="start Airflow only")
    start.add_argument("--dags", type=Path, metavar="FOLDER", help="the DAGs that Airflow loads (default: dags)")
    start.set_defaults(command=_up)

    end = commands.add_parser("down", help="end both; nothing is left, whatever state they are in")
    end.set_defaults(command=_down)

    look = commands.add_parser("status", help="show what runs, since when and where; exit status 0 if all is healthy")
    look.add_argument("--json", action="store_true", help="print JSON")
    look.set_defaults(command=_status)

    logs = commands.add_parser("logs", help="show the end of the logs")
    logs.add_argument("component", nargs="?", help="scheduler, api-server, … (default: all)")
    logs.add_argument("-f", "--follow", action="store_true", help="go on as lines are written, until Ctrl-C")
    logs.add_argument("-n", "--lines", type=int, default=20, help="how many lines (default: %(default)s)")
    logs.set_defaults(command=_logs)

    for command in (start, end, look, logs):
        command.add_argument(
            "--state",
            type=Path,
            metavar="FOLDER",
            help="the stack's folder (default: build/stack)",
        )
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def stack_options(state: Path | None) -> StackOptions:
    """The default stack; or one whose files all lie beside another state folder."""
    options = StackOptions.default()
    if state is None:
        return options
    folder = state.resolve()
    if folder == options.state:
        return options
    build = folder.parent
    return replace(
        options, state=folder, airflow_home=folder / "airflow", build=build, sandbox=folder.parent / "sandbox"
    )


def _up(arguments: argparse.Namespace) -> int:
    options = stack_options(arguments.state)
    options = replace(
        options,
        plant=arguments.plant.resolve() if arguments.plant else None,
        port=arguments.port,
        parallelism=arguments.parallelism,
        dags=arguments.dags.resolve() if arguments.dags else options.dags,
        sandbox=None if arguments.no_sandbox else options.sandbox,
    )
    if not arguments.foreground:
        _print_address(up(options, _say), options)
        return 0
    for asked in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(asked, _interrupt)
    _print_address(up(options, _say), options)
    _say("Ctrl-C ends it.")
    try:
        stay(options)
    except KeyboardInterrupt:
        _say("Ending.")
    finally:
        down(options, _say)
    return 0


def _interrupt(signal_number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _print_address(address: StackAddress, options: StackOptions) -> None:
    print(f"Airflow   {address.url}   login {address.user} / {address.password}")
    print(f"Logs      {options.logs}")


def _down(arguments: argparse.Namespace) -> int:
    down(stack_options(arguments.state), _say)
    return 0


def _status(arguments: argparse.Namespace) -> int:
    report = status(stack_options(arguments.state))
    if arguments.json:
        print(json.dumps(report, indent=1))
        return 0 if report["up"] else FAILURE
    print(f"stack: {report['phase']}")
    for name, part in report["components"].items():
        since = time.strftime("%H:%M:%S", time.localtime(part["since"])) if part["since"] else "-"
        restarts = f"   {part['restarts']} restarts" if part["restarts"] else ""
        port = f"   port {part['port']}" if part["port"] else ""
        print(f"  {name:<14} {part['state']:<10} pid {part['pid'] or '-':<8} since {since}{port}{restarts}")
    if report["sandbox"]:
        sandbox = report["sandbox"]
        print(f"  {'sandbox':<14} {'up':<10} pid {sandbox['pid']:<8} AWS at {sandbox['endpoint_url']}")
        print(f"  {'service':<14} {sandbox['load_balancer_url']}   plant {sandbox['plant']}")
    else:
        print(f"  {'sandbox':<14} down")
    if report["strays"]:
        print(f"  {len(report['strays'])} processes of an earlier stack are left: make down ends them")
    if report["address"]:
        print(f"Airflow   {report['address']}   login {report['user']}, password in {report['passwords_file']}")
        print(f"Logs      {report['logs']}")
    return 0 if report["up"] else FAILURE


def _logs(arguments: argparse.Namespace) -> int:
    options = stack_options(arguments.state)
    files = log_files(options, arguments.component)
    if not files:
        raise ToolError(f"There are no logs in {options.logs} yet: make up starts the stack.")
    show_logs(files, arguments.lines, sys.stdout)
    if arguments.follow:
        follow_logs(files, sys.stdout)
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
