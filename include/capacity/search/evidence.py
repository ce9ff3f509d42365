"""What the probes so far say: which rates passed, which failed, and which of that is believed.

A later and at least as long test overrules an earlier one. Two kinds of failure are doubted, and tested once more:
a ramp step that missed its SLO without an overload (a few seconds can be unlucky), and a failure at or below a rate
that passed an at least as long test before (the service may still have been hurt by the probe before).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from include.capacity.models import ProbeResult, StepKind
from include.capacity.search.excess import excess

WEIGHT: dict[StepKind, int] = {"warm": 1, "ramp": 1, "probe": 2, "soak": 3}  # the longer, the more it says
PROBE, SOAK = WEIGHT["probe"], WEIGHT["soak"]
CLEARLY_BELOW = 0.97
LATE_S = 30.0
MARGINAL = 1.0  # logits: a few seconds of a ramp step do not tell so small an excess
WELL_FACTOR, WELL_MARGIN_MS = 1.5, 5.0  # well again: the median latency within this of the healthy one


@dataclass(frozen=True, slots=True)
class Trial:
    """A valid probe that loads the service, in its order."""

    order: int
    rate_tps: float
    weight: int
    result: ProbeResult

    @property
    def passed(self) -> bool:
        return self.result.sustainable is True


@dataclass(frozen=True, slots=True)
class Evidence:
    """Passes and believed failures, and a failure to test again.

    Attributes:
        passes: those that no believed failure voids.
        failures: those that are believed.
        doubted: the first failure that needs a second test, if any.
        spent_s: seconds of load so far, rests included.
    """

    trials: tuple[Trial, ...]
    passes: tuple[Trial, ...]
    failures: tuple[Trial, ...]
    doubted: Trial | None
    spent_s: float

    @property
    def low(self) -> Trial | None:
        """The highest rate that passed; of equal rates the longest test."""
        return max(self.passes, key=lambda trial: (trial.rate_tps, trial.weight), default=None)

    @property
    def high(self) -> Trial | None:
        """The lowest rate that failed; of equal rates the longest test."""
        return min(self.failures, key=lambda trial: (trial.rate_tps, -trial.weight), default=None)

    @property
    def soaks(self) -> tuple[Trial, ...]:
        return tuple(trial for trial in self.trials if trial.weight == SOAK)

    @property
    def verified(self) -> Trial | None:
        """The highest rate that passed a soak."""
        return max(
            (trial for trial in self.passes if trial.weight == SOAK), key=lambda trial: trial.rate_tps, default=None
        )

    @property
    def in_a_row(self) -> int:
        """How many probes at the end passed (a positive number) or failed (a negative one)."""
        probes = [trial.passed for trial in self.trials if trial.weight == PROBE]
        if not probes:
            return 0
        count = next((count for count, passed in enumerate(reversed(probes)) if passed != probes[-1]), len(probes))
        return count if probes[-1] else -count

    @property
    def unsteady(self) -> bool:
        """Whether the service did less at times than at others.

        A soak fell behind after it had kept up for a while, or a probe failed clearly below a rate that passed another.
        """
        best = max((trial.rate_tps for trial in self.trials if trial.passed and trial.weight >= PROBE), default=0.0)
        return any(
            trial.result.overloaded and trial.rate_tps <= best and trial.result.load_s >= LATE_S
            if trial.weight == SOAK
            else trial.weight == PROBE and trial.rate_tps < CLEARLY_BELOW * best
            for trial in self.trials
            if not trial.passed
        )

    @property
    def healthy_p50_ms(self) -> float | None:
        """The median latency at low rates: of the passes up to 0.7 of the highest, else of all."""
        low = self.low
        if low is None:
            return None
        light = [trial for trial in self.passes if trial.rate_tps <= 0.7 * low.rate_tps] or list(self.passes)
        medians = sorted(trial.result.latency_ms["p50"] for trial in light if "p50" in trial.result.latency_ms)
        return medians[len(medians) // 2] if medians else None

    @property
    def well_p50_ms(self) -> float | None:
        """The median latency at or below which a rest shows a healthy service."""
        healthy = self.healthy_p50_ms
        return None if healthy is None else WELL_FACTOR * healthy + WELL_MARGIN_MS


def weigh(history: Sequence[ProbeResult]) -> Evidence:
    """Weighs a search's history (smoke left out)."""
    trials = tuple(
        Trial(order, result.step.rate_tps, WEIGHT[result.step.kind], result)
        for order, result in enumerate(history)
        if result.step.kind in WEIGHT and result.validity.status == "valid"
    )
    failures = []
    doubted: Trial | None = None
    for trial in trials:
        if trial.passed or overruler(trial, trials) is not None:
            continue
        if doubted is None and _is_doubted(trial, trials):
            doubted = trial
        else:
            failures.append(trial)
    passes = tuple(trial for trial in trials if trial.passed and voider(trial, failures) is None)
    return Evidence(trials, passes, tuple(failures), doubted, sum(result.load_s for result in history))


def overruler(failure: Trial, trials: Iterable[Trial]) -> Trial | None:
    """The first later, at least as long test that passed at this rate or a higher one."""
    passed = (
        trial
        for trial in trials
        if trial.passed
        and trial.order > failure.order
        and trial.weight >= failure.weight
        and trial.rate_tps >= failure.rate_tps
    )
    return next(passed, None)


def _is_doubted(failure: Trial, trials: Sequence[Trial]) -> bool:
    above = excess(failure.result)
    marginal = failure.weight < PROBE and above is not None and above < MARGINAL
    contradicted = failure.weight < SOAK and any(
        trial.passed
        and trial.order < failure.order
        and trial.weight >= failure.weight
        and trial.rate_tps >= failure.rate_tps
        for trial in trials
    )
    retested = any(
        not trial.passed
        and trial is not failure
        and trial.weight >= PROBE
        and trial.rate_tps == failure.rate_tps
        and trial.order > failure.order
        for trial in trials
    )
    confirms = any(
        not trial.passed and trial.order < failure.order and trial.rate_tps == failure.rate_tps for trial in trials
    )
    return (marginal or contradicted) and not (retested or confirms)


def voider(passed: Trial, failures: Iterable[Trial]) -> Trial | None:
    """The first believed failure at this rate or a lower one that came later, or is of a longer test."""
    failed = (
        failure
        for failure in failures
        if failure.rate_tps <= passed.rate_tps and (failure.order > passed.order or failure.weight > passed.weight)
    )
    return next(failed, None)
