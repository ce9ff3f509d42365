"""Builds the steps: which rate is held for how long, so that there is enough to judge."""

from __future__ import annotations

from collections.abc import Sequence

from include.capacity.judgement.conditions import min_samples
from include.capacity.models import ProbeResult, SearchSettings, Slo, Step, StepKind

REST_SHARE = 0.3  # of the last good rate: enough to see whether the service is well again, too little to hurt
REST_SHARE_OF_LOWEST = 0.5
REST_SAMPLES = 10
SAMPLE_RESERVE = 2.0  # a step is planned to see this many times the transactions that its judgement needs
DISCARD_RAMP = 0.25  # of a ramp step


def rounded(rate_tps: float) -> float:
    """Four significant digits: a rate that people can read."""
    return float(f"{rate_tps:.4g}")


class StepMaker:
    """Makes steps from the search's settings and the need of samples: the SLO's, and what the history teaches.

    Labels that are rare need longer steps. Their share is not known beforehand, so a step that saw too little makes all
    later ones twice as long as it was, counted in transactions.
    """

    def __init__(self, settings: SearchSettings, slo: Slo, history: Sequence[ProbeResult]) -> None:
        self._settings = settings
        learned = [
            (result.step.hold_s - result.step.discard_s) * result.step.rate_tps
            for result in history
            if result.validity.status == "inconclusive" and result.step.kind != "rest"
        ]
        needed = max((min_samples(condition) for condition in slo.conditions), default=1)
        self._samples = SAMPLE_RESERVE * max(needed, *learned, 1)

    def make(self, kind: StepKind, rate_tps: float, why: str) -> Step:
        """A step of the kind's usual length, longer if that holds too few transactions at this rate."""
        settings = self._settings
        if kind == "soak":
            hold, discard = settings.soak_s, settings.soak_discard_s
        elif kind == "probe":
            hold, discard = settings.probe_s, settings.probe_discard_s
        else:
            hold, discard = settings.ramp_step_s, max(1.0, settings.ramp_step_s * DISCARD_RAMP)
        rate = rounded(rate_tps)
        return Step(kind, rate, round(max(hold, discard + self._samples / rate), 1), discard, why)

    def rest(self, good_tps: float, factor: float, why: str) -> Step:
        """A rest at low rate, judged on its end: what the step before left in flight drains in its first half."""
        rate = rounded(max(REST_SHARE * good_tps, REST_SHARE_OF_LOWEST * self._settings.lower_tps))
        hold = max(self._settings.rest_s * factor, 2.0)
        discard = hold / 2
        return Step("rest", rate, round(max(hold, discard + 1 + REST_SAMPLES / rate), 1), discard, why)
