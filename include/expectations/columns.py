"""The columns that the rules look at, from the tables of a run. Pure and forgiving: what is missing or no number
becomes null and makes `…_well_formed` fail; it never stops the validation."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from include.expectations.rule import Table

Row = Mapping[str, Any]

_LATENCIES = ("p50_ms", "p90_ms", "p95_ms", "p99_ms")
_SECOND_COUNTS = (
    "commanded_tps",
    "offered_tps",
    "completed_tps",
    "errors",
    "started",
    "in_flight",
    "shards",
    "missing",
    "rejected",
)
_PROBE_NUMBERS = ("number", "commanded_tps", "offered_tps", "achieved_tps", "measured_s", "error_ratio")
_VALIDITIES = ("valid", "invalid", "inconclusive")
_HEALTH_NUMBERS = (
    "cpu_cores",
    "cpu_limit_cores",
    "throttled_ratio",
    "gc_ratio",
    "heap_ratio",
    "open_files_ratio",
    "clock_drift_s",
)
_SIGMAS = 4.0

IDENTITIES: Mapping[Table, str] = {
    "seconds": "second",
    "probes": "key",
    "lines": "probe",
    "shards": "shard",
    "health": "where",
    "series": "series",
    "results": "of",
}
"""The column that says which row of a table it is, for a reader who looks for a finding."""


@dataclass(frozen=True, slots=True)
class RunTables:
    """What was collected of a run.

    Attributes:
        seconds: rows of `RunSecond`. probes: rows of `probes_table`. health: rows of `health_table`.
        shards: `shard`, `seconds` reported, `expected_seconds`, `incarnations` of each.
        series: rows of `series_row`; `seen_ratio` beside those of the requests.
        started_at, ended_at: epoch seconds between which the run's load lies.
    """

    seconds: Sequence[Row]
    probes: Sequence[Row]
    shards: Sequence[Row]
    health: Sequence[Row]
    series: Sequence[Row]
    started_at: float
    ended_at: float


def tables(run: RunTables) -> dict[Table, list[dict[str, Any]]]:
    """Table -> rows with the columns of the rules."""
    validity = {(row.get("stage"), row.get("number")): row.get("validity") for row in run.probes}
    return {
        "seconds": _seconds(run, validity),
        "probes": _probes(run.probes, run.seconds),
        "lines": _lines(run.seconds, validity),
        "shards": [_shard(row) for row in run.shards],
        "health": [_health(row) for row in run.health],
        "series": [_series(row) for row in run.series],
    }


def _lines(seconds: Sequence[Row], validity: Mapping[tuple[Any, Any], Any]) -> list[dict[str, Any]]:
    """Result lines of each probe that was not discarded, and of all of them together."""
    rejected: dict[str, float] = defaultdict(float)
    read: dict[str, float] = defaultdict(float)
    rejected["all"] = read["all"] = 0.0
    for row in seconds:
        key = (row.get("stage"), row.get("probe"))
        if validity.get(key) == "invalid":
            continue
        for place in ("all", f"{key[0]} {key[1]}"):
            rejected[place] += _number(row.get("rejected")) or 0.0
            read[place] += _number(row.get("started")) or 0.0
    return [
        {"probe": place, "rejected_ratio": _ratio(rejected[place], rejected[place] + read[place])} for place in rejected
    ]


def _seconds(run: RunTables, validity: Mapping[tuple[Any, Any], Any]) -> list[dict[str, Any]]:
    seconds = run.seconds
    last: dict[tuple[Any, Any], float] = {}
    columns = []
    for row in seconds:
        second, key = _number(row.get("second")), (row.get("stage"), row.get("probe"))
        before = last.get(key) if key[1] is not None else None
        if second is not None:
            last[key] = second
        counts = [_number(row.get(name)) for name in _SECOND_COUNTS]
        latencies = [_number(row.get(name)) for name in _LATENCIES]
        started, errors = _number(row.get("started")), _number(row.get("errors"))
        known = [value for value in latencies if value is not None]
        judged = bool(row.get("judged")) and validity.get(key) == "valid"
        columns.append(
            {
                "second": second,
                "stage": str(row.get("stage")),
                "seconds_well_formed": second is not None
                and all(name in row for name in (*_LATENCIES, "stage", "probe", "judged", "lag_p99_ms"))
                and None not in counts,
                "outside_s": None if second is None else max(run.started_at - second - 1, second - run.ended_at, 0.0),
                "seconds_since_last": None if before is None or second is None else second - before,
                "lowest_count": min((value for value in counts if value is not None), default=None),
                "latency": _farthest(row.get(name) for name in _LATENCIES),
                "latencies_present": bool(started) == (len(known) == len(latencies)) and (bool(started) or not known),
                "percentiles_ordered": known == sorted(known),
                "error_ratio": _ratio(errors, started),
                "judged_lag_ms": _number(row.get("lag_p99_ms")) if judged else None,
                "judged_missing": _number(row.get("missing")) if judged else None,
            }
        )
    return columns


def _probes(probes: Sequence[Row], seconds: Sequence[Row]) -> list[dict[str, Any]]:
    sizes = [_number(row.get("in_service")) for row in probes if row.get("validity") == "valid"]
    first_size = next((size for size in sizes if size is not None), None)
    completed: dict[tuple[Any, Any], float] = defaultdict(float)
    counted: dict[tuple[Any, Any], int] = defaultdict(int)
    for row in seconds:
        if row.get("judged"):
            key = (row.get("stage"), row.get("probe"))
            completed[key] += _number(row.get("completed_tps")) or 0.0
            counted[key] += 1
    columns = []
    for row in probes:
        key, valid = (row.get("stage"), row.get("number")), row.get("validity") == "valid"
        size, commanded = _number(row.get("in_service")), _number(row.get("commanded_tps"))
        offered, achieved = _number(row.get("offered_tps")), _number(row.get("achieved_tps"))
        measured = _number(row.get("measured_s"))
        latencies = [value for name in (*_LATENCIES, "max_ms") if (value := _number(row.get(name))) is not None]
        columns.append(
            {
                "key": f"{key[0]} {key[1]}",
                "probes_well_formed": all(_number(row.get(name)) is not None for name in _PROBE_NUMBERS)
                and all(name in row for name in ("stage", "kind", "validity", *_LATENCIES)),
                "probes_offered": row.get("kind") == "rest" or not measured or bool(offered and offered > 0),
                "validity": str(row.get("validity")),
                "is_valid": valid if row.get("kind") != "rest" else None,
                "instances_gap": size - first_size if valid and size is not None and first_size is not None else None,
                "offered_gap_ratio": _offered_gap(
                    commanded, offered, measured, _number(row.get("transactions_per_arrival"))
                )
                if valid
                else None,
                "achieved_excess_tps": _excess(offered, achieved, measured) if valid else None,
                "completed_gap": _gap(achieved, measured, completed[key]),
                "seconds_gap": None if measured is None else counted[key] - measured,
                "probe_percentiles_ordered": latencies == sorted(latencies),
                "error_ratio": _number(row.get("error_ratio")),
            }
        )
    return columns


def _shard(row: Row) -> dict[str, Any]:
    reported, expected = _number(row.get("seconds")), _number(row.get("expected_seconds"))
    return {
        "shard": str(row.get("shard")),
        "seconds_reported": reported or 0.0,
        "reported_ratio": _ratio(reported or 0.0, expected),
        "incarnations": _number(row.get("incarnations")),
    }


def _health(row: Row) -> dict[str, Any]:
    """Only what a valid probe rests on counts: the others are known to be disturbed."""
    valid = row.get("validity") == "valid"
    numbers = {name: _number(row.get(name)) for name in _HEALTH_NUMBERS}
    cpu, limit = numbers["cpu_cores"], numbers["cpu_limit_cores"]
    ahead = [_number(row.get(f"clock_ahead_{end}_s")) for end in ("least", "most")]
    skew = max([0.0, *([ahead[0]] if ahead[0] is not None else []), *([-ahead[1]] if ahead[1] is not None else [])])
    columns = {
        "cpu_excess_cores": None if cpu is None or limit is None else cpu - limit,
        "throttled_ratio": numbers["throttled_ratio"],
        "gc_ratio": numbers["gc_ratio"],
        "heap_ratio": numbers["heap_ratio"],
        "open_files_ratio": numbers["open_files_ratio"],
        "clock_skew_s": skew,
        "clock_drift_s": numbers["clock_drift_s"],
        "report_delay_s": _number(row.get("report_delay_s")),
    }
    return {
        "where": f"{row.get('stage')} {row.get('number')}, shard {row.get('shard')}",
        "health_well_formed": None not in numbers.values() and row.get("validity") in _VALIDITIES,
        **{name: value if valid else None for name, value in columns.items()},
    }


def _series(row: Row) -> dict[str, Any]:
    points, name = _number(row.get("points")) or 0.0, str(row.get("series"))
    lowest, highest = row.get("lowest"), row.get("highest")
    values = [value for value in (lowest, highest) if value is not None]
    return {
        "series": name,
        "series_present": points > 0 or row.get("presence") == "when it happens",
        "missing_points": _number(row.get("missing_points")),
        "repeated_points": _number(row.get("repeated_points")),
        "series_possible": all(
            (number := _number(value)) is not None and 0 <= number <= (100 if name.endswith("_percent") else math.inf)
            for value in values
        ),
        "seen_ratio": _number(row.get("seen_ratio")),
    }


def _number(value: object) -> float | None:
    """A finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _farthest(values: Any) -> float | None:
    """Of some latencies the one that is the least possible: not above zero, infinite, or the highest."""
    numbers = [float(value) for value in values if isinstance(value, int | float) and not math.isnan(value)]
    return None if not numbers else min(numbers) if min(numbers) <= 0 else max(numbers)


