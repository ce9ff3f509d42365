"""The soaks: long holds, without which nothing is reported as verified, and what is learnt from how they end.

Short probes overstate, so a soak lies a little below where they put the limit. A failed soak steps down by what its
share of bad transactions, or what the service still did, tells. From one that was passed with ease the search climbs.
The more the service was seen to vary in time, the longer its soaks are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from include.capacity.models import Done, SearchSettings, Step
from include.capacity.search import answers, budget
from include.capacity.search.estimate import SOAK_BACKOFF, crossing_tps, step_down
from include.capacity.search.evidence import SOAK, Evidence, Trial
from include.capacity.search.excess import excess
from include.capacity.search.steps import StepMaker

SHORT_BIAS = 0.985  # what short probes overstate on average
CLOSED = 1.03  # the limit is not expected farther above the highest pass
UNSTEADY_SOAK = 1.25  # so many times longer is the soak of a service that does less at times than at others
SAFE_SOAK, SAFE_BACKOFF = 1.5, 0.985  # how much longer, and lower, a safe search soaks
MAX_FAILED_SOAKS = 8
EASE = -1.0  # logits: a soak whose share was so far below the allowance was passed with ease
CLIMB, CLIMBED = 1.035, 1.3  # each step of the climb after it, and its end
RESOAK_GAP = 1.03  # between a verified rate and a higher pass: worth another soak
WIDE_GAP = 1.08  # between a verified rate and the next failure: worth one more soak


def next_soak(settings: SearchSettings, make: StepMaker, evidence: Evidence) -> Step | Done:
    """What comes when the bracket is closed: a soak, a step of the climb after one, or the end."""
    verified, high, low = evidence.verified, evidence.high, evidence.low
    if verified is not None:
        return _after_passed(settings, make, evidence, verified)
    failed = [soak for soak in evidence.soaks if not soak.passed]
    if failed and failed[-1] in evidence.failures:
        return _after_failed(settings, make, evidence, failed)
    if low is None:
        return budget.out_of_budget(settings, evidence)
    at_upper = low.rate_tps >= settings.upper_tps
    rate = low.rate_tps if at_upper else _first_rate(settings, low, high)
    return _affordable(settings, evidence, _soak(settings, make, evidence, rate, _why(low, high)))


def _soak(settings: SearchSettings, make: StepMaker, evidence: Evidence, rate_tps: float, why: str) -> Step:
    """A soak; calm (it may end early) while nothing speaks for a service that varies in time."""
    factor = UNSTEADY_SOAK if evidence.unsteady else 1.0
    if settings.safe:
        factor *= SAFE_SOAK
    calm = factor == 1.0 and all(soak.passed for soak in evidence.soaks)
    return make.make("soak", rate_tps, why, factor=factor, calm=calm)


def _affordable(settings: SearchSettings, evidence: Evidence, step: Step) -> Step | Done:
    return step if budget.affordable(settings, evidence, step) else budget.out_of_budget(settings, evidence)


def _first_rate(settings: SearchSettings, low: Trial, high: Trial | None) -> float:
    """A little below where the limit is expected."""
    expected = low.rate_tps if high is None else min(crossing_tps(low, high), CLOSED * low.rate_tps)
    safety = SAFE_BACKOFF if settings.safe else 1.0
    return max(SHORT_BIAS * SOAK_BACKOFF * safety * expected, settings.lower_tps)


def _why(low: Trial, high: Trial | None) -> str:
    if high is None:
        return f"{low.rate_tps:g} tps passed, and no rate failed."
    return f"{low.rate_tps:g} tps passed, {high.rate_tps:g} tps failed; a long hold just below must verify it."


def _after_failed(
    settings: SearchSettings, make: StepMaker, evidence: Evidence, failed: Sequence[Trial]
) -> Step | Done:
    last = min(failed, key=lambda soak: soak.rate_tps)
    if last.rate_tps <= settings.lower_tps:
        return answers.at_most(last.rate_tps, f"Even the lowest rate, {last.rate_tps:g} tps, failed its soak.")
    if len(failed) >= MAX_FAILED_SOAKS:
        return answers.at_most(last.rate_tps, f"{len(failed)} soaks failed, the last at {last.rate_tps:g} tps.")
    rate, why = step_down(settings, last, len(failed)), f"The soak at {last.rate_tps:g} tps failed."
    return _affordable(settings, evidence, _soak(settings, make, evidence, rate, why))


def _after_passed(settings: SearchSettings, make: StepMaker, evidence: Evidence, verified: Trial) -> Step | Done:
    high, low = evidence.high, evidence.low
    climb = _climb(settings, make, evidence, verified)
    if climb is not None and budget.affordable(settings, evidence, climb):
        return climb
    since = low is not None and low.order > evidence.soaks[-1].order
    failed = sum(not soak.passed for soak in evidence.soaks)
    if low is not None and since and SOAK_BACKOFF * low.rate_tps > verified.rate_tps * RESOAK_GAP:
        rate, why = SOAK_BACKOFF * low.rate_tps, "A higher rate has passed since the last soak."
    elif high is not None and high.rate_tps > verified.rate_tps * WIDE_GAP and failed < MAX_FAILED_SOAKS:
        rate = math.sqrt(verified.rate_tps * high.rate_tps)
        why = f"The gap up to {high.rate_tps:g} tps (failed) is wide: one more soak in it."
        if high.weight == SOAK:
            rate = max(rate, step_down(settings, high))
    else:
        return answers.verified_answer(settings, evidence, verified)
    return _affordable(settings, evidence, _soak(settings, make, evidence, rate, why))


def _climb(settings: SearchSettings, make: StepMaker, evidence: Evidence, verified: Trial) -> Step | None:
    """Up from a soak that was passed with ease, in small steps and without a rest: what failed before may have failed
    because the service was hit while it was cold or hurt."""
    above, high = excess(verified.result), evidence.high
    since = [trial for trial in evidence.trials if trial.order > verified.order]
    if above is None or above > EASE or any(not trial.passed for trial in since):
        return None
    top = max((trial.rate_tps for trial in since), default=verified.rate_tps)
    if top >= CLIMBED * verified.rate_tps or top >= settings.upper_tps or (high is not None and high.weight == SOAK):
        return None
    why = f"The soak at {verified.rate_tps:g} tps was passed with ease: climb from there."
    return make.make("probe", min(CLIMB * top, settings.upper_tps), why)
