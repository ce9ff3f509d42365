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
LONGEST_QUEUE_S = 0.5
CLEAR_SHORTFALL = 2.0  # times the allowed shortfall: no noise any more


def latency_limit_s(slo: Slo) -> float:
    """The largest latency that the SLO speaks of, in seconds."""
    limits = [condition.limit / 1e3 for condition in slo.conditions if condition.metric in QUANTILES]
    limits += [4 * condition.target_ms / 1e3 for condition in slo.conditions if condition.target_ms is not None]
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


def edge_noise(slo: Slo, seconds: Sequence[FleetSecond], in_flight_start: int) -> float:
    """By how many arrivals the numbers in flight at the two ends of a window differ in a service that keeps up.

    With L in flight the difference varies by about sqrt(2 L). In a nearly busy service queues come and go beyond that;
    what the latency limit allows for (half a second of arrivals at most) is left to the latency conditions.
    """
    arrivals_per_s = sums.offered(seconds) / max(len(seconds), 1)
    queues = arrivals_per_s * min(latency_limit_s(slo), LONGEST_QUEUE_S)
    return max(SIGMAS * math.sqrt(2 * max(in_flight_start, 1)), queues)


def shortfall(
    slo: Slo, seconds: Sequence[FleetSecond], in_flight_start: int, transactions_per_arrival: float
) -> tuple[float, float]:
    """Dispatched but not completed transactions over the seconds, and how many of them may be missing.

    Allowed are 1 % and the edges' noise, which on a short probe is the larger of the two. What was not completed must
    be in flight, so the shortfall is no larger than the growth of that, however wrong `transactions_per_arrival` is.
    """
    dispatched = sums.offered(seconds) * transactions_per_arrival
    completed = sum(second.completed for second in seconds)
    edge = edge_noise(slo, seconds, in_flight_start) * transactions_per_arrival
    # how many transactions an arrival makes varies from arrival to arrival unless it is a whole number
    mix = 0.0 if float(transactions_per_arrival).is_integer() else 3 * math.sqrt(dispatched)
    growth = (seconds[-1].in_flight - in_flight_start) * transactions_per_arrival if seconds else 0.0
    return min(dispatched - completed, growth), ALLOWED_SHORTFALL * dispatched + edge + mix


def backlog(slo: Slo, seconds: Sequence[FleetSecond], in_flight_start: int) -> tuple[float, float, bool]:
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
    allowed = edge_noise(slo, seconds, in_flight_start) + 0.1 * sums.offered(seconds) / len(seconds)
    return first, last, first < middle < last and last - first > allowed
