"""The truth about a simulated system, by brute force: the rate at which half of many long holds meet the SLO.

Each hold is a life of its own: fresh instances, a gentle ramp up to the rate that is not judged, then 900 s that are.
Bisection in the logarithm by single holds brackets the rate within 2 %; from there on an up-and-down sequence (W. J.
Dixon, A. M. Mood 1948) of further holds, one small step up after each that met the SLO and one down after each that did
not, has the wanted rate as its mean. Nothing of the search or the judgement is used here.

Truths are kept in a file with a digest of all that they depend on; one that is stale or missing is computed anew:
`python -m tests.simulators.truth --families tune --seeds 0:20`.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tests.simulators import engine
from tests.simulators.running import Running
from tests.simulators.systems import FAMILIES, HELD_OUT, TUNE, System, draw

VERSION = 1  # of the method
FILE = Path(__file__).parents[1] / "data" / "simulators" / "truths.json"

RAMP_S, HOLD_S = 75, 900
RAMP_FROM = 0.1  # of the rate
SHORT_S = 150  # for the first, wide bracket
STEP = 1.004  # of the up-and-down sequence
HOLDS = 15  # of that sequence; more where they are cheap
CHEAP_TPS = 600.0
SIGMAS = 5.0  # a hold that is so far beyond the allowed number is ended


@dataclass(frozen=True, slots=True)
class Truth:
    """Attributes: tps: None when there is no sensible one. spread: standard deviation of the up-and-down sequence as a
    share of the truth: how sharp the limit is. digest: of the system and the method."""

    tps: float | None
    spread: float
    digest: str


def digest(system: System) -> str:
    return f"{VERSION}-{system.digest()}"


def sustains(system: System, rate_tps: float, seed: int, hold_s: int = HOLD_S) -> bool:
    """Whether one life of the system, gently warmed, meets the SLO over the hold."""
    running = Running(system.service, seed)
    for step in range(RAMP_S):
        share = RAMP_FROM + (1 - RAMP_FROM) * step / RAMP_S
        running.advance(rate_tps * share, running.now + 1)
    begin = running.now
    expected = rate_tps * hold_s
    may_be_slow = _ceiling((1 - system.quantile) * expected)
    may_fail = _ceiling(system.error_limit * expected)
    offered = total = slow = failed = 0
    for second in range(hold_s):
        came, ended = running.advance(rate_tps, begin + second + 1)
        seen = engine.score(*running.ended, ended, begin, system.limit_s)
        offered, total, slow, failed = offered + came, total + seen[0], slow + seen[1], failed + seen[2]
        if slow > may_be_slow or failed > may_fail:
            return False
    behind = running.in_flight
    _, ended = running.advance(0.0, running.now + system.limit_s)
    seen = engine.score(*running.ended, ended, begin, system.limit_s)
    total, slow, failed = total + seen[0], slow + seen[1], failed + seen[2]
    slow += offered - total  # what has not ended by now is beyond the limit
    return (
        slow <= (1 - system.quantile) * offered
        and failed <= system.error_limit * offered
        and behind <= 0.01 * offered + rate_tps * system.limit_s
    )


def _ceiling(count: float) -> float:
    return count + SIGMAS * math.sqrt(count) + 1


def find(system: System) -> Truth:
    """Takes about 30 holds."""
    seeds = iter(range(1, 10_000))
    streams = np.random.SeedSequence([system.seed, 20_260]).generate_state(10_000)

    def holds(rate: float, seconds: int = HOLD_S) -> bool:
        return sustains(system, rate, int(streams[next(seeds)]), seconds)

    bracket = _bracket(system.nominal_tps, lambda rate: holds(rate, SHORT_S), 1.3, 1.08)
    if bracket is not None:
        bracket = _bracket(math.sqrt(bracket[0] * bracket[1]), holds, 1.06, 1.02)
    if bracket is None:
        return Truth(None, 0.0, digest(system))
    rate = math.sqrt(bracket[0] * bracket[1])
    rates: list[float] = []
    outcomes: list[bool] = []
    wanted = HOLDS if rate > CHEAP_TPS else 2 * HOLDS
    for _ in range(6 * HOLDS):
        outcomes.append(holds(rate))
        # it counts from the first turn on: before, the sequence is on its way
        if rates or len(set(outcomes[-2:])) == 2:
            rates.append(rate)
        rate = rate * STEP if outcomes[-1] else rate / STEP
        if len(rates) >= wanted:
            break
    if not rates:
        return Truth(None, 0.0, digest(system))
    logs = [math.log(each) for each in rates]
    return Truth(round(math.exp(statistics.fmean(logs)), 4), round(statistics.pstdev(logs), 5), digest(system))


def _bracket(rate: float, holds: object, wide: float, narrow: float) -> tuple[float, float] | None:
    """A rate that held and one that did not, closer than the factor `narrow`; steps of `wide` to find the first two."""
    assert callable(holds)
    held = failed = None
    for _ in range(20):
        if holds(rate):
            held = rate
            rate *= wide
        else:
            failed = rate
            rate /= wide
        if held is not None and failed is not None:
            break
    if held is None or failed is None:
        return None
    if held > failed:  # chance: the limit is not sharp
        held, failed = failed, held
    while failed / held > narrow:
        middle = math.sqrt(held * failed)
        if holds(middle):
            held = middle
        else:
            failed = middle
    return held, failed


# ------------------------------------------------------------------------------------------------ the file


def read(path: Path = FILE) -> dict[str, Truth]:
    if not path.exists():
        return {}
    stored = json.loads(path.read_text())
    return {name: Truth(**entry) for name, entry in stored.items()}


def add(found: dict[str, Truth], path: Path = FILE) -> None:
    """Adds truths to the file; others may do so at the same time. One line a system, in order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        _write(read(path) | found, path)
    finally:
        os.close(folder)


