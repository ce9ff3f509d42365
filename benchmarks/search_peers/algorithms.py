"""How peers find a maximum rate; our own short versions of what their documentation describes.

All start from a cold service and know the upper bound; none of them knows the system.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.search_peers.load import Load, PeerAnswer

Peer = Callable[[Load], PeerAnswer]

EVALUATE_S = 2  # k6 looks at its thresholds this often
DELAY_S = 10  # delayAbortEval
BREAKPOINT_S = 600
LOADGEN_S, LOADGEN_PRECISION = 60, 1.01
THEODOLITE_LEVELS, THEODOLITE_S, THEODOLITE_WARM_S = 20, 300, 60
REDLINER_STEP, REDLINER_S = 1.10, 60


def stairs(levels: int, seconds: int) -> Peer:
    """Equal steps up to the upper bound, each judged as a whole; the last one before the first miss is the answer.

    What scripts around wrk, vegeta and JMeter's stepping thread group do.
    """

    def run(load: Load) -> PeerAnswer:
        good: float | None = None
        for level in range(1, levels + 1):
            rate = load.case.upper_tps * level / levels
            if not load.meets(load.hold(rate, seconds)):
                return PeerAnswer(good)
            good = rate
        return PeerAnswer(good, "at_least")

    return run


def loadgen(load: Load) -> PeerAnswer:
    """MLPerf LoadGen, server scenario, FindPeakPerformance: doubles until a run misses the latency bound, then bisects.

    Each run is 60 s long and judged as a whole; between runs it waits for outstanding answers only.
    """

    def passes(rate: float) -> bool:
        met = load.meets(load.hold(rate, LOADGEN_S))
        load.drain()
        return met

    good, bad = None, None
    rate = load.case.lower_tps
    while bad is None:
        if passes(rate):
            good = rate
            if rate >= load.case.upper_tps:
                return PeerAnswer(rate, "at_least")
            rate = min(2 * rate, load.case.upper_tps)
        else:
            bad = rate
    if good is None:
        return PeerAnswer(None)
    while bad / good > LOADGEN_PRECISION:
        middle = (good + bad) / 2
        if passes(middle):
            good = middle
        else:
            bad = middle
    return PeerAnswer(good)


def k6_breakpoint(load: Load) -> PeerAnswer:
    """k6 breakpoint test: the rate rises in a straight line for 10 min; the run's thresholds abort it.

    A threshold covers everything since the start. The answer is the rate at the abort.
    """
    limit_s, system = load.case.system.limit_s, load.case.system
    total = slow = failed = 0
    for second in range(BREAKPOINT_S):
        rate = load.case.upper_tps * (second + 0.5) / BREAKPOINT_S
        seen = load.hold(rate, 1.0)
        total += len(seen.latency_s)
        slow += int((seen.latency_s > limit_s).sum())
        failed += int(np.count_nonzero(seen.outcome))
        if second >= DELAY_S and second % EVALUATE_S == 0:
            missed = slow > (1 - system.quantile) * total or failed > system.error_limit * total
            if missed and total:
                return PeerAnswer(rate)
    return PeerAnswer(load.case.upper_tps, "at_least")


def theodolite(load: Load) -> PeerAnswer:
    """Theodolite, binary search in a list of levels: a fresh deployment for each, 300 s, the first 60 s not judged."""
    step = load.case.upper_tps / THEODOLITE_LEVELS
    good, low, high = None, 1, THEODOLITE_LEVELS
    while low <= high:
        level = (low + high) // 2
        load.redeploy()
        load.hold(level * step, THEODOLITE_WARM_S)
        if load.meets(load.hold(level * step, THEODOLITE_S - THEODOLITE_WARM_S)):
            good, low = level * step, level + 1
        else:
            high = level - 1
    return PeerAnswer(good, "at_least" if good == load.case.upper_tps else "exact")


def redliner(load: Load) -> PeerAnswer:
    """Redliner of LinkedIn: adds 10 % of traffic a minute while health is good; after a miss it takes the step back
    and tries once more before it believes it.

    Traffic is there before the test begins: it starts at a sixteenth of the upper bound, lower where that misses.
    """
    rate = load.case.upper_tps / 16
    while not load.meets(load.hold(rate, REDLINER_S)):
        rate /= 2
        if rate < load.case.lower_tps / 4:
            return PeerAnswer(None)
    good, misses = rate, 0
    while True:
        rate = good * REDLINER_STEP
        if rate > load.case.upper_tps:
            return PeerAnswer(good, "at_least")
        if load.meets(load.hold(rate, REDLINER_S)):
            good, misses = rate, 0
            continue
        misses += 1
        if misses == 2:
            return PeerAnswer(good)
        load.hold(good, REDLINER_S)


PEERS: dict[str, Peer] = {
    "stairs 20 x 60 s": stairs(20, 60),
    "stairs 50 x 60 s": stairs(50, 60),
    "stairs 50 x 180 s": stairs(50, 180),
    "MLPerf LoadGen": loadgen,
    "k6 breakpoint": k6_breakpoint,
    "Theodolite binary": theodolite,
    "Redliner style 10 %": redliner,
}
REFERENCE = "stairs 50 x 180 s"
