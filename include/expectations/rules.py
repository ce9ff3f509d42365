"""What the collected data of a run must look like before anybody believes it: one rule per expectation, as data.

`include.pipeline.validating` runs them with Great Expectations. Columns come from `columns`. `fail` makes the data
unfit for an answer; `warn` is told to the reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Table = Literal["seconds", "probes", "lines", "shards"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One expectation.

    Attributes:
        kind: Great Expectations' name of it; `arguments` are its arguments.
        meaning: what it says and why it matters, for a reader who does not know the code.
    """

    name: str
    table: Table
    meaning: str
    severity: Literal["warn", "fail"]
    kind: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


_BETWEEN = "expect_column_values_to_be_between"
_IN_SET = "expect_column_values_to_be_in_set"
_ROWS = "expect_table_row_count_to_be_between"
_UNIQUE = "expect_column_values_to_be_unique"


def _true(name: str, table: Table, meaning: str, severity: Literal["warn", "fail"] = "fail") -> Rule:
    """A rule that `columns` decided by row: its column bears the rule's name."""
    return Rule(name, table, meaning, severity, _IN_SET, {"column": name, "value_set": [True]})


def rules(*, max_lag_p99_ms: float, max_rejected_ratio: float) -> tuple[Rule, ...]:
    """All rules, under the profile's limits of validity."""
    return (
        Rule(
            "seconds_present",
            "seconds",
            "At least one second of load is recorded.",
            "fail",
            _ROWS,
            {"min_value": 1},
        ),
        _true(
            "seconds_well_formed",
            "seconds",
            "Every second has all its columns, with numbers where numbers belong.",
        ),
        Rule(
            "seconds_unique",
            "seconds",
            "No second is recorded twice: transactions would count double.",
            "fail",
            _UNIQUE,
            {"column": "second"},
        ),
        Rule(
            "seconds_consecutive",
            "seconds",
            "Within a probe no second is left out: load would be missing from rates and latencies.",
            "fail",
            _BETWEEN,
            {"column": "seconds_since_last", "max_value": 1},
        ),
        Rule(
            "counts_not_negative",
            "seconds",
            "No count and no rate is below zero.",
            "fail",
            _BETWEEN,
            {"column": "lowest_count", "min_value": 0},
        ),
        Rule(
            "latencies_possible",
            "seconds",
            "Latencies are above zero and below an hour.",
            "fail",
            _BETWEEN,
            {"column": "latency", "min_value": 0, "strict_min": True, "max_value": 3.6e6},
        ),
        _true(
            "latencies_present",
            "seconds",
            "A second in which transactions started has their latencies, and one without has none.",
        ),
        _true("percentiles_ordered", "seconds", "A higher percentile of the latency is never below a lower one."),
        Rule(
            "error_ratios_possible",
            "seconds",
            "In no second did more transactions fail than there were.",
            "fail",
            _BETWEEN,
            {"column": "error_ratio", "min_value": 0, "max_value": 1},
        ),
        Rule(
            "lag_within_limit",
            "seconds",
            f"In 95 % of the judged seconds of valid probes the load generator's p99 lag is at most {max_lag_p99_ms:g} "
            "ms: beyond that the generator, not the service, sets the latency.",
            "warn",
            _BETWEEN,
            {"column": "judged_lag_ms", "max_value": max_lag_p99_ms, "mostly": 0.95},
        ),
        Rule(
            "no_shard_missing",
            "seconds",
            "In every judged second of a valid probe all shards reported.",
            "fail",
            _BETWEEN,
            {"column": "judged_missing", "max_value": 0},
        ),
        Rule("probes_present", "probes", "The run judged at least one probe.", "fail", _ROWS, {"min_value": 1}),
        _true("probes_well_formed", "probes", "Every probe has all its columns, with numbers where numbers belong."),
        Rule("probes_unique", "probes", "No probe is recorded twice.", "fail", _UNIQUE, {"column": "key"}),
        _true("probes_offered", "probes", "Every probe that was judged offered load, unless it was a rest."),
        Rule(
            "achieved_not_above_offered",
            "probes",
            "No valid probe completes clearly more (10 % and chance) than it was offered: work of an earlier probe "
            "would count in it.",
            "warn",
            _BETWEEN,
            {"column": "achieved_excess_tps", "max_value": 0},
        ),
        Rule(
            "completed_matches_probes",
            "probes",
            "The transactions of a probe's seconds add up to its achieved rate: both come from the same reports.",
            "fail",
            _BETWEEN,
            {"column": "completed_gap", "max_value": 0},
        ),
        Rule(
            "judged_seconds_match",
            "probes",
            "As many seconds are recorded for a probe as were judged.",
            "fail",
            _BETWEEN,
            {"column": "seconds_gap", "min_value": 0, "max_value": 0},
        ),
        _true(
            "probe_percentiles_ordered",
            "probes",
            "A higher percentile of a probe's latency is not below a lower.",
        ),
        Rule(
            "probe_error_ratios_possible",
            "probes",
            "The share of failed transactions of a probe lies between none and all.",
            "fail",
            _BETWEEN,
            {"column": "error_ratio", "min_value": 0, "max_value": 1},
        ),
        Rule(
            "rejected_lines_few",
            "lines",
            f"At most {max_rejected_ratio * 100:g} % of the load generator's result lines could not be read.",
            "fail",
            _BETWEEN,
            {"column": "rejected_ratio", "min_value": 0, "max_value": max_rejected_ratio},
        ),
        Rule("shards_present", "shards", "The fleet has at least one shard.", "fail", _ROWS, {"min_value": 1}),
        Rule(
            "every_shard_reported",
            "shards",
            "Every shard of the fleet reported: otherwise a part of the load was never seen.",
            "fail",
            _BETWEEN,
            {"column": "seconds_reported", "min_value": 1},
        ),
        Rule(
            "shards_report_fully",
            "shards",
            "Every shard reported at least 95 % of the seconds it should have.",
            "warn",
            _BETWEEN,
            {"column": "reported_ratio", "min_value": 0.95},
        ),
        Rule(
            "no_shard_restarted",
            "shards",
            "No shard was started again during the run; its load would have been away in between.",
            "warn",
            _BETWEEN,
            {"column": "incarnations", "max_value": 1},
        ),
    )
