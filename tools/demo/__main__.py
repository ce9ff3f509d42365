"""The command line of the demonstration: `python -m tools.demo`, or `make demo`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tools.demo.demonstration import BAD, INTERRUPTED, DemoOptions, demonstrate
from tools.demo.request import UsageError, parse_overrides
from tools.demo.terminal import Terminal
from tools.errors import ToolError
from tools.stack.layout import StackOptions

USAGE = 2
DEFAULT_DAG = "capacity_weekly__checkout"
DEFAULT_TIMEOUT_MIN = 20.0

DESCRIPTION = """\
Measure how many transactions per second the example service sustains within its SLO: start the sandbox and Airflow,
run one capacity DAG, and show the answer with the sandbox's own truth beside it.

The SLO, the bounds of the search and the number of instances come from the plant file."""

EPILOG = """\
examples:
  python -m tools.demo                                     the default plant
  python -m tools.demo --plant sandbox/plants/narrow.yaml  another plant (make demo PLANT=sandbox/plants/narrow.yaml)
  python -m tools.demo --params '{"soak_s": 30}'           other Params for this run; the Params form explains them
  python -m tools.demo --no-keep                           end sandbox and Airflow at the end (make demo KEEP=0)

exit status:
  0    the run succeeded with a verified, valid answer, and the environment is as it was
  1    it did not; the last line says why
  2    the command line or the plant file is wrong; nothing was started
  130  stopped by Ctrl-C; the run was marked failed, and its teardowns ran

files: build/demo/result.json and the generated documents beside it"""


def main(arguments: list[str] | None = None) -> int:
    """Run the demonstration; see the help for the exit status."""
    terminal = Terminal(sys.stdout)
    try:
        options = _options(_parser().parse_args(arguments))
        return demonstrate(options, StackOptions.default(), terminal)
    except UsageError as error:
        print(error, file=sys.stderr)
        return USAGE
    except ToolError as error:
        terminal.live("")
        print(f"The demonstration failed. {error}", file=sys.stderr)
        return BAD
    except KeyboardInterrupt:
        terminal.live("")
        print("Stopped.", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.demo",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--plant",
        type=Path,
        default=Path(os.environ["PLANT"]) if os.environ.get("PLANT") else None,
        metavar="FILE",
        help="the plant file that the sandbox runs (default: $PLANT, else sandbox/plants/checkout.yaml)",
    )
    parser.add_argument("--dag", default=DEFAULT_DAG, help="the DAG to run (default: %(default)s)")
    parser.add_argument("--params", default="{}", metavar="JSON", help="Params that replace those of the plant file")
    parser.add_argument(
        "--timeout",
        type=float,
        default=DEFAULT_TIMEOUT_MIN,
        metavar="MIN",
        help="minutes after which the run is ended (default: %(default)g)",
    )
    parser.add_argument(
        "--keep",
        action=argparse.BooleanOptionalAction,
        default=os.environ.get("KEEP", "1") != "0",
        help="keep sandbox and Airflow up at the end (default: yes, unless $KEEP is 0)",
    )
    return parser


def _options(arguments: argparse.Namespace) -> DemoOptions:
    if arguments.timeout <= 0:
        raise UsageError("--timeout: write minutes above 0, such as 20.")
    return DemoOptions(
        plant=arguments.plant.resolve() if arguments.plant else None,
        dag_id=arguments.dag,
        overrides=parse_overrides(arguments.params),
        keep=arguments.keep,
        timeout_s=arguments.timeout * 60,
        started_at=_started_at(os.environ.get("HEADROOM_DEMO_STARTED", "")),
        folder=StackOptions.default().build / "demo",
    )


def _started_at(text: str) -> float | None:
    """Epoch seconds that `make demo` noted before the set-up."""
    try:
        return float(text)
    except ValueError:
        return None


if __name__ == "__main__":
    sys.exit(main())
