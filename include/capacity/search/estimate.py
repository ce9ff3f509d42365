"""Where between a pass and a failure the limit lies, by what the probes measured rather than by their verdicts alone.

The share of bad transactions grows steeply with the rate. In logits it is close to linear over a few per cent of the
rate (for M/M/c it is exactly exponential in it), so two probes on both sides of the limit tell where between them the
share crosses what the SLO allows.
"""

from __future__ import annotations

import math

from include.capacity.judgement.conditions import allowed_share
from include.capacity.models import ConditionResult, ProbeResult
from include.capacity.search.evidence import Trial

FARTHEST = 3.0  # logits: beyond this a share says "far away", not how far
LEAST_PARTS = (0.2, 0.2, 0.5, 0.65)  # of the logarithmic distance: the bracket shrinks by a fifth at least
SATURATED_SHARE = 0.97  # of the goodput under overload: what a queue sustains, as a first guess


def _limit(in_a_row: int) -> float:
    """The least part of the distance to keep from the end on which so many results of a kind came in a row."""
    return LEAST_PARTS[min(max(in_a_row, 0), len(LEAST_PARTS) - 1)]


def excess(result: ProbeResult) -> float | None:
    """By how many logits the worst condition's share of bad transactions is above (+) or below (-) what is allowed.

    Between -FARTHEST and FARTHEST; FARTHEST for an overload; None when no condition tells a share.
    """
    if result.overloaded:
        return FARTHEST
    values = [value for value in map(_excess, result.conditions) if value is not None]
    return max(values) if values else None


def _excess(result: ConditionResult) -> float | None:
    allowed = allowed_share(result.condition)
    if allowed is None or result.share is None or not 0 < allowed < 1:
        return None
    least = max(result.share, (result.share_error or 0.0) / 2, allowed / 50)
    return min(max(_logit(min(least, 0.99)) - _logit(allowed), -FARTHEST), FARTHEST)


def _logit(share: float) -> float:
    return math.log(share / (1 - share))


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
