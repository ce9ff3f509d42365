"""Everything that makes a step say nothing about the service, as sentences: evidence and cure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from include.capacity.judgement.stops import GUARD, SHARD, is_stop
from include.capacity.models import FleetSecond, Step, ValidityLimits
from include.capacity.validity import clocks, fleet, generator, responses
from include.capacity.validity.responses import SizeRange


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What was seen around a step, beside the seconds of its fleet.

    Attributes:
        changes: what changed in the environment under the step (see `validity.environment.changes`).
        usual_sizes: label -> size of good responses in the smoke probe; empty when they are not known.
    """

    changes: tuple[str, ...] = ()
    usual_sizes: Mapping[str, SizeRange] = field(default_factory=dict)


NOTHING_ELSE = Surroundings()


def step_problems(
    step: Step,
    limits: ValidityLimits,
    held: Sequence[FleetSecond],
    measured: Sequence[FleetSecond],
    surroundings: Surroundings,
    *,
    transactions_per_arrival: float,
    expected_shards: int,
    stop: str,
    first: int,
    overloaded: bool,
    missed: bool,
    thread_hold_s: float,
) -> list[str]:
    """Every check on a step.

    Args:
        held, measured: seconds of the step, and those of them that are judged.
        first: the second in which the step's rate was in force first.
        overloaded: ended for an overload beyond doubt.
        missed: whether the SLO was missed.
        thread_hold_s: the longest that a service within its SLO holds a thread for one arrival.
    """
    problems = fleet.shard_problems(held, expected_shards)
    if not problems and (is_stop(stop, GUARD) or is_stop(stop, SHARD)):
        problems.append(stop)  # it happened in a second that was not complete
    problems += fleet.gap_problems(held, first)
    problems += clocks.clock_problems(held, limits)
    problems += surroundings.changes
    if not measured:
        return problems
    commanded_per_s = step.rate_tps / transactions_per_arrival
    problems += fleet.data_problems(measured, limits)
    problems += responses.response_problems(measured, surroundings.usual_sizes, limits)
    risen = [second for second in measured if second.second >= first + step.rise_s]
    problems += fleet.offered_problems(risen, limits, commanded_per_s)
    problems += generator.lag_problems(measured, limits, commanded_per_s, overloaded=overloaded)
    problems += generator.thread_problems(
        measured, limits, commanded_per_s, healthy_arrival_s=thread_hold_s, missed=missed
    )
    problems += generator.saturation_problems(measured, limits, commanded_per_s)
    return problems
