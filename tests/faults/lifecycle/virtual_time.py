"""Time of the campaign: sleeping takes next to no time and is counted, so that waits of minutes cost milliseconds.

Only for the thread that does the work: those that watch beside it live in real time, or every pause would look to them
like minutes without a sign of life. To be installed before anything else of the project is imported, because functions
keep `time.sleep` as a default.
"""

from __future__ import annotations

import threading
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
        if threading.current_thread() is not threading.main_thread():
            _sleep(seconds)
            return
        self.slept_s += max(0.0, seconds)
        _sleep(min(seconds, LONGEST_S))

    def monotonic(self) -> float:
        ahead = self.slept_s if threading.current_thread() is threading.main_thread() else 0.0
        return _monotonic() + ahead

    def time(self) -> float:
        return _time() + self.ahead_s


CLOCK = VirtualTime()
real_sleep, real_monotonic = _sleep, _monotonic
