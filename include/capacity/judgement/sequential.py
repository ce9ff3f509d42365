"""Is a condition met or missed beyond doubt, before the hold is over? Sequential tests with stated error rates.

A condition allows a share of bad transactions (5 % slow ones for a p95). Seconds come in blocks; each block spends
`bad - allowed x all` of the allowance. The sum of that drifts down while the service keeps its promise, and up while it
does not. It is compared with a boundary that holds at every look at once, so that looking each second costs nothing:
the two-sided normal mixture (H. Robbins, "Statistical methods related to the law of the iterated logarithm", 1970;
for estimated variances: Waudby-Smith et al., "Time-uniform central limit theory and asymptotic confidence sequences",
2021).
Blocks of a queue are correlated, so the variance is estimated with Bartlett weights (Newey and West, 1987) and is never
below the binomial one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

BLOCK_S = 2  # seconds; shorter blocks are more correlated, longer ones delay the decision
TYPICAL_BLOCKS = 10.0  # where the boundary is tightest
FEWEST_BLOCKS = 5  # fewer do not tell a variance
MOST_LAGS = 6

Clear = Literal["met", "missed"]


@dataclass(frozen=True, slots=True)
class ShareEstimate:
    """The share of bad transactions, and its standard error with the correlation between blocks in it."""

    share: float
    error: float
    blocks: int


def blocks_of(values: Sequence[tuple[float, int]]) -> list[tuple[float, int]]:
    """Joins (bad, all) of single seconds to blocks; a remainder at the end is left out."""
    return [
        (sum(bad for bad, _ in part), sum(total for _, total in part))
        for part in (values[start : start + BLOCK_S] for start in range(0, len(values) - BLOCK_S + 1, BLOCK_S))
    ]


def estimate(blocks: Sequence[tuple[float, int]], allowed: float) -> ShareEstimate | None:
    """Estimates the share over blocks of (bad, all). None without transactions or with fewer than 2 blocks.

    `allowed` only bounds the variance from below: a share of 0 over a few blocks is not known without error.
    """
    total = sum(count for _, count in blocks)
    if total == 0 or len(blocks) < 2:
        return None
    share = sum(bad for bad, _ in blocks) / total
    residuals = [bad - share * count for bad, count in blocks]
    variance = max(_long_run_variance(residuals), _binomial(share, allowed, total)) * _few(len(blocks))
    return ShareEstimate(share, math.sqrt(variance) / total, len(blocks))


def _few(blocks: int) -> float:
    """What a variance of few blocks lacks: the mean is estimated from the same blocks."""
    return blocks / (blocks - 1)


def _binomial(share: float, allowed: float, total: int) -> float:
    least = min(max(share, allowed / 4, 1.0 / total), 0.5)
    return total * least * (1 - least)


def _long_run_variance(residuals: Sequence[float]) -> float:
    """Variance of the residuals' sum."""
    count = len(residuals)
    lags = min(MOST_LAGS, count // 4)
    variance = sum(value * value for value in residuals)
    for lag in range(1, lags + 1):
        covariance = sum(residuals[place] * residuals[place - lag] for place in range(lag, count))
        variance += 2 * (1 - lag / (lags + 1)) * covariance
    return variance


def boundary(blocks: int, error_rate: float) -> float:
    """How many standard errors the estimate may be off at any look, but for a share `error_rate` of all holds.

    One-sided: a service exactly at its limit is called met (and likewise missed) in at most that share.
    """
    both = 2 * error_rate
    mixing = TYPICAL_BLOCKS / (-2 * math.log(both) + math.log(1 - 2 * math.log(both)))
    spread = blocks + mixing
    return math.sqrt(spread * math.log(spread / (mixing * both * both)) / blocks)


def clear(
    blocks: Sequence[tuple[float, int]], allowed: float, *, met_error_rate: float, missed_error_rate: float
) -> Clear | None:
    """What is beyond doubt after these blocks of (bad, all); None while nothing is."""
    if len(blocks) < FEWEST_BLOCKS:
        return None
    found = estimate(blocks, allowed)
    if found is None:
        return None
    if found.share < allowed:
        # the promise is doubted with the noise of a service that is just at its limit: a quiet one shows less of it
        total = sum(count for _, count in blocks)
        error = max(found.error, math.sqrt(_binomial(allowed, allowed, total)) / total)
        return "met" if allowed - found.share > error * boundary(len(blocks), met_error_rate) else None
    return "missed" if found.share - allowed > found.error * boundary(len(blocks), missed_error_rate) else None
