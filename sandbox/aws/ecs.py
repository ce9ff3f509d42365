"""ECS: tasks and clusters as moto has them, each task a real process (sandbox.plant.containers drives it)."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

from moto.core.responses import ActionResult
from moto.ecs import models
from moto.ecs.exceptions import EcsClientException, InvalidParameterException
from moto.ecs.models import ecs_backends
from moto.ecs.responses import DESCRIBE_TASKS_TAGS, EC2ContainerServiceResponse

from sandbox.aws.ecs_services import (
    UNSUPPORTED_PARAMETERS,
    Service,
    ServicesBackend,
    checked_deployment_configuration,
)
from sandbox.aws.moto_access import ExtendedBackend, route_to
from sandbox.aws.scaling_activities import now
from sandbox.aws.server import InvalidHere

STOPPED_KEPT_S = 3600.0  # AWS shows a stopped task for an hour
UNSUPPORTED_RUN_PARAMETERS = ("placementConstraints", "placementStrategy", "volumeConfigurations")


class SandboxTask(models.Task):
    """A task whose state is what its process does, not how often it was described."""

    def __init__(self, **kwargs: Any) -> None:
        network = (kwargs.get("networking_configuration") or {}).get("awsvpcConfiguration")
        if network is not None:
            network.setdefault("securityGroups", [])
        super().__init__(**kwargs)
        self._current = "PROVISIONING"
        self.created_at: datetime = now()
        self.pull_started_at: datetime | None = None
        self.pull_stopped_at: datetime | None = None
        self.started_at: datetime | None = None
        self.stopping_at: datetime | None = None
        self.stopped_at: datetime | None = None
        self.execution_stopped_at: datetime | None = None
        self.stop_code: str | None = None
        self.stopped_reason: str | None = None  # type: ignore[assignment]
        self.client_token: str | None = None
        self.connectivity: str | None = None
        self.version = 1
        self.ended_s: float | None = None
        container = self.containers[0]
        container.task_arn = self.task_arn
        container.container_arn = f"{self.task_arn.replace(':task/', ':container/')}/{uuid.uuid4()}"
        container.exitCode = None  # type: ignore[assignment]
        container.last_status = "PENDING"

    @property
    def status(self) -> str:
        return self._current

    @status.setter
    def status(self, value: str) -> None:
        self._current = value
        self.version += 1

    def advance(self) -> None:
        """Describing a task does not change it."""

    @property
    def finished(self) -> bool:
        return self._current == "STOPPED"


class SandboxECSBackend(ExtendedBackend, ServicesBackend):
    """The state of ECS in one account and region. `on_run` and `on_stop` are the plant's, called with the new task."""

    MOTO_SERVICE = "ecs"
    on_run: Callable[[SandboxECSBackend, SandboxTask], None]
    on_stop: Callable[[SandboxTask], None]

    def run_task(self, *args: Any, **kwargs: Any) -> list[Any]:
        self._forget_old_tasks()
        definition = self.describe_task_definition(kwargs.get("task_definition_str") or args[1])
        if len(definition.container_definitions) != 1:
            raise EcsClientException("The sandbox runs task definitions with exactly one container")
        tasks = super().run_task(*args, **kwargs)
        for task in tasks:
            type(self).on_run(self, task)
        return tasks

    def tasks_of(self, cluster_str: str) -> list[SandboxTask]:
        """Raises ClusterNotFoundException."""
        cluster = self._get_cluster(cluster_str)
        return [t for t in self.tasks.get(cluster.name, {}).values() if isinstance(t, SandboxTask)]

    def find_task(self, cluster_str: str, name: str) -> SandboxTask | None:
        """A task by its id or its ARN."""
        task_id = name.split("/")[-1]
        return next((task for task in self.tasks_of(cluster_str) if task.id == task_id), None)

    def stop_task(self, cluster_str: str, task_str: str, reason: str) -> Any:
        task = self.find_task(cluster_str, task_str)
        if task is None:
            raise InvalidParameterException("The referenced task was not found.")
        if task.desired_status != "STOPPED":
            task.desired_status = "STOPPED"
            task.stop_code = "UserInitiated"
            task.stopped_reason = reason or "Task stopped by user"
            type(self).on_stop(task)
        return task

    def _forget_old_tasks(self) -> None:
        oldest = time.monotonic() - STOPPED_KEPT_S
        for tasks in self.tasks.values():
            for arn in [a for a, t in tasks.items() if getattr(t, "ended_s", None) and t.ended_s < oldest]:  # type: ignore[attr-defined]
                del tasks[arn]


