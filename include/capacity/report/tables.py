"""The two tables that validation and charts read: one row per second, one row per probe. Rows are JSON objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from include.capacity.fleet import merged_rows
from include.capacity.histogram import Histogram
from include.capacity.models import FleetSecond, ProbeResult, ValidityLimits
from include.capacity.validity import cures
from include.capacity.validity.clocks import ahead_between, by_shard


@dataclass(frozen=True, slots=True)
class RunSecond:
    """One second of the run, as stored in seconds.json.

    Attributes:
        second: epoch second.
        stage: the task that conducted it.
        probe: number of the probe in its stage; None between probes.
        kind: of the probe's step; empty between probes.
        judged: whether the second counts for the probe (the first seconds of a probe do not).
        commanded_tps, offered_tps: rate ordered and dispatched, in transactions per second.
        completed_tps: transactions that ended in this second.
        errors: transactions whose intended start lies in this second and that failed.
        started: transactions whose intended start lies in this second and that have ended.
        p50_ms … p99_ms: latency of those, None when there are none.
        lag_p99_ms: schedule lag of the load generator, None without arrivals.
        in_flight: arrivals in flight at the end of the second.
        shards, missing: numbers of shards that reported and that did not.
        rejected: result lines that could not be read.
    """

    second: int
    stage: str
    probe: int | None
    kind: str
    judged: bool
    commanded_tps: float
    offered_tps: float
    completed_tps: float
    errors: int
    started: int
    p50_ms: float | None
    p90_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    lag_p99_ms: float | None
    in_flight: int
    shards: int
    missing: int
    rejected: int


def run_second(
    second: FleetSecond,
    *,
    stage: str,
    probe: int | None,
    kind: str,
    judged: bool,
    commanded_tps: float,
    transactions_per_arrival: float,
) -> RunSecond:
    """A row from one merged second of the fleet."""
    by_outcome = merged_rows([second])
    latency = Histogram.merged(by_outcome.values())
    return RunSecond(
        second=second.second,
        stage=stage,
        probe=probe,
        kind=kind,
        judged=judged,
        commanded_tps=round(commanded_tps, 3),
        offered_tps=round(second.offered * transactions_per_arrival, 3),
        completed_tps=float(second.completed),
        errors=sum(histogram.total for outcome, histogram in by_outcome.items() if outcome != "ok"),
        started=latency.total,
        p50_ms=_rounded(latency.quantile_ms(0.50)),
        p90_ms=_rounded(latency.quantile_ms(0.90)),
        p95_ms=_rounded(latency.quantile_ms(0.95)),
        p99_ms=_rounded(latency.quantile_ms(0.99)),
        lag_p99_ms=_rounded(second.lag.quantile_ms(0.99)),
        in_flight=second.in_flight,
        shards=len(second.shards),
        missing=len(second.missing),
        rejected=second.rejected,
    )


def probes_table(probes: Iterable[ProbeResult]) -> list[dict[str, Any]]:
    """One flat row per probe, by start: what validation checks."""
    return [
        {
            "stage": probe.stage,
            "number": probe.number,
            "kind": probe.step.kind,
            "commanded_tps": probe.step.rate_tps,
            "offered_tps": probe.offered_tps,
            "achieved_tps": probe.achieved_tps,
            "measured_s": probe.measured_s,
            **{f"{name}_ms": probe.latency_ms.get(name) for name in ("p50", "p90", "p95", "p99", "max")},
            "transactions": sum(probe.errors.values()),
            "error_ratio": probe.error_ratio,
            "lag_p99_ms": probe.lag_p99_ms,
            "in_flight_end": probe.in_flight_end,
            "validity": probe.validity.status,
            "transactions_per_arrival": probe.transactions_per_arrival,
            "in_service": probe.environment.get("in_service"),
        }
        for probe in sorted(probes, key=lambda probe: probe.started_at)
    ]


def judged_seconds(probe: ProbeResult, seconds: Iterable[FleetSecond]) -> list[FleetSecond]:
    """Those of a probe's seconds that were judged: always the last ones that were whole, whatever ended the probe."""
    whole = [each for each in seconds if probe.started_at <= each.second and each.second + 1 <= probe.ended_at]
    return sorted(whole, key=lambda each: each.second)[-probe.measured_s :] if probe.measured_s else []


def health_table(probe: ProbeResult, seconds: Iterable[FleetSecond], limits: ValidityLimits) -> list[dict[str, Any]]:
    """One row per shard that reported for the judged seconds of a probe: how its generator and its clock fared."""
    judged = judged_seconds(probe, seconds)
    rows = []
    for shard, entries in by_shard(judged).items():
        health = [entry.generator for entry in entries]
        low, high = ahead_between(entries)
        drifts = [state.clock_drift_s for state in health]
        delays = [entry.delay_s for entry in entries if entry.delay_s is not None]
        rows.append(
            {
                "stage": probe.stage,
                "number": probe.number,
                "validity": probe.validity.status,
                "shard": shard,
                "seconds": len(entries),
                "cpu_cores": cures.mean(judged, shard, lambda entry: entry.generator.jmeter_cpu_cores),
                "cpu_limit_cores": cures.cpu_limit(judged, shard, limits),
                "throttled_ratio": cures.mean(judged, shard, lambda entry: entry.generator.throttled_ratio),
                "cpu_wait_ratio": cures.mean(judged, shard, lambda entry: entry.generator.cpu_wait_ratio),
                "gc_ratio": cures.mean(judged, shard, lambda entry: entry.generator.gc_ratio),
                "heap_ratio": min(_ratio(state.heap_used_mb, state.heap_max_mb) for state in health),
                "open_files_ratio": max(_ratio(state.open_fds, state.max_fds) for state in health),
                "clock_ahead_least_s": low,
                "clock_ahead_most_s": high,
                "clock_drift_s": max(drifts) - min(drifts),
                "report_delay_s": median(delays) if delays else None,
            }
        )
    return rows


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def seconds_of_probe(seconds: Iterable[Mapping[str, Any]], stage: str, number: int) -> list[Mapping[str, Any]]:
    """The rows that were judged for one probe."""
    return [row for row in seconds if row["stage"] == stage and row["probe"] == number and row["judged"]]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
