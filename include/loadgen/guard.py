"""The hard limits that a shard keeps without asking. Once one is broken, its load stays at zero for good."""

from __future__ import annotations

from collections import deque

from include.capacity.jtl.follow import Tally
from include.capacity.protocol import Counters, FleetSpec

MIN_TRANSACTIONS = 20
"""Fewer transactions in the window say nothing about the share of errors."""


class Guard:
    """Watches errors over a sliding window and arrivals in flight; `reason` is empty until a limit is broken."""

    def __init__(self, spec: FleetSpec) -> None:
        self._max_error_ratio = spec.max_error_ratio
        self._window_s = spec.guard_window_s
        self._max_in_flight = spec.max_in_flight
        self._pieces: deque[tuple[float, Tally]] = deque()
        self._transactions = self._errors = 0
        self.reason = ""

    def trip(self, reason: str) -> None:
        self.reason = self.reason or reason

    def saw_transactions(self, now: float, tally: Tally) -> None:
        """Takes what was read from the results at `now` (monotonic seconds)."""
        if tally.transactions:
            self._pieces.append((now, tally))
            self._transactions += tally.transactions
            self._errors += tally.errors
        while self._pieces and self._pieces[0][0] <= now - self._window_s:
            _, old = self._pieces.popleft()
            self._transactions -= old.transactions
            self._errors -= old.errors
        enough = self._transactions >= MIN_TRANSACTIONS
        if enough and self._errors > self._max_error_ratio * self._transactions:
            self.trip(
                f"{self._errors} of {self._transactions} transactions of the last {self._window_s:g} s failed, "
                f"more than the limit of {self._max_error_ratio:.0%}"
            )

    def saw_counters(self, counters: Counters) -> None:
        """Arrivals that wait for a thread count as in flight: they are owed to the service."""
        in_flight = counters.in_flight + counters.backlog
        if in_flight > self._max_in_flight:
            self.trip(f"{in_flight} arrivals are in flight, more than the limit of {self._max_in_flight}")
