"""Looks at guard rails while a run is under way, beside the conductor: nothing here makes a renewal of the lease wait.

Each guard rail is looked at from a thread of its own, since one that hangs must not hide the others. A guard rail that
cannot be seen for long ends the run as well: load without it would be load without a brake.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType

from include.capacity.errors import RunStopped

log = logging.getLogger(__name__)

BLIND_S = 60.0


@dataclass(frozen=True, slots=True)
class Look:
    """One guard rail. `ask` returns why the run must end, None while it may go on; what it raises is "not seen"."""

    name: str
    ask: Callable[[], str | None]
    every_s: float = 3.0


class Watch:
    """A context in which the guard rails are watched."""

    def __init__(
        self, looks: Sequence[Look], *, blind_s: float = BLIND_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._looks, self._blind_s, self._clock = tuple(looks), blind_s, clock
        self._seen_at = dict.fromkeys((look.name for look in looks), clock())
        self._trouble: dict[str, str] = {}
        self._reason: str | None = None
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._keep_looking, args=(look,), name=f"watch: {look.name}", daemon=True)
            for look in looks
        ]

    def __enter__(self) -> Watch:
        for name in self._seen_at:
            self._seen_at[name] = self._clock()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(0.2)  # one that hangs is a daemon and ends with the process

    def reason(self) -> str | None:
        """Why the run must end now; does not wait for anything."""
        if self._reason is None:
            now = self._clock()
            for look in self._looks:
                if now - self._seen_at[look.name] > self._blind_s:
                    self._reason = (
                        f"The run was stopped because {look.name} could not be seen for {self._blind_s:g} s "
                        f"({self._trouble.get(look.name, 'no answer')}). A run must not load what it cannot stop for."
                    )
                    break
        return self._reason

    def require(self) -> None:
        """Asks all of them now, and waits for the answers. Raises RunStopped, or what asking raises."""
        for look in self._looks:
            if (why := look.ask()) is not None:
                raise RunStopped(why)

    def sleep(self, seconds: float) -> None:
        """Waits as time.sleep does. Raises RunStopped when the run must end."""
        end = self._clock() + seconds
        while True:
            if (why := self.reason()) is not None:
                raise RunStopped(why)
            left = end - self._clock()
            if left <= 0:
                return
            time.sleep(min(left, 0.5))

    def _keep_looking(self, look: Look) -> None:
        while True:
            try:
                why = look.ask()
                self._seen_at[look.name] = self._clock()
                if why is not None and self._reason is None:
                    self._reason = why
                    log.error("The run must end. %s", why)
            except Exception as error:  # of any library; what counts is for how long
                self._trouble[look.name] = str(error) or type(error).__name__
                log.warning("%s cannot be seen: %s", look.name, error)
            if self._ended.wait(look.every_s):
                return
