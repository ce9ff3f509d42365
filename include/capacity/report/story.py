"""How the answer came about: how its interval was made, which probes did not count and why. Pure, from the facts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

from include.capacity.models import Answer, ProbeResult
from include.capacity.search.answers import INTERVAL_HIGH
from include.capacity.search.evidence import Trial, overruler, voider, weigh

Basis = Literal["simulated_spread", "spread_to_failure", "one_sided", "short_probes", "failure", "none"]
BASES: tuple[Basis, ...] = get_args(Basis)


def interval_basis(answer: Answer | None) -> Basis:
    """How the interval was made (see `search.answers`).

    `simulated_spread`: the spread of truths around answers on simulated services; `spread_to_failure`: the same, but
    its upper end is the rate that failed, since nothing was tried between; `one_sided`: its lower end alone;
    `short_probes`: what short probes may overstate, since no soak passed; `failure`: only an upper end, the rate that
    failed; `none`: there is no interval.
    """
    if answer is None or (answer.low is None and answer.high is None):
        return "none"
    if answer.tps is None or answer.low is None:
        return "failure"
    if not answer.verified:
        return "short_probes"
    if answer.high is None:
        return "one_sided"
    return "spread_to_failure" if answer.high > 1.001 * INTERVAL_HIGH * answer.tps else "simulated_spread"


def held_s(probe: ProbeResult) -> float:
    """Seconds for which the rate was held; waiting for the last reports is left out."""
    return min(probe.load_s, probe.step.hold_s)


def discarded(probes: Sequence[ProbeResult]) -> dict[str, Any]:
    """What was measured and does not count, and the seconds of load that it took.

    Args:
        probes: of all stages, by start. Probes are named by their place in it, from 1.
    """
    counted = [probe for probe in probes if probe.step.kind != "rest" and probe.validity.status == "valid"]
    return {
        "load_s": _sum(held_s(probe) for probe in probes),
        "starts_s": _sum(min(probe.step.discard_s, max(held_s(probe) - probe.measured_s, 0.0)) for probe in counted),
        "rests_s": _sum(
            held_s(probe) for probe in probes if probe.step.kind == "rest" and probe.validity.status == "valid"
        ),
        "invalid": [
            {
                "probe": place,
                "status": probe.validity.status,
                "reasons": list(probe.validity.reasons),
                "held_s": round(held_s(probe), 1),
            }
            for place, probe in enumerate(probes, 1)
            if probe.validity.status != "valid"
        ],
        "overruled": _overruled(probes),
    }


def _overruled(probes: Sequence[ProbeResult]) -> list[dict[str, Any]]:
    """Valid probes whose verdict the search did not believe, for what other tests showed."""
    places = [place for place, probe in enumerate(probes, 1) if probe.step.kind != "smoke"]
    evidence = weigh([probes[place - 1] for place in places])
    rows = []
    for trial in evidence.trials:
        by: Trial | None
        if trial.passed:
            by = voider(trial, evidence.failures)
            if by is None:
                continue
        else:
            by = overruler(trial, evidence.passes) or overruler(trial, evidence.trials)  # better one that stands
            if by is None and trial is not evidence.doubted:
                continue
        rows.append(
            {
                "probe": places[trial.order],
                "sustainable": trial.passed,
                "by": None if by is None else places[by.order],
                "held_s": round(held_s(trial.result), 1),
            }
        )
    return rows


def _sum(seconds: Any) -> float:
    return round(float(sum(seconds)), 1)
