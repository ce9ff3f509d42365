"""Which rule ended a probe, as a closed set with plain words for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from include.capacity.judgement.stops import BEYOND_DOUBT, GUARD, MET, OVERLOAD, SHARD, SLO, WELL, Reason, is_stop
from include.capacity.models import HOLD_COMPLETE

Ending = Literal["held", "met", "missed", "allowance", "overload", "guard", "shard", "well", "other"]


@dataclass(frozen=True, slots=True)
class Words:
    """`short` labels a chart, `plain` fills a table's cell, `meaning` explains it once."""

    short: str
    plain: str
    meaning: str


ENDINGS: Mapping[Ending, Words] = {
    "held": Words("held", "held to its end", "no rule ended it before its planned time"),
    "met": Words(
        "met early",
        "met beyond doubt",
        "every condition of the SLO was met by more than chance explains: more time tells no more",
    ),
    "missed": Words(
        "missed early",
        "missed beyond doubt",
        "a condition was missed by more than chance explains: more load would only hurt",
    ),
    "allowance": Words(
        "allowance gone",
        "allowance used up",
        "so much was slow or failed already that the whole hold misses the SLO, however well the rest of it goes",
    ),
    "overload": Words(
        "overload", "overload", "the service fell behind or failed at large, and was relieved within seconds"
    ),
    "guard": Words("guard", "guard", "a load generator stopped by itself at a hard limit of the profile"),
    "shard": Words(
        "shard lost", "shard lost", "a load generator went missing or was started anew: the probe is repeated"
    ),
    "well": Words("well again", "well again", "the service answered as it did at low rates: no need to rest longer"),
    "other": Words(
        "ended early", "ended early", "by a rule that this version does not know; the result holds its words"
    ),
}

_BY_REASON: Mapping[Reason, Ending] = {
    OVERLOAD: "overload",
    MET: "met",
    WELL: "well",
    GUARD: "guard",
    SHARD: "shard",
}


def ending_of(stop: str) -> Ending:
    """The rule behind the `stop` of a probe."""
    if stop == HOLD_COMPLETE:
        return "held"
    if is_stop(stop, SLO):
        return "missed" if stop.endswith(BEYOND_DOUBT) else "allowance"
    return next((ending for reason, ending in _BY_REASON.items() if is_stop(stop, reason)), "other")
