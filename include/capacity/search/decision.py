"""The whole decision between two steps of a search, as a function of the probes so far.

1. Ramp from the lower bound (or from below the prior) by a factor a step, until a step fails.
2. Bracket: bisect in the logarithm between the highest pass and the lowest failure until they are close.
3. Soak a little below the highest pass. Nothing is reported as verified that did not pass a soak: short probes
   overstate. A failed soak steps down; what passed with a wide gap to the next failure is tried once higher.
After each failure the service rests at a low rate until it is well again. Invalid probes are repeated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from include.capacity.models import Done, ProbeResult, SearchSettings, Slo, Step
from include.capacity.search import answers, budget
from include.capacity.search.estimate import crossing_tps
from include.capacity.search.evidence import PROBE, SOAK, Evidence, Trial, weigh
from include.capacity.search.soaking import next_soak
from include.capacity.search.steps import StepMaker, rounded

PRIOR_WARM, PRIOR_START = 0.5, 0.85  # of the prior: the warm-up, and the first step of the ramp
MAX_RESTS = 4
LESS_REST = 0.6  # of the rate before, in each further rest
EASY_POWER = 1.5  # the ramp's factor to this power while the service does not feel the load
EASY_P50 = 1.1


def next_step(settings: SearchSettings, slo: Slo, history: Sequence[ProbeResult]) -> Step | Done:
    """Decides what comes next.

    Args:
        history: all results so far in order, of all stages; results of the kind `smoke` are left out.

    Returns:
        The next step; of the kind `soak` when the bracket is closed (or open no longer for lack of budget); Done at the
        end.
    """
    history = [result for result in history if result.step.kind != "smoke"]
    evidence = weigh(history)
    make = StepMaker(settings, slo, history)
    step = _repeat(settings, make, evidence, history)
    if step is None:
        plan = _bracket(settings, make, evidence) or next_soak(settings, make, evidence)
        if isinstance(plan, Done):
            return plan
        step = _recover(settings, make, evidence, history) or plan
    if isinstance(step, Step) and evidence.spent_s + step.hold_s > settings.max_load_s:
        return budget.out_of_budget(settings, evidence)
    return step


# ------------------------------------------------------------------------------------------------ repeat and recover


def _repeat(
    settings: SearchSettings, make: StepMaker, evidence: Evidence, history: Sequence[ProbeResult]
) -> Step | Done | None:
    """An invalid or inconclusive probe says nothing: rest, and repeat it; too many in a row end the search."""
    attempts = _attempts(history)
    if not attempts:
        return None
    last, count = attempts[-1], len(attempts)
    reason = "; ".join(last.validity.reasons)
    if count > settings.max_invalid_repeats:
        return answers.inconclusive(
            last.validity.reasons,
            f"{count} attempts in a row at {last.step.rate_tps:g} tps ({last.step.kind}) were {last.validity.status}.",
        )
    if last.step.kind == "rest":
        if history[-1] is not last:
            return None
        why = f"The rest before was {last.validity.status}: {reason}"
        return make.rest(_good(settings, evidence), 2.0, why, well_p50_ms=evidence.well_p50_ms)
    if last.validity.status == "invalid" and history[-1] is last:
        why = f"The probe before was invalid: {reason}"
        return make.rest(_good(settings, evidence), 1.0, why, well_p50_ms=evidence.well_p50_ms)
    if history[-1] is not last and not _is_well(history[-1], evidence):
        return None
    return make.make(last.step.kind, last.step.rate_tps, f"Repeated, since it was {last.validity.status}: {reason}")


def _attempts(history: Sequence[ProbeResult]) -> list[ProbeResult]:
    """The not valid results of the same kind and rate at the end of the history, rests between them left out."""
    attempts: list[ProbeResult] = []
    for result in reversed(history):
        if result.step.kind == "rest" and result.validity.status != "invalid":
            continue  # a rest with too little to judge is judged by its median alone
        if result.validity.status == "valid":
            break
        if attempts and result.step.kind == "rest" and attempts[0].step.kind != "rest":
            continue
        if attempts and (result.step.kind, result.step.rate_tps) != (attempts[0].step.kind, attempts[0].step.rate_tps):
            break
        attempts.insert(0, result)
    return attempts


def _recover(
    settings: SearchSettings, make: StepMaker, evidence: Evidence, history: Sequence[ProbeResult]
) -> Step | Done | None:
    """The gate after a failed probe: the load goes on only when the service is well again."""
    if not history:
        return None
    last = history[-1]
    good = _good(settings, evidence)
    if last.step.kind != "rest":
        if last.sustainable is not False:
            return None
        why = f"{last.step.rate_tps:g} tps failed; rest until the service is well again."
        return make.rest(good, 1.0, why, well_p50_ms=evidence.well_p50_ms)
    if _is_well(last, evidence) or not any(trial.passed for trial in evidence.trials):
        return None  # a service that never was well cannot get well again
    rests = _rests(history)
    good *= LESS_REST**rests  # what was good may have been so for a short time only
    if rests < MAX_RESTS:
        why = "The service is not yet well again after the probe before."
        return make.rest(good, 2.0**rests, why, well_p50_ms=evidence.well_p50_ms)
    if settings.can_replace and rests == MAX_RESTS:
        why = f"The service did not recover in {rests} rests; its instances are replaced."
        return make.rest(good, 2.0, why, well_p50_ms=evidence.well_p50_ms, replace_first=True)
    sentence = f"The service did not recover at {last.step.rate_tps:g} tps in {rests} rests."
    verified = evidence.verified
    if verified is not None:
        return answers.verified_answer(settings, evidence, verified, sentence)
    return answers.inconclusive((sentence,), "Replace the instances and run again.")


def _rests(history: Sequence[ProbeResult]) -> int:
    count = 0
    for result in reversed(history):
        if result.step.kind != "rest":
            break
        count += 1
    return count


def _is_well(rest: ProbeResult, evidence: Evidence) -> bool:
    """Whether a rest (or whatever came last) shows a healthy service."""
    if rest.step.kind != "rest":
        return True
    if rest.validity.status == "invalid" or rest.sustainable is False:
        return False
    well, median = evidence.well_p50_ms, rest.latency_ms.get("p50")
    if median is None:
        return False
    return well is None or median <= well


def _good(settings: SearchSettings, evidence: Evidence) -> float:
    return evidence.low.rate_tps if evidence.low is not None else settings.lower_tps


# ------------------------------------------------------------------------------------------------ ramp and bracket


def _bracket(settings: SearchSettings, make: StepMaker, evidence: Evidence) -> Step | Done | None:
    """The next step that makes the bracket of highest pass and lowest failure smaller; None when it is closed."""
    step = _bracket_step(settings, make, evidence)
    if isinstance(step, Step) and step.kind != "soak" and not budget.affordable(settings, evidence, step):
        return None
    return step


def _bracket_step(settings: SearchSettings, make: StepMaker, evidence: Evidence) -> Step | Done | None:
    low, high = evidence.low, evidence.high
    if evidence.doubted is not None:
        rate = evidence.doubted.rate_tps
        return make.make("probe", rate, f"{rate:g} tps failed unexpectedly; test it again before it is believed.")
    if not evidence.trials:
        return _first(settings, make)
    if high is not None and high.weight == SOAK:
        return None  # longer tests decide from here
    if low is None:
        assert high is not None
        if high.rate_tps <= settings.lower_tps:
            if sum(not trial.passed for trial in evidence.trials) < 2:
                return make.make("probe", high.rate_tps, "The lowest rate failed; test it again before it is believed.")
            return answers.at_most(
                high.rate_tps, f"Even the lowest rate, {high.rate_tps:g} tps, failed: {high.result.misses[0]}"
            )
        return make.make("ramp", settings.lower_tps, f"{high.rate_tps:g} tps failed; start from the lowest rate.")
    if low.rate_tps >= settings.upper_tps:
        return None
    if high is None or high.rate_tps > low.rate_tps * settings.ramp_factor**EASY_POWER * 1.1:
        return _up(settings, make, evidence, low, high)
    between = rounded(crossing_tps(low, high, evidence.in_a_row))
    if high.rate_tps / low.rate_tps - 1 > settings.resolution and low.rate_tps < between < high.rate_tps:
        return make.make("probe", between, f"Between {low.rate_tps:g} tps (passed) and {high.rate_tps:g} tps (failed).")
    if high.weight < PROBE:
        return make.make("probe", high.rate_tps, f"{high.rate_tps:g} tps has failed a short ramp step only.")
    if low.weight < PROBE:
        return make.make("probe", low.rate_tps, f"{low.rate_tps:g} tps has passed a short ramp step only.")
    return None


def _first(settings: SearchSettings, make: StepMaker) -> Step:
    prior = settings.prior_tps
    if prior is None or not settings.lower_tps < PRIOR_WARM * prior < settings.upper_tps:
        return make.make("ramp", settings.lower_tps, "The lowest rate.")
    return make.make("warm", PRIOR_WARM * prior, f"Half of the prior, {prior:g} tps: warm up before the ramp.")


def _is_easy(low: Trial, evidence: Evidence) -> bool:
    """The service does not feel the rate: hardly a bad transaction, and the median latency of the lowest rates."""
    healthy, p50 = evidence.healthy_p50_ms, low.result.latency_ms.get("p50")
    if healthy is None or p50 is None or p50 > EASY_P50 * healthy:
        return False
    conditions = low.result.conditions
    return bool(conditions) and all(condition.share == 0 for condition in conditions)


def _up(settings: SearchSettings, make: StepMaker, evidence: Evidence, low: Trial, high: Trial | None) -> Step:
    prior, factor = settings.prior_tps, settings.ramp_factor
    why = f"{low.rate_tps:g} tps passed."
    rate = low.rate_tps * (factor**EASY_POWER if _is_easy(low, evidence) else factor)
    if prior is not None:
        if low.result.step.kind == "warm":
            rate, why = PRIOR_START * prior, f"Just below the prior, {prior:g} tps."
        elif PRIOR_START * prior <= low.rate_tps * 1.01 and low.rate_tps < 1.2 * prior:
            rate = low.rate_tps * math.sqrt(factor)  # the answer is likely near: smaller steps overshoot less
    if high is not None:
        rate = min(rate, math.sqrt(low.rate_tps * high.rate_tps))
    return make.make("ramp", min(rate, settings.upper_tps), why)
