"""Whether what JMeter recorded agrees with what the shards reported: a table of its own, and its two rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from include.capacity.jtl.reconcile import Reconciled
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
        "results_kept",
        "results",
        "The store holds all that JMeter recorded. The end of it is missing where a shard was killed, or the store was "
        "away at its end; the live reports then are the only record of it.",
        "warn",
        IN_SET,
        {"column": "incomplete", **_NOTHING},
    ),
)


def result_rows(reconciled: Sequence[Reconciled]) -> list[dict[str, Any]]:
    """One row per incarnation of a shard, with the columns of the rules: the sentence that tells what is wrong."""
    return [
        {
            "shard": str(each.shard),
            "incarnation": each.incarnation,
            "reported": each.reported,
            "recorded": each.recorded,
            "difference": each.told if each.state == "different" else "",
            "incomplete": each.told if each.state == "incomplete" else "",
        }
        for each in reconciled
    ]
