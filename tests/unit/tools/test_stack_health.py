"""When a component counts as healthy, and how long the supervisor waits before it starts one again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tools.stack.health import healthy_components
from tools.stack.supervisor import Component

NOW = datetime(2026, 3, 2, 3, 0, tzinfo=UTC).timestamp()


def report(**changes: Any) -> dict[str, Any]:
    beat = "2026-03-02T03:00:00.000000+00:00"
    return {
        "metadatabase": {"status": "healthy"},
        "scheduler": {"status": "healthy", "latest_scheduler_heartbeat": beat},
        "triggerer": {"status": "healthy", "latest_triggerer_heartbeat": "2026-03-02T03:00:00.000000Z"},
        "dag_processor": {"status": "healthy", "latest_dag_processor_heartbeat": beat},
    } | changes


def test_all_are_healthy() -> None:
    assert healthy_components(report(), {}) == {"api-server", "scheduler", "triggerer", "dag-processor"}


def test_nothing_is_healthy_without_an_answer_or_without_the_database() -> None:
    assert healthy_components(None, {}) == set()
    assert healthy_components(report(metadatabase={"status": "unhealthy"}), {}) == set()


def test_a_component_that_reports_nothing_is_not_healthy() -> None:
    changed = report(triggerer={"status": None, "latest_triggerer_heartbeat": None}, scheduler={"status": "unhealthy"})

    assert healthy_components(changed, {}) == {"api-server", "dag-processor"}


def test_the_heartbeat_of_a_predecessor_does_not_count() -> None:
    assert "scheduler" not in healthy_components(report(), {"scheduler": NOW + 1})
    assert "scheduler" in healthy_components(report(), {"scheduler": NOW - 1})


@pytest.mark.parametrize(("exits", "pause_s"), [(0, 0), (1, 0), (2, 1), (3, 2), (4, 4), (9, 30)])
def test_a_component_that_keeps_ending_is_started_ever_later(exits: int, pause_s: float) -> None:
    assert Component("scheduler", exits=exits).backoff_s() == pause_s
