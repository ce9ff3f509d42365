"""Where between a pass and a failure the limit lies, by what the probes measured rather than by their verdicts alone.

The share of bad transactions grows steeply with the rate. In logits it is close to linear over a few per cent of the
rate (for M/M/c it is exactly exponential in it), so two probes on both sides of the limit tell where between them the
share crosses what the SLO allows.
"""

from __future__ import annotations

import math

from include.capacity.models import SearchSettings
from include.capacity.search.evidence import Trial
from include.capacity.search.excess import excess

LEAST_PARTS = (0.2, 0.2, 0.5, 0.65)  # of the logarithmic distance: the bracket shrinks by a fifth at least
SATURATED_SHARE = 0.97  # of the goodput under overload: what a queue sustains, as a first guess

SOAK_BACKOFF = 0.985  # of the expected limit: a soak at the limit itself fails every other time
STEP_DOWN = 0.965  # after a failed soak, at least
FARTHEST_DOWN = (0.95, 0.91, 0.88)  # after the first, the second and each further failed soak, at most
STEEPNESS = 25.0  # logits of the share of bad transactions for each unit of the rate's logarithm, a typical queue's
LONG_ENOUGH = 0.6  # of the soak's length: a failed one that was held for so long tells by how much


def _limit(in_a_row: int) -> float:
    """The least part of the distance to keep from the end on which so many results of a kind came in a row."""
    return LEAST_PARTS[min(max(in_a_row, 0), len(LEAST_PARTS) - 1)]


def crossing_tps(low: Trial, high: Trial, in_a_row: int = 0) -> float:
    """The rate between a pass and a failure at which the limit is expected. Always inside, never close to an end.

    Args:
        in_a_row: passes (positive) or failures (negative) in a row. The share of a short probe tells little (a queue
            grows for as long as it is let), so the estimate is drawn to the other end after several of a kind, as in
            the Illinois method (M. Dowell, P. Jarratt 1971).
    """
    distance = math.log(high.rate_tps / low.rate_tps)
    part = 0.5
    below, above = excess(low.result), excess(high.result)
    if below is not None and above is not None and below < 0 < above:
        part = below / (below - above)
    if high.result.overloaded and high.result.tail_goodput_tps > 0:
        saturated = SATURATED_SHARE * high.result.tail_goodput_tps
        if low.rate_tps < saturated < high.rate_tps:
            part = math.log(saturated / low.rate_tps) / distance
    return low.rate_tps * math.exp(distance * min(max(part, _limit(in_a_row)), 1 - _limit(-in_a_row)))


def step_down(settings: SearchSettings, failed: Trial, count: int = 1) -> float:
    """The rate to try after the `count`th failed soak, in transactions per second.

    A service that fell behind is asked for what it still did. For any other its share of bad transactions tells by how
    much the limit was exceeded, the better the longer it was held; with each failure the steps get larger.
    """
    rate = failed.rate_tps
    floor = max(FARTHEST_DOWN[min(count, len(FARTHEST_DOWN)) - 1] * rate, settings.lower_tps)
    above = excess(failed.result)
    if failed.result.overloaded or above is None:
        return max(min(SOAK_BACKOFF * failed.result.tail_goodput_tps, STEP_DOWN * rate), floor)
    expected = SOAK_BACKOFF * math.exp(-above / STEEPNESS) * rate
    if failed.result.measured_s < LONG_ENOUGH * settings.soak_s:
        expected = min(expected * STEP_DOWN ** (count - 1), STEP_DOWN * rate)
    return max(expected, floor)
