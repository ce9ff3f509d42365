"""Builds the steps: which rate is held for how long, so that there is enough to judge."""

from __future__ import annotations

import math
from collections.abc import Sequence

from include.capacity.judgement.conditions import min_samples
from include.capacity.models import ProbeResult, SearchSettings, Slo, Step, StepKind

REST_SHARE = 0.3  # of the last good rate: enough to see whether the service is well again, too little to hurt
REST_SHARE_OF_LOWEST = 0.5
REST_SAMPLES = 10
# A step is planned to see so many times the transactions that its judgement needs at least.
SAMPLE_RESERVE: dict[StepKind, float] = {"probe": 5.0, "soak": 15.0}
RISE: dict[StepKind, float] = {"probe": 0.1, "soak": 0.05}  # of the usual length
CALM_SHARE = 0.8  # of a soak's length: a service that was never seen to vary may pass it so early
NEAR = 0.85  # of the rate: from here on it needs no rise
RAMP_SAMPLES = 20.0  # enough to see an overload
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
        self._last = history[-1] if history else None
        learned = [
            (result.step.hold_s - result.step.discard_s) * result.step.rate_tps
            for result in history
            if result.validity.status == "inconclusive" and result.step.kind != "rest"
        ]
        needed = max((min_samples(condition) for condition in slo.conditions), default=1)
        self._samples = max(needed, *learned, 1)

    def make(self, kind: StepKind, rate_tps: float, why: str, *, factor: float = 1.0, calm: bool = False) -> Step:
        """A step of the kind's usual length x `factor`, longer if that holds too few transactions at this rate."""
        settings = self._settings
        if kind == "soak":
            hold, discard = factor * settings.soak_s, settings.soak_discard_s
        elif kind == "probe":
            hold, discard = settings.probe_s, settings.probe_discard_s
        else:
            hold, discard = settings.ramp_step_s, max(1.0, settings.ramp_step_s * DISCARD_RAMP)
        rate = rounded(rate_tps)
        rise_from, rise_s = self._rise(kind, rate)
        samples = RAMP_SAMPLES if kind in ("warm", "ramp") else SAMPLE_RESERVE[kind] * self._samples
        least = samples / rate
        seconds = round(max(hold, discard + least) + rise_s, 1)
        least_s = None
        if kind == "soak" and calm:
            least_s = round(max(CALM_SHARE * settings.soak_s, discard + least) + rise_s, 1)
        return Step(kind, rate, seconds, discard + rise_s, why, least_s=least_s, rise_from_tps=rise_from, rise_s=rise_s)

    def _rise(self, kind: StepKind, rate_tps: float) -> tuple[float, float]:
        """From which rate and over how many seconds a step rises: after a rest, and wherever the rate is far above."""
        share = RISE.get(kind)
        if share is None or self._last is None:
            return 0.0, 0.0
        before = self._last.step.rate_tps
        if before >= NEAR * rate_tps:
            return 0.0, 0.0
        hold = self._settings.soak_s if kind == "soak" else self._settings.probe_s
        return before, float(math.ceil(share * hold))

    def rest(
        self, good_tps: float, factor: float, why: str, *, well_p50_ms: float | None = None, replace_first: bool = False
    ) -> Step:
        """A rest at low rate, judged on its end: what the step before left in flight drains in its first half.

        It ends early when the median latency is at or below `well_p50_ms`.
        """
        rate = rounded(max(REST_SHARE * good_tps, REST_SHARE_OF_LOWEST * self._settings.lower_tps))
        hold = max(self._settings.rest_s * factor, 2.0)
        discard = hold / 2
        seconds = round(max(hold, discard + 1 + REST_SAMPLES / rate), 1)
        return Step("rest", rate, seconds, discard, why, well_p50_ms, replace_first)
