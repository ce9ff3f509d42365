"""Keeps HAProxy in step with the target group that it serves, and target health in step with HAProxy."""

from __future__ import annotations

import logging
import time
from typing import Any

from moto.ec2.models import ec2_backends
from moto.elbv2.models import elbv2_backends

from sandbox.aws.elbv2 import (
    CHECKING,
    DRAINING,
    HEALTHY,
    REGISTERING,
    UNUSED,
    SandboxELBv2Backend,
    SandboxTargetGroup,
    TargetHealth,
)
from sandbox.aws.moto_access import ACCOUNT_ID, REGION
from sandbox.plant.haproxy import Balancer, BalancerView, HealthCheck, ServerStatus
from sandbox.plant.machines import Machine

log = logging.getLogger(__name__)

UNHEALTHY = {
    "L7STS": TargetHealth(
        "unhealthy", "Target.ResponseCodeMismatch", "Health checks failed with these codes: [{code}]"
    ),
    "L7TOUT": TargetHealth("unhealthy", "Target.Timeout", "Request timed out"),
    "L4TOUT": TargetHealth("unhealthy", "Target.Timeout", "Connection timed out"),
}
FAILED = TargetHealth("unhealthy", "Target.FailedHealthChecks", "Health checks failed")


class TargetSync:
    """Holds the lock around moto in every method; `balancer` is the HAProxy of the served load balancer."""

    def __init__(self, balancer: Balancer, time_scale: float) -> None:
        self.balancer = balancer
        self._scale = time_scale
        self._servers: dict[str, ServerStatus] = {}
        self._draining_since_s: dict[str, float] = {}

    # -- what the reconciler asks

    def instance(self, instance_id: str) -> Any:
        """The EC2 instance, or None."""
        return ec2_backends[ACCOUNT_ID][REGION].get_instance_by_id(instance_id)

    def served_group(self) -> SandboxTargetGroup | None:
        """The target group behind the load balancer that HAProxy stands for."""
        backend = elbv2_backends[ACCOUNT_ID][REGION]
        for group in backend.target_groups.values():
            for arn in group.load_balancer_arns:
                balancer = backend.load_balancers.get(arn)
                if balancer is not None and balancer.name == SandboxELBv2Backend.served:
                    return group  # type: ignore[return-value]
        return None

    def served_balancer(self) -> Any:
        """The load balancer that HAProxy stands for, or None."""
        balancers = elbv2_backends[ACCOUNT_ID][REGION].load_balancers.values()
        return next((b for b in balancers if b.name == SandboxELBv2Backend.served), None)

    def admits(self, machine: Machine) -> bool:
        """Whether the load balancer does not keep this machine from being in service."""
        group = self.served_group()
        if group is None or machine.instance_id not in group.targets:
            return True
        server = self._servers.get(machine.instance_id)
        return server is not None and server.up

    def is_unhealthy(self, machine: Machine) -> bool:
        group = self.served_group()
        if group is None or machine.instance_id not in group.targets:
            return False
        return group.observed.get(machine.instance_id, REGISTERING).state == "unhealthy"

    def is_drained(self, machine: Machine) -> bool:
        """Whether no request is under way through the load balancer (or the time for that is over)."""
        server = self._servers.get(machine.instance_id)
        return server is None or server.in_maintenance

    def is_gone(self, machine: Machine) -> bool:
        """Whether HAProxy has forgotten this machine."""
        return machine.instance_id not in self._servers

    def leave_all(self, machine: Machine) -> None:
        """Deregister a machine from every target group."""
        for group in elbv2_backends[ACCOUNT_ID][REGION].target_groups.values():
            if machine.instance_id in group.targets:
                group.deregister([{"Id": machine.instance_id}])

    # -- what happens in every step

    def sync(self, machines: dict[str, Machine], view: BalancerView) -> None:
        """Add, drain and remove servers; then write down the health of all targets."""
        self._servers = dict(view.servers)
        group = self.served_group()
        wanted = {i: machines[i] for i in (group.targets if group else {}) if i in machines}
        for instance_id, machine in wanted.items():
            server = self._servers.get(instance_id)
            if server is None and machine.answers and machine.process.running and group is not None:
                self.balancer.add(instance_id, machine.address, self._check(group))
            elif server is not None and instance_id in self._draining_since_s:  # it was registered again in time
                del self._draining_since_s[instance_id]
                self.balancer.ready(instance_id)
        for instance_id in [i for i in self._servers if i not in wanted]:
            self._drain(instance_id, machines.get(instance_id), group)
        for other in elbv2_backends[ACCOUNT_ID][REGION].target_groups.values():
            if isinstance(other, SandboxTargetGroup):
                self._observe(other, other is group, machines)

    def _check(self, group: SandboxTargetGroup) -> HealthCheck:
        return HealthCheck(
            float(group.health_check_interval_seconds) / self._scale,
            int(group.healthy_threshold_count),
            int(group.unhealthy_threshold_count),
        )

    def _drain(self, instance_id: str, machine: Machine | None, group: SandboxTargetGroup | None) -> None:
        server = self._servers[instance_id]
        if server.in_maintenance:
            if self.balancer.remove(instance_id):
                del self._servers[instance_id]
                self._draining_since_s.pop(instance_id, None)
            return
        since = self._draining_since_s.get(instance_id)
        if since is None:
            self._draining_since_s[instance_id] = time.monotonic()
            self.balancer.drain(instance_id)
            return
        delay_aws_s = float(group.attributes.get("deregistration_delay.timeout_seconds", 300)) if group else 0.0
        over = time.monotonic() - since > delay_aws_s / self._scale
        dead = machine is None or not machine.process.running
        if server.sessions == 0 or over or dead:
            self.balancer.stop(instance_id)

    def _observe(self, group: SandboxTargetGroup, served: bool, machines: dict[str, Machine]) -> None:
        for instance_id in list(group.draining):
            if not served or instance_id not in self._servers:
                group.end_draining(instance_id)
            else:
                group.observed[instance_id] = DRAINING
        for instance_id in group.targets:
            machine = machines.get(instance_id)
            group.observed[instance_id] = self._health(machine, instance_id) if served else UNUSED

    def _health(self, machine: Machine | None, instance_id: str) -> TargetHealth:
        if machine is None:
            return REGISTERING
        server = self._servers.get(instance_id)
        if server is None:
            return REGISTERING if machine.process.running else FAILED
        if server.up:
            machine.was_healthy = True
            return HEALTHY
        if not machine.was_healthy:
            return CHECKING
        health = UNHEALTHY.get(server.check, FAILED)
        if health.description and "{code}" in health.description:
            return TargetHealth(health.state, health.reason, health.description.format(code=server.check_code))
        return health
