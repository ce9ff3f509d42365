"""The plant of the campaign: the sandbox's own reconciler over machines and a load balancer in memory.

Nothing runs behind it, and nothing happens by itself: every AWS call moves it one step on, so that a case can be
repeated.
"""

from __future__ import annotations

from typing import Any

from moto.ecs.models import ecs_backends

from sandbox.aws.moto_access import ACCOUNT_ID, REGION
from sandbox.aws.scaling_activities import ScalingActivity
from sandbox.plant.haproxy import BalancerView, HealthCheck, ServerStatus
from sandbox.plant.machines import Machine
from sandbox.plant.reconciler import Reconciler
from sandbox.plant.targets import TargetSync

BOOT_STEPS = 2
DRAIN_STEPS = 14  # more than the calls that a restore makes behind its last change: who does not wait is found out


class MemoryProcess:
    """A process that ends when it is asked to."""

    def __init__(self) -> None:
        self.pid = 0
        self.running = True

    def terminate(self) -> None:
        self.running = False

    kill = terminate


class MemoryMachine(Machine):
    """Answers after some looks at it."""

    __slots__ = ("looks",)

    def probe(self) -> bool:
        self.looks = getattr(self, "looks", 0) + 1
        return self.looks >= BOOT_STEPS


class MemoryFactory:
    def start(
        self, instance_id: str, group_name: str, private_address: str, launch: ScalingActivity, place: int
    ) -> Machine:
        process: Any = MemoryProcess()
        return MemoryMachine(instance_id, group_name, private_address, process, launch, place)


class MemoryBalancer:
    """HAProxy's part, as TargetSync uses it."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}
        self._draining: dict[str, int] = {}

    def view(self) -> BalancerView:
        self._draining = {name: left - 1 for name, left in self._draining.items() if left > 1}
        servers = {
            name: ServerStatus(state, "L7OK", "200", int(name in self._draining), 0, (0, 0, 0, 0), 0)
            for name, state in self._states.items()
        }
        return BalancerView(servers, 0)

    def add(self, name: str, address: str, check: HealthCheck) -> None:
        self._states[name] = "UP"

    def ready(self, name: str) -> None:
        self._states[name] = "UP"
        self._draining.pop(name, None)

    def drain(self, name: str) -> None:
        self._states[name] = "DRAIN"
        self._draining[name] = DRAIN_STEPS

    def stop(self, name: str) -> None:
        self._states[name] = "MAINT"

    def remove(self, name: str) -> bool:
        self._states.pop(name, None)
        return True


class MemoryPlant:
    """Moves when it is told to."""

    def __init__(self) -> None:
        balancer: Any = MemoryBalancer()
        factory: Any = MemoryFactory()
        self._reconciler = Reconciler(factory, TargetSync(balancer, time_scale=60.0), time_scale=60.0)

    def step(self) -> None:
        self._reconciler.step()
        for service in ecs_backends[ACCOUNT_ID][REGION].services.values():
            if service.running_count != service.desired_count:
                service.running_count += 1 if service.running_count < service.desired_count else -1
            service.pending_count = max(0, service.desired_count - service.running_count)
            for deployment in service.deployments:
                deployment["rolloutState"] = "COMPLETED"
