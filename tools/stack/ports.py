"""Finds free ports on the loopback address."""

from __future__ import annotations

import socket
from collections.abc import Iterable

from tools.errors import ToolError
from tools.stack.airflow_environment import LOOPBACK, Ports

FIRST_PORT = 18400
LAST_PORT = 18409  # the sandbox prefers those behind


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port whose last connections are still being closed is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
        return True


def choose_ports(wanted: int | None, last: Ports | None) -> Ports:
    """The wanted port of the UI or the last stack's ports where they are free, else the first free ones.

    Raises ToolError when the wanted port is in use.
    """
    if wanted is not None and not is_free(wanted):
        raise ToolError(f"Port {wanted} is in use by another program: end that, or name another port with --port.")
    preferred = [wanted, last.api] if last else [wanted]
    api = _first_free([*(port for port in preferred if port), *range(FIRST_PORT, LAST_PORT + 1)], set())
    worker_logs = _first_free([*([last.worker_logs] if last else []), *range(FIRST_PORT, LAST_PORT + 1)], {api})
    trigger_logs = _first_free(
        [*([last.trigger_logs] if last else []), *range(FIRST_PORT, LAST_PORT + 1)], {api, worker_logs}
    )
    return Ports(api, worker_logs, trigger_logs)


def _first_free(candidates: Iterable[int], taken: set[int]) -> int:
    for port in candidates:
        if port not in taken and is_free(port):
            return port
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as any_port:
        any_port.bind((LOOPBACK, 0))
        return int(any_port.getsockname()[1])
