"""A first-come first-served queue in front of a fixed number of worker slots, computed on a virtual clock.

Start and end of each request are known the moment it is admitted, so neither timers nor the load of this machine bend
the capacity: `slots` slots do exactly `slots` seconds of work per second. No clock is read here; callers say what time
it is, in seconds on any clock that never goes back.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable


class SlotQueue:
    """Admits requests to `slots` slots; at most `queue_limit` wait, more are refused."""

    __slots__ = ("_free_at", "_starts", "admitted_s", "queue_limit", "slots")

    def __init__(self, slots: int, queue_limit: int) -> None:
        self.slots = slots
        self.queue_limit = queue_limit
        self.admitted_s = 0.0
        """The seconds that all requests admitted so far hold a slot, done or not."""
        self._free_at = [float("-inf")] * slots  # a heap: when each slot has done all that it was given
        self._starts: deque[float] = deque()  # the starts that may still lie ahead, in order

    def admit(self, now: float, service_s: float) -> float | None:
        """Take a request that needs a slot for `service_s` seconds; returns when it ends, None if it is refused."""
        return self.admit_until(now, lambda start: start + service_s)

    def admit_until(self, now: float, end_of: Callable[[float], float]) -> float | None:
        """The same for a request that holds its slot from its start until `end_of(start)`."""
        start = self._free_at[0]
        if start <= now:
            start = now
        else:
            if self.waiting(now) >= self.queue_limit:
                return None
            self._starts.append(start)
        end = end_of(start)
        heapq.heapreplace(self._free_at, end)
        self.admitted_s += end - start
        return end

    def waiting(self, now: float) -> int:
        """How many admitted requests have not started. `now` must not be earlier than in any call before."""
        starts = self._starts
        while starts and starts[0] <= now:
            starts.popleft()
        return len(starts)

    def busy_s(self, now: float) -> float:
        """Slot-seconds of work done up to `now`.

        A slot that is free at a later time is busy without a gap until then, since a start in the future is always the
        end of the request before it. So what lies ahead is the sum of (free_at - now), and the rest is done.
        """
        return self.admitted_s - sum(free_at - now for free_at in self._free_at if free_at > now)
