"""HAProxy as the load balancer: its configuration, and the runtime interface that adds, drains and removes servers."""

from __future__ import annotations

import csv
import io
import resource
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

BACKEND = "targets"
SERVER_PORT = 8080
COMMAND_TIMEOUT_S = 5.0
# AWS closes idle connections after 60 s; a little more here, so that a client's own limit comes first.
IDLE_TIMEOUT_S = 65
MOST_CONNECTIONS = 20_000
SPARE_FILES = 100
ALGORITHMS = {"least_connections": "leastconn", "round_robin": "roundrobin"}


class BalancerError(Exception):
    """HAProxy is missing, refused a command or does not answer."""


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """One target as HAProxy sees it. Counters run since the server was added."""

    status: str  # "UP", "DOWN", "DRAIN", "MAINT", "UP 1/2" while it changes
    check: str  # the last health check, such as "L7OK" or "L4CON"
    check_code: str
    sessions: int
    requests: int
    responses: tuple[int, int, int, int]  # with 2xx, 3xx, 4xx, 5xx
    connection_errors: int

    @property
    def up(self) -> bool:
        return self.status.startswith("UP")

    @property
    def in_maintenance(self) -> bool:
        return self.status.startswith("MAINT")


@dataclass(frozen=True, slots=True)
class BalancerView:
    """All targets by name, and the 5xx answers of the whole backend (those of HAProxy itself included)."""

    servers: dict[str, ServerStatus]
    errors_5xx: int


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """How often a target is asked (real seconds), and how many answers change its state."""

    interval_s: float
    rise: int
    fall: int


def find_haproxy() -> str:
    """The path of the program. Raises BalancerError that says how to install it."""
    found = shutil.which(
        "haproxy", path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    ) or shutil.which("haproxy")
    if found is None:
        raise BalancerError("HAProxy is not installed: type `sudo apt-get install haproxy` (version 2.6 or newer)")
    return found


def connection_limit() -> int:
    """How many client connections fit into the limit of open files: each needs two, one of them to a target."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = most if most != resource.RLIM_INFINITY else 2 * MOST_CONNECTIONS + SPARE_FILES
    return max(100, min(MOST_CONNECTIONS, (files - SPARE_FILES) // 2))


def configuration(port: int, control_socket: Path, algorithm: str) -> str:
    """HAProxy's configuration file for one load balancer on 127.0.0.1; `algorithm` as HAProxy calls it."""
    connections = connection_limit()
    return f"""global
    maxconn {connections}
    nbthread 1
    noreuseport
    log stdout format raw local0 notice
    stats socket {control_socket} mode 600 level admin

defaults
    mode http
    log global
    option dontlog-normal
    option http-keep-alive
    retries 0
    maxconn {connections}
    timeout connect 2s
    timeout client {IDLE_TIMEOUT_S}s
    timeout server {IDLE_TIMEOUT_S}s
    timeout queue {IDLE_TIMEOUT_S}s
    timeout http-keep-alive {IDLE_TIMEOUT_S}s

frontend listener
    bind 127.0.0.1:{port}
    default_backend {BACKEND}

backend {BACKEND}
    balance {algorithm}
    option httpchk GET /health
    http-check expect status 200
"""


class Balancer:
    """Talks to a running HAProxy through its control socket."""

    def __init__(self, control_socket: Path) -> None:
        self._path = str(control_socket)

    def command(self, text: str) -> str:
        """Send one command and return the answer. Raises BalancerError if HAProxy does not answer."""
        try:
            with socket.socket(socket.AF_UNIX) as link:
                link.settimeout(COMMAND_TIMEOUT_S)
                link.connect(self._path)
                link.sendall(text.encode() + b"\n")
                parts = []
                while part := link.recv(65536):
                    parts.append(part)
        except OSError as error:
            raise BalancerError(f"HAProxy does not answer on {self._path}: {error}") from error
        return b"".join(parts).decode().strip()

    def add(self, name: str, address: str, check: HealthCheck) -> None:
        """Begin to send requests to a target that answers already."""
        interval_ms = max(100, round(check.interval_s * 1000))
        fast_ms = max(100, interval_ms // 4)
        self._expect(
            f"add server {BACKEND}/{name} {address}:{SERVER_PORT} check inter {interval_ms}ms fastinter {fast_ms}ms "
            f"downinter {interval_ms}ms rise {check.rise} fall {check.fall}",
            "New server registered.",
        )
        self._expect(f"enable health {BACKEND}/{name}", "")
        self._expect(f"enable server {BACKEND}/{name}", "")

    def drain(self, name: str) -> None:
        """Send no new requests to a target; those in flight go on."""
        self._expect(f"set server {BACKEND}/{name} state drain", "")

    def ready(self, name: str) -> None:
        """Send requests to a target again that was draining."""
        self._expect(f"set server {BACKEND}/{name} state ready", "")

    def stop(self, name: str) -> None:
        """Take a target out of service; a condition for `remove`."""
        self._expect(f"set server {BACKEND}/{name} state maint", "")

    def remove(self, name: str) -> bool:
        """Forget a target. False while it has connections left; to be tried again."""
        answer = self.command(f"del server {BACKEND}/{name}")
        return "deleted" in answer.lower() or "no such server" in answer.lower()

    def _expect(self, command: str, wanted: str) -> None:
        answer = self.command(command)
        if answer != wanted:
            raise BalancerError(f"HAProxy refused `{command}`: {answer}")

    def view(self) -> BalancerView:
        """What HAProxy knows about its targets."""
        rows = csv.DictReader(io.StringIO(self.command("show stat").lstrip("# ")))
        servers: dict[str, ServerStatus] = {}
        errors_5xx = 0
        for row in rows:
            if row["pxname"] != BACKEND:
                continue
            if row["svname"] == "BACKEND":
                errors_5xx = int(row["hrsp_5xx"] or 0)
                continue
            codes = [int(row[f"hrsp_{kind}xx"] or 0) for kind in (2, 3, 4, 5)]
            servers[row["svname"]] = ServerStatus(
                status=row["status"],
                check=row["check_status"].lstrip("* "),
                check_code=row["check_code"],
                sessions=int(row["scur"] or 0) + int(row["qcur"] or 0),
                requests=int(row["stot"] or 0),
                responses=(codes[0], codes[1], codes[2], codes[3]),
                connection_errors=int(row["econ"] or 0),
            )
        return BalancerView(servers, errors_5xx)
