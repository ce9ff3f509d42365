"""What the shard needs of the load engine, and what the engine's dispatcher says of itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from include.capacity.errors import InvalidData
from include.capacity.protocol import Counters


@dataclass(frozen=True, slots=True)
class DispatcherStatus:
    """The dispatcher's status file, cumulative since the start of the JVM.

    Attributes:
        at: wall clock of the writing, epoch seconds.
        order: (epoch, seq) of the order it took last; (0, 0) before the first.
        rate_per_s: the rate it keeps now.
        in_force_at: wall clock at which it took that order's rate, epoch seconds (a renewal at the same rate does not
            change it); 0 before the first order.
        offered: epoch second -> arrivals that were due in it, for about the last 30 s.
        cpu_s, gc_s: CPU time of the JVM, and time spent in garbage collection.
        heap_used, heap_max: bytes.
    """

    at: float
    order: tuple[int, int]
    rate_per_s: float
    in_force_at: float
    counters: Counters
    offered: Mapping[int, int]
    cpu_s: float
    gc_s: float
    heap_used: int
    heap_max: int
    open_fds: int
    max_fds: int

    @classmethod
    def loads(cls, data: bytes) -> DispatcherStatus:
        """Raises InvalidData when it is not a complete status."""
        try:
            raw = json.loads(data)
            counters = Counters(
                dispatched=int(raw["dispatched"]),
                taken=int(raw["taken"]),
                completed=int(raw["completed"]),
                dropped=int(raw["dropped"]),
                backlog=int(raw["backlog"]),
                in_flight=int(raw["taken"]) - int(raw["completed"]),
                threads=int(raw["threads"]),
                threads_idle=int(raw["threads_idle"]),
            )
            return cls(
                at=int(raw["at_ms"]) / 1e3,
                order=(int(raw["epoch"]), int(raw["seq"])),
                rate_per_s=float(raw["rate_per_s"]),
                in_force_at=int(raw["in_force_at_ms"]) / 1e3,
                counters=counters,
                offered={int(second): int(count) for second, count in raw["offered"].items()},
                cpu_s=float(raw["cpu_s"]),
                gc_s=float(raw["gc_s"]),
                heap_used=int(raw["heap_used"]),
                heap_max=int(raw["heap_max"]),
                open_fds=int(raw["open_fds"]),
                max_fds=int(raw["max_fds"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidData(f"not a dispatcher's status: {error!r}.") from None


@dataclass(frozen=True, slots=True)
class DispatcherOrder:
    """What the dispatcher is told; `end` makes its threads end with their current iteration."""

    order: tuple[int, int]
    rate_per_s: float
    end: bool = False


class LoadEngine(Protocol):
    """JMeter, or a stand-in in tests. No call blocks longer than a local file takes."""

    def exit_code(self) -> int | None:
        """None while it runs; negative: killed by that signal."""

    def tell(self, order: DispatcherOrder) -> None:
        """Replaces the dispatcher's order; each call is a beat that renews its lease. Raises OSError (disk full)."""

    def status(self) -> DispatcherStatus | None:
        """The last status; None before the first."""

    def results(self) -> bytes:
        """The next piece of the results file, empty when there is nothing new."""

    def wait(self, timeout_s: float) -> bool:
        """Waits for its end; whether it has ended."""

    def kill(self) -> None:
        """Ends it at once, with everything it started."""

    def last_words(self) -> str:
        """The last error messages of its log, for a person."""

    def free_bytes(self) -> int:
        """Free space where it writes."""
