"""Hook for Elastic Load Balancing (application and network load balancers)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from headroom_airflow.hooks.aws_errors import told
from headroom_airflow.hooks.base import ServiceHook
from headroom_airflow.waits import Wait
from include.capacity.errors import NotReady


@dataclass(frozen=True, slots=True)
class TargetState:
    """One target: `state` is initial, healthy, unhealthy, draining, unused or unavailable; the reason is AWS's code and
    sentence, empty for a healthy one."""

    target: str
    port: int
    state: str
    reason: str = ""
    description: str = ""


class Elbv2Hook(ServiceHook):
    """Interact with load balancers, listeners and target groups.

    Source: https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/
    """

    service = "elbv2"

    @told
    def load_balancer(self, name: str) -> dict[str, Any]:
        """The load balancer's description. Raises NotReady when there is none of that name."""
        try:
            return dict(self.conn.describe_load_balancers(Names=[name])["LoadBalancers"][0])
        except (self.conn.exceptions.LoadBalancerNotFoundException, IndexError) as error:
            raise _not_found("load balancer", name, "aws.load_balancer") from error

    @told
    def listener_port(self, load_balancer_arn: str, scheme: str) -> int:
        """The port of the first listener that speaks `scheme` (http or https)."""
        for listener in self.items("describe_listeners", "Listeners", LoadBalancerArn=load_balancer_arn):
            if listener.get("Protocol", "").lower() == scheme:
                return int(listener["Port"])
        raise NotReady(
            f"The load balancer {load_balancer_arn} has no {scheme} listener. "
            "Check target.scheme of the service profile."
        )

    @told
    def target_group(self, name: str) -> dict[str, Any]:
        """The target group's description. Raises NotReady when there is none of that name."""
        try:
            return dict(self.conn.describe_target_groups(Names=[name])["TargetGroups"][0])
        except (self.conn.exceptions.TargetGroupNotFoundException, IndexError) as error:
            raise _not_found("target group", name, "aws.target_group") from error

    def target_group_arn(self, name: str) -> str:
        """Raises NotReady when there is no target group of that name."""
        return str(self.target_group(name)["TargetGroupArn"])

    @told
    def tags(self, arns: Sequence[str]) -> dict[str, dict[str, str]]:
        """ARN -> tags, of at most 20 load balancers and target groups."""
        answer = self.conn.describe_tags(ResourceArns=list(arns))
        return {
            entry["ResourceArn"]: {tag["Key"]: tag["Value"] for tag in entry["Tags"]}
            for entry in answer["TagDescriptions"]
        }

    @told
    def target_group_attributes(self, target_group_arn: str) -> dict[str, str]:
        """Attributes by name, such as deregistration_delay.timeout_seconds and slow_start.duration_seconds."""
        answer = self.conn.describe_target_group_attributes(TargetGroupArn=target_group_arn)
        return {attribute["Key"]: attribute["Value"] for attribute in answer["Attributes"]}

    @told
    def target_states(self, target_group_arn: str) -> list[TargetState]:
        """Every target with the reason of its state, by id."""
        entries = self.conn.describe_target_health(TargetGroupArn=target_group_arn)["TargetHealthDescriptions"]
        states = [
            TargetState(
                target=entry["Target"]["Id"],
                port=int(entry["Target"].get("Port", 0)),
                state=entry["TargetHealth"]["State"],
                reason=entry["TargetHealth"].get("Reason", ""),
                description=entry["TargetHealth"].get("Description", ""),
            )
            for entry in entries
        ]
        return sorted(states, key=lambda state: (state.target, state.port))

    def target_health(self, target_group_arn: str) -> dict[str, str]:
        """Target id -> state."""
        return {state.target: state.state for state in self.target_states(target_group_arn)}

    @staticmethod
    def healthy(target_group_arn: str, targets: Sequence[str], *, within_s: float, every_s: float = 5.0) -> Wait:
        """Waits until each of the targets (instance ids or addresses) is healthy.

        A target that the load balancer can never use (not in its network, its zone switched off) fails at once.
        """
        return Wait(
            waiter="targets_healthy",
            arguments={"TargetGroupArn": target_group_arn, "Targets": [{"Id": target} for target in targets]},
            about=f"The target group {_name(target_group_arn)!r}",
            wanted="have all its targets healthy",
            states={
                "targets": "TargetHealthDescriptions[].[Target.Id, TargetHealth.State, TargetHealth.Reason]",
                "because": "TargetHealthDescriptions[?TargetHealth.State!='healthy'] | [0].TargetHealth.Description",
            },
            cure="Look at the target group's health check and at the logs of the targets that are not healthy.",
            within_s=within_s,
            every_s=every_s,
        )

    @staticmethod
    def drained(target_group_arn: str, *, within_s: float, every_s: float = 5.0) -> Wait:
        """Waits until no target is draining."""
        return Wait(
            waiter="targets_drained",
            arguments={"TargetGroupArn": target_group_arn},
            about=f"The target group {_name(target_group_arn)!r}",
            wanted="drain its leaving targets",
            states={"targets": "TargetHealthDescriptions[].[Target.Id, TargetHealth.State]"},
            cure="Its deregistration_delay.timeout_seconds says how long a target may take.",
            within_s=within_s,
            every_s=every_s,
        )


def _name(target_group_arn: str) -> str:
    """arn:…:targetgroup/<name>/<id>"""
    return target_group_arn.split("/")[1] if target_group_arn.count("/") == 2 else target_group_arn


def _not_found(kind: str, name: str, key: str) -> NotReady:
    return NotReady(f"There is no {kind} {name!r}. Check {key}, aws.region and aws.connection of the service profile.")
