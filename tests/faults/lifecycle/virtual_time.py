"""Time of the campaign: sleeping takes next to no time and is counted, so that waits of minutes cost milliseconds.

To be installed before anything else of the project is imported, because functions keep `time.sleep` as a default.
"""

from __future__ import annotations

import time

LONGEST_S = 0.001

_sleep, _monotonic, _time = time.sleep, time.monotonic, time.time


class VirtualTime:
    """What `time` tells in this process and those forked from it."""

    def __init__(self) -> None:
        self.slept_s = 0.0
        self.ahead_s = 0.0  # of the wall clock

    def install(self) -> None:
        time.sleep = self.sleep
        time.monotonic = self.monotonic
        time.time = self.time

    def sleep(self, seconds: float) -> None:
        self.slept_s += max(0.0, seconds)
        _sleep(min(seconds, LONGEST_S))

    def monotonic(self) -> float:
        return _monotonic() + self.slept_s

    def time(self) -> float:
        return _time() + self.ahead_s


CLOCK = VirtualTime()
real_sleep, real_monotonic = _sleep, _monotonic
