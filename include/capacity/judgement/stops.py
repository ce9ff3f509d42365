"""Why a step ended before its hold was complete, in words that `judge` and the search understand again.

A stop is a reason and a sentence: `overload: 412 arrivals in flight, …`. `HOLD_COMPLETE` is the only stop without a
reason.
"""

from __future__ import annotations

from typing import Literal

Reason = Literal["overload", "slo", "met", "well", "guard", "shard"]

OVERLOAD: Reason = "overload"  # the service fell behind: says something about the service
SLO: Reason = "slo"  # the SLO is missed: beyond doubt, or whatever the rest of the hold brings
MET: Reason = "met"  # the SLO is met beyond doubt, whatever the rest of the hold brings
WELL: Reason = "well"  # a rest: the service answers as it did before the failed probe
GUARD: Reason = "guard"  # a shard stopped its load by itself: says nothing about the service
SHARD: Reason = "shard"  # a shard is missing or was started anew: says nothing about the service

BEYOND_DOUBT = "That is beyond doubt."  # the end of an SLO stop by a sequential test, not by a used up allowance


def stop(reason: Reason, sentence: str) -> str:
    return f"{reason}: {sentence}"


def is_stop(text: str, reason: Reason) -> bool:
    return text.startswith(f"{reason}: ")
