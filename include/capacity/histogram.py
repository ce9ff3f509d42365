"""Mergeable log-linear histogram of integer microseconds.

The layout is that of HdrHistogram (G. Tene): below 256 us every value has a bucket of its own; above, each octave is
cut into 128 equal buckets. A bucket is at most 1/128 of its lower bound wide and is read at its middle, so a quantile
is off by at most 0.39 % (0.5 us below 256). Merging is addition of counts: exact, and independent of order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

SUB_BITS = 7  # 2**7 buckets an octave
_LINEAR = 1 << (SUB_BITS + 1)
MAX_US = 1 << 40  # about 12.7 days; anything larger is counted in the last bucket


def bucket_of(value_us: int) -> int:
    """Bucket number of a value in microseconds; negative values count as 0, absurd ones as `MAX_US`."""
    value = min(max(int(value_us), 0), MAX_US)
    shift = max(value.bit_length() - (SUB_BITS + 1), 0)
    return (shift << SUB_BITS) + (value >> shift)


def bucket_bounds(bucket: int) -> tuple[int, int]:
    """Lower (inclusive) and upper (exclusive) bound of a bucket in microseconds."""
    if bucket < _LINEAR:
        return bucket, bucket + 1
    shift = (bucket >> SUB_BITS) - 1
    low = (bucket - (shift << SUB_BITS)) << shift
    return low, low + (1 << shift)


def bucket_value(bucket: int) -> float:
    """The value in microseconds that stands for a bucket: its middle (exact below 256 us)."""
    low, high = bucket_bounds(bucket)
    return float(low) if high - low == 1 else (low + high - 1) / 2


@dataclass(slots=True)
class Histogram:
    """Counts by bucket. Mutable while it is filled; `to_json` and `from_json` carry it between processes."""

    counts: dict[int, int] = field(default_factory=dict)

    def add(self, value_us: int, count: int = 1) -> None:
        bucket = bucket_of(value_us)
        self.counts[bucket] = self.counts.get(bucket, 0) + count

    def merge(self, other: Histogram) -> Histogram:
        """Adds the other's counts to this histogram and returns this one."""
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count
        return self

    @classmethod
    def merged(cls, parts: Iterable[Histogram]) -> Histogram:
        total = cls()
        for part in parts:
            total.merge(part)
        return total

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def quantile_us(self, q: float) -> float | None:
        """The q-quantile in microseconds (smallest value with at least a share q of the counts), None when empty."""
        if not 0 <= q <= 1:
            raise ValueError(f"a quantile is between 0 and 1, not {q}")
        total = self.total
        if total == 0:
            return None
        need, seen = q * total - 1e-9 * total, 0  # 0.07 * 100 is a little more than 7
        for bucket in sorted(bucket for bucket, count in self.counts.items() if count):
            seen += self.counts[bucket]
            if seen >= need:
                break
        return bucket_value(bucket)

    def quantile_ms(self, q: float) -> float | None:
        value = self.quantile_us(q)
        return None if value is None else value / 1e3

    def count_above(self, limit_us: float) -> int:
        """How many values lie above a limit, by the value that stands for each bucket."""
        if limit_us < 0:
            return self.total
        edge = bucket_of(int(limit_us))
        above = edge if bucket_value(edge) > limit_us else edge + 1  # values grow with the bucket's number
        return sum(count for bucket, count in self.counts.items() if bucket >= above)

    def to_json(self) -> dict[str, int]:
        return {str(bucket): count for bucket, count in sorted(self.counts.items())}

    @classmethod
    def from_json(cls, data: Mapping[str, int]) -> Histogram:
        counts: dict[int, int] = {}
        for bucket, count in data.items():
            if int(count) < 0:
                raise ValueError(f"negative count {count} in bucket {bucket}")
            counts[int(bucket)] = int(count)
        return cls(counts)
