"""`python -m include.loadgen.plan check PLAN.jmx`: says what Headroom makes of a JMeter plan, before any load."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from include.capacity.errors import PlanRefused
from include.loadgen.plan.findings import PlanRefusals
from include.loadgen.plan.prepare import check_plan, prepare_plan
from include.loadgen.plan.settings import PlanSettings, PreparedPlan

DISPATCHER_SCRIPT = Path(__file__).resolve().parents[2] / "jmeter" / "arrivals.groovy"

EXIT_REFUSED = 2

_EPILOG = """\
Examples:
  python -m include.loadgen.plan check include/jmeter/checkout.jmx --host 127.0.0.1 --port 8080
  python -m include.loadgen.plan check shop.jmx --host shop.example.com --allow-host '*.example.com' \\
      --property users=users.csv --weights browse=9 --weights buy=1
  python -m include.loadgen.plan prepare shop.jmx --host 127.0.0.1 --output build/shop-prepared.jmx

Exit status: 0 if the plan can be used, 2 if it is refused; every refusal says where in the plan it is and what to do.
docs/jmeter-plans.md explains what is kept, changed and refused, and why."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    properties = {"host": options.host, "port": str(options.port), "scheme": options.scheme, **dict(options.property)}
    settings = PlanSettings(
        threads=options.threads,
        dispatcher_script=options.dispatcher,
        allow_hosts=tuple(options.allow_host or [options.host]),
        weights=dict(options.weights),
        properties=properties,
        jmeter_home=options.jmeter_home,
    )
    try:
        if options.command == "prepare":
            prepared = prepare_plan(options.plan, options.output, settings=settings)
        else:
            prepared = check_plan(options.plan, settings=settings)
    except PlanRefused as error:
        sys.stderr.write(_refusal_report(error))
        return EXIT_REFUSED
    sys.stdout.write(report(options.plan, prepared))
    return 0


def report(plan: Path, prepared: PreparedPlan) -> str:
    """The report for a person: groups, targets, data files, and every note."""
    lines = [f"{plan}: can be used."]
    if prepared.path != plan:
        lines.append(f"Prepared plan: {prepared.path}")
    width = max(len(group.name) for group in prepared.groups)
    lines += ["", "Thread groups that take arrivals:"]
    lines += [
        f"  {group.name:<{width}}  {group.weight:6.1%} of the arrivals, {group.threads} threads per shard"
        for group in prepared.groups
    ]
    lines += ["", "Hosts that the plan addresses: " + (", ".join(prepared.targets) or "none that is known")]
    lines += ["", "Files that travel with the plan:"]
    lines += [f"  {path}" for path in prepared.data_files] or ["  none"]
    lines += ["", "What was changed or dropped, and what to know:"]
    lines += [f"  - {note}" for note in prepared.notes] or ["  nothing"]
    return "\n".join(lines) + "\n"


def _refusal_report(error: PlanRefused) -> str:
    refusals = error.refusals if isinstance(error, PlanRefusals) else (error,)
    lines = [f"{error.source}: cannot be used as it is. {len(refusals)} to mend:"]
    for refusal in refusals:
        place = refusal.key or "the file"
        lines.append(f"  - {place}: {refusal.problem}\n      {refusal.cure}")
    return "\n".join(lines) + "\n"


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _weight(text: str) -> tuple[str, float]:
    name, value = _pair(text)
    try:
        return name, float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{value!r} in {text!r} is not a number") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m include.loadgen.plan",
        description="Says what Headroom keeps, changes, drops and refuses in a JMeter plan. Makes no load.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for command, text in (
        ("check", "report on the plan; write nothing"),
        ("prepare", "report on the plan, and write the prepared one"),
    ):
        sub = commands.add_parser(
            command,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=_EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.add_argument("plan", type=Path, metavar="PLAN.jmx")
        sub.add_argument("--host", default="127.0.0.1", help="the target; the property `host` (default: 127.0.0.1)")
        sub.add_argument("--port", type=int, default=80, help="the property `port` (default: 80)")
        sub.add_argument("--scheme", choices=("http", "https"), default="http", help="the property `scheme`")
        sub.add_argument(
            "--allow-host",
            action="append",
            metavar="PATTERN",
            help="a host that the plan may address, `*` and `?` allowed; repeatable (default: the target)",
        )
        sub.add_argument(
            "--property",
            action="append",
            type=_pair,
            default=[],
            metavar="NAME=VALUE",
            help="a JMeter property that the plan gets; repeatable",
        )
        sub.add_argument(
            "--weights",
            action="append",
            type=_weight,
            default=[],
            metavar="GROUP=SHARE",
            help="a thread group's share of the arrivals; repeatable (default: the plan's thread counts)",
        )
        sub.add_argument("--threads", type=int, default=200, help="threads of one shard (default: 200)")
        sub.add_argument("--jmeter-home", type=Path, help="the installation whose plug-ins the plan may use")
        sub.add_argument("--dispatcher", type=Path, default=DISPATCHER_SCRIPT, help=argparse.SUPPRESS)
        if command == "prepare":
            sub.add_argument("--output", type=Path, required=True, metavar="FILE", help="where to write the plan")
    return parser


if __name__ == "__main__":
    sys.exit(main())
