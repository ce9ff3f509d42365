"""Each kind of broken data, and the expectation that catches it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from include.capacity.errors import StoreError
from include.capacity.models import ValidityLimits
from include.capacity.report.codec import to_json
from include.capacity.report.facts import ExpectationOutcome
from include.capacity.report.tables import health_table, probes_table
from include.capacity.validity.series import expected_periods, load_seconds, series_row
from include.expectations.columns import RunTables
from include.expectations.rules import rules
from include.pipeline.collecting import SERIES
from include.pipeline.validating import validate_run
from tests.unit.capacity.examples import judged, seconds, shard
from tests.unit.capacity.report.example_run import example_facts

Tables = dict[str, Any]


LIMITS = ValidityLimits(40.0, 0.9, 0.1, 1, 0.001, 0.02)
PERIOD_S = 5.0


@pytest.fixture(scope="module")
def good() -> Tables:
    """The tables as they are read from JSON, by the names of `RunTables`."""
    facts, seconds = example_facts()
    rows = [to_json(row) for row in seconds]
    load = load_seconds(rows)
    periods = expected_periods(load, PERIOD_S, "always")
    series = []
    for name, presence in SERIES.items():
        points = [(period * PERIOD_S, 60.0) for period in periods if presence != "when it happens"]
        series.append(series_row(name, points, load, period_s=PERIOD_S, presence=presence))
        series[-1]["seen_ratio"] = 1.3 if name == "requests" else None
    tables = {
        "seconds": rows,
        "probes": [row | {"in_service": 2} for row in probes_table(facts.probes)],
        "shards": [{"shard": shard, "seconds": 330, "expected_seconds": 331, "incarnations": 1} for shard in range(2)],
        "health": [_health_row(probe.stage, probe.number, probe.validity.status) for probe in facts.probes],
        "series": series,
        "started_at": facts.started_at,
        "ended_at": facts.ended_at,
    }
    return json.loads(json.dumps(tables))  # type: ignore[no-any-return]


def _health_row(stage: str, number: int, validity: str) -> dict[str, Any]:
    entries = [shard(0, delay_s=0.4, in_force_after_s=0.1, heap_used_mb=90, heap_max_mb=384, open_fds=9, max_fds=1024)]
    template = judged(seconds(13), shards=1)
    (row,) = health_table(template, seconds(13, shards=entries), LIMITS)
    return row | {"stage": stage, "number": number, "validity": validity}


def run(tables: Tables, docs_folder: Path | None = None) -> list[ExpectationOutcome]:
    return validate_run(RunTables(**tables), LIMITS, docs_folder)


def failed(tables: Tables) -> dict[str, str]:
    return {each.name: each.observed for each in run(tables) if not each.success}


def test_good_data_meets_every_expectation(good: Tables) -> None:
    outcomes = run(good)
    assert [each.name for each in outcomes if not each.success] == []
    assert [each.name for each in outcomes] == [
        rule.name
        for table in ("seconds", "probes", "lines", "shards", "health", "series")
        for rule in rules(LIMITS)
        if rule.table == table
    ]
    by_name = {each.name: each for each in outcomes}
    assert by_name["seconds_unique"].observed == f"all {len(good['seconds'])} values hold"
    assert by_name["probes_present"].observed == "17 rows"


def test_data_docs_are_written_and_overwritten(good: Tables, tmp_path: Path) -> None:
    run(good, tmp_path / "docs")
    pages = sorted(tmp_path.glob("docs/**/*.html"))
    assert tmp_path / "docs" / "index.html" in pages
    assert len(pages) == 1 + 6 + 6

    suite = (tmp_path / "docs" / "expectations" / "seconds.html").read_text()
    assert "No second is recorded twice" in suite
    run(good, tmp_path / "docs")
    assert sorted(tmp_path.glob("docs/**/*.html")) == pages


def test_nothing_is_reported_to_anybody(good: Tables) -> None:
    run(good)
    assert os.environ["GX_ANALYTICS_ENABLED"] == "false"


def second(tables: Tables, kind: str = "soak") -> Any:
    """A judged row of a valid probe."""
    return next(row for row in tables["seconds"] if row["kind"] == kind and row["judged"])


def _twice(tables: Tables) -> None:
    tables["seconds"].append(dict(tables["seconds"][-1]))


def _left_out(tables: Tables) -> None:
    tables["seconds"].remove(second(tables))


def _set(name: str, value: object) -> Callable[[Tables], None]:
    return lambda tables: second(tables).update({name: value})


def _probe(place: int, **values: object) -> Callable[[Tables], None]:
    return lambda tables: tables["probes"][place].update(values)


def _shard(**values: object) -> Callable[[Tables], None]:
    return lambda tables: tables["shards"][1].update(values)


def _set_all(name: str, value: object) -> Callable[[Tables], None]:
    return lambda tables: [row.update({name: value}) for row in tables["seconds"]] and None


def _all_invalid(tables: Tables) -> None:
    for row in tables["probes"]:
        row["validity"] = "invalid"


def _late(tables: Tables) -> None:
    for row in tables["seconds"][-40:]:
        row["lag_p99_ms"] = 80.5


@pytest.mark.parametrize(
    ("name", "spoil", "observed"),
    [
        ("seconds_present", lambda tables: tables["seconds"].clear(), "0 rows"),
        ("seconds_well_formed", lambda tables: second(tables).pop("offered_tps"), "1 of 297 values"),
        ("seconds_well_formed", _set("in_flight", "many"), "1 of 297 values"),
        ("seconds_well_formed", _set("completed_tps", float("nan")), "1 of 297 values"),
        ("seconds_unique", _twice, "2 of 298 values do not hold"),
        ("seconds_consecutive", _left_out, "such as 2"),
        ("counts_not_negative", _set("errors", -3), "such as -3"),
        ("latencies_possible", _set("p50_ms", -1.5), "such as -1.5"),
        ("latencies_possible", _set("p50_ms", 0), "such as 0"),
        ("latencies_possible", _set("p99_ms", float("inf")), "such as inf"),
        ("latencies_present", _set("p95_ms", None), "1 of 297"),
        ("latencies_present", _set("started", 0), "1 of 297"),
        ("percentiles_ordered", _set("p50_ms", 5e5), "1 of 297"),
        ("error_ratios_possible", _set("errors", 10_000), "1 of 297"),
        ("error_ratios_possible", lambda tables: second(tables).update(errors=5, started=0), "such as inf"),
        ("lag_within_limit", _late, "such as 80.5"),
        ("no_shard_missing", _set("missing", 1), "such as 1"),
        ("probes_present", lambda tables: tables["probes"].clear(), "0 rows"),
        ("probes_well_formed", lambda tables: tables["probes"][3].pop("validity"), "1 of 17"),
        ("probes_well_formed", _probe(3, achieved_tps=None), "1 of 17"),
        ("probes_unique", _probe(2, number=0), "such as search 0"),
        ("probes_offered", _probe(4, offered_tps=0), "1 of 17"),
        ("achieved_not_above_offered", _probe(15, achieved_tps=260.0), "1 of 16"),
        ("completed_matches_probes", _probe(15, achieved_tps=170.0), "1 of 17"),
        ("judged_seconds_match", _probe(15, measured_s=30), "such as 25"),
        ("probe_percentiles_ordered", _probe(15, p50_ms=9000.0), "1 of 17"),
        ("probe_error_ratios_possible", _probe(15, error_ratio=1.2), "such as 1.2"),
        ("rejected_lines_few", _set("rejected", 20), "1 of 17 values do not hold, such as 0.0017"),
        ("rejected_lines_few", _set_all("rejected", 5), "values do not hold"),
        ("seconds_within_run", _set("second", 1_700_000_000), "1 of 297 values do not hold, such as 8"),
        ("validity_known", _probe(3, validity="slow"), "such as slow"),
        ("probes_mostly_valid", _all_invalid, "13 of 13 values do not hold"),
        ("instances_steady", _probe(4, in_service=3), "such as 1"),
        ("offered_as_commanded", _probe(15, commanded_tps=260.0), "1 of 16 values do not hold"),
        ("health_present", lambda tables: tables["health"].clear(), "0 rows"),
        ("shards_present", lambda tables: tables["shards"].clear(), "0 rows"),
        ("every_shard_reported", _shard(seconds=0), "such as 0"),
        ("every_shard_reported", lambda tables: tables["shards"][0].pop("seconds"), "such as 0"),
        ("shards_report_fully", _shard(seconds=300), "such as 0.906"),
        ("no_shard_restarted", _shard(incarnations=2), "such as 2"),
    ],
)
def test_broken_data_is_caught(good: Tables, name: str, spoil: Callable[[Tables], object], observed: str) -> None:
    tables = deepcopy(good)
    spoil(tables)
    seen = failed(tables)
    assert name in seen, seen
    assert observed in seen[name]


# Each spoils another row, so that one validation shows them all: a validation takes half a second.
SPOILED_TOGETHER: list[tuple[str, str, dict[str, Any], str]] = [
    ("health_well_formed", "health", {"gc_ratio": None}, "1 of 16"),
    ("generator_cpu_within_limit", "health", {"cpu_cores": 0.97}, "such as 0.07"),
    ("generator_not_throttled", "health", {"throttled_ratio": 0.4}, "such as 0.4"),
    ("generator_gc_within_limit", "health", {"gc_ratio": 0.2}, "such as 0.2"),
    ("generator_heap_within_limit", "health", {"heap_ratio": 0.95}, "such as 0.95"),
    ("generator_files_within_limit", "health", {"open_files_ratio": 0.93}, "such as 0.93"),
    ("clocks_agree", "health", {"clock_ahead_least_s": 0.8}, "such as 0.8"),
    ("clocks_agree", "health", {"clock_ahead_most_s": -1.25}, "1.25"),
    ("clocks_steady", "health", {"clock_drift_s": 0.6}, "such as 0.6"),
    ("reports_in_time", "health", {"report_delay_s": 3.5}, "such as 3.5"),
    ("series_present", "series", {"points": 0}, " of 16"),
    ("series_complete", "series", {"missing_points": 2}, "such as 2"),
    ("series_unique", "series", {"repeated_points": 1}, "such as 1"),
    ("series_possible", "series", {"highest": 104.0}, " of 16"),
    ("series_possible", "series", {"lowest": -1.0}, " of 16"),
    ("load_balancer_saw_load", "series", {"seen_ratio": 0.02}, "such as 0.02"),
]


def test_broken_health_and_series_are_caught(good: Tables) -> None:
    tables = deepcopy(good)
    # one row for each of the cases, as the fixture has fewer series
    tables["series"] = [dict(tables["series"][1]) for _ in SPOILED_TOGETHER]
    tables["health"] = [dict(tables["health"][0]) for _ in SPOILED_TOGETHER]
    for place, (_, table, values, _) in enumerate(SPOILED_TOGETHER):
        tables[table][place].update(values)
    seen = failed(tables)
    assert set(seen) == {name for name, *_ in SPOILED_TOGETHER}
    for name, _, _, observed in SPOILED_TOGETHER:
        assert observed in seen[name], (name, seen[name])
    assert seen["series_complete"].endswith("such as 2 (requests)")
    assert seen["generator_cpu_within_limit"].endswith("such as 0.07 (smoke 0, shard 0)")


def test_what_is_disturbed_in_an_invalid_probe_is_no_finding(good: Tables) -> None:
    tables = deepcopy(good)
    for name, table, values, _ in SPOILED_TOGETHER:
        if table == "health" and name != "health_well_formed":
            tables["health"].append({**tables["health"][0], **values, "validity": "invalid"})
    assert failed(tables) == {}


def test_every_expectation_has_a_test_that_sees_it_fail() -> None:
    (mark,) = [mark for mark in test_broken_data_is_caught.pytestmark if mark.name == "parametrize"]
    covered = {case[0] for case in mark.args[1]} | {case[0] for case in SPOILED_TOGETHER}
    assert covered == {rule.name for rule in rules(LIMITS)}


def test_a_few_late_seconds_are_no_finding(good: Tables) -> None:
    tables = deepcopy(good)
    second(tables)["lag_p99_ms"] = 80.5
    assert failed(tables) == {}


def test_invalid_probes_may_lag_and_miss_shards(good: Tables) -> None:
    tables = deepcopy(good)
    tables["probes"][11]["validity"] = "invalid"
    for row in tables["seconds"]:
        if (row["stage"], row["probe"]) == ("search", tables["probes"][11]["number"]):
            row.update(lag_p99_ms=900.0, missing=1)
    assert failed(tables) == {}


def test_a_folder_that_cannot_be_made(good: Tables, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="Data Docs cannot be written"):
        run(good, tmp_path / "file" / "docs")
