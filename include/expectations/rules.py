"""What the collected data of a run must look like before anybody believes it: one rule per expectation, as data.

`include.pipeline.validating` runs them with Great Expectations. Columns come from `columns`. `fail` makes the data
unfit for an answer; `warn` is told to the reader.
"""

from __future__ import annotations

from include.capacity.models import ValidityLimits
from include.expectations.rule import BETWEEN, IN_SET, ROWS, UNIQUE, Rule, most, true
from include.expectations.surroundings import health_rules, series_rules


def rules(limits: ValidityLimits) -> tuple[Rule, ...]:
    """All rules, under the profile's limits of validity."""
    return (
        *_seconds_rules(limits),
        *_probe_rules(limits),
        *_line_rules(limits),
        *_shard_rules(),
        *health_rules(limits),
        *series_rules(),
    )


def _seconds_rules(limits: ValidityLimits) -> tuple[Rule, ...]:
    return (
        Rule(
            "seconds_present",
            "seconds",
            "At least one second of load is recorded.",
            "fail",
            ROWS,
            {"min_value": 1},
        ),
        true(
            "seconds_well_formed",
            "seconds",
            "Every second has all its columns, with numbers where numbers belong.",
        ),
        Rule(
            "seconds_unique",
            "seconds",
            "No second is recorded twice: transactions would count double.",
            "fail",
            UNIQUE,
            {"column": "second"},
        ),
        Rule(
            "seconds_consecutive",
            "seconds",
            "Within a probe no second is left out: load would be missing from rates and latencies.",
            "fail",
            BETWEEN,
            {"column": "seconds_since_last", "max_value": 1},
        ),
        most(
            "seconds_within_run",
            "seconds",
            "Every second lies within the time of the run: another one comes from a wrong clock or another run.",
            "fail",
            "outside_s",
            0,
        ),
        Rule(
            "counts_not_negative",
            "seconds",
            "No count and no rate is below zero.",
            "fail",
            BETWEEN,
            {"column": "lowest_count", "min_value": 0},
        ),
        Rule(
            "latencies_possible",
            "seconds",
            "Latencies are above zero and below an hour.",
            "fail",
            BETWEEN,
            {"column": "latency", "min_value": 0, "strict_min": True, "max_value": 3.6e6},
        ),
        true(
            "latencies_present",
            "seconds",
            "A second in which transactions started has their latencies, and one without has none.",
        ),
        true("percentiles_ordered", "seconds", "A higher percentile of the latency is never below a lower one."),
        Rule(
            "error_ratios_possible",
            "seconds",
            "In no second did more transactions fail than there were.",
            "fail",
            BETWEEN,
            {"column": "error_ratio", "min_value": 0, "max_value": 1},
        ),
        Rule(
            "lag_within_limit",
            "seconds",
            "In 95 % of the judged seconds of valid probes the load generator's p99 lag is at most "
            f"{limits.max_lag_p99_ms:g} ms: beyond that the generator, not the service, sets the latency.",
            "warn",
            BETWEEN,
            {"column": "judged_lag_ms", "max_value": limits.max_lag_p99_ms, "mostly": 0.95},
        ),
        Rule(
            "no_shard_missing",
            "seconds",
            "In every judged second of a valid probe all shards reported.",
            "fail",
            BETWEEN,
            {"column": "judged_missing", "max_value": 0},
        ),
    )


def _probe_rules(limits: ValidityLimits) -> tuple[Rule, ...]:
    return (
        Rule("probes_present", "probes", "The run judged at least one probe.", "fail", ROWS, {"min_value": 1}),
        true("probes_well_formed", "probes", "Every probe has all its columns, with numbers where numbers belong."),
        Rule("probes_unique", "probes", "No probe is recorded twice.", "fail", UNIQUE, {"column": "key"}),
        true("probes_offered", "probes", "Every probe that was judged offered load, unless it was a rest."),
        Rule(
            "validity_known",
            "probes",
            "Every probe was judged valid, invalid or inconclusive: what is none of them cannot be used or left out.",
            "fail",
            IN_SET,
            {"column": "validity", "value_set": ["valid", "invalid", "inconclusive"]},
        ),
        Rule(
            "probes_mostly_valid",
            "probes",
            "At least half of the probes (rests left out) are valid: otherwise the load generator or the environment "
            "was disturbed for most of the run.",
            "warn",
            IN_SET,
            {"column": "is_valid", "value_set": [True], "mostly": 0.5},
        ),
        Rule(
            "instances_steady",
            "probes",
            "All valid probes saw the same number of instances in service: otherwise they measured different services.",
            "fail",
            BETWEEN,
            {"column": "instances_gap", "min_value": 0, "max_value": 0},
        ),
        most(
            "offered_as_commanded",
            "probes",
            f"In every valid probe the fleet offered what the conductor commanded, but for "
            f"{limits.max_offered_deviation:.0%} and chance.",
            "fail",
            "offered_gap_ratio",
            limits.max_offered_deviation + 1e-6,
        ),
        Rule(
            "achieved_not_above_offered",
            "probes",
            "No valid probe completes clearly more (10 % and chance) than it was offered: work of an earlier probe "
            "would count in it.",
            "warn",
            BETWEEN,
            {"column": "achieved_excess_tps", "max_value": 0},
        ),
        Rule(
            "completed_matches_probes",
            "probes",
            "The transactions of a probe's seconds add up to its achieved rate: both come from the same reports.",
            "fail",
            BETWEEN,
            {"column": "completed_gap", "max_value": 0},
        ),
        Rule(
            "judged_seconds_match",
            "probes",
            "As many seconds are recorded for a probe as were judged.",
            "fail",
            BETWEEN,
            {"column": "seconds_gap", "min_value": 0, "max_value": 0},
        ),
        true(
            "probe_percentiles_ordered",
            "probes",
            "A higher percentile of a probe's latency is not below a lower.",
        ),
        Rule(
            "probe_error_ratios_possible",
            "probes",
            "The share of failed transactions of a probe lies between none and all.",
            "fail",
            BETWEEN,
            {"column": "error_ratio", "min_value": 0, "max_value": 1},
        ),
    )


def _line_rules(limits: ValidityLimits) -> tuple[Rule, ...]:
    return (
        Rule(
            "rejected_lines_few",
            "lines",
            f"Of each probe that counts, and of all of them, at most {limits.max_rejected_ratio * 100:g} % of the load "
            "generator's result lines could not be read.",
            "fail",
            BETWEEN,
            {"column": "rejected_ratio", "min_value": 0, "max_value": limits.max_rejected_ratio},
        ),
    )


def _shard_rules() -> tuple[Rule, ...]:
    return (
        Rule("shards_present", "shards", "The fleet has at least one shard.", "fail", ROWS, {"min_value": 1}),
        Rule(
            "every_shard_reported",
            "shards",
            "Every shard of the fleet reported: otherwise a part of the load was never seen.",
            "fail",
            BETWEEN,
            {"column": "seconds_reported", "min_value": 1},
        ),
        Rule(
            "shards_report_fully",
            "shards",
            "Every shard reported at least 95 % of the seconds it should have.",
            "warn",
            BETWEEN,
            {"column": "reported_ratio", "min_value": 0.95},
        ),
        Rule(
            "no_shard_restarted",
            "shards",
            "No shard was started again during the run; its load would have been away in between.",
            "warn",
            BETWEEN,
            {"column": "incarnations", "max_value": 1},
        ),
    )
