"""The scheduler of ECS services: keeps as many tasks running as are desired, and replaces those of old deployments."""

from __future__ import annotations

import logging
import math
import threading
import time

from moto.core.exceptions import ServiceException
from moto.ecs.models import ecs_backends

from sandbox.aws.ecs import SandboxECSBackend, SandboxTask
from sandbox.aws.ecs_services import Service
from sandbox.aws.moto_access import AWS_LOCK
from sandbox.aws.scaling_activities import now

log = logging.getLogger(__name__)

PERIOD_S = 0.2
LONGEST_DELAY_S = 15.0
CALM_S = 0.4  # a task that fails at once was running for a moment, too
STOPPED_BY_SCHEDULER = "ServiceSchedulerInitiated"
FEWEST_FAILURES, MOST_FAILURES = 3, 200  # of the circuit breaker's threshold, half of the desired tasks


class ServiceScheduler:
    """One thread for all services."""

    def __init__(self) -> None:
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._failures: dict[str, int] = {}  # deployment -> tasks that failed one after another
        self._not_before_s: dict[str, float] = {}
        self._judged: set[str] = set()  # tasks whose end has been looked at

    def start(self) -> None:
        threading.Thread(target=self._work, name="ecs-services", daemon=True).start()

    def wake(self) -> None:
        """Look at all services at once, because a task may have ended."""
        self._wake.set()

    def end(self) -> None:
        """Start no more tasks."""
        self._ending.set()
        self._wake.set()

    def _work(self) -> None:
        while not self._ending.is_set():
            with AWS_LOCK:
                for _, _, backend in list(ecs_backends.iter_backends()):
                    for service in list(backend.services.values()):
                        if isinstance(backend, SandboxECSBackend) and isinstance(service, Service):
                            try:
                                self._step(backend, service)
                            except Exception:
                                log.exception("service %s", service.name)
            self._wake.wait(PERIOD_S)
            self._wake.clear()

    def _step(self, backend: SandboxECSBackend, service: Service) -> None:
        if service.status == "INACTIVE":
            return
        tasks = [task for task in backend.tasks_of(service.cluster_name) if task.group == service.group]
        self._judge_ended(service, tasks)
        living = [task for task in tasks if not task.finished]
        primary = service.primary
        mine = [task for task in living if task.started_by == primary["id"] and task.desired_status == "RUNNING"]
        missing = service.desired_count - len(mine)
        if missing > 0:
            self._launch(backend, service, missing)
        elif missing < 0:
            self._stop(backend, service, mine[missing:], "Scaling activity initiated by (service scheduler)")
        running = sum(task.status == "RUNNING" for task in mine)
        if running >= service.desired_count:
            old = [task for task in living if task.started_by != primary["id"] and task.desired_status == "RUNNING"]
            self._stop(backend, service, old, "Task replaced by a newer deployment")
        self._count(service, living)

    def _judge_ended(self, service: Service, tasks: list[SandboxTask]) -> None:
        """A task that ended by itself has failed: the next one waits longer, and the circuit breaker counts it."""
        deployment = service.primary
        for task in tasks:
            if task.task_arn in self._judged or task.started_by != deployment["id"]:
                continue
            if task.finished:
                self._judged.add(task.task_arn)
                if task.stop_code in (STOPPED_BY_SCHEDULER, "UserInitiated"):
                    continue
                deployment["failedTasks"] += 1
                failures = self._failures[deployment["id"]] = self._failures.get(deployment["id"], 0) + 1
                self._not_before_s[deployment["id"]] = time.monotonic() + min(LONGEST_DELAY_S, 0.25 * 2**failures)
                service.tell(f"(task {task.id}) stopped: {task.stopped_reason}.")
                service.steady = False
                self._break_circuit(service, failures)

    def _break_circuit(self, service: Service, failures: int) -> None:
        breaker = service.deployment_configuration.get("deploymentCircuitBreaker") or {}
        threshold = min(max(math.ceil(service.desired_count / 2), FEWEST_FAILURES), MOST_FAILURES)
        if not breaker.get("enable") or failures < threshold or service.primary["rolloutState"] != "IN_PROGRESS":
            return
        service.primary["rolloutState"] = "FAILED"
        service.primary["rolloutStateReason"] = "ECS deployment circuit breaker: tasks failed to start."
        service.tell("(deployment failed) tasks failed to start.")

    def _launch(self, backend: SandboxECSBackend, service: Service, count: int) -> None:
        deployment = service.primary
        if deployment["rolloutState"] == "FAILED" or time.monotonic() < self._not_before_s.get(deployment["id"], 0.0):
            return
        try:
            tasks = backend.run_task(
                service.cluster_name,
                deployment["taskDefinition"],
                count,
                None,
                deployment["id"],
                list(service.tags) if service.propagate_tags == "SERVICE" else [],
                service.launch_type,
                networking_configuration=service.network_configuration or None,
                group=service.group,
            )
        except ServiceException as error:
            self._not_before_s[deployment["id"]] = time.monotonic() + LONGEST_DELAY_S
            service.tell(f"was unable to place a task: {error}")
            return
        service.tell(f"has started {len(tasks)} tasks: {_listed(tasks)}.")

    def _stop(self, backend: SandboxECSBackend, service: Service, tasks: list[SandboxTask], reason: str) -> None:
        for task in tasks:
            backend.stop_task(service.cluster_name, task.task_arn, reason)
            task.stop_code = STOPPED_BY_SCHEDULER
        if tasks:
            service.tell(f"has stopped {len(tasks)} running tasks: {_listed(tasks)}.")

    def _count(self, service: Service, living: list[SandboxTask]) -> None:
        """Counts by deployment, the end of old deployments, and whether the service is steady."""
        for deployment in service.deployments:
            own = [task for task in living if task.started_by == deployment["id"]]
            deployment["runningCount"] = sum(task.status == "RUNNING" for task in own)
            deployment["pendingCount"] = sum(task.status in ("PROVISIONING", "PENDING") for task in own)
            if deployment["status"] == "ACTIVE" and not own:
                deployment["status"] = "INACTIVE"
        service.deployments = [entry for entry in service.deployments if entry["status"] != "INACTIVE"]
        service.running_count = sum(entry["runningCount"] for entry in service.deployments)
        service.pending_count = sum(entry["pendingCount"] for entry in service.deployments)
        if service.status == "DRAINING" and not living:
            service.status = "INACTIVE"
            return
        alone = len(service.deployments) == 1 and len(living) == service.running_count == service.desired_count
        if not alone:
            service.calm_since_s = None
        elif service.calm_since_s is None:
            service.calm_since_s = time.monotonic()
        calm = service.calm_since_s is not None and time.monotonic() - service.calm_since_s >= CALM_S
        if calm and not service.steady and service.status == "ACTIVE":
            service.steady = True
            self._failures.pop(service.primary["id"], None)
            if service.primary["rolloutState"] != "COMPLETED":
                service.primary["rolloutState"] = "COMPLETED"
                service.primary["rolloutStateReason"] = f"ECS deployment {service.primary['id']} completed."
                service.primary["updatedAt"] = now()
            service.tell("has reached a steady state.")


def _listed(tasks: list[SandboxTask]) -> str:
    return " ".join(f"(task {task.id})" for task in tasks)
