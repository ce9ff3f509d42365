"""Does the service keep up? In-flight arrivals and completions against what a healthy service explains.

By Little's law a healthy service has (arrivals per second) x (duration of an arrival) in flight. The duration is at
most the latency limit for each of its transactions, or what was seen at low load (`healthy_arrival_s`, think times
included).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from include.capacity.judgement import sums
from include.capacity.models import QUANTILES, FleetSecond, Slo

NO_LATENCY_LIMIT_S = 1.0  # stands in for the latency limit when the SLO has none
HARD_BACKLOG_S = 1.0  # this many seconds of arrivals in flight beyond the healthy level are an overload beyond doubt
SIGMAS = 4.0
ALLOWED_SHORTFALL = 0.01  # achieved must be >= 99 % of offered
CLEAR_SHORTFALL = 2.0  # times the allowed shortfall: no noise any more


def latency_limit_s(slo: Slo) -> float:
    """The largest latency that the SLO speaks of, in seconds."""
    limits = [condition.limit / 1e3 for condition in slo.conditions if condition.metric in QUANTILES]
    return max(limits, default=NO_LATENCY_LIMIT_S)


def healthy_in_flight(
    slo: Slo, arrivals_per_s: float, transactions_per_arrival: float, healthy_arrival_s: float | None
) -> float:
    """The most arrivals that a service within its SLO has in flight, on average."""
    duration = max(transactions_per_arrival, 1.0) * latency_limit_s(slo)
    if healthy_arrival_s is not None:
        duration = max(duration, healthy_arrival_s + latency_limit_s(slo))
    return arrivals_per_s * duration


def hard_overload(in_flight: int, arrivals_per_s: float, healthy: float) -> bool:
    """More in flight than the healthy level, a second of arrivals and noise explain together."""
    return in_flight > healthy + arrivals_per_s * HARD_BACKLOG_S + SIGMAS * math.sqrt(healthy) + 3


def edge_noise(seconds: Sequence[FleetSecond], in_flight_start: int) -> float:
    """By how many arrivals the numbers in flight at the two ends of a window differ by chance.

    With L in flight the difference varies by about sqrt(2 L) as long as the service is little used, and by about L when
    it is nearly busy, where queues come and go. L is taken early in the window, before a backlog could raise it.
    """
    third = seconds[: max(len(seconds) // 3, 1)]
    level = max(min(sums.mean_in_flight(third), sums.mean_in_flight(seconds)), float(in_flight_start), 1.0)
    return max(SIGMAS * math.sqrt(2 * level), 2 * level)


def shortfall(
    seconds: Sequence[FleetSecond], in_flight_start: int, transactions_per_arrival: float
) -> tuple[float, float]:
    """Dispatched but not completed transactions over the seconds, and how many of them may be missing.

    Allowed are 1 % and the edges' noise, which on a short probe is the larger of the two.
    """
    dispatched = sums.offered(seconds) * transactions_per_arrival
    completed = sum(second.completed for second in seconds)
    edge = edge_noise(seconds, in_flight_start) * transactions_per_arrival
    # how many transactions an arrival makes varies from arrival to arrival unless it is a whole number
    mix = 0.0 if float(transactions_per_arrival).is_integer() else 3 * math.sqrt(dispatched)
    return dispatched - completed, ALLOWED_SHORTFALL * dispatched + edge + mix


def backlog(seconds: Sequence[FleetSecond], in_flight_start: int) -> tuple[float, float, bool]:
    """Arrivals in flight in the first and the last third of the seconds, and whether they grew as a backlog does.

    That is from third to third, and by more than the edges' noise and a tenth of a second's arrivals.
    """
    counts = [second.in_flight for second in seconds]
    if len(counts) < 3:
        return float(in_flight_start), float(counts[-1] if counts else in_flight_start), False
    third = len(counts) // 3
    first, middle, last = (
        sum(part) / len(part) for part in (counts[:third], counts[third : len(counts) - third], counts[-third:])
    )
    allowed = edge_noise(seconds, in_flight_start) + 0.1 * sums.offered(seconds) / len(seconds)
    return first, last, first < middle < last and last - first > allowed
