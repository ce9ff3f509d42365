"""The shard's two ways to the store: a watch that reads what concerns it, and an outbox that publishes its reports.

Each runs in a thread of its own, so that a slow store delays neither the lease nor the guard. A store that fails is
no command and no dismissal: the lease runs out by itself, and reports are kept until it is back.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from include.capacity.protocol import COMMAND_PATH, DISMISSED_PATH, shard_folder
from include.loadgen.orders import ReceivedCommand
from include.store.artefacts import ArtefactStore

POLL_LOCAL_S = 0.05
POLL_REMOTE_S = 0.25
_NEWER_EVERY_S = 1.0
_RETRY_S = 0.5
_MAX_PENDING = 2


def poll_period_s(store: ArtefactStore) -> float:
    """A folder costs microseconds to look at; a remote store costs money by the request."""
    return POLL_LOCAL_S if store.url.startswith(("file:", "local:", "/")) else POLL_REMOTE_S


@dataclass(frozen=True, slots=True)
class Seen:
    """What the last look at the store showed.

    Attributes:
        looked: whether the store could be read at least once.
        newer: incarnation of this shard that started later; empty if none. It and `dismissed` never go back.
        error: why the last look failed; empty when it did not.
    """

    looked: bool = False
    command: ReceivedCommand | None = None
    dismissed: bool = False
    newer: str = ""
    error: str = ""


class StoreWatch:
    """Looks for commands, the dismissal and newer incarnations. `seen` may be read from any thread."""

    def __init__(self, store: ArtefactStore, shard: int, incarnation: str, monotonic: Callable[[], float]) -> None:
        self._store, self._shard, self._incarnation, self._monotonic = store, shard, incarnation, monotonic
        self._newer_looked_at = float("-inf")
        self.seen = Seen()

    def poll(self) -> None:
        """One look. Never raises: the libraries below a remote store raise errors of many families."""
        asked_at = self._monotonic()
        try:
            dismissed = self.seen.dismissed or self._store.exists(DISMISSED_PATH)
            data = self._store.read_or_none(COMMAND_PATH)
            newer = self.seen.newer or self._look_for_newer(asked_at)
        except Exception as error:
            self.seen = replace(self.seen, error=str(error) or type(error).__name__)
            return
        command = ReceivedCommand(data, asked_at) if data is not None else None
        self.seen = Seen(True, command, dismissed, newer)

    def _look_for_newer(self, now: float) -> str:
        if now - self._newer_looked_at < _NEWER_EVERY_S:
            return ""
        names = [name for name in self._store.names(shard_folder(self._shard)) if name[:1].isdigit()]
        self._newer_looked_at = now
        newest = max(names, default="")
        return newest if newest > self._incarnation else ""


class Outbox:
    """Publishes objects one after the other; each is tried until it is written.

    It takes only a few: a reporter that finds no room goes on adding up, so nothing is lost and memory stays bounded.
    """

    def __init__(self, store: ArtefactStore) -> None:
        self._store = store
        self._pending: deque[tuple[str, bytes]] = deque()
        self._changed = threading.Condition()
        self.error = ""

    @property
    def has_room(self) -> bool:
        return len(self._pending) < _MAX_PENDING

    def put(self, path: str, data: bytes) -> None:
        with self._changed:
            self._pending.append((path, data))
            self._changed.notify_all()

    def publish_next(self) -> bool:
        """Tries the oldest object. Returns whether there was one and it is now written. Never raises."""
        with self._changed:
            if not self._pending:
                return False
            path, data = self._pending[0]
        try:
            self._store.write(path, data)
        except Exception as error:  # as in StoreWatch.poll
            self.error = str(error) or type(error).__name__
            return False
        with self._changed:
            self.error = ""
            self._pending.popleft()
            self._changed.notify_all()
        return True

    def wait_for_work(self) -> None:
        """Returns at once when there is something new; after a failure it waits a moment."""
        with self._changed:
            if self.error or not self._pending:
                self._changed.wait(_RETRY_S)

    def wait_empty(self, timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._pending, timeout_s)


class Background:
    """Runs one step again and again in a daemon thread until `stop`."""

    def __init__(self, name: str, step: Callable[[], object], pause: Callable[[threading.Event], object]) -> None:
        self._stopped = threading.Event()
        self._step, self._pause = step, pause
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Does not wait: a store that hangs must not keep the shard alive."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._step()
            self._pause(self._stopped)
