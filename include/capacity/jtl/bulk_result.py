"""What a whole JTL file came to; results of several files are added up exactly, in any order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from include.capacity.histogram import Histogram
from include.capacity.jtl.bulk_table import SecondTable
from include.capacity.protocol import Outcome

LabelOutcome = tuple[str, Outcome]


@dataclass(frozen=True, slots=True, order=True)
class Rejection:
    """A record that could not be read: where it begins (line from 1, byte from 0), why, and how its text begins."""

    name: str
    line: int
    byte: int
    reason: str
    text: str

    def __str__(self) -> str:
        return f"{self.name}, line {self.line} (byte {self.byte}): {self.reason}: {self.text!r}"


@dataclass(frozen=True, slots=True)
class Rejections:
    """Rejected records by kind, and the first `keep` of them.

    Kinds: fields (their number), number, range (negative or absurd), success, quotes, cut (the unfinished last line),
    long (a line beyond the buffer), compression (a damaged gzip file: what follows is lost, and counts once); of a
    file that is still written also header (none where one is needed) and labels (too many).
    """

    by_kind: Mapping[str, int] = field(default_factory=dict)
    examples: tuple[Rejection, ...] = ()
    keep: int = 5

    @property
    def count(self) -> int:
        return sum(self.by_kind.values())


@dataclass(frozen=True, slots=True)
class JtlAggregate:
    """Sums over whole files.

    Attributes:
        records: that were seen: headers, rejected ones, foreign, excluded and counted rows. None is lost in silence.
        headers: among them; more than one where files were appended.
        foreign: rows without an arrival in a file that has arrivals (set-up and the like).
        excluded: rows of transaction controllers that are left out: they repeat others, or are not wanted.
        controllers: rows of transaction controllers that count as transactions.
        latency: microseconds by label and outcome, from the intended start.
        bytes: received, by label and outcome.
        lag: schedule lags in microseconds, one for each arrival.
        rejections: what could not be read.
        table: every second; None where a sink took the seconds.
        engines: which engines made it.
    """

    records: int
    headers: int
    foreign: int
    excluded: int
    controllers: int
    latency: Mapping[LabelOutcome, Histogram]
    bytes: Mapping[LabelOutcome, int]
    lag: Histogram
    rejections: Rejections
    table: SecondTable | None
    engines: frozenset[str]

    @property
    def counted(self) -> int:
        """Transactions in the histograms."""
        return sum(histogram.total for histogram in self.latency.values())

    @classmethod
    def of(
        cls,
        counts: tuple[int, int, int, int, int],
        latency: Mapping[LabelOutcome, Histogram],
        size: Mapping[LabelOutcome, int],
        lag: Histogram | None,
        rejections: Rejections,
        table: SecondTable | None,
        engines: frozenset[str],
    ) -> JtlAggregate:
        return cls(*counts, latency, size, lag or Histogram(), rejections, table, engines)

    @classmethod
    def merged(cls, parts: Iterable[JtlAggregate]) -> JtlAggregate:
        """The sum of parts. Its `table` is None if that of any part is."""
        parts = list(parts)
        latency: dict[LabelOutcome, Histogram] = {}
        size: Counter[LabelOutcome] = Counter()
        kinds: Counter[str] = Counter()
        for part in parts:
            for key, histogram in part.latency.items():
                latency.setdefault(key, Histogram()).merge(histogram)
                size[key] += part.bytes[key]
            kinds.update(part.rejections.by_kind)
        keep = max((part.rejections.keep for part in parts), default=5)
        examples = sorted(example for part in parts for example in part.rejections.examples)[:keep]
        tables = [part.table for part in parts if part.table is not None]
        return cls(
            sum(part.records for part in parts),
            sum(part.headers for part in parts),
            sum(part.foreign for part in parts),
            sum(part.excluded for part in parts),
            sum(part.controllers for part in parts),
            latency,
            dict(size),
            Histogram.merged(part.lag for part in parts),
            Rejections(dict(kinds), tuple(examples), keep),
            SecondTable.merged(tables) if len(tables) == len(parts) else None,
            frozenset().union(*(part.engines for part in parts)),
        )
