"""Whether what JMeter recorded agrees with what was reported and judged live: a table of its own, and its rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from include.capacity.jtl.reconcile import MAX_MISSED_RATIO, Reconciled, ReconciledProbe
from include.expectations.rule import IN_SET, Rule

_NOTHING = {"value_set": [""]}

RESULT_RULES = (
    Rule(
        "results_match_reports",
        "results",
        "What JMeter recorded is what the shards reported live: as many transactions of each label and outcome, with "
        "the same latencies and sizes. Otherwise one of the two ways to the answer lost or invented transactions.",
        "fail",
        IN_SET,
        {"column": "difference", **_NOTHING},
    ),
    Rule(
        "probes_match_results",
        "results",
        f"Each valid probe was judged on what JMeter recorded in its seconds: on nothing more, and on all but "
        f"{MAX_MISSED_RATIO:.0%} that may have come late.",
        "fail",
        IN_SET,
        {"column": "misjudged", **_NOTHING},
    ),
    Rule(
        "results_kept",
        "results",
        "The store holds all that JMeter recorded. The end of it is missing where a shard was killed, or the store was "
        "away at its end; the live reports then are the only record of it.",
        "warn",
        IN_SET,
        {"column": "incomplete", **_NOTHING},
    ),
)


def result_rows(shards: Sequence[Reconciled], probes: Sequence[ReconciledProbe]) -> list[dict[str, Any]]:
    """One row per incarnation of a shard and per probe, with the columns of the rules: the sentence that tells what is
    wrong, empty where nothing is."""
    rows = [
        {
            "of": f"shard {each.shard}, incarnation {each.incarnation}",
            "live": each.reported,
            "recorded": each.recorded,
            "difference": each.told if each.state == "different" else "",
            "incomplete": each.told if each.state == "incomplete" else "",
            "misjudged": "",
        }
        for each in shards
    ]
    rows += [
        {
            "of": f"probe {probe.number} of {probe.stage}",
            "live": probe.judged,
            "recorded": probe.recorded,
            "difference": "",
            "incomplete": "",
            "misjudged": probe.told,
        }
        for probe in probes
    ]
    return rows
