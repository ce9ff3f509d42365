"""The demonstration for one plant after another, unattended: `python -m tools.demo.plants`, or `make demo-plants`.

Each plant gets a run of its own with an empty history, so that no run knows another one's answer. A run that fails does
not stop the others. The end is one table of the answers beside the sandbox's truths.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from sandbox.plantfile import DEFAULT_PLANT
from tools.demo.demonstration import BAD, GOOD, INTERRUPTED, DemoOptions, demonstrate
from tools.demo.ending import clear_folder, load_seconds
from tools.demo.request import UsageError, parse_overrides, read_plant
from tools.demo.terminal import Terminal
from tools.errors import ToolError
from tools.stack.layout import ROOT, StackOptions

USAGE = 2
PLANTS = ("noisy-neighbour", "pool", "rate-limiter", "metastable", "uneven")
FOLDER = ROOT / "build" / "demo-plants"
DAG = "capacity_weekly__checkout"
TIMEOUT_MIN = 20.0
BEYOND = 1.2  # of the truth: load there is counted apart

EPILOG = f"""\
files, in {FOLDER.relative_to(ROOT)}: table.md, <plant>/log.txt, and <plant>/demo/ with result.json and the documents
with their charts

exit status: 0 if every run was good, 1 if one was not, 2 for a wrong command line, 130 after Ctrl-C"""


@dataclass(frozen=True, slots=True)
class Row:
    """One plant's line of the table. Rates in TPS; None where a run did not come so far."""

    plant: str
    answer_tps: float | None
    low_tps: float | None
    high_tps: float | None
    truth_tps: float | None
    load_s: float | None
    beyond_s: float | None
    """Seconds of load beyond 1.2 times the truth."""
    probes: int
    invalid: int
    verdict: str

    @property
    def error_percent(self) -> float | None:
        """How much the answer is above (or, negative, below) the truth."""
        if self.answer_tps is None or not self.truth_tps:
            return None
        return (self.answer_tps / self.truth_tps - 1) * 100


def row(plant: str, result: Mapping[str, Any] | None, verdict: str) -> Row:
    """The line of a run from its result.json, with the sandbox's truth in it; `verdict` says what came of the run."""
    if result is None:
        return Row(plant, None, None, None, None, None, None, 0, 0, verdict)
    answer, probes = result["answer"], result["probes"]
    truth_tps = result.get("sandbox_truth", {}).get("max_tps")
    beyond = [probe for probe in probes if truth_tps and probe["commanded_tps"] > BEYOND * truth_tps]
    return Row(
        plant=plant,
        answer_tps=answer["tps"],
        low_tps=answer["interval"]["low"],
        high_tps=answer["interval"]["high"],
        truth_tps=truth_tps,
        load_s=load_seconds(result),
        beyond_s=load_seconds({"probes": beyond}) if truth_tps else None,
        probes=len(probes),
        invalid=sum(probe["validity"]["status"] == "invalid" for probe in probes),
        verdict=verdict,
    )


