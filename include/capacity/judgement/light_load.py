"""How long an arrival takes when the service has little to do, think times of the user's plan included."""

from __future__ import annotations

from collections.abc import Sequence

from include.capacity.models import ProbeResult


def healthy_arrival_s(history: Sequence[ProbeResult]) -> float | None:
    """Seconds that an arrival takes in the sustainable result (smoke included) with the lowest offered rate, or None.

    For the argument of the same name of `watch` and `judge`: a plan with think times has many arrivals in flight that
    wait for nobody. The duration follows from Little's law.
    """
    light = [result for result in history if result.sustainable and result.offered_tps > 0]
    if not light:
        return None
    lowest = min(light, key=lambda result: result.offered_tps)
    return lowest.in_flight_mean * lowest.transactions_per_arrival / lowest.offered_tps
