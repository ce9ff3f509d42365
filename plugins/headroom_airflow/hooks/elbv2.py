"""Hook for Elastic Load Balancing (application and network load balancers)."""

from __future__ import annotations

from typing import Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

from headroom_airflow.hooks.aws_errors import told
from include.capacity.errors import NotReady


class Elbv2Hook(AwsBaseHook):
    """Interact with load balancers, listeners and target groups.

    Source: https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["client_type"] = "elbv2"
        super().__init__(*args, **kwargs)

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
        listeners = self.conn.describe_listeners(LoadBalancerArn=load_balancer_arn)["Listeners"]
        for listener in listeners:
            if listener.get("Protocol", "").lower() == scheme:
                return int(listener["Port"])
        raise NotReady(
            f"The load balancer {load_balancer_arn} has no {scheme} listener. "
            "Check target.scheme of the service profile."
        )

    @told
    def target_group_arn(self, name: str) -> str:
        """Raises NotReady when there is no target group of that name."""
        try:
            return str(self.conn.describe_target_groups(Names=[name])["TargetGroups"][0]["TargetGroupArn"])
        except (self.conn.exceptions.TargetGroupNotFoundException, IndexError) as error:
            raise _not_found("target group", name, "aws.target_group") from error

    @told
    def target_health(self, target_group_arn: str) -> dict[str, str]:
        """Target id -> state (`initial`, `healthy`, `unhealthy`, `draining`, `unused`, `unavailable`)."""
        entries = self.conn.describe_target_health(TargetGroupArn=target_group_arn)["TargetHealthDescriptions"]
        return {entry["Target"]["Id"]: entry["TargetHealth"]["State"] for entry in entries}


def _not_found(kind: str, name: str, key: str) -> NotReady:
    return NotReady(f"There is no {kind} {name!r}. Check {key}, aws.region and aws.connection of the service profile.")
