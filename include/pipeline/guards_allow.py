"""Compares what a run would touch with the allow-lists of its profile and of the installation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from include.capacity.errors import GuardRefused
from include.capacity.guard.allow import AllowList, Resource, Touched, violations
from include.capacity.guard.rails import load_rails
from include.capacity.profile import ServiceProfile
from include.pipeline.environment import Environment
from include.pipeline.installation import Installation


def allow_lists(profile: ServiceProfile, installation: Installation) -> list[AllowList]:
    """The profile's own list and the installation's, if there is one. Raises ConfigError for one that is wrong."""
    allow = profile.guard.allow
    own = AllowList(
        "the service profile",
        "guard.allow.",
        allow.accounts or (),
        allow.regions or (),
        allow.resources or (),
        allow.tags,
    )
    return [own, *([load_rails(Path(installation.guard_rails))] if installation.guard_rails else [])]


def check_allowed(environment: Environment, lists: Sequence[AllowList], addresses: Mapping[str, Sequence[str]]) -> None:
    """Raises GuardRefused with everything that a list does not allow. Tags are asked for only where a list has some."""
    profile = environment.profile
    touched = Touched(
        account=profile.aws.account,
        region=profile.aws.region,
        resources=_resources(environment, with_tags=any(allowed.tags for allowed in lists)),
        addresses=addresses,
        max_rate_tps=profile.guard.max_rate_tps,
        max_duration_s=profile.guard.max_duration_s,
    )
    if found := [sentence for allowed in lists for sentence in violations(allowed, touched)]:
        raise GuardRefused("\n".join(found))


def _resources(environment: Environment, *, with_tags: bool) -> list[Resource]:
    aws, balancers = environment.profile.aws, environment.balancers
    names = {
        "aws.autoscaling_group": ("Auto Scaling group", aws.autoscaling_group),
        "aws.load_balancer": ("load balancer", aws.load_balancer),
        "aws.target_group": ("target group", aws.target_group),
    }
    tags: dict[str, Mapping[str, str]] = {}
    if with_tags:
        tags["aws.autoscaling_group"] = {tag["Key"]: tag["Value"] for tag in environment.group().get("Tags", [])}
        arns = {
            "aws.load_balancer": str(balancers.load_balancer(aws.load_balancer)["LoadBalancerArn"]),
            "aws.target_group": balancers.target_group_arn(aws.target_group),
        }
        found = balancers.tags(list(arns.values()))
        tags |= {key: found.get(arn, {}) for key, arn in arns.items()}
    return [Resource(kind, key, name, tags.get(key, {})) for key, (kind, name) in names.items()]
