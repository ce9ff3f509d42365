"""The rules about what surrounds the probes: the load generators' state and clocks, and CloudWatch's series."""

from __future__ import annotations

from include.capacity.models import ValidityLimits
from include.capacity.validity.clocks import DRIFT_SHARE, LATE_S
from include.expectations.rule import BETWEEN, ROWS, Rule, most, true


def health_rules(limits: ValidityLimits) -> tuple[Rule, ...]:
    """Of each shard in each valid probe: the probe was judged so, and this is the check on that."""
    drift_s = DRIFT_SHARE * limits.max_clock_skew_s
    return (
        Rule(
            "health_present",
            "health",
            "The state of at least one load generator is recorded.",
            "fail",
            ROWS,
            {"min_value": 1},
        ),
        true("health_well_formed", "health", "The state of every load generator has all its columns, with numbers."),
        most(
            "generator_cpu_within_limit",
            "health",
            "In no valid probe did a load generator use more CPU than its limit: a saturated one measures itself.",
            "fail",
            "cpu_excess_cores",
            1e-9,
        ),
        most(
            "generator_not_throttled",
            "health",
            f"The container of no load generator was held back by its CPU quota in more than "
            f"{limits.max_throttled_ratio:.0%} of the periods of a valid probe.",
            "fail",
            "throttled_ratio",
            limits.max_throttled_ratio,
        ),
        most(
            "generator_gc_within_limit",
            "health",
            f"No load generator spent more than {limits.max_gc_ratio:.0%} of a valid probe in garbage collection.",
            "fail",
            "gc_ratio",
            limits.max_gc_ratio,
        ),
        most(
            "generator_heap_within_limit",
            "health",
            f"The heap of every load generator was at times less than {limits.max_heap_ratio:.0%} full.",
            "warn",
            "heap_ratio",
            limits.max_heap_ratio,
        ),
        most(
            "generator_files_within_limit",
            "health",
            f"No load generator had more than {limits.max_open_files_ratio:.0%} of its files and connections open.",
            "fail",
            "open_files_ratio",
            limits.max_open_files_ratio,
        ),
        most(
            "clocks_agree",
            "health",
            f"In no valid probe was the clock of a shard surely more than {limits.max_clock_skew_s:g} s off the "
            "conductor's: its transactions would count in the wrong seconds.",
            "fail",
            "clock_skew_s",
            limits.max_clock_skew_s,
        ),
        most(
            "clocks_steady",
            "health",
            f"In no valid probe did the wall clock of a shard run more than {drift_s:g} s off its monotonic clock.",
            "fail",
            "clock_drift_s",
            drift_s,
        ),
        most(
            "reports_in_time",
            "health",
            f"In every valid probe half of each shard's reports came within {LATE_S:g} s: later ones delay the abort "
            "of an overload.",
            "warn",
            "report_delay_s",
            LATE_S,
        ),
    )


def series_rules() -> tuple[Rule, ...]:
    return (
        true(
            "series_present",
            "series",
            "CloudWatch has every series that was asked for. Without them nobody can say what limits the service.",
            "warn",
        ),
        most(
            "series_complete",
            "series",
            "No series has a gap under load. With basic monitoring EC2 tells only each fifth minute: switch detailed "
            "monitoring on.",
            "warn",
            "missing_points",
            0,
        ),
        most(
            "series_unique",
            "series",
            "No series tells a period twice.",
            "warn",
            "repeated_points",
            0,
        ),
        true(
            "series_possible",
            "series",
            "No value of a series is below zero, and no percentage above 100.",
            "warn",
        ),
        Rule(
            "load_balancer_saw_load",
            "series",
            "The load balancer counted at least half a request for each transaction: otherwise the answers came from "
            "somewhere else.",
            "fail",
            BETWEEN,
            {"column": "seen_ratio", "min_value": 0.5},
        ),
    )
