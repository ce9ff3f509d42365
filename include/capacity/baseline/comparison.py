"""Compares a run with the last accepted one: regression, improvement, or noise?

Two runs of the same service never agree to the digit. How far two maxima may lie apart by chance follows from the
intervals of both and from the noise between runs (other neighbours, other hosts), which the intervals do not show. The
noise is learnt from the accepted runs as soon as there are enough of them. A verdict always says how small a change it
could have seen: "no change" from a coarse measurement is weak news.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from include.capacity.models import ValidityStatus

Verdict = Literal["regression", "improvement", "no_change", "insufficient", "rerun"]
Bound = Literal["exact", "at_least", "at_most", "unknown"]

ASSUMED_NOISE = 0.02  # relative standard deviation between runs, until the history tells
LEAST_NOISE = 0.005
RUNS_FOR_NOISE = 5
_Z_INTERVAL = 1.645  # a 90 % interval spans so many standard errors to each side
_Z_VERDICT = 2.576  # beyond this a change is called one: 1 % false alarms, in both directions together
_Z_SUSPICION = 1.645  # beyond this a drop orders a repeat: 5 % false suspicions
_Z_POWER = 0.842  # the smallest change that is found in 80 % of the cases


@dataclass(frozen=True, slots=True)
class RunLevel:
    """One run's answer, with what makes it comparable.

    Attributes:
        ended_at: ISO 8601 in UTC, such as `2026-08-03T03:25:00.000Z` (sorts by time).
        tps, low, high: answer and 90 % interval in transactions per second.
        conditions: what must be equal for two runs to be comparable: name -> value, such as `instances` -> `2`.
    """

    run_id: str
    ended_at: str
    tps: float | None
    low: float | None
    high: float | None
    verified: bool
    bound: Bound
    validity: ValidityStatus
    accepted: bool
    conditions: Mapping[str, str]

    @property
    def trusted(self) -> bool:
        return self.validity == "valid" and self.verified and self.tps is not None and self.tps > 0

    @property
    def standard_error(self) -> float:
        """Relative standard error from the interval; a side that is unbounded is taken as wide as the other."""
        if not self.tps:
            return 0.0
        sides = [abs(math.log(side / self.tps)) for side in (self.low, self.high) if side is not None and side > 0]
        return sum(sides) / len(sides) / _Z_INTERVAL if sides else 0.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """A verdict with its evidence.

    Attributes:
        against_…: the run compared with and its answer; None without one.
        change: relative change of the maximum (-0.05: five per cent less); None without a comparison.
        intervals_overlap: whether the two 90 % intervals share a rate.
        smallest_change: the smallest relative change that this comparison finds in four of five cases.
        noise: relative standard deviation between runs that was used; `noise_runs` runs told it (0: assumed).
        reasons: the verdict in sentences.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    against_run_id: str | None = None
    against_ended_at: str | None = None
    against_tps: float | None = None
    against_low: float | None = None
    against_high: float | None = None
    change: float | None = None
    intervals_overlap: bool | None = None
    smallest_change: float | None = None
    noise: float | None = None
    noise_runs: int = 0


def compare(current: RunLevel, history: Sequence[RunLevel]) -> Comparison:
    """Compares a run with the newest accepted, trusted run before it that was measured under the same conditions.

    Args:
        history: earlier runs in any order; the current run and later ones in it are ignored, so that publishing a run
            again gives the same verdict.
    """
    earlier = sorted(
        (run for run in history if run.run_id != current.run_id and run.ended_at < current.ended_at),
        key=lambda run: run.ended_at,
        reverse=True,
    )
    accepted = [run for run in earlier if run.accepted and run.trusted]
    if not accepted:
        return Comparison("insufficient", ("There is no accepted run to compare with: this is the first.",))
    comparable = [run for run in accepted if run.conditions == current.conditions]
    if not comparable:
        return Comparison(
            "insufficient",
            (f"No accepted run was measured under the same conditions: {_differences(current, accepted[0])}.",),
        )
    return _against(current, comparable[0], comparable)


