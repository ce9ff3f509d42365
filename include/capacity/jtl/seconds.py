"""What rows of a JTL file add up to, and what must be remembered of rows before to add one up."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from include.capacity.histogram import Histogram
from include.capacity.protocol import SecondRow

REMEMBERED_ARRIVALS = 32_768
"""Far more than threads that can be busy at once; an arrival's rows lie closer together than that."""

REMEMBERED_THREADS = 8192


class ArrivalMemory:
    """Tells the first row of each arrival from its later ones. Bounded: the least recently seen are forgotten."""

    def __init__(self, size: int = REMEMBERED_ARRIVALS) -> None:
        self._size = size
        self._seen: OrderedDict[int, None] = OrderedDict()  # in the order of their last row

    def is_first(self, number: int) -> bool:
        if number in self._seen:
            self._seen.move_to_end(number)
            return False
        self._seen[number] = None
        if len(self._seen) > self._size:
            self._seen.popitem(last=False)
        return True


class ThreadMemory:
    """Knows each thread's last row, and so tells a transaction controller's row that repeats rows before it.

    JMeter writes the row of a controller right behind those of its samples, in the same thread; or it writes one row
    only ("Generate parent sample"). So a controller's row repeats others if the row before it in its thread began
    within it. Bounded: too many threads are all forgotten.
    """

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, int]] = {}

    def repeats(self, thread: str, started_ms: int, elapsed_ms: int, controller: bool) -> bool:
        last = self._last.get(thread)
        if last is None and len(self._last) >= REMEMBERED_THREADS:
            self._last = {}
        self._last[thread] = started_ms, started_ms + elapsed_ms
        return controller and last is not None and last[0] >= started_ms and last[1] > started_ms


@dataclass(frozen=True, slots=True)
class Seconds:
    """What a stretch of the file holds; fields as in ShardReport. `foreign` counts samples that are not the user's."""

    completed: Mapping[int, int] = field(default_factory=dict)
    lag: Mapping[int, Histogram] = field(default_factory=dict)
    rows: tuple[SecondRow, ...] = ()
    sizes: Mapping[int, Mapping[str, Histogram]] = field(default_factory=dict)
    own_errors: Mapping[str, int] = field(default_factory=dict)
    foreign: int = 0