def _ratio(part: float | None, whole: float | None) -> float | None:
    if part is None or whole is None:
        return None
    if whole <= 0:
        return 0.0 if part <= 0 else math.inf
    return part / whole


def _excess(offered: float | None, achieved: float | None, measured_s: float | None) -> float | None:
    """Achieved beyond 110 % of offered and four standard deviations of Poisson counts, in TPS."""
    if offered is None or achieved is None or not measured_s:
        return None
    return achieved - 1.1 * offered - 4 * math.sqrt(max(offered, 0.0) / measured_s)


def _offered_gap(
    commanded: float | None, offered: float | None, measured_s: float | None, transactions_per_arrival: float | None
) -> float | None:
    """Share of the commanded rate by which the offered one differs beyond chance: four standard deviations of Poisson
    arrivals."""
    if not commanded or offered is None or not measured_s:
        return None
    chance = _SIGMAS * math.sqrt(commanded * (transactions_per_arrival or 1.0) / measured_s)
    return max(abs(offered - commanded) - chance, 0.0) / commanded


def _gap(achieved: float | None, measured_s: float | None, completed: float) -> float | None:
    """Transactions by which the seconds differ from the probe, beyond 2 % and two transactions."""
    if achieved is None or measured_s is None:
        return None
    wanted = achieved * measured_s
    return abs(completed - wanted) - 0.02 * wanted - 2
