"""Builds the steps: which rate is held for how long, so that there is enough to judge."""

from __future__ import annotations

from dataclasses import replace

from include.capacity.judgement.conditions import min_samples
from include.capacity.models import SearchSettings, Slo, Step, StepKind

REST_SHARE = 0.3  # of the last good rate: enough to see whether the service is well again, too little to hurt
REST_SHARE_OF_LOWEST = 0.5
SAMPLE_RESERVE = 2.0  # a step is planned to see this many times the transactions that its judgement needs
REST_SAMPLES = 10
DISCARD_RAMP = 0.25  # of a ramp step


def rounded(rate_tps: float) -> float:
    """Four significant digits: a rate that people can read, and the same on every machine."""
    return float(f"{rate_tps:.4g}")


class StepMaker:
    """Makes steps from the search's settings and the SLO's need of samples."""

    def __init__(self, settings: SearchSettings, slo: Slo) -> None:
        self._settings = settings
        self._samples = SAMPLE_RESERVE * max((min_samples(condition) for condition in slo.conditions), default=1)

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

    def longer(self, step: Step, why: str) -> Step:
        return replace(step, hold_s=step.hold_s * 2, why=why)
