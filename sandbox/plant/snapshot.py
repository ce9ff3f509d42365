"""A picture of what runs, for `python -m sandbox status` and for tests."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from moto.autoscaling.models import autoscaling_backends

from sandbox.aws.autoscaling_group import SandboxGroup
from sandbox.aws.moto_access import AWS_LOCK
from sandbox.plant.containers import ContainerRunner
from sandbox.plant.haproxy import SERVER_PORT, Balancer
from sandbox.plant.reconciler import Reconciler


def snapshot(reconciler: Reconciler, containers: ContainerRunner, balancer: Balancer) -> dict[str, Any]:
    """Groups, instances with their processes, targets of the load balancer, and ECS tasks."""
    servers = balancer.view().servers
    with AWS_LOCK:
        groups: list[dict[str, Any]] = []
        lifecycle: dict[str, str] = {}
        for _, _, backend in list(autoscaling_backends.iter_backends()):
            for group in backend.autoscaling_groups.values():
                if isinstance(group, SandboxGroup):
                    groups.append(_group(group))
                    lifecycle |= {state.instance_id: state.lifecycle_state for state in group.states()}
        machines = list(reconciler.machines.values())
    return {
        "updated_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "groups": groups,
        "instances": [
            {
                "id": machine.instance_id,
                "group": machine.group_name,
                "address": f"{machine.address}:{SERVER_PORT}",
                "pid": machine.process.pid,
                "running": machine.process.running,
                "state": lifecycle.get(machine.instance_id, "Detached"),
            }
            for machine in machines
        ],
        "targets": [
            {"id": name, "status": server.status, "sessions": server.sessions, "requests": server.requests}
            for name, server in servers.items()
        ],
        "tasks": [asdict(view) for view in containers.views()],
    }


def _group(group: SandboxGroup) -> dict[str, Any]:
    return {
        "name": group.name,
        "min": group.min_size,
        "max": group.max_size,
        "desired": group.desired_capacity,
        "suspended": sorted(process["ProcessName"] for process in group.suspended_processes),
    }
