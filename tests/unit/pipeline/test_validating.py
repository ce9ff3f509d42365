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
from include.capacity.report.codec import to_json
from include.capacity.report.tables import probes_table
from include.expectations.rules import rules
from include.pipeline.validating import validate_run
from tests.unit.capacity.report.example_run import example_facts

Tables = dict[str, Any]


@pytest.fixture(scope="module")
def good() -> Tables:
    facts, seconds = example_facts()
    return {
        "seconds_table": json.loads(json.dumps([to_json(row) for row in seconds])),
        "probes_table": json.loads(json.dumps(probes_table(facts.probes))),
        "rejected": 0,
        "rows": 42_000,
        "shard_table": [
            {"shard": shard, "seconds": 330, "expected_seconds": 331, "incarnations": 1} for shard in range(2)
        ],
    }


def failed(tables: Tables) -> dict[str, str]:
    return {each.name: each.observed for each in validate_run(**tables, docs_folder=None) if not each.success}


def test_good_data_meets_every_expectation(good: Tables) -> None:
    outcomes = validate_run(**good, docs_folder=None)
    assert [each.name for each in outcomes if not each.success] == []
    assert [each.name for each in outcomes] == [
        rule.name
        for table in ("seconds", "probes", "lines", "shards")
        for rule in rules(max_lag_p99_ms=40, max_rejected_ratio=0.001)
        if rule.table == table
    ]
    by_name = {each.name: each for each in outcomes}
    assert by_name["seconds_unique"].observed == f"all {len(good['seconds_table'])} values hold"
    assert by_name["probes_present"].observed == "13 rows"


def test_data_docs_are_written_and_overwritten(good: Tables, tmp_path: Path) -> None:
    validate_run(**good, docs_folder=tmp_path / "docs")
    pages = sorted(tmp_path.glob("docs/**/*.html"))
    assert tmp_path / "docs" / "index.html" in pages
    assert len(pages) == 1 + 4 + 4

    suite = (tmp_path / "docs" / "expectations" / "seconds.html").read_text()
    assert "No second is recorded twice" in suite
    validate_run(**good, docs_folder=tmp_path / "docs")
    assert sorted(tmp_path.glob("docs/**/*.html")) == pages


def test_nothing_is_reported_to_anybody(good: Tables) -> None:
    validate_run(**good, docs_folder=None)
    assert os.environ["GX_ANALYTICS_ENABLED"] == "false"


def second(tables: Tables, kind: str = "soak") -> Any:
    """A judged row of a valid probe."""
    return next(row for row in tables["seconds_table"] if row["kind"] == kind and row["judged"])


def _twice(tables: Tables) -> None:
    tables["seconds_table"].append(dict(tables["seconds_table"][-1]))


def _left_out(tables: Tables) -> None:
    tables["seconds_table"].remove(second(tables))


def _set(name: str, value: object) -> Callable[[Tables], None]:
    return lambda tables: second(tables).update({name: value})


def _probe(place: int, **values: object) -> Callable[[Tables], None]:
    return lambda tables: tables["probes_table"][place].update(values)


def _shard(**values: object) -> Callable[[Tables], None]:
    return lambda tables: tables["shard_table"][1].update(values)


def _late(tables: Tables) -> None:
    for row in tables["seconds_table"][-40:]:
        row["lag_p99_ms"] = 80.5


@pytest.mark.parametrize(
    ("name", "spoil", "observed"),
    [
        ("seconds_present", lambda tables: tables["seconds_table"].clear(), "0 rows"),
        ("seconds_well_formed", lambda tables: second(tables).pop("offered_tps"), "1 of 280 values"),
        ("seconds_well_formed", _set("in_flight", "many"), "1 of 280 values"),
        ("seconds_well_formed", _set("completed_tps", float("nan")), "1 of 280 values"),
        ("seconds_unique", _twice, "2 of 281 values do not hold"),
        ("seconds_consecutive", _left_out, "such as 2"),
        ("counts_not_negative", _set("errors", -3), "such as -3"),
        ("latencies_possible", _set("p50_ms", -1.5), "such as -1.5"),
        ("latencies_possible", _set("p50_ms", 0), "such as 0"),
        ("latencies_possible", _set("p99_ms", float("inf")), "such as inf"),
        ("latencies_present", _set("p95_ms", None), "1 of 280"),
        ("latencies_present", _set("started", 0), "1 of 280"),
        ("percentiles_ordered", _set("p50_ms", 5e5), "1 of 280"),
        ("error_ratios_possible", _set("errors", 10_000), "1 of 280"),
        ("error_ratios_possible", lambda tables: second(tables).update(errors=5, started=0), "such as inf"),
        ("lag_within_limit", _late, "such as 80.5"),
        ("no_shard_missing", _set("missing", 1), "such as 1"),
        ("probes_present", lambda tables: tables["probes_table"].clear(), "0 rows"),
        ("probes_well_formed", lambda tables: tables["probes_table"][3].pop("validity"), "1 of 13"),
        ("probes_well_formed", _probe(3, achieved_tps=None), "1 of 13"),
        ("probes_unique", _probe(2, number=0), "such as search 0"),
        ("probes_offered", _probe(4, offered_tps=0), "1 of 13"),
        ("achieved_not_above_offered", _probe(11, achieved_tps=260.0), "1 of 12"),
        ("completed_matches_probes", _probe(11, achieved_tps=170.0), "1 of 13"),
        ("judged_seconds_match", _probe(11, measured_s=30), "such as 25"),
        ("probe_percentiles_ordered", _probe(11, p50_ms=9000.0), "1 of 13"),
        ("probe_error_ratios_possible", _probe(11, error_ratio=1.2), "such as 1.2"),
        ("rejected_lines_few", lambda tables: tables.update(rejected=420), "such as 0.01"),
        ("rejected_lines_few", lambda tables: tables.update(rejected=1, rows=0), "such as 1"),
        ("shards_present", lambda tables: tables["shard_table"].clear(), "0 rows"),
        ("every_shard_reported", _shard(seconds=0), "such as 0"),
        ("every_shard_reported", lambda tables: tables["shard_table"][0].pop("seconds"), "such as 0"),
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


def test_every_expectation_has_a_test_that_sees_it_fail() -> None:
    (mark,) = [mark for mark in test_broken_data_is_caught.pytestmark if mark.name == "parametrize"]
    covered = {case[0] for case in mark.args[1]}
    assert covered == {rule.name for rule in rules(max_lag_p99_ms=40, max_rejected_ratio=0.001)}


def test_a_few_late_seconds_are_no_finding(good: Tables) -> None:
    tables = deepcopy(good)
    second(tables)["lag_p99_ms"] = 80.5
    assert failed(tables) == {}


def test_invalid_probes_may_lag_and_miss_shards(good: Tables) -> None:
    tables = deepcopy(good)
    tables["probes_table"][11]["validity"] = "invalid"
    for row in tables["seconds_table"]:
        if (row["stage"], row["probe"]) == ("search", tables["probes_table"][11]["number"]):
            row.update(lag_p99_ms=900.0, missing=1)
    assert failed(tables) == {}


def test_a_folder_that_cannot_be_made(good: Tables, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="Data Docs cannot be written"):
        validate_run(**good, docs_folder=tmp_path / "file" / "docs")
