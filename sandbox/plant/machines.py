"""The machines of the plant: one app process for each EC2 instance of an Auto Scaling group."""

from __future__ import annotations

import http.client
import json
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox.aws.scaling_activities import ScalingActivity
from sandbox.plant.haproxy import SERVER_PORT
from sandbox.processes.client import REPOSITORY_ROOT, KeeperClient, ManagedProcess, clean_environment

PROBE_TIMEOUT_S = 0.3
STATS_TIMEOUT_S = 2.0


@dataclass(slots=True)
class Machine:
    """One instance. Times are of the monotonic clock, in seconds."""

    instance_id: str
    group_name: str
    private_address: str
    process: ManagedProcess
    launch: ScalingActivity
    place: int = 0  # in its group, which decides its kind
    started_s: float = field(default_factory=time.monotonic)
    answers: bool = False  # it has answered its health check at least once
    in_service_s: float | None = None
    detached: bool = False
    registered: set[str] = field(default_factory=set)  # target groups that it was offered to
    termination: ScalingActivity | None = None
    asked_to_end_s: float | None = None
    unhealthy_because: str = ""
    was_healthy: bool = False  # its load balancer has seen it healthy

    @property
    def address(self) -> str:
        """Where the process listens: every machine has an address of its own on the loopback network."""
        return loopback_address(self.private_address)

    def probe(self) -> bool:
        """Whether the process answers its health check now."""
        connection = http.client.HTTPConnection(self.address, SERVER_PORT, timeout=PROBE_TIMEOUT_S)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def read_stats(self) -> dict[str, Any] | None:
        """The process's own counters; None if it does not answer. Reading takes the collected latencies away."""
        connection = http.client.HTTPConnection(self.address, SERVER_PORT, timeout=STATS_TIMEOUT_S)
        try:
            connection.request("GET", "/_stats")
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
            return answer
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()


def loopback_address(private_address: str) -> str:
    """172.31.a.b -> 127.31.a.b"""
    return "127." + private_address.split(".", 1)[1]


def is_free_address(private_address: str) -> bool:
    """Whether an app process could listen on the loopback twin of a private address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((loopback_address(private_address), SERVER_PORT))
        except OSError:
            return False
    return True


@dataclass(frozen=True, slots=True)
class MachineFactory:
    """Starts the process of an instance."""

    keeper: KeeperClient
    plant_file: Path
    log_folder: Path

    def start(
        self, instance_id: str, group_name: str, private_address: str, launch: ScalingActivity, place: int
    ) -> Machine:
        """Raises StartFailed."""
        process = self.keeper.start(
            [
                sys.executable,
                "-m",
                "sandbox.app",
                "--plant",
                str(self.plant_file),
                "--host",
                loopback_address(private_address),
                "--port",
                str(SERVER_PORT),
                "--instance",
                instance_id,
                "--place",
                str(place),
                "--parent",
                str(self.keeper.pid),
            ],
            log=self.log_folder / f"instance-{instance_id}.log",
            environment=clean_environment({"PYTHONPATH": str(REPOSITORY_ROOT), "PYTHONUNBUFFERED": "1"}),
        )
        return Machine(instance_id, group_name, private_address, process, launch, place)
