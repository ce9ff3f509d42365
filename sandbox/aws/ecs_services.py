"""ECS services: what they want and what became of it. The plant's scheduler starts and stops their tasks."""

from __future__ import annotations

import uuid
from typing import Any

from moto.ecs import models
from moto.ecs.exceptions import InvalidParameterException, ServiceNotFoundException

from sandbox.aws.scaling_activities import now
from sandbox.aws.server import InvalidHere

EVENTS_KEPT = 100  # as on AWS
UNSUPPORTED_PARAMETERS = (
    "availabilityZoneRebalancing",
    "capacityProviderStrategy",
    "loadBalancers",
    "placementConstraints",
    "placementStrategy",
    "serviceConnectConfiguration",
    "serviceRegistries",
    "volumeConfigurations",
)


# moto's serialiser knows the attributes of a class by the class's name, hence the same name.
class Service(models.Service):
    """A service with its deployments, the newest first. Counts are written by the scheduler."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.desired_count: int = int(kwargs["desired_count"])
        self.created_at = now()
        self.deployment_configuration: dict[str, Any] = {}
        self.running_count = self.pending_count = 0
        self.deployments: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.steady = False
        self.calm_since_s: float | None = None  # since when as many tasks run as are desired
        if self.deployment_controller["type"] != "ECS":
            raise InvalidHere("The sandbox has the deployment controller ECS only")
        self.deploy()

    @property
    def group(self) -> str:
        """What its tasks carry as their group."""
        return f"service:{self.name}"

    @property
    def primary(self) -> dict[str, Any]:
        return self.deployments[0]

    def deploy(self) -> None:
        """A new deployment; the tasks of the others are replaced."""
        for deployment in self.deployments:
            deployment["status"] = "ACTIVE"
        number = f"ecs-svc/{uuid.uuid4().int % 10**19:019d}"
        deployment = {
            "id": number,
            "status": "PRIMARY",
            "taskDefinition": self.task_definition,
            "desiredCount": self.desired_count,
            "pendingCount": 0,
            "runningCount": 0,
            "failedTasks": 0,
            "createdAt": now(),
            "updatedAt": now(),
            "launchType": self.launch_type,
            "networkConfiguration": self.network_configuration or None,
            "rolloutState": "IN_PROGRESS",
            "rolloutStateReason": f"ECS deployment {number} in progress.",
        }
        self.deployments.insert(0, deployment)
        self.steady, self.calm_since_s = False, None

    def want(self, count: int) -> None:
        if count < 0:
            raise InvalidParameterException("desiredCount cannot be negative.")
        if count != self.desired_count:
            self.desired_count = self.primary["desiredCount"] = count
            self.steady, self.calm_since_s = False, None

    def tell(self, message: str) -> None:
        """Add an event; a sentence that begins with the service's name, as AWS writes them."""
        event = {"id": str(uuid.uuid4()), "createdAt": now(), "message": f"(service {self.name}) {message}"}
        self.events.insert(0, event)
        del self.events[EVENTS_KEPT:]


class ServicesBackend(models.EC2ContainerServiceBackend):
    """The part of ECS's state that is about services."""

    def create_service(self, cluster_str: str, service_name: str, *args: Any, **kwargs: Any) -> models.Service:
        cluster = self._get_cluster(cluster_str)
        known = self.services.get(f"{cluster.name}:{service_name}")
        if known is not None and known.status == "ACTIVE":
            raise InvalidParameterException("Creation of service was not idempotent.")
        return super().create_service(cluster_str, service_name, *args, **kwargs)

    def update_service(self, service_properties: dict[str, Any]) -> models.Service:
        """moto changes the count of running tasks here and knows one deployment only."""
        changes = {key: value for key, value in service_properties.items() if value is not None}
        cluster, name = changes.pop("cluster", "default"), changes.pop("service").split("/")[-1]
        service = self._get_service(cluster, name)
        assert isinstance(service, Service)
        if service.status != "ACTIVE":
            raise ServiceNotFoundException
        anew = bool(changes.pop("force_new_deployment", False))
        if (definition := changes.pop("task_definition", None)) is not None:
            arn = self.describe_task_definition(definition).arn
            anew = anew or arn != service.task_definition
            service.task_definition = arn
        if (network := changes.pop("network_configuration", None)) is not None:
            anew = anew or network != service.network_configuration
            service.network_configuration = service._validate_network(network)
        if (configuration := changes.pop("deployment_configuration", None)) is not None:
            service.deployment_configuration = checked_deployment_configuration(configuration)
        if (count := changes.pop("desired_count", None)) is not None:
            service.want(int(count))
        if changes:
            raise InvalidHere(f"The sandbox does not support {', '.join(sorted(changes))} of UpdateService")
        if anew:
            service.deploy()
        return service

    def delete_service(self, cluster_name: str, service_name: str, force: bool) -> models.Service:
        service = self._get_service(cluster_name, service_name.split("/")[-1])
        if service.desired_count > 0 and not force:
            raise InvalidParameterException("The service cannot be stopped while it is scaled above 0.")
        service.status, service.desired_count = "DRAINING", 0
        return service


def checked_deployment_configuration(configuration: dict[str, Any]) -> dict[str, Any]:
    """Refuses what the scheduler would have to ignore."""
    if (configuration.get("deploymentCircuitBreaker") or {}).get("rollback"):
        raise InvalidHere("The sandbox does not roll a service back; set deploymentCircuitBreaker.rollback to false")
    if configuration.get("alarms") or configuration.get("strategy") not in (None, "ROLLING"):
        raise InvalidHere("The sandbox has rolling deployments without alarms only")
    return configuration
