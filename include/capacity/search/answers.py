"""The search's answer in all its honest forms."""

from __future__ import annotations

from typing import Literal

from include.capacity.models import Answer, Done, SearchSettings, Validity
from include.capacity.search.evidence import Evidence, Trial
from include.capacity.search.steps import rounded

# 90 % interval about a verified rate: its edges as found on simulated services with a known truth.
INTERVAL_LOW, INTERVAL_HIGH = 0.95, 1.07
SAFE_REPORT = 0.99
OPEN_BRACKET = 1.08
UNVERIFIED_LOW = 0.88  # short probes overstate by up to 12 %


def verified_answer(settings: SearchSettings, evidence: Evidence, verified: Trial, *why: str) -> Done:
    """A soak passed. The interval about it is what simulated services of many kinds left of it; if the bracket was left
    open (the budget ended), it reaches up to where a probe failed.
    """
    tps, high = verified.rate_tps, evidence.high
    held_s = verified.result.measured_s + verified.result.step.discard_s
    story = [f"A soak of {held_s:g} s at {tps:g} tps met the SLO."]
    if settings.safe:
        tps = rounded(SAFE_REPORT * tps)
        story.append(f"Reported is {SAFE_REPORT:.0%} of that rate: the search was asked to be on the safe side.")
    if high is None:
        at_upper = verified.rate_tps >= settings.upper_tps
        story.append(
            f"{tps:g} tps is the upper bound of the search; the service never broke."
            if at_upper
            else "No higher rate was seen to fail."
        )
        return _done(tps, INTERVAL_LOW * tps, None, True, "at_least", *story, *why)
    story.append(f"{_kind(high)} at {high.rate_tps:g} tps failed: {_reason(high)}")
    closed = high.rate_tps <= OPEN_BRACKET * tps
    top = INTERVAL_HIGH * tps if closed else max(INTERVAL_HIGH * tps, high.rate_tps)
    return _done(tps, INTERVAL_LOW * tps, top, True, "exact", *story, *why)


def unverified_answer(evidence: Evidence, estimate_tps: float, *why: str) -> Done:
    """Probes passed, but no soak did: the estimate is reported as such."""
    high = evidence.high
    story = (*why, "No soak verified this rate.")
    if high is None:
        return _done(estimate_tps, UNVERIFIED_LOW * estimate_tps, None, False, "at_least", *story)
    top = max(high.rate_tps, estimate_tps)
    return _done(estimate_tps, UNVERIFIED_LOW * estimate_tps, top, False, "exact", *story)


def at_most(high_tps: float, *why: str) -> Done:
    """Everything that counts failed: all that is known is an upper limit."""
    return _done(None, None, high_tps, False, "at_most", *why)


def inconclusive(reasons: tuple[str, ...], *why: str) -> Done:
    """No number: what was measured cannot be trusted."""
    return Done(Answer(None, None, None, False, "unknown", Validity("inconclusive", reasons), why))


def _done(
    tps: float | None,
    low: float | None,
    high: float | None,
    verified: bool,
    bound: Literal["exact", "at_least", "at_most", "unknown"],
    *why: str,
) -> Done:
    low, high = (None if value is None else float(f"{value:.4g}") for value in (low, high))
    return Done(Answer(tps, low, high, verified, bound, Validity("valid"), why))


def _kind(trial: Trial) -> str:
    return {"warm": "Warming up", "ramp": "A ramp step", "probe": "A probe", "soak": "A soak"}[trial.result.step.kind]


def _reason(trial: Trial) -> str:
    return trial.result.misses[0] if trial.result.misses else trial.result.stop
