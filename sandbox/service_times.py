"""The shape of a service time, in the parameters that random generators take."""

from __future__ import annotations

import math


def lognormal_parameters(mean: float, spread: float) -> tuple[float, float]:
    """mu and sigma of the normal logarithm, for a lognormal with this mean and coefficient of variation (> 0)."""
    variance = math.log1p(spread * spread)
    return math.log(mean) - variance / 2, math.sqrt(variance)
