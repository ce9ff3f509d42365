"""Rows of the run's tables."""

from __future__ import annotations

from include.capacity.histogram import Histogram
from include.capacity.judgement.stops import OVERLOAD, stop
from include.capacity.models import FleetSecond
from include.capacity.report.tables import health_table, judged_seconds, probes_table, run_second
from tests.unit.capacity.examples import FIRST, LIMITS, judged, second, seconds, shard
from tests.unit.capacity.report.example_run import example_facts


def test_a_second_counts_by_outcome_and_merges_labels() -> None:
    rows = {
        ("browse", "ok"): Histogram({100: 8}),
        ("search", "ok"): Histogram({200: 1}),
        ("search", "timeout"): Histogram({250: 1}),
    }
    each = FleetSecond(7, 5, 9, rows, Histogram({50: 5}), 3, (), missing=(1,), rejected=2)  # type: ignore[arg-type]
    row = run_second(
        each, stage="search", probe=2, kind="probe", judged=True, commanded_tps=10, transactions_per_arrival=2
    )
    assert (row.offered_tps, row.completed_tps, row.started, row.errors) == (10, 9, 10, 1)
    assert (row.p50_ms, row.p90_ms, row.p99_ms, row.lag_p99_ms) == (0.1, 0.2, 0.25, 0.05)
    assert (row.missing, row.shards, row.rejected, row.in_flight) == (1, 0, 2, 3)


def test_an_idle_second_has_no_latency() -> None:
    each = FleetSecond(7, 0, 0, {}, Histogram(), 0, ())
    row = run_second(
        each, stage="search", probe=None, kind="", judged=False, commanded_tps=0, transactions_per_arrival=1
    )
    assert (row.p50_ms, row.p95_ms, row.lag_p99_ms, row.started) == (None, None, None, 0)


def test_probes_are_in_order_of_time() -> None:
    facts, _ = example_facts()
    table = probes_table(reversed(facts.probes))
    assert [(row["stage"], row["number"]) for row in table] == [(each.stage, each.number) for each in facts.probes]
    assert table[6]["validity"] == "invalid"


def test_the_judged_seconds_are_those_that_the_judgement_measured() -> None:
    held = [second(FIRST - 1), *seconds(13), second(FIRST + 13)]
    whole = judged(held, ended_at=FIRST + 13.4)
    assert [each.second for each in judged_seconds(whole, reversed(held))] == list(range(FIRST + 3, FIRST + 13))
    early = judged(seconds(2, completed=20, in_flight=160), stop=stop(OVERLOAD, "too much in flight"))
    assert len(judged_seconds(early, seconds(2))) == early.measured_s == 2
    nothing = judged([])
    assert judged_seconds(nothing, held) == []


def test_the_state_of_each_load_generator_over_a_probe() -> None:
    ailing = shard(1, cpu=0.8, gc=0.2, heap_used_mb=300, heap_max_mb=400, delay_s=0.4, in_force_after_s=0.2)
    held = seconds(13, shards=[shard(0), ailing])
    held[8] = second(FIRST + 8, shards=[shard(0), shard(1, cpu=0.3, heap_used_mb=100, heap_max_mb=400, delay_s=0.9)])
    healthy, row = health_table(judged(held), held, LIMITS)
    assert (healthy["shard"], healthy["cpu_limit_cores"], healthy["report_delay_s"]) == (0, 0.9, None)
    assert (row["shard"], row["seconds"], row["heap_ratio"], row["validity"]) == (1, 10, 0.25, "invalid")
    assert (round(row["cpu_cores"], 3), round(row["gc_ratio"], 3)) == (0.75, 0.18)
    assert (row["clock_ahead_least_s"], row["clock_ahead_most_s"], row["report_delay_s"]) == (-0.4, 0.2, 0.4)
