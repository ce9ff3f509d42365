"""The budget of seconds under load: what it still allows, and the best honest answer when it is used up."""

from __future__ import annotations

from include.capacity.models import Done, SearchSettings, Step
from include.capacity.search import answers
from include.capacity.search.estimate import SOAK_BACKOFF, step_down
from include.capacity.search.evidence import Evidence
from include.capacity.search.steps import rounded


def affordable(settings: SearchSettings, evidence: Evidence, step: Step) -> bool:
    """Whether the budget lasts for the step, and after it still for a soak, if there is a rate to soak."""
    soak_fits = evidence.spent_s + settings.soak_s <= settings.max_load_s
    spare = step.kind != "soak" and evidence.verified is None and evidence.low is not None and soak_fits
    reserve = settings.soak_s + settings.rest_s if spare else 0.0
    return evidence.spent_s + step.hold_s + reserve <= settings.max_load_s


def out_of_budget(settings: SearchSettings, evidence: Evidence) -> Done:
    """What is known so far, and no more."""
    why = f"The load budget of {settings.max_load_s:g} s was used up."
    if evidence.verified is not None:
        return answers.verified_answer(settings, evidence, evidence.verified, why)
    if evidence.low is None:
        return answers.inconclusive((f"No rate passed within the load budget of {settings.max_load_s:g} s.",), why)
    failed = [soak for soak in evidence.soaks if not soak.passed]
    lowest = min(failed, key=lambda soak: soak.rate_tps, default=None)
    estimate = SOAK_BACKOFF * evidence.low.rate_tps if lowest is None else step_down(settings, lowest)
    return answers.unverified_answer(evidence, rounded(estimate), why)