class SandboxECSResponse(EC2ContainerServiceResponse):
    """Each public method answers the action of its name."""

    @property
    def ecs_backend(self) -> SandboxECSBackend:
        return super().ecs_backend  # type: ignore[return-value]

    def run_task(self) -> ActionResult:
        for key in UNSUPPORTED_RUN_PARAMETERS:
            if self._get_param(key):
                raise InvalidHere(f"The sandbox does not support the parameter {key} of RunTask")
        cluster, token = self._get_param("cluster", "default"), self._get_param("clientToken")
        if token:
            known = [task for task in self.ecs_backend.tasks_of(cluster) if task.client_token == token]
            if known:
                return ActionResult({"tasks": known, "failures": []})
        result = super().run_task()
        for task in result.result["tasks"]:  # type: ignore[index]
            task.client_token = token
            if self._get_param("propagateTags") == "TASK_DEFINITION":
                definition = self.ecs_backend.describe_task_definition(task.task_definition_arn)
                own = {tag["key"] for tag in task.tags}
                task.tags = task.tags + [tag for tag in definition.tags or [] if tag["key"] not in own]
        return result

    def create_service(self) -> ActionResult:
        for key in UNSUPPORTED_PARAMETERS:
            if self._get_param(key):
                raise InvalidHere(f"The sandbox does not support the parameter {key} of CreateService")
        network = (self._get_param("networkConfiguration") or {}).get("awsvpcConfiguration")
        if network is not None:
            network.setdefault("securityGroups", [])
        configuration = checked_deployment_configuration(self._get_param("deploymentConfiguration") or {})
        result = super().create_service()
        result.result["service"].deployment_configuration = configuration  # type: ignore[index]
        return result

    def describe_tasks(self) -> ActionResult:
        cluster, names = self._get_param("cluster", "default"), self._get_param("tasks", [])
        if not names:
            raise InvalidParameterException("Tasks cannot be empty.")
        if "TAGS" in self._get_param("include", []):
            self._include_in_response(DESCRIBE_TASKS_TAGS)
        else:
            self._exclude_from_response(DESCRIBE_TASKS_TAGS)
        found = {name: self.ecs_backend.find_task(cluster, name) for name in names}
        return ActionResult(
            {
                "tasks": [task for task in found.values() if task is not None],
                "failures": [{"arn": name, "reason": "MISSING"} for name, task in found.items() if task is None],
            }
        )

    def list_tasks(self) -> ActionResult:
        family, started_by = self._get_param("family"), self._get_param("startedBy")
        service = self._get_param("serviceName")
        wanted = self._get_param("desiredStatus") or "RUNNING"
        tasks = [
            task
            for task in self.ecs_backend.tasks_of(self._get_param("cluster", "default"))
            if task.desired_status == wanted
            and (started_by is None or task.started_by == started_by)
            and (service is None or task.group == f"service:{service.split('/')[-1]}")
            and (family is None or task.task_definition_arn.rpartition("/")[2].rpartition(":")[0] == family)
        ]
        return ActionResult({"taskArns": [task.task_arn for task in tasks]})


def install(on_run: Callable[[SandboxECSBackend, SandboxTask], None], on_stop: Callable[[SandboxTask], None]) -> None:
    """Put the classes above in the place of moto's. Both functions are called with the lock around moto held."""
    models.Task = SandboxTask  # type: ignore[misc]
    models.Service = Service  # type: ignore[misc]
    SandboxECSBackend.on_run = staticmethod(on_run)
    SandboxECSBackend.on_stop = staticmethod(on_stop)
    ecs_backends.backend = SandboxECSBackend
    route_to("ecs", SandboxECSResponse)