def _write(truths: dict[str, Truth], path: Path) -> None:
    order = sorted(truths, key=lambda name: (name.partition("/")[0], int(name.partition("/")[2])))
    lines = [f'"{name}": {json.dumps(asdict(truths[name]))}' for name in order]
    new = path.with_suffix(".new")
    new.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    new.replace(path)


def ensure(
    names: Iterable[tuple[str, int]], *, jobs: int = 2, limit_s: float = math.inf, path: Path = FILE
) -> dict[str, Truth]:
    """The truths of these systems, by name; computes and stores what is missing or stale, for at most so long."""
    stored = read(path)
    wanted = [draw(family, seed) for family, seed in names]
    missing = [system for system in wanted if system.name not in stored or stored[system.name].digest != digest(system)]
    if missing:
        stored |= _compute(missing, jobs, limit_s, path)
    return {
        system.name: stored[system.name]
        for system in wanted
        if system.name in stored and stored[system.name].digest == digest(system)
    }


def _compute(missing: list[System], jobs: int, limit_s: float, path: Path) -> dict[str, Truth]:
    begin = time.monotonic()
    print(f"{len(missing)} truths to find", file=sys.stderr, flush=True)
    # slow ones first, so that the processes end together
    queue = sorted(missing, key=lambda system: -system.nominal_tps)
    found: dict[str, Truth] = {}
    with ProcessPoolExecutor(jobs, initializer=os.nice, initargs=(10,)) as workers:
        running = {}
        while queue or running:
            while queue and len(running) < jobs and time.monotonic() - begin < limit_s:
                system = queue.pop(0)
                running[workers.submit(find, system)] = system
            if not running:
                break
            done = next(as_completed(running))
            system = running.pop(done)
            found[system.name] = done.result()
            add({system.name: found[system.name]}, path)
            print(
                f"{time.monotonic() - begin:6.0f} s  {system.name:<16} nominal {system.nominal_tps:8.1f}  "
                f"truth {found[system.name].tps}  spread {found[system.name].spread:.2%}",
                file=sys.stderr,
                flush=True,
            )
    return found


def families(text: str) -> list[str]:
    """`tune`, `held-out`, `all`, or names with commas."""
    groups = {"tune": TUNE, "held-out": HELD_OUT, "all": FAMILIES}
    return list(groups[text]) if text in groups else text.split(",")


def main() -> None:
    parser = argparse.ArgumentParser(description="Find the truths about simulated systems and store them.")
    parser.add_argument("--families", default="all")
    parser.add_argument("--seeds", default="0:20", help="first:end")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--limit-s", type=float, default=math.inf, help="begin no further system after this time")
    arguments = parser.parse_args()
    first, end = (int(part) for part in arguments.seeds.split(":"))
    names = [(family, seed) for seed in range(first, end) for family in families(arguments.families)]
    known = ensure(names, jobs=arguments.jobs, limit_s=arguments.limit_s)
    print(f"{len(known)} of {len(names)} truths are known")


if __name__ == "__main__":
    main()
