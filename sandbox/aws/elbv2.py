"""Elastic Load Balancing: target health as the plant's load balancer sees it, and addresses that can be reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from moto.elbv2 import models
from moto.elbv2.models import elbv2_backends

from sandbox.aws.moto_access import ExtendedBackend

REACHABLE_NAME = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class TargetHealth:
    """State, and for every state but "healthy" the reason code and a sentence."""

    state: str
    reason: str | None = None
    description: str | None = None


REGISTERING = TargetHealth("initial", "Elb.RegistrationInProgress", "Target registration is in progress")
CHECKING = TargetHealth("initial", "Elb.InitialHealthChecking", "Initial health checks in progress")
HEALTHY = TargetHealth("healthy")
DRAINING = TargetHealth("draining", "Target.DeregistrationInProgress", "Target deregistration is in progress")
UNUSED = TargetHealth(
    "unused", "Target.NotInUse", "Target group is not configured to receive traffic from the load balancer"
)
NOT_REGISTERED = TargetHealth("unused", "Target.NotRegistered", "Target is not registered to the target group")


class SandboxTargetGroup(models.FakeTargetGroup):
    """A target group; `observed` is written by the plant and read by DescribeTargetHealth."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.observed: dict[str, TargetHealth] = {}
        self.draining: dict[str, dict[str, Any]] = {}

    def register(self, targets: list[dict[str, Any]]) -> None:
        super().register(targets)
        for target in targets:
            self.draining.pop(target["Id"], None)
            self.observed.pop(target["Id"], None)

    def deregister(self, targets: list[dict[str, Any]]) -> None:
        """The target gets no new requests, and stays visible as draining until the plant has emptied it."""
        for target in targets:
            entry = self.targets.get(target["Id"])
            if entry is not None:
                self.draining[target["Id"]] = entry
        super().deregister(targets)

    def deregister_terminated_instances(self, instance_ids: list[str]) -> None:
        """An instance that ends is deregistered by the plant."""

    def end_draining(self, instance_id: str) -> None:
        self.draining.pop(instance_id, None)
        self.observed.pop(instance_id, None)

    def health_for(self, target: dict[str, Any], ec2_backend: Any) -> models.FakeHealthStatus:
        instance_id = target["Id"]
        if instance_id in self.draining:
            entry, health = self.draining[instance_id], DRAINING
        elif instance_id in self.targets:
            entry, health = self.targets[instance_id], self.observed.get(instance_id, REGISTERING)
        else:
            entry, health = {"Port": target.get("Port", self.port)}, NOT_REGISTERED
        return models.FakeHealthStatus(
            instance_id, entry["Port"], self.health_check_port, health.state, health.reason, health.description
        )


class SandboxELBv2Backend(ExtendedBackend, models.ELBv2Backend):
    """Load balancing in one account and region. `served` names the load balancer that HAProxy stands for."""

    MOTO_SERVICE = "elbv2"
    served: str | None = None

    def create_load_balancer(self, *args: Any, **kwargs: Any) -> models.FakeLoadBalancer:
        balancer = super().create_load_balancer(*args, **kwargs)
        if balancer.name == self.served:
            balancer.dns_name = REACHABLE_NAME
        return balancer

    def describe_target_health(self, target_group_arn: str, targets: list[dict[str, Any]]) -> list[Any]:
        group = self.target_groups.get(target_group_arn)
        if isinstance(group, SandboxTargetGroup) and not targets:
            targets = [{"Id": i} for i in dict.fromkeys([*group.targets, *group.draining])]
            if not targets:
                return []
        return super().describe_target_health(target_group_arn, targets)


def install(served_load_balancer: str) -> None:
    """Put the classes above in the place of moto's; one load balancer is the one that can be reached."""
    SandboxELBv2Backend.served = served_load_balancer
    models.FakeTargetGroup = SandboxTargetGroup  # type: ignore[misc]
    elbv2_backends.backend = SandboxELBv2Backend
