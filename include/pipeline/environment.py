"""The environment under test: what it is like, and what a run changes of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from headroom_airflow.hooks.autoscaling import AutoScalingHook
from headroom_airflow.hooks.elbv2 import Elbv2Hook
from headroom_airflow.hooks.identity import IdentityHook
from include.capacity.errors import ConfigError
from include.capacity.profile import ServiceProfile
from include.capacity.validity.environment import EnvironmentState
from include.environment.autoscaling_group import SIZES
from include.environment.kinds import Resources, connection_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Environment:
    """The AWS side of a service: its group, target group and load balancer."""

    profile: ServiceProfile
    groups: AutoScalingHook
    balancers: Elbv2Hook
    identity: IdentityHook
    resources: Resources

    @classmethod
    def of(cls, profile: ServiceProfile) -> Environment:
        keys = connection_of(profile)
        balancers = Elbv2Hook(**keys)

        def health() -> dict[str, str]:
            return balancers.target_health(balancers.target_group_arn(profile.aws.target_group))

        return cls(profile, AutoScalingHook(**keys), balancers, IdentityHook(**keys), Resources(profile, health))

    @property
    def name(self) -> str:
        """Identifies the environment among all runs."""
        aws = self.profile.aws
        return f"{aws.account}-{aws.region}-{aws.autoscaling_group}"

    def group(self) -> dict[str, Any]:
        return self.groups.group(self.profile.aws.autoscaling_group)

    def target(self) -> tuple[str, str, int]:
        """Scheme, host and port that the load is sent to: the load balancer's, unless the profile gives a URL."""
        target = self.profile.target
        if target.url is not None:
            return split_url(target.url)
        balancer = self.balancers.load_balancer(self.profile.aws.load_balancer)
        port = self.balancers.listener_port(balancer["LoadBalancerArn"], target.scheme)
        return target.scheme, str(balancer["DNSName"]).lower(), port

    def health(self) -> dict[str, str]:
        return dict(self.resources.health())

    def observe(self) -> EnvironmentState:
        """What a probe records about the environment, and by what a change of it is seen."""
        group = self.group()
        in_service = [entry for entry in group["Instances"] if entry["LifecycleState"] == "InService"]
        return EnvironmentState(
            figures={
                "desired": float(group["DesiredCapacity"]),
                "in_service": float(len(in_service)),
                "healthy": float(sum(state == "healthy" for state in self.health().values())),
            },
            instances={entry["InstanceId"]: _kind_of(entry) for entry in in_service},
            settings={
                "The desired number of instances": str(group["DesiredCapacity"]),
                "The launch template of the group": _template_of(group),
            },
        )

    def facts(self) -> dict[str, Any]:
        """What the result says about the environment."""
        group = self.group()
        aws = self.profile.aws
        return {
            "account": aws.account,
            "region": aws.region,
            "autoscaling_group": aws.autoscaling_group,
            "load_balancer": aws.load_balancer,
            "target_group": aws.target_group,
            "instance_types": sorted({entry.get("InstanceType", "unknown") for entry in group["Instances"]}),
            "sizes": {name: group[name] for name in SIZES},
        }

    def replace_instances(self) -> float:
        """Terminates the group's instances and waits until as many fresh ones are ready; returns the seconds."""
        instances = [entry["InstanceId"] for entry in self.group()["Instances"]]
        log.info("Replacing %s.", ", ".join(instances))
        for instance in instances:
            self.groups.terminate(instance)
        return self.wait_for_size(len(instances), self.profile.prescale.ready_within_s)

    def wait_for_size(self, size: int, within_s: float, sleep: Callable[[float], None] = time.sleep) -> float:
        """Waits until exactly `size` instances are InService and healthy in the target group; returns the seconds.

        Raises NotReady with the last state of each instance when time is up.
        """
        return self.resources.group.wait_for_size(size, within_s, sleep)


def _kind_of(instance: Mapping[str, Any]) -> str:
    """Everything about an instance that stays while it lives, as one text."""
    return ", ".join(
        [instance.get("InstanceType", "unknown type"), instance.get("AvailabilityZone", ""), _template_of(instance)]
    )


def _template_of(entry: Mapping[str, Any]) -> str:
    """The launch template (or configuration) of a group or an instance, with its version."""
    mixed = entry.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {}).get("LaunchTemplateSpecification")
    template = entry.get("LaunchTemplate") or mixed
    if template:
        name = template.get("LaunchTemplateName") or template.get("LaunchTemplateId")
        return f"{name} version {template.get('Version', 'default')}"
    return str(entry.get("LaunchConfigurationName", "none"))


def split_url(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError("service profile", "target.url", f"{url!r} is no address.", "Write http://host:port.")
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
