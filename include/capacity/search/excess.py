"""By how much a result exceeds what the SLO allows, in one number that is close to linear in the rate."""

from __future__ import annotations

import math

from include.capacity.judgement.conditions import allowed_share
from include.capacity.models import ConditionResult, ProbeResult

FARTHEST = 3.0  # logits: beyond this a share says "far away", not how far


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
