"""A record of every AWS call, one JSON object a line: who may do what is derived from it later."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_current = threading.local()


@dataclass(slots=True)
class Call:
    """One request to the endpoint. `action` is filled in as soon as it is known.

    `identity` is the session token that the caller sent (roles have one; the sandbox checks none), `parameters` are the
    names of what was asked for: some of them need a permission of their own.
    """

    service: str
    region: str
    action: str
    user_agent: str
    identity: str = ""
    parameters: list[str] = field(default_factory=list)
    resources: dict[str, Any] = field(default_factory=dict)
    started_s: float = field(default_factory=time.monotonic)


# Parameters that say which thing a call is about: a policy of least privilege needs them, and nothing else.
RESOURCE_SUFFIXES = ("Name", "Names", "Arn", "ARN", "Arns", "ARNs", "Id", "Ids", "Identifier", "_identifier", "Prefix")
RESOURCE_KEYS = frozenset(
    {
        "Namespace", "Rule", "ScalableDimension", "ServiceNamespace", "cluster", "clusters", "family", "service",
        "services", "startedBy", "task", "taskDefinition", "tasks",
    }
)  # fmt: skip
LONGEST_LIST = 10


def begin(call: Call) -> None:
    """Make `call` the one that this thread works on."""
    _current.call = call


def note(action: str | None, parameters: object) -> None:
    """Add what the service's own parser found out about the current call."""
    call: Call | None = getattr(_current, "call", None)
    if call is None:
        return
    if action:
        call.action = action
    if isinstance(parameters, dict):
        call.parameters = sorted(str(key) for key in parameters)
        call.resources |= {
            key: value[:LONGEST_LIST] if isinstance(value, list) else value
            for key, value in parameters.items()
            if (key in RESOURCE_KEYS or key.endswith(RESOURCE_SUFFIXES)) and isinstance(value, str | list)
        }


def add(**resources: str) -> None:
    """Add what the current call is about and does not name itself."""
    call: Call | None = getattr(_current, "call", None)
    if call is not None:
        call.resources |= resources


class CallLog:
    """Appends calls to a file. Safe to use from many threads."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8", buffering=1)
        self._lock = threading.Lock()

    def write(self, call: Call, status: int) -> None:
        """`status` is the HTTP status that the caller got."""
        record = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "service": call.service,
            "action": call.action,
            "region": call.region,
            "status": status,
            "duration_ms": round((time.monotonic() - call.started_s) * 1000, 1),
            "user_agent": call.user_agent,
            "identity": call.identity,
            "parameters": call.parameters,
            "resources": call.resources,
        }
        line = json.dumps(record, default=str) + "\n"
        with self._lock:
            self._file.write(line)
