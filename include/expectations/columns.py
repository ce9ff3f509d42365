"""The columns that the rules look at, from the tables of a run. Pure and forgiving: what is missing or no number
becomes null and makes `…_well_formed` fail; it never stops the validation."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from include.expectations.rules import Table

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


def tables(
    seconds: Sequence[Row], probes: Sequence[Row], shards: Sequence[Row], *, rejected: int, rows: int
) -> dict[Table, list[dict[str, Any]]]:
    """Table -> rows with the columns of the rules.

    Args:
        seconds: rows of `RunSecond`. probes: rows of `probes_table`.
        shards: `shard`, `seconds` reported, `expected_seconds`, `incarnations` of each.
        rejected, rows: result lines that could not be read, and all result lines.
    """
    validity = {(row.get("stage"), row.get("number")): row.get("validity") for row in probes}
    return {
        "seconds": _seconds(seconds, validity),
        "probes": _probes(probes, seconds),
        "lines": [{"rejected_ratio": rejected / rows if rows > 0 else (1.0 if rejected else 0.0)}],
        "shards": [_shard(row) for row in shards],
    }


def _seconds(seconds: Sequence[Row], validity: Mapping[tuple[Any, Any], Any]) -> list[dict[str, Any]]:
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
    completed: dict[tuple[Any, Any], float] = defaultdict(float)
    counted: dict[tuple[Any, Any], int] = defaultdict(int)
    for row in seconds:
        if row.get("judged"):
            key = (row.get("stage"), row.get("probe"))
            completed[key] += _number(row.get("completed_tps")) or 0.0
            counted[key] += 1
    columns = []
    for row in probes:
        key = (row.get("stage"), row.get("number"))
        offered, achieved = _number(row.get("offered_tps")), _number(row.get("achieved_tps"))
        measured = _number(row.get("measured_s"))
        latencies = [value for name in (*_LATENCIES, "max_ms") if (value := _number(row.get(name))) is not None]
        columns.append(
            {
                "key": f"{key[0]} {key[1]}",
                "probes_well_formed": all(_number(row.get(name)) is not None for name in _PROBE_NUMBERS)
                and all(name in row for name in ("stage", "kind", "validity", *_LATENCIES)),
                "probes_offered": row.get("kind") == "rest" or not measured or bool(offered and offered > 0),
                "achieved_excess_tps": _excess(offered, achieved, measured) if row.get("validity") == "valid" else None,
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


def _gap(achieved: float | None, measured_s: float | None, completed: float) -> float | None:
    """Transactions by which the seconds differ from the probe, beyond 2 % and two transactions."""
    if achieved is None or measured_s is None:
        return None
    wanted = achieved * measured_s
    return abs(completed - wanted) - 0.02 * wanted - 2
