"""How far from the truth searches end, and how much load they take: ours beside the peers. `make bench-search`.

Every algorithm measures the same simulated systems, whose truths are known by brute force. Prints the table, writes
build/bench/search-<families>.json and .svg. docs/search-benchmark.md explains both.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.search_peers import ours
from benchmarks.search_peers.algorithms import PEERS, REFERENCE
from benchmarks.search_peers.load import Load
from benchmarks.search_table import Row, draw, line, markdown, seconds_of
from include.capacity.models import ProbeResult
from tests.simulators import truth
from tests.simulators.cases import UPPER, Case, cases

OUT = Path(__file__).resolve().parents[1] / "build" / "bench"
MODES = ("default", "safe")


def our_name(mode: str) -> str:
    return "ours" if mode == "default" else f"ours, {mode}"


def told(result: ProbeResult) -> str:
    """One step of a search in a line."""
    verdict = {True: "pass", False: "FAIL", None: result.validity.status}[result.sustainable]
    latency = " ".join(
        f"{name} {value:.1f}" for name, value in result.latency_ms.items() if name in ("p50", "p95", "p99")
    )
    reason = "; ".join(result.validity.reasons) or "; ".join(result.misses)
    return (
        f"{result.step.kind:<6}{result.step.rate_tps:>9.4g} tps {result.load_s:>5.0f} s  {verdict:<7} {latency} ms  "
        f"[{result.step.why}] {reason} ({result.stop})"
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run on each system.

    Attributes:
        seed: of arrivals and service times.
        prior: (lowest, highest) factor on the truth that our prior has; None without a prior.
    """

    modes: tuple[str, ...]
    peers: tuple[str, ...] = ()
    seed: int = 0
    prior: tuple[float, float] | None = None

    def prior_tps(self, case: Case) -> float | None:
        if self.prior is None:
            return None
        low, high = self.prior
        return case.truth_tps * (low + (high - low) * random.Random(f"{case.name} {self.seed}").random())


def run_ours(case: Case, mode: str, plan: Plan) -> Row:
    found = ours.search(case, safe=mode == "safe", seed=plan.seed, prior_tps=plan.prior_tps(case))
    answer = found.answer
    load_s, far_s = seconds_of(found.seconds, case.truth_tps)
    return Row(
        our_name(mode),
        case.system.family,
        case.system.seed,
        case.truth_tps,
        answer.tps,
        load_s,
        far_s,
        bound=answer.bound,
        verified=answer.verified,
        low_tps=answer.low,
        high_tps=answer.high,
        replaced=found.replaced,
        steps=[*map(told, found.history), " ".join(answer.why)],
    )


def run_peer(case: Case, name: str, seed: int) -> Row:
    load = Load(case, seed)
    answer = PEERS[name](load)
    load_s, far_s = seconds_of(load.seconds, case.truth_tps)
    system = case.system
    return Row(name, system.family, system.seed, case.truth_tps, answer.tps, load_s, far_s, bound=answer.bound)


def measure(case: Case, plan: Plan) -> list[Row]:
    """All algorithms on one system."""
    own = [run_ours(case, mode, plan) for mode in plan.modes]
    return own + [run_peer(case, name, plan.seed) for name in plan.peers]


def measure_all(made: Sequence[Case], plan: Plan, jobs: int) -> list[Row]:
    """On several processes, with a line of progress."""
    rows: list[Row] = []
    begin = time.monotonic()
    queue = sorted(made, key=lambda case: -case.truth_tps)  # long ones first
    with ProcessPoolExecutor(jobs, initializer=os.nice, initargs=(5,)) as workers:
        running = [workers.submit(measure, case, plan) for case in queue]
        for number, done in enumerate(as_completed(running), 1):
            rows += done.result()
            print(f"\r{number} of {len(made)} systems, {time.monotonic() - begin:.0f} s", end="", file=sys.stderr)
    print(file=sys.stderr)
    return sorted(rows, key=lambda row: (row.algorithm, row.family, row.seed))


def table(rows: Sequence[Row], plan: Plan) -> str:
    """The table of all algorithms, then ours by family."""
    by_name = {name: [row for row in rows if row.algorithm == name] for name in {row.algorithm for row in rows}}
    reference = by_name.get(REFERENCE)
    reference_s = statistics.fmean(row.load_s for row in reference) if reference else None
    lines = [line(name, by_name[name], reference_s) for name in [*map(our_name, plan.modes), *plan.peers]]
    text = markdown(lines)
    for mode in plan.modes:
        name = our_name(mode)
        families = sorted({row.family for row in by_name[name]})
        parts = [line(family, [row for row in by_name[name] if row.family == family], None) for family in families]
        text += f"\n\n{name}, by family\n" + markdown(parts)
    return text


