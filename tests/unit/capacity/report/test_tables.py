"""Rows of the run's tables."""

from __future__ import annotations

from include.capacity.histogram import Histogram
from include.capacity.models import FleetSecond
from include.capacity.report.tables import probes_table, run_second
from tests.unit.capacity.report.example_run import example_facts


def test_a_second_counts_by_outcome_and_merges_labels() -> None:
    rows = {
        ("browse", "ok"): Histogram({100: 8}),
        ("search", "ok"): Histogram({200: 1}),
        ("search", "timeout"): Histogram({250: 1}),
    }
    second = FleetSecond(7, 5, 9, rows, Histogram({50: 5}), 3, (), missing=(1,), rejected=2)  # type: ignore[arg-type]
    row = run_second(
        second, stage="search", probe=2, kind="probe", judged=True, commanded_tps=10, transactions_per_arrival=2
    )
    assert (row.offered_tps, row.completed_tps, row.started, row.errors) == (10, 9, 10, 1)
    assert (row.p50_ms, row.p90_ms, row.p99_ms, row.lag_p99_ms) == (0.1, 0.2, 0.25, 0.05)
    assert (row.missing, row.shards, row.rejected, row.in_flight) == (1, 0, 2, 3)


def test_an_idle_second_has_no_latency() -> None:
    second = FleetSecond(7, 0, 0, {}, Histogram(), 0, ())
    row = run_second(
        second, stage="search", probe=None, kind="", judged=False, commanded_tps=0, transactions_per_arrival=1
    )
    assert (row.p50_ms, row.p95_ms, row.lag_p99_ms, row.started) == (None, None, None, 0)


def test_probes_are_in_order_of_time() -> None:
    facts, _ = example_facts()
    table = probes_table(reversed(facts.probes))
    assert [(row["stage"], row["number"]) for row in table] == [(each.stage, each.number) for each in facts.probes]
    assert table[5]["validity"] == "invalid"
