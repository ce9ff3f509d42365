"""Asks Airflow how its components are."""

from __future__ import annotations

import json
import urllib.request
from datetime import datetime
from typing import Any

# Never through a proxy.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
TIMEOUT_S = 3.0
# Component -> its name in the health report; the API server is healthy when it answers.
REPORTED_AS = {"scheduler": "scheduler", "dag-processor": "dag_processor", "triggerer": "triggerer"}


def read_health(address: str) -> dict[str, Any] | None:
    """The report of /monitor/health; None if there is no answer."""
    try:
        with _OPENER.open(f"{address}/api/v2/monitor/health", timeout=TIMEOUT_S) as answer:
            report = json.load(answer)
    except (OSError, ValueError):
        return None
    return report if isinstance(report, dict) else None


def healthy_components(report: dict[str, Any] | None, started_at: dict[str, float]) -> set[str]:
    """The components that are healthy by a report.

    A heartbeat from before a component's start (epoch seconds) is its predecessor's and counts for nothing.
    """
    if report is None or report.get("metadatabase", {}).get("status") != "healthy":
        return set()
    healthy = {"api-server"}
    for component, key in REPORTED_AS.items():
        part = report.get(key) or {}
        heartbeat = part.get(f"latest_{key}_heartbeat")
        if part.get("status") == "healthy" and heartbeat:
            beat_at = datetime.fromisoformat(str(heartbeat).replace("Z", "+00:00")).timestamp()
            if beat_at >= started_at.get(component, 0.0):
                healthy.add(component)
    return healthy
