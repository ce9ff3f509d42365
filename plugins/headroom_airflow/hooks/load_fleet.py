"""Hook for the ECS tasks that the load fleet consists of."""

from __future__ import annotations

from typing import Any

from headroom_airflow.hooks.aws_errors import told
from headroom_airflow.hooks.base import ServiceHook
from include.capacity.errors import NotReady


class LoadFleetHook(ServiceHook):
    """Looks at and stops the ECS tasks of the load fleet; the stock operator starts them.

    Source: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/
    """

    service = "ecs"

    @told
    def check(self, cluster: str, task_definition: str, container: str) -> None:
        """Raises NotReady unless the cluster and the task definition are active and it has that container."""
        clusters = self.conn.describe_clusters(clusters=[cluster])["clusters"]
        if not any(entry["status"] == "ACTIVE" for entry in clusters):
            raise NotReady(f"There is no active ECS cluster {cluster!r}. {_look_at('load.fleet.cluster')}")
        found = self._definition(task_definition)
        if found.get("status") == "INACTIVE":
            key = "Register it again, or check load.fleet.task_definition of the service profile."
            raise NotReady(f"The ECS task definition {task_definition!r} is inactive. {key}")
        names = [entry["name"] for entry in found["containerDefinitions"]]
        if container not in names:
            raise NotReady(
                f"The ECS task definition {task_definition!r} has no container {container!r}, only "
                f"{', '.join(names)}. Check load.fleet.container of the service profile."
            )

    @told
    def task_size(self, task_definition: str) -> tuple[float, float]:
        """vCPUs and GiB of memory that one task has. Raises NotReady without such a definition, or without sizes."""
        found = self._definition(task_definition)
        try:
            return int(found["cpu"]) / 1024, int(found["memory"]) / 1024
        except (KeyError, ValueError) as error:
            raise NotReady(
                f"The ECS task definition {task_definition!r} does not say how much CPU and memory a task has. Set cpu "
                "and memory of the task (Fargate needs them), not only of its container."
            ) from error

    def _definition(self, name: str) -> dict[str, Any]:
        try:
            return dict(self.conn.describe_task_definition(taskDefinition=name)["taskDefinition"])
        except self.conn.exceptions.ClientException as error:  # what ECS answers to an unknown name
            key = _look_at("load.fleet.task_definition")
            raise NotReady(f"There is no ECS task definition {name!r}. {key}") from error

    @told
    def running(self, cluster: str, family: str) -> list[dict[str, Any]]:
        """Descriptions, with tags, of a family's tasks that have not stopped. Raises NotReady without the cluster."""
        pages = self.conn.get_paginator("list_tasks").paginate(cluster=cluster, family=family, desiredStatus="RUNNING")
        try:
            arns = [arn for page in pages for arn in page["taskArns"]]
        except self.conn.exceptions.ClusterNotFoundException as error:
            raise NotReady(f"There is no ECS cluster {cluster!r}. {_look_at('load.fleet.cluster')}") from error
        tasks: list[dict[str, Any]] = []
        for start in range(0, len(arns), 100):  # what DescribeTasks takes at once
            described = self.conn.describe_tasks(cluster=cluster, tasks=arns[start : start + 100], include=["TAGS"])
            tasks += [dict(task) for task in described["tasks"] if task["lastStatus"] != "STOPPED"]
        return tasks

    @told
    def stop(self, cluster: str, task_arn: str, reason: str) -> None:
        """SIGTERM now, SIGKILL after the container's stopTimeout."""
        self.conn.stop_task(cluster=cluster, task=task_arn, reason=reason)


def _look_at(key: str) -> str:
    return f"Check {key}, aws.region and aws.connection of the service profile."
