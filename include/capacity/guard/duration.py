"""How long a run may take: what blackouts and budgets are compared with before it starts."""

from __future__ import annotations

from dataclasses import dataclass

FLEET_START_S = 180.0  # the shards' start, and the smoke probe with its warm-up
BETWEEN_STEPS = 1.15  # the load time with the pauses in which steps are judged
FLEET_END_S = 45.0
COLLECT_S = 60.0


@dataclass(frozen=True, slots=True)
class Durations:
    """Seconds, at most. `fleet_s`: from the start of the shards to their end; `environment_s`: from the first change to
    the restored environment; `run_s`: all of it."""

    fleet_s: float
    environment_s: float
    run_s: float


def longest(
    *, ready_within_s: float, warm_up_s: float, max_load_s: float, max_duration_s: float, check_s: float = 60.0
) -> Durations:
    """The longest that a run without disturbances may take, by its profile's own limits (all in seconds).

    Args:
        ready_within_s, warm_up_s: of the prescaling; restoring may take as long as getting ready.
        max_load_s: budget of load time of the search and its soaks.
        max_duration_s: hard limit of a shard's life.
    """
    fleet_s = min(FLEET_START_S + BETWEEN_STEPS * max_load_s + FLEET_END_S, max_duration_s + FLEET_END_S)
    environment_s = ready_within_s + warm_up_s + fleet_s + COLLECT_S + ready_within_s
    return Durations(fleet_s, environment_s, check_s + environment_s)
