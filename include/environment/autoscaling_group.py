"""An EC2 Auto Scaling group as a resource: its sizes, its suspended processes and its protection from scaling in."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headroom_airflow.hooks.autoscaling import AutoScalingHook
from include.capacity.errors import NotReady
from include.environment.patience import patiently, sent_once
from include.environment.resource import Fields, Fit, Sleep, Value, shown

log = logging.getLogger(__name__)

SIZES = ("MinSize", "MaxSize", "DesiredCapacity")
PROTECTED = "NewInstancesProtectedFromScaleIn"
PROCESS = "process "  # begins the field of a scaling process
ACTIVE, SUSPENDED = "active", "suspended"
# Whatever could change the number of instances while a probe measures. Launch, Terminate and HealthCheck stay on: a
# dead instance is still replaced.
SUSPENDED_BY_RUN = ("AlarmNotification", "AZRebalance", "InstanceRefresh", "ScheduledActions")
# Source: https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-suspend-resume-processes.html
PROCESSES = (*SUSPENDED_BY_RUN, "AddToLoadBalancer", "HealthCheck", "Launch", "ReplaceUnhealthy", "Terminate")
POLL_S = 0.5

Health = Callable[[], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class AutoScalingGroup:
    """`health` tells each target's state in the group's target group; `size` is the test size, None where it is not
    known."""

    name: str
    hook: AutoScalingHook
    changes: AutoScalingHook
    health: Health
    size: int | None = None
    kind: str = "autoscaling_group"
    last: bool = False

    @classmethod
    def of(cls, name: str, health: Health, size: int | None = None, **connection: Any) -> AutoScalingGroup:
        return cls(name, AutoScalingHook(**connection), sent_once(AutoScalingHook, **connection), health, size)

    @property
    def title(self) -> str:
        return f"Auto Scaling group {self.name}"

    def reference(self) -> dict[str, str]:
        return {"kind": self.kind, "name": self.name}

    def check(self) -> None:
        """Reading tells."""

    def read(self) -> dict[str, Value]:
        group = self.hook.group(self.name)
        suspended = {process["ProcessName"] for process in group["SuspendedProcesses"]}
        fields: dict[str, Value] = {name: int(group[name]) for name in SIZES}
        fields[PROTECTED] = bool(group.get(PROTECTED, False))
        for process in sorted({*PROCESSES, *suspended}):
            fields[PROCESS + process] = SUSPENDED if process in suspended else ACTIVE
        return fields

    def steps(self, now: Fields) -> Sequence[Fields]:
        """Suspends what could change the size, then sets it.

        Instances that the run launches are not protected from scaling in: the way back could not end them.
        """
        if self.size is None:
            return []
        sizes: dict[str, Value] = {
            "MinSize": min(int(now["MinSize"]), self.size),
            "MaxSize": max(int(now["MaxSize"]), self.size),
            "DesiredCapacity": self.size,
        }
        return [{PROCESS + process: SUSPENDED for process in SUSPENDED_BY_RUN}, {PROTECTED: False}, sizes]

    def set(self, fields: Fields) -> None:
        sizes = [int(fields[name]) if name in fields else None for name in SIZES]
        if any(size is not None for size in sizes):
            self.changes.set_sizes(self.name, minimum=sizes[0], maximum=sizes[1], desired=sizes[2])
        if PROTECTED in fields:
            self.changes.protect_new_instances(self.name, bool(fields[PROTECTED]))
        for value, change in ((SUSPENDED, self.changes.suspend), (ACTIVE, self.changes.resume)):
            processes = [n.removeprefix(PROCESS) for n, v in fields.items() if n.startswith(PROCESS) and v == value]
            if processes:
                change(self.name, sorted(processes))

    def fit(self, now: Fields, wanted: Fields) -> Fit:
        """AWS wants MinSize <= DesiredCapacity <= MaxSize, and moves the desired capacity into new limits by itself:
        what somebody else has set must not be moved like that, so what we set gives way."""
        goal = {name: int(wanted.get(name, now[name])) for name in SIZES}
        low, desired, high = (goal[name] for name in ("MinSize", "DesiredCapacity", "MaxSize"))
        if low > high:  # one of them is somebody else's
            low, high = (low, low) if "MinSize" not in wanted else (high, high)
        if "DesiredCapacity" in wanted:
            desired = min(max(desired, low), high)
        else:
            low, high = min(low, desired), max(high, desired)
        fitted = dict(wanted)
        reasons = {}
        for name, value in (("MinSize", low), ("DesiredCapacity", desired), ("MaxSize", high)):
            if name in wanted and wanted[name] != value:
                kept = ", ".join(f"{other} {now[other]}" for other in SIZES if other not in wanted)
                reasons[name] = f"{shown(wanted[name])} does not fit to {kept}, which somebody else has set"
                fitted[name] = value
        return Fit({name: value for name, value in fitted.items() if value != now.get(name)}, reasons)

    def settle(self, within_s: float, sleep: Sleep) -> None:
        self.wait_for_size(int(patiently(self.read, sleep)["DesiredCapacity"]), within_s, sleep)

    def wait_for_size(self, size: int, within_s: float, sleep: Sleep = time.sleep) -> float:
        """Waits until exactly `size` instances are InService and healthy in the target group; returns the seconds.

        Raises NotReady with the last state of each instance when time is up.
        """
        start, waited, told = time.monotonic(), 0.0, ""
        while True:
            group, health = patiently(lambda: (self.hook.group(self.name), self.health()), sleep)
            line, ready = _readiness(group, health, size)
            elapsed = max(time.monotonic() - start, waited)
            if ready:
                return elapsed
            if line != told:
                log.info(line)
                told = line
            if elapsed > within_s:
                raise NotReady(self._not_ready(group, size, within_s, line))
            sleep(POLL_S)
            waited += POLL_S

    def _not_ready(self, group: Mapping[str, Any], size: int, within_s: float, line: str) -> str:
        suspended = sorted(process["ProcessName"] for process in group["SuspendedProcesses"])
        protected = [entry["InstanceId"] for entry in group["Instances"] if entry.get("ProtectedFromScaleIn")]
        surplus = len(group["Instances"]) > size and protected
        return (
            f"{self.name} did not reach {size} ready instances within {within_s:g} s: {line}; desired "
            f"{group['DesiredCapacity']}, suspended processes: {', '.join(suspended) or 'none'}"
            + (f", protected from scaling in: {', '.join(sorted(protected))}" if surplus else "")
            + ". Look at the group's scaling activities and the target group's health check; "
            "prescale.ready_within of the service profile sets the time."
        )


def _readiness(group: Mapping[str, Any], health: Mapping[str, str], size: int) -> tuple[str, bool]:
    """What a person reads about the instances, and whether they are as wanted."""
    states = {
        entry["InstanceId"]: f"{entry['LifecycleState']}/{health.get(entry['InstanceId'], 'not registered')}"
        for entry in group["Instances"]
    }
    ready = sum(state == "InService/healthy" for state in states.values())
    leaving = sum(target not in states and state == "draining" for target, state in health.items())
    each = ", ".join(f"{instance} {state}" for instance, state in sorted(states.items()))
    line = f"{ready} of {size} instances ready ({each})"
    return line, ready == size and len(states) == size and not leaving
