"""What CloudWatch would hold about the plant, once each AWS minute.

An AWS minute lasts 60 / time_scale real seconds. Counts are scaled up to what a whole AWS minute at the same rate would
hold, so that a target such as "1000 requests per target and minute" means the same as on AWS.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sandbox.aws.autoscaling import GROUP_METRICS
from sandbox.aws.autoscaling_group import STANDBY, TERMINATING, SandboxGroup
from sandbox.plant.haproxy import BalancerView, ServerStatus
from sandbox.plant.machines import Machine

Datum = dict[str, Any]
SIGNIFICANT_DIGITS = 3


@dataclass(slots=True)
class Traffic:
    """Counts at the load balancer since the last `take`, also of targets that have left since."""

    requests: int = 0
    responses: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    own_errors: int = 0
    connection_errors: int = 0
    _seen: dict[str, ServerStatus] = field(default_factory=dict)
    _errors_before: int = 0

    def observe(self, view: BalancerView) -> None:
        """Add what has happened since the last look. Called several times a second."""
        target_errors = 0
        for name, now in view.servers.items():
            before = self._seen.get(name)
            self.requests += now.requests - (before.requests if before else 0)
            self.connection_errors += now.connection_errors - (before.connection_errors if before else 0)
            for index in range(4):
                delta = now.responses[index] - (before.responses[index] if before else 0)
                self.responses[index] += delta
                target_errors += delta if index == 3 else 0
        self.own_errors += max(0, view.errors_5xx - self._errors_before - target_errors)
        self._errors_before = view.errors_5xx
        self._seen = dict(view.servers)

    def take(self) -> Traffic:
        """What was counted, and begin again."""
        taken = Traffic(self.requests, self.responses, self.own_errors, self.connection_errors)
        self.requests, self.responses, self.own_errors, self.connection_errors = 0, [0, 0, 0, 0], 0, 0
        return taken


@dataclass(frozen=True, slots=True)
class MachineSample:
    """One machine over one AWS minute. `busy_ratio` is the share of its worker slots that were busy."""

    instance_id: str
    group_name: str
    busy_ratio: float
    latencies_s: tuple[float, ...]
    warm: bool
    in_service: bool


class MachineReader:
    """Turns the machines' running counters into samples."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[float, float]] = {}

    def sample(self, machine: Machine, warm_up_s: float) -> MachineSample | None:
        """None for a machine that does not answer, or answers for the first time."""
        stats = machine.read_stats() if machine.answers and machine.process.running else None
        if stats is None:
            self._before.pop(machine.instance_id, None)
            return None
        now_s = time.monotonic()
        before = self._before.get(machine.instance_id)
        self._before[machine.instance_id] = (now_s, stats["busy_s"])
        if before is None or now_s <= before[0]:
            return None
        busy = (stats["busy_s"] - before[1]) / ((now_s - before[0]) * stats["slots"])
        age_s = now_s - machine.in_service_s if machine.in_service_s is not None else 0.0
        return MachineSample(
            instance_id=machine.instance_id,
            group_name=machine.group_name,
            busy_ratio=min(max(busy, 0.0), 1.0),
            latencies_s=tuple(stats["latencies_s"]),
            warm=age_s >= warm_up_s,
            in_service=machine.in_service_s is not None and machine.termination is None,
        )


def instance_metrics(samples: Sequence[MachineSample], moment: datetime) -> list[Datum]:
    """AWS/EC2: CPU by instance, and by group over its warm instances (over all of them while none is warm)."""
    data: list[Datum] = []
    serving = [sample for sample in samples if sample.in_service]
    for sample in serving:
        data.append(
            _values("CPUUtilization", {"InstanceId": sample.instance_id}, [100 * sample.busy_ratio], moment, "Percent")
        )
    for group in sorted({sample.group_name for sample in serving}):
        members = [sample for sample in serving if sample.group_name == group]
        counted = [sample for sample in members if sample.warm] or members
        shares = [100 * sample.busy_ratio for sample in counted]
        data.append(_values("CPUUtilization", {"AutoScalingGroupName": group}, shares, moment, "Percent"))
    return data


def balancer_metrics(
    balancer: str,
    target_group: str,
    traffic: Traffic,
    samples: Sequence[MachineSample],
    health: Mapping[str, int],
    to_minute: float,
    moment: datetime,
) -> list[Datum]:
    """AWS/ApplicationELB. `to_minute` turns a count of the period into that of an AWS minute."""
    both = {"LoadBalancer": balancer, "TargetGroup": target_group}
    alone = {"LoadBalancer": balancer}
    healthy = health.get("healthy", 0)
    data = [
        _values("HealthyHostCount", both, [healthy], moment, "Count"),
        _values("UnHealthyHostCount", both, [health.get("unhealthy", 0)], moment, "Count"),
    ]
    counts = {
        "RequestCount": traffic.requests,
        "HTTPCode_Target_2XX_Count": traffic.responses[0],
        "HTTPCode_Target_3XX_Count": traffic.responses[1],
        "HTTPCode_Target_4XX_Count": traffic.responses[2],
        "HTTPCode_Target_5XX_Count": traffic.responses[3],
        "TargetConnectionErrorCount": traffic.connection_errors,
    }
    for name, count in counts.items():
        for dimensions in (both, alone):
            data.append(_values(name, dimensions, [count * to_minute], moment, "Count"))
    data.append(_values("HTTPCode_ELB_5XX_Count", alone, [traffic.own_errors * to_minute], moment, "Count"))
    per_target = traffic.requests * to_minute / max(healthy, 1)
    for dimensions in (both, {"TargetGroup": target_group}):
        data.append(_values("RequestCountPerTarget", dimensions, [per_target], moment, "Count"))
    latencies = Counter(_rounded(value) for sample in samples for value in sample.latencies_s)
    if latencies:
        for dimensions in (both, alone):
            datum = _values("TargetResponseTime", dimensions, list(latencies), moment, "Seconds")
            data.append({**datum, "Counts": list(latencies.values())})
    return data


def group_metrics(group: SandboxGroup, moment: datetime) -> list[Datum]:
    """AWS/AutoScaling: the group metrics that are switched on (EnableMetricsCollection)."""
    states = Counter(state.lifecycle_state for state in group.states())
    values = {
        "GroupMinSize": group.min_size or 0,
        "GroupMaxSize": group.max_size or 0,
        "GroupDesiredCapacity": group.desired_capacity or 0,
        "GroupInServiceInstances": states["InService"],
        "GroupPendingInstances": states["Pending"],
        "GroupStandbyInstances": states[STANDBY],
        "GroupTerminatingInstances": states[TERMINATING],
        "GroupTotalInstances": sum(states.values()),
    }
    wanted = [name for name in GROUP_METRICS if name in group.metrics]
    return [_values(name, {"AutoScalingGroupName": group.name}, [values[name]], moment, "None") for name in wanted]


def _values(name: str, dimensions: Mapping[str, str], values: Sequence[float], moment: datetime, unit: str) -> Datum:
    return {
        "MetricName": name,
        "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
        "Timestamp": moment,
        "Values": [float(value) for value in values],
        "Unit": unit,
    }


def _rounded(value: float) -> float:
    """To three significant digits: fewer distinct values, and closer than anybody reads a latency."""
    if value <= 0:
        return 0.0
    return round(value, SIGNIFICANT_DIGITS - 1 - math.floor(math.log10(value)))


def at(time_s: float) -> datetime:
    """Seconds since 1970 as a time in UTC."""
    return datetime.fromtimestamp(time_s, UTC)
