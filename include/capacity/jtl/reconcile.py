"""Compares what the shards reported live with what JMeter recorded: two ways of the same rows, which must agree.

The answer stands on the live way: a follower's histograms, second by second, through the store, added up by the
conductor. The other way is the results file itself, read as a whole at the end. Reports and results of a shard must be
equal but for the end of one that died; the seconds that a probe was judged on may miss what came late, nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from include.capacity.histogram import Histogram
from include.capacity.jtl.bulk_result import JtlAggregate, LabelOutcome
from include.capacity.jtl.bulk_table import SecondTable
from include.capacity.models import FleetSecond
from include.capacity.protocol import Outcome, ShardReport

State = Literal["equal", "incomplete", "different"]
MAX_MISSED_RATIO = 0.01
"""Share of the transactions that ended in a probe's seconds that may have come too late for its judgement."""
_SHOWN = 3


@dataclass(slots=True)
class Reported:
    """What one incarnation of a shard reported; add its reports in any order."""

    latency: dict[LabelOutcome, Histogram] = field(default_factory=dict)
    bytes: dict[LabelOutcome, int] = field(default_factory=dict)
    rejected: int = 0
    final: bool = False

    def add(self, report: ShardReport) -> None:
        for row in report.rows:
            key = row.label, row.outcome
            self.latency.setdefault(key, Histogram()).merge(row.latency)
            self.bytes[key] = self.bytes.get(key, 0) + row.bytes
        self.rejected += report.rejected
        self.final = self.final or report.final

    @property
    def transactions(self) -> int:
        return sum(histogram.total for histogram in self.latency.values())


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the store holds of an incarnation's results.

    Attributes:
        parts: their numbers. result: what they came to; None where there is nothing that can be read.
        unreadable: why not, if there is something.
    """

    parts: tuple[int, ...] = ()
    result: JtlAggregate | None = None
    unreadable: str = ""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """How the two ways compare.

    Attributes:
        state: `equal`; `incomplete`: one way ends earlier than the other, and the shard died or a part is missing;
            `different`: anything else.
        reported, recorded: transactions.
        told: one sentence about what differs; empty if nothing does.
    """

    shard: int
    incarnation: str
    state: State
    reported: int
    recorded: int
    told: str = ""


@dataclass(slots=True)
class RecordedSeconds:
    """What all shards recorded in some seconds; by the second of their end, and of their start."""

    completed: Counter[int] = field(default_factory=Counter)
    started: Counter[tuple[int, str, Outcome]] = field(default_factory=Counter)

    def add(self, table: SecondTable, wanted: Container[int]) -> None:
        """Adds those seconds of a table that are wanted."""
        completed, started = table.counts_by_second()
        self.completed.update({second: count for second, count in completed.items() if second in wanted})
        self.started.update({key: count for key, count in started.items() if key[0] in wanted})


@dataclass(frozen=True, slots=True)
class ReconciledProbe:
    """How the seconds that a probe was judged on compare with what was recorded.

    Attributes:
        judged, recorded: transactions that ended in its seconds.
    """

    stage: str
    number: int
    state: State
    judged: int
    recorded: int
    told: str = ""


def reconcile_probe(
    stage: str, number: int, seconds: Sequence[FleetSecond], recorded: RecordedSeconds
) -> ReconciledProbe:
    """Nothing may be judged that was not recorded, and at most `MAX_MISSED_RATIO` may be missed."""
    judged = sum(second.completed for second in seconds)
    ended = sum(recorded.completed[second.second] for second in seconds)
    live: Counter[LabelOutcome] = Counter()
    kept: Counter[LabelOutcome] = Counter()
    for second in seconds:
        for (label, outcome), histogram in second.rows.items():
            live[label, outcome] += histogram.total
            kept[label, outcome] += recorded.started[second.second, label, outcome]
    told, missed = "", ended - judged
    invented = sorted(key for key in live if live[key] > kept[key])
    early = [second.second for second in seconds if second.completed > recorded.completed[second.second]]
    if invented:
        each = (f"{_name(key)}: {live[key]} judged, {kept[key]} recorded" for key in invented)
        told = f"more was judged than recorded: {_listed(each, '; ')}"
    elif early:
        told = f"more transactions were judged than recorded in the seconds {_listed(early)}"
    elif missed > max(2, MAX_MISSED_RATIO * ended):
        told = f"of {ended} transactions that ended in its seconds, the judgement missed {missed}"
    sentence = f"probe {number} of {stage}: {told}" if told else ""
    return ReconciledProbe(stage, number, "different" if told else "equal", judged, ended, sentence)


def reconcile(shard: int, incarnation: str, live: Reported, kept: Recorded) -> Reconciled:
    """Compares counts, latency histograms and bytes by label and outcome, and the number of rejected lines."""
    state, told = _compared(live, kept)
    sentence = f"shard {shard}, incarnation {incarnation}: {told}" if told else ""
    recorded = kept.result.counted if kept.result is not None else 0
    return Reconciled(shard, incarnation, state, live.transactions, recorded, sentence)


def _compared(live: Reported, kept: Recorded) -> tuple[State, str]:
    if kept.unreadable:
        return "different", f"what JMeter recorded cannot be read: {kept.unreadable}"
    gaps = sorted(set(range(max(kept.parts, default=-1) + 1)) - set(kept.parts))
    if gaps:
        return "incomplete", f"of the results' parts, {_listed(gaps)} are not in the store"
    latency = kept.result.latency if kept.result is not None else {}
    ahead = {key: _total(live.latency, key) - _total(latency, key) for key in {*live.latency, *latency}}
    if any(ahead.values()):
        missing, end = sum(ahead.values()), "" if live.final else "it died without a final report; "
        if min(ahead.values()) >= 0:
            return "incomplete", f"{end}of {live.transactions} transactions that it reported, {missing} are not kept"
        if max(ahead.values()) <= 0 and not live.final:
            return "incomplete", f"{end}{-missing} transactions are kept that it did not report any more"
        return "different", _by_label(live.latency, latency, sorted(key for key, count in ahead.items() if count))
    if kept.result is None or not live.final:
        return "equal", ""
    others = sorted(key for key in live.latency if live.latency[key] != latency[key])
    if others:
        return "different", f"as many transactions, but other latencies of {_listed(_name(key) for key in others)}"
    others = sorted(key for key in live.bytes if live.bytes[key] != kept.result.bytes[key])
    if others:
        return "different", f"as many transactions, but other sizes of {_listed(_name(key) for key in others)}"
    rejected = kept.result.rejections.count
    if rejected != live.rejected:
        return "different", f"{live.rejected} lines were rejected live, but {rejected} in the file"
    return "equal", ""


def _total(latency: Mapping[LabelOutcome, Histogram], key: LabelOutcome) -> int:
    return latency[key].total if key in latency else 0


def _by_label(
    live: Mapping[LabelOutcome, Histogram], kept: Mapping[LabelOutcome, Histogram], keys: Sequence[LabelOutcome]
) -> str:
    each = (f"{_name(key)}: {_total(live, key)} reported, {_total(kept, key)} recorded" for key in keys)
    return _listed(each, "; ")


def _name(key: LabelOutcome) -> str:
    label, outcome = key
    return f"{label} ({outcome})"


def _listed(entries: Iterable[object], separator: str = ", ") -> str:
    texts = [str(entry) for entry in entries]
    more = f"{separator}and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return separator.join(texts[:_SHOWN]) + more
