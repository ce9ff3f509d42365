"""How AWS decides about alarms and capacity, as pure functions: no clock, no state, no AWS.

The rules are those of the Amazon EC2 Auto Scaling and CloudWatch user guides; where the guides are silent ("scale in
gradually") the choice made here is said in the function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

AlarmState = Literal["OK", "ALARM", "INSUFFICIENT_DATA"]
MissingData = Literal["missing", "ignore", "breaching", "notBreaching"]

# CloudWatch looks at somewhat more periods than the alarm has when some of them hold no data.
EXTRA_PERIODS = 2
COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
    "LessThanOrEqualToThreshold": lambda value, threshold: value <= threshold,
}


@dataclass(frozen=True, slots=True)
class AlarmRule:
    """When a metric alarm is in ALARM: `to_alarm` of the last `periods` values compare so with the threshold."""

    comparison: str
    threshold: float
    periods: int
    to_alarm: int
    missing: MissingData = "missing"

    def breaches(self, value: float) -> bool:
        return COMPARISONS[self.comparison](value, self.threshold)


def evaluate_alarm(values: Sequence[float | None], rule: AlarmRule, current: AlarmState) -> AlarmState:
    """The alarm's next state.

    `values` are those of the last `rule.periods + EXTRA_PERIODS` complete periods, the oldest first; None where a
    period holds no data. Missing data only matters while there are fewer real values than periods.
    """
    real = [value for value in values if value is not None][-rule.periods :]
    breaching = sum(1 for value in real if rule.breaches(value))
    lacking = rule.periods - len(real)
    if lacking == 0:
        return "ALARM" if breaching >= rule.to_alarm else "OK"
    if rule.missing == "breaching":
        return "ALARM" if breaching + lacking >= rule.to_alarm else "OK"
    if rule.missing == "notBreaching":
        return "ALARM" if breaching >= rule.to_alarm else "OK"
    if not real:
        return current if rule.missing == "ignore" else "INSUFFICIENT_DATA"
    if breaching >= rule.to_alarm:
        return "ALARM"
    all_breach = breaching >= min(rule.to_alarm, len(real))
    if rule.missing == "ignore":
        return current if all_breach else "OK"
    return "ALARM" if all_breach else "OK"


@dataclass(frozen=True, slots=True)
class Tracking:
    """What one target tracking policy sees: its metric's last value, its target, and the state of its two alarms."""

    name: str
    value: float | None
    target: float
    high: bool
    low: bool
    scales_in: bool = True


@dataclass(frozen=True, slots=True)
class GroupSize:
    """Sizes of a group; `ready` are the instances in service that have warmed up, `warming` those that have not."""

    desired: int
    minimum: int
    maximum: int
    ready: int
    warming: int


@dataclass(frozen=True, slots=True)
class Decision:
    """The wanted number of instances and the policy that decided."""

    desired: int
    policy: str


def track_targets(policies: Sequence[Tracking], size: GroupSize) -> Decision | None:
    """What all target tracking policies of a group decide together; None if nothing changes.

    Any policy may scale out, to ready * value / target rounded up, never below what is desired already: instances that
    still warm up are part of that. Scaling in needs the agreement of every policy that may scale in, no warming
    instance, and goes one instance (or a tenth of a large group) at a time, to the largest of the wanted sizes.
    """
    ready = max(size.ready, 1)
    out = [(math.ceil(ready * p.value / p.target), p.name) for p in policies if p.high and p.value is not None]
    if out:
        wanted, name = max(out)
        wanted = min(wanted, size.maximum)
        return Decision(wanted, name) if wanted > size.desired else None
    inward = [p for p in policies if p.scales_in]
    if not inward or size.warming or not all(p.low and p.value is not None for p in inward):
        return None
    wanted, name = max((math.ceil(ready * (p.value or 0.0) / p.target), p.name) for p in inward)
    gradual = size.desired - max(1, size.desired // 10)
    wanted = max(wanted, gradual, size.minimum)
    return Decision(wanted, name) if wanted < size.desired else None


def adjusted(kind: str, adjustment: int, magnitude: int | None, base: int) -> int:
    """`base` instances after an adjustment. `magnitude` is the smallest change of a PercentChangeInCapacity."""
    if kind == "ExactCapacity":
        return adjustment
    if kind == "ChangeInCapacity":
        return base + adjustment
    change = base * adjustment / 100
    # AWS: above 1 round down, 0 to 1 becomes 1, -1 to 0 becomes -1, below -1 round towards zero.
    whole = math.trunc(change) if abs(change) >= 1 else int(math.copysign(1, change)) if change else 0
    if whole and magnitude and abs(whole) < magnitude:
        whole = int(math.copysign(magnitude, whole))
    return base + whole


def simple_capacity(kind: str, adjustment: int, magnitude: int | None, desired: int) -> int:
    """What a simple scaling policy wants."""
    return adjusted(kind, adjustment, magnitude, desired)


def step_capacity(
    steps: Sequence[Mapping[str, Any]], kind: str, magnitude: int | None, *, breach: float, ready: int, desired: int
) -> int:
    """What a step scaling policy wants when its metric is `breach` away from the alarm's threshold.

    Instances that warm up count as added already: the step is taken from the `ready` ones, and a step outwards never
    lowers what is desired. Steps inwards start from the desired number.
    """
    step = next((s for s in steps if _covers(s, breach)), None)
    if step is None:
        return desired
    amount = int(step["ScalingAdjustment"])
    if kind == "ExactCapacity":
        return amount
    if amount >= 0:
        return max(desired, adjusted(kind, amount, magnitude, min(ready, desired)))
    return adjusted(kind, amount, magnitude, desired)


def _covers(step: Mapping[str, Any], breach: float) -> bool:
    """AWS: above the threshold the lower bound belongs to the step; below it the upper one does; at it, both."""
    low, high = step.get("MetricIntervalLowerBound"), step.get("MetricIntervalUpperBound")
    lower = -math.inf if low is None else float(low)
    upper = math.inf if high is None else float(high)
    outward, inward = lower <= breach < upper, lower < breach <= upper
    return outward or inward if breach == 0 else outward if breach > 0 else inward