def _against(current: RunLevel, base: RunLevel, comparable: Sequence[RunLevel]) -> Comparison:
    assert base.tps is not None  # trusted
    noise, noise_runs = _noise(comparable)

    def told(verdict: Verdict, *reasons: str, level: float | None = None, spread: float | None = None) -> Comparison:
        overlap = None
        if None not in (current.low, current.high, base.low, base.high):
            overlap = current.low <= base.high and base.low <= current.high  # type: ignore[operator]
        return Comparison(
            verdict=verdict,
            reasons=reasons,
            against_run_id=base.run_id,
            against_ended_at=base.ended_at,
            against_tps=base.tps,
            against_low=base.low,
            against_high=base.high,
            change=None if level is None else level / base.tps - 1,  # type: ignore[operator]
            intervals_overlap=overlap,
            smallest_change=None if spread is None else math.expm1((_Z_VERDICT + _Z_POWER) * spread),
            noise=noise,
            noise_runs=noise_runs,
        )

    if current.validity != "valid":
        return told("rerun", f"This run is {current.validity}: it says nothing about the service. Repeat it.")
    spread = math.sqrt(current.standard_error**2 + base.standard_error**2 + 2 * noise**2)
    limit, suspicion = _Z_VERDICT * spread, _Z_SUSPICION * spread
    if current.bound == "at_most":
        worst = current.high if current.high is not None else current.tps
        if worst is not None and worst < base.tps * math.exp(-limit):
            return told(
                "regression", f"Even {worst:.1f} TPS, the lowest rate tried, broke the SLO.", level=worst, spread=spread
            )
        return told(
            "rerun", "Even the lowest rate tried broke the SLO, and it is too high to say more. Lower search.lower."
        )
    if current.tps is None or not current.trusted:
        return told("rerun", "This run's answer was not verified by a soak. Repeat it.")
    gap = math.log(current.tps / base.tps)
    change = f"{abs(current.tps / base.tps - 1) * 100:.1f} % {'less' if gap < 0 else 'more'} than {base.tps:.1f} TPS"
    if current.bound == "at_least" and gap <= limit:
        if gap >= -suspicion:
            return told("no_change", "The service held the highest rate tried; it may sustain more.", level=current.tps)
        return told(
            "insufficient",
            f"The search ended at {current.tps:.1f} TPS without breaking the service, below the {base.tps:.1f} TPS of "
            "the last accepted run. Raise search.upper or search.max_load.",
        )
    if gap < -limit:
        return told(
            "regression", f"{change}: beyond what chance explains ({_less(limit)}).", level=current.tps, spread=spread
        )
    if gap > limit and base.bound == "at_least":
        return told(
            "insufficient",
            f"{change}, but the last accepted run never reached its maximum: it ended at {base.tps:.1f} TPS unbroken.",
            level=current.tps,
            spread=spread,
        )
    if gap > limit:
        return told(
            "improvement", f"{change}: beyond what chance explains ({_more(limit)}).", level=current.tps, spread=spread
        )
    if gap < -suspicion:
        return told(
            "rerun",
            f"{change}: suspicious, but chance may explain up to {_less(limit)}. Repeat the run this week.",
            level=current.tps,
            spread=spread,
        )
    return told("no_change", f"{change}: within what chance explains.", level=current.tps, spread=spread)


def _less(limit: float) -> str:
    return f"{-math.expm1(-limit) * 100:.1f} % less"


def _more(limit: float) -> str:
    return f"{math.expm1(limit) * 100:.1f} % more"


def _noise(runs: Sequence[RunLevel]) -> tuple[float, int]:
    """Noise between runs from the differences of neighbours (a slow drift does not count as noise), newest first."""
    levels = [math.log(run.tps) for run in runs if run.tps]
    if len(levels) < RUNS_FOR_NOISE:
        return ASSUMED_NOISE, 0
    squares = [(one - other) ** 2 for one, other in itertools.pairwise(levels)]
    total = sum(squares) / len(squares) / 2
    within = sum(run.standard_error**2 for run in runs) / len(runs)
    return max(math.sqrt(max(total - within, 0.0)), LEAST_NOISE), len(levels)


def _differences(one: RunLevel, other: RunLevel) -> str:
    names = sorted(set(one.conditions) | set(other.conditions))
    parts = [
        f"{name} was {other.conditions.get(name, 'unknown')} and is {one.conditions.get(name, 'unknown')}"
        for name in names
        if one.conditions.get(name) != other.conditions.get(name)
    ]
    return "; ".join(parts)