def table(rows: Sequence[Row]) -> str:
    """The closing table, as Markdown that can also be read as it is."""
    head = (
        *("plant", "answer TPS", "interval", "truth TPS", "error %", "truth in it"),
        *("load s", f"beyond {BEYOND:g}x s", "probes", "invalid", "verdict"),
    )
    cells = [head, *(_cells(one) for one in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |" for line in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _cells(one: Row) -> tuple[str, ...]:
    inside = "-"
    if one.truth_tps is not None and one.answer_tps is not None:
        low = 0.0 if one.low_tps is None else one.low_tps
        inside = "yes" if low <= one.truth_tps and (one.high_tps is None or one.truth_tps <= one.high_tps) else "no"
    return (
        one.plant,
        _number(one.answer_tps),
        f"{_number(one.low_tps)} to {_number(one.high_tps)}",
        _number(one.truth_tps),
        "-" if one.error_percent is None else f"{one.error_percent:+.1f}",
        inside,
        _number(one.load_s, 0),
        _number(one.beyond_s, 0),
        str(one.probes),
        str(one.invalid),
        one.verdict,
    )


def _number(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


class _Both:
    """Writes to the terminal and to a file; no terminal, as far as a live line goes."""

    def __init__(self, terminal: TextIO, file: TextIO) -> None:
        self._outputs = (terminal, file)

    def write(self, text: str) -> int:
        for output in self._outputs:
            output.write(text)
        return len(text)

    def flush(self) -> None:
        for output in self._outputs:
            output.flush()

    def isatty(self) -> bool:
        return False


def run_one(plant_file: Path, folder: Path, overrides: Mapping[str, Any], timeout_s: float) -> tuple[Row, bool]:
    """Demonstrate one plant; its line, and whether a person stopped it. Whatever fails becomes the line's verdict."""
    clear_folder(folder)
    stack = replace(StackOptions.default(), build=folder / "run")
    stack.build.mkdir()
    options = DemoOptions(plant_file, DAG, overrides, False, timeout_s, None, folder / "demo")
    with (folder / "log.txt").open("w", encoding="utf-8") as log:
        terminal = Terminal(_Both(sys.stdout, log))  # type: ignore[arg-type]
        try:
            status = demonstrate(options, stack, terminal)
        except ToolError as error:
            terminal.line(f"The demonstration failed. {error}")
            status = BAD
    result = _read(options.folder / "result.json")
    if status == INTERRUPTED:
        return row(plant_file.stem, result, "stopped"), True
    return row(plant_file.stem, result, "good" if status == GOOD else _why_bad(folder / "log.txt")), False


def _why_bad(log: Path) -> str:
    """The last line of a run that was not good says why."""
    for line in reversed(log.read_text(encoding="utf-8").splitlines()):
        if line.startswith(("Not good: ", "The demonstration failed. ")):
            return line.partition(": " if line.startswith("Not") else ". ")[2]
    return "failed; see log.txt"


def _read(path: Path) -> dict[str, Any] | None:
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return values


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; see its help for the exit status."""
    try:
        plants, options = _options(arguments)
        overrides = parse_overrides(options.params)
    except UsageError as error:
        print(error, file=sys.stderr)
        return USAGE
    rows: list[Row] = []
    began = time.monotonic()
    for number, plant_file in enumerate(plants, start=1):
        print(f"\n== plant {number} of {len(plants)}: {plant_file.stem}, {datetime.now():%H:%M:%S}", flush=True)
        one, stopped = run_one(plant_file, FOLDER / plant_file.stem, overrides, options.timeout * 60)
        rows.append(one)
        # After every run: what is there is not lost with a machine that goes down in the next one.
        (FOLDER / "table.md").write_text(table(rows) + "\n", encoding="utf-8")
        if stopped:
            break
    print(f"\n{table(rows)}\n\n{(time.monotonic() - began) / 60:.0f} min; kept in {FOLDER.relative_to(ROOT)}/")
    if rows[-1].verdict == "stopped":
        return INTERRUPTED
    return GOOD if all(one.verdict == "good" for one in rows) else BAD


def _options(arguments: list[str] | None) -> tuple[list[Path], argparse.Namespace]:
    """The plant files, all of them readable, and the other options. Raises UsageError before anything starts."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.demo.plants",
        description="Measure one plant after another and show the answers beside the sandbox's truths.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--plants",
        default=",".join(PLANTS),
        metavar="NAMES",
        help="of files in sandbox/plants, or paths; separated by commas (default: %(default)s)",
    )
    parser.add_argument("--params", default="{}", metavar="JSON", help="Params that replace those of every plant file")
    parser.add_argument(
        "--timeout", type=float, default=TIMEOUT_MIN, metavar="MIN", help="of each run (default: %(default)g)"
    )
    options = parser.parse_args(arguments)
    if options.timeout <= 0:
        raise UsageError("--timeout: write minutes above 0, such as 20.")
    plants = []
    for name in filter(None, options.plants.split(",")):
        path = Path(name).resolve() if name.endswith((".yaml", ".yml")) else DEFAULT_PLANT.parent / f"{name}.yaml"
        read_plant(path)
        plants.append(path)
    if not plants:
        raise UsageError("--plants: write at least one name, such as pool.")
    return plants, options


if __name__ == "__main__":
    sys.exit(main())
