"""What a run costs: the load fleet, and the instances that the run added to the service's own."""

from __future__ import annotations

from dataclasses import dataclass

from include.capacity.profile import Prices

MINIMUM_BILLED_S = 60.0  # Fargate tasks and Linux instances are billed by the second, for at least a minute


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost in `currency`, at the profile's prices.

    Attributes:
        load_hours: hours of all shards together.
        instance_hours: hours of the instances beyond the size before the run; the others would have served anyway.
        load, instances, total: in `currency`.
        method: how it was estimated, in a sentence.
    """

    currency: str
    load_hours: float
    instance_hours: float
    load: float
    instances: float
    total: float
    method: str


def run_cost(prices: Prices, *, shards: int, fleet_s: float, added_instances: int, environment_s: float) -> Cost:
    """Estimates the cost of a run, before it (from planned times) or after it (from observed ones).

    Args:
        fleet_s: how long the load fleet lives, in seconds, from the start of its tasks to their end.
        added_instances: instances in service during the test beyond those before it (never below 0).
        environment_s: how long they run, in seconds, from pre-scaling to the end of the restoration.
    """
    load_hours = shards * _billed_s(fleet_s) / 3600
    instance_hours = max(added_instances, 0) * _billed_s(environment_s) / 3600
    load, instances = load_hours * prices.shard_hour, instance_hours * prices.instance_hour
    return Cost(
        currency=prices.currency,
        load_hours=load_hours,
        instance_hours=instance_hours,
        load=load,
        instances=instances,
        total=load + instances,
        method=(
            f"{shards} load shard{'s' * (shards != 1)} at {prices.shard_hour:g} {prices.currency} an hour and "
            f"{max(added_instances, 0)} added instance{'s' * (added_instances != 1)} at {prices.instance_hour:g} "
            f"{prices.currency} an hour, billed by the second for at least a minute. Data transfer, load balancer "
            "units, logs and storage are not included."
        ),
    )


def _billed_s(lifetime_s: float) -> float:
    return max(lifetime_s, MINIMUM_BILLED_S) if lifetime_s > 0 else 0.0
