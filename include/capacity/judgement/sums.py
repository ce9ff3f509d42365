"""Sums over the seconds of a step: what the conditions, the watch and the validity checks have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from include.capacity.histogram import Histogram
from include.capacity.models import ALL_LABELS, FleetSecond
from include.capacity.protocol import OUTCOMES, Outcome

# A generator's own error is no answer of the service: it counts to validity, not to latencies or the error ratio.
SERVICE_OUTCOMES: tuple[Outcome, ...] = tuple(outcome for outcome in OUTCOMES if outcome != "generator_error")


def rows_of(seconds: Iterable[FleetSecond], label: str) -> Iterable[tuple[Outcome, Histogram]]:
    """The outcomes and latencies of a label (or `all`) that the service answers for."""
    for second in seconds:
        for (row_label, outcome), latency in second.rows.items():
            if outcome in SERVICE_OUTCOMES and label in (ALL_LABELS, row_label):
                yield outcome, latency


def latency(seconds: Iterable[FleetSecond], label: str = ALL_LABELS) -> Histogram:
    """Latencies from the intended start, failed transactions included."""
    return Histogram.merged(part for _, part in rows_of(seconds, label))


def lag(seconds: Iterable[FleetSecond]) -> Histogram:
    return Histogram.merged(second.lag for second in seconds)


def outcomes(seconds: Iterable[FleetSecond]) -> dict[str, int]:
    """Outcome -> transactions; every outcome is a key."""
    counts: dict[str, int] = dict.fromkeys(OUTCOMES, 0)
    for second in seconds:
        for (_, outcome), part in second.rows.items():
            counts[outcome] += part.total
    return counts


def good_and_bad(seconds: Iterable[FleetSecond], label: str) -> tuple[int, int]:
    """Transactions of a label that ended well, and those that did not."""
    good = bad = 0
    for outcome, part in rows_of(seconds, label):
        if outcome == "ok":
            good += part.total
        else:
            bad += part.total
    return good, bad


def slow_and_all(seconds: Iterable[FleetSecond], label: str, limit_ms: float) -> tuple[int, int]:
    """Transactions of a label above a latency, and all of them."""
    slow = total = 0
    for _, part in rows_of(seconds, label):
        slow += part.count_above(limit_ms * 1e3)
        total += part.total
    return slow, total


def unhappy_and_all(seconds: Iterable[FleetSecond], label: str, target_ms: float) -> tuple[float, int]:
    """What a label's transactions lack of a full Apdex, and how many they are: the score is 1 - unhappy / all.

    Apdex Technical Specification 1.1: at most T satisfies, at most 4 T is tolerated and counts half, anything slower
    frustrates; so does every failed transaction, however fast it failed.
    """
    unhappy, total = 0.0, 0
    for outcome, part in rows_of(seconds, label):
        total += part.total
        if outcome == "ok":
            unhappy += (part.count_above(target_ms * 1e3) + part.count_above(4 * target_ms * 1e3)) / 2
        else:
            unhappy += part.total
    return unhappy, total


def completed(seconds: Iterable[FleetSecond], label: str) -> int:
    """Transactions that ended in the seconds; of one label those that began in them and came back."""
    if label == ALL_LABELS:
        return sum(second.completed for second in seconds)
    return sum(part.total for _, part in rows_of(seconds, label))


def offered(seconds: Iterable[FleetSecond]) -> int:
    """Arrivals that were dispatched."""
    return sum(second.offered for second in seconds)


def mean_in_flight(seconds: Sequence[FleetSecond]) -> float:
    return sum(second.in_flight for second in seconds) / len(seconds) if seconds else 0.0


def in_order(seconds: Iterable[FleetSecond]) -> list[FleetSecond]:
    return sorted(seconds, key=lambda second: second.second)