def worst(rows: Sequence[Row], count: int) -> str:
    """Our worst answers with what led to them; those without a number first."""
    own = [row for row in rows if row.algorithm.startswith("ours")]
    own.sort(key=lambda row: -(abs(row.error) if row.error is not None else 9.0))
    return "\n\n".join(describe(row) for row in own[:count])


def describe(row: Row) -> str:
    error = "no number" if row.error is None else f"{row.error:+.1%}"
    head = (
        f"{row.family}/{row.seed} ({row.algorithm}): truth {row.truth_tps:.5g}, reported {row.tps} "
        f"[{row.low_tps}, {row.high_tps}] {row.bound}{' verified' if row.verified else ''}, {error}; "
        f"load {row.load_s:.0f} s, {row.far_s:.0f} s far beyond, {row.replaced} replacements"
    )
    return "\n  ".join([head, *row.steps])


def one(family: str, seed: int, plan: Plan) -> str:
    """One system, and our search on it step by step."""
    case = cases([family], 1, first=seed)[0]
    system = case.system
    facts = [
        f"{case.name}: truth {case.truth_tps:.5g} tps (spread {case.spread:.2%}), bounds {case.lower_tps:g} to "
        f"{case.upper_tps:g}",
        "SLO: " + ", ".join(f"{condition.metric} <= {condition.limit:g}" for condition in system.slo.conditions),
        json.dumps(system.service.as_json()),
    ]
    return "\n".join([*facts, *(describe(run_ours(case, mode, plan)) for mode in plan.modes)])


def factors(text: str) -> tuple[float, float]:
    """`0.9:1.1` as two numbers; one number stands for both."""
    low, _, high = text.partition(":")
    return float(low), float(high or low)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--families", default="held-out", help="tune, held-out, all, or names with commas")
    parser.add_argument("--systems", type=int, default=20, help="of each family")
    parser.add_argument("--first", type=int, default=0, help="seed of the first system")
    parser.add_argument("--seed", type=int, default=0, help="of arrivals and service times")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--mode", default="default", help="default, safe, or both with a comma")
    parser.add_argument("--peers", type=int, default=1, help="0 leaves the peers out")
    parser.add_argument("--upper", default="", help="upper bounds of 1.4:5 times the truth, drawn; that is the default")
    parser.add_argument(
        "--prior", default="", help="give ours a prior of 0.9:1.1 times the truth, drawn; no prior without"
    )
    parser.add_argument("--worst", type=int, default=0, help="print so many of our worst answers with their steps")
    parser.add_argument("--one", nargs=2, metavar=("FAMILY", "SEED"), help="run and print one search only")
    arguments = parser.parse_args()
    modes = arguments.mode.split(",")
    if unknown := set(modes) - set(MODES):
        parser.error(f"no mode {', '.join(unknown)}; there are {', '.join(MODES)}")
    prior = factors(arguments.prior) if arguments.prior else None
    plan = Plan(tuple(modes), tuple(PEERS) if arguments.peers else (), arguments.seed, prior)
    if arguments.one:
        print(one(arguments.one[0], int(arguments.one[1]), plan))
        return 0
    families = truth.families(arguments.families)
    made = cases(
        families,
        arguments.systems,
        first=arguments.first,
        jobs=arguments.jobs,
        upper_range=factors(arguments.upper) if arguments.upper else UPPER,
    )
    rows = measure_all(made, plan, arguments.jobs)
    print(
        f"{len(made)} systems of {len(families)} families, truths {min(case.truth_tps for case in made):.0f} to ",
        end="",
    )
    print(f"{max(case.truth_tps for case in made):.0f} tps\n")
    print(table(rows, plan))
    if arguments.worst:
        print(f"\n{worst(rows, arguments.worst)}")
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"search-{arguments.families.replace(',', '-')}"
    path.with_suffix(".json").write_text(json.dumps([asdict(row) for row in rows], indent=1))
    draw(rows, path.with_suffix(".svg"))
    print(f"\n{path.relative_to(OUT.parents[1])}.json and .svg hold every search.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
