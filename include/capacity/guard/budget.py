"""Whether a run may start for what it may cost, and how long one that is under way may go on. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from include.capacity.cost import Cost, run_cost
from include.capacity.guard.duration import COLLECT_S, FLEET_END_S, Durations
from include.capacity.profile import Prices


@dataclass(frozen=True, slots=True)
class Limits:
    """In the currency of the prices; None: no limit."""

    per_run: float | None = None
    per_month: float | None = None


@dataclass(frozen=True, slots=True)
class MonthSpend:
    """What the runs of a service cost in a calendar month so far.

    Attributes:
        month: such as `2026-08`, UTC.
        total: in `currency`, of `runs` runs.
        unknown: runs that made load and whose cost the history does not know, or knows in another currency.
    """

    month: str
    currency: str
    total: float
    runs: int
    unknown: int = 0


def at_most(prices: Prices, *, shards: int, added_instances: int, longest: Durations) -> Cost:
    """What a run costs if it takes as long as its limits allow."""
    return run_cost(
        prices,
        shards=shards,
        fleet_s=longest.fleet_s,
        added_instances=added_instances,
        environment_s=longest.environment_s,
    )


def refusal(limits: Limits, estimate: Cost, spent: MonthSpend | None) -> str | None:
    """Why the run must not start, with the keys and the cure; None when it may."""
    most = f"The run may cost up to {money(estimate.total, estimate.currency)}"
    cure = "Lower search.max_load, load.fleet.shards or prescale.instances"
    if limits.per_run is not None and estimate.total > limits.per_run:
        return (
            f"{most}, and budget.per_run of the service profile allows {money(limits.per_run, estimate.currency)}. "
            f"{cure}, or raise it. The estimate: {estimate.method}"
        )
    if limits.per_month is not None and spent is not None and spent.total + estimate.total > limits.per_month:
        return (
            f"{most}. In {spent.month}, {spent.runs} run{'s' * (spent.runs != 1)} cost "
            f"{money(spent.total, spent.currency)} already, and budget.per_month of the service profile allows "
            f"{money(limits.per_month, estimate.currency)}. {cure}, raise it, or wait for the next month (UTC)."
        )
    return None


def told(limits: Limits, estimate: Cost, spent: MonthSpend | None) -> Sequence[str]:
    """Lines for the log and the person who approves: what the run may cost and how that compares."""
    lines = [f"Cost: up to {money(estimate.total, estimate.currency)}. {estimate.method}"]
    if limits.per_run is not None:
        lines.append(f"Budget of the run: {money(limits.per_run, estimate.currency)}.")
    if limits.per_month is not None and spent is not None:
        unknown = f" The cost of {spent.unknown} more is not known." if spent.unknown else ""
        lines.append(
            f"Budget of {spent.month}: {money(limits.per_month, estimate.currency)}, of which {spent.runs} "
            f"run{'s' * (spent.runs != 1)} took {money(spent.total, spent.currency)}.{unknown}"
        )
    return lines


def seconds_left(
    per_run: float,
    prices: Prices,
    *,
    shards: int,
    added_instances: int,
    fleet_s: float,
    environment_s: float,
    restore_s: float,
) -> float:
    """For how many seconds the load may go on, so that the run ends within its budget.

    Args:
        fleet_s, environment_s: how long the shards and the added instances have been running.
        restore_s: how long restoring may take; the end of the fleet and collecting are added to it.
    """
    added = max(added_instances, 0)
    per_second = (shards * prices.shard_hour + added * prices.instance_hour) / 3600
    if per_second == 0:
        return math.inf
    ended = run_cost(
        prices,
        shards=shards,
        fleet_s=fleet_s + FLEET_END_S,
        added_instances=added,
        environment_s=environment_s + FLEET_END_S + COLLECT_S + restore_s,
    )
    return (per_run - ended.total) / per_second


def money(amount: float, currency: str) -> str:
    """An amount for people: cents, or what can be seen of less than a few of them."""
    return f"{amount:.2f} {currency}" if amount >= 0.1 or amount == 0 else f"{amount:.2g} {currency}"
