"""Hook for the ECS services that are tested; `load_fleet` is the one for the tasks that make the load."""

from __future__ import annotations

from typing import Any

from headroom_airflow.hooks.aws_errors import told
from headroom_airflow.hooks.base import ServiceHook, chunks
from headroom_airflow.waits import Wait
from include.capacity.errors import NotReady

DESCRIBED_AT_ONCE = 100  # tasks that DescribeTasks takes


class EcsServiceHook(ServiceHook):
    """Looks at ECS services and sets how many tasks they want.

    Source: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/
    """

    service = "ecs"

    @told
    def describe(self, name: str, *, cluster: str) -> dict[str, Any]:
        """The service's description with its deployments, events and tags. Raises NotReady when there is none."""
        try:
            found = self.conn.describe_services(cluster=cluster, services=[name], include=["TAGS"])["services"]
        except self.conn.exceptions.ClusterNotFoundException as error:
            raise NotReady(f"There is no ECS cluster {cluster!r}. {_CURE}") from error
        active = [service for service in found if service["status"] != "INACTIVE"]
        if not active:
            raise NotReady(f"There is no ECS service {name!r} in the cluster {cluster!r}. {_CURE}")
        return dict(active[0])

    @told
    def set_desired(self, name: str, *, cluster: str, count: int) -> None:
        """Wants `count` tasks; the same number twice changes nothing."""
        self.conn.update_service(cluster=cluster, service=name, desiredCount=count)

    @told
    def tasks(self, name: str, *, cluster: str) -> list[dict[str, Any]]:
        """Descriptions of the service's tasks that are to run, with the digests of their images."""
        pages = self.conn.get_paginator("list_tasks").paginate(cluster=cluster, serviceName=name)
        arns = [arn for page in pages for arn in page["taskArns"]]
        tasks: list[dict[str, Any]] = []
        for part in chunks(arns, DESCRIBED_AT_ONCE):
            tasks += [dict(task) for task in self.conn.describe_tasks(cluster=cluster, tasks=part)["tasks"]]
        return tasks

    @staticmethod
    def steady(name: str, *, cluster: str, within_s: float, every_s: float = 5.0) -> Wait:
        """Waits until one deployment is left, complete, and as many tasks run as are desired.

        A deployment that failed (the circuit breaker), and a service that is draining or gone, fail at once.
        """
        return Wait(
            waiter="service_steady",
            arguments={"cluster": cluster, "services": [name]},
            about=f"The ECS service {name!r} of the cluster {cluster!r}",
            wanted="become steady",
            states={
                "status": "services[0].status",
                "missing": "failures[].reason",
                "desired": "services[0].desiredCount",
                "running": "services[0].runningCount",
                "pending": "services[0].pendingCount",
                "deployments": "services[0].deployments[].[status, rolloutState, rolloutStateReason]",
                "newest event": "services[0].events[0].message",
            },
            cure="Look at the service's events and at the reasons why its tasks stopped.",
            within_s=within_s,
            every_s=every_s,
        )


def last_event(service: dict[str, Any]) -> str:
    """What AWS says last about a described service; empty without an event."""
    return str(next((event["message"] for event in service.get("events", [])), ""))


_CURE = "Check the names below aws, aws.region and aws.connection of the service profile."
