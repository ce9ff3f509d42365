"""The moments at which a process may die: before and after every AWS call, and before, within and after every write to
the store. Put into a forked process by the campaign; the code under test knows nothing of it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from include.capacity.errors import StoreError
from include.store.artefacts import ArtefactStore

WRITES = ("create", "write", "delete", "replace", "upload")
READS = ("read", "exists", "names", "read_versioned", "download")
# Where a local write becomes visible: a process that dies here leaves a temporary file.
VISIBLE = ("link", "replace")


@dataclass(frozen=True, slots=True)
class StoreFaults:
    """Which operations on the store fail, counted over reading and writing alike.

    Attributes:
        fails_from, fails_until: from this one on, and up to before that one, without being carried out.
        lost_at: this one is carried out and fails all the same.
        readable: only writing fails, as on a full disk.
    """

    fails_from: int | None = None
    fails_until: int | None = None
    lost_at: int | None = None
    readable: bool = False


class Points:
    """Counts the points that the main thread reaches; at one of them something is done to the process."""

    def __init__(self, at: int | None, number: int = signal.SIGKILL) -> None:
        """`at`: the point's number; `number`: the signal that the process then sends itself."""
        self.names: list[str] = []
        self.operations = 0
        self.injected = 0  # failures of the store
        self.reached = False  # whether the process was stopped, and goes on
        self._at, self._signal = at, number
        self._thread = threading.get_ident()

    def reach(self, name: str) -> None:
        if threading.get_ident() != self._thread:
            return
        self.names.append(name)
        if len(self.names) - 1 == self._at:
            self.reached = True
            os.kill(os.getpid(), self._signal)

    def watch_clients(self, clients: list[Any]) -> None:
        """`clients` are boto3's."""
        for client in clients:
            events = client.meta.events
            events.register("before-send", self._before_send)
            events.register("response-received", self._response_received)

    def _before_send(self, event_name: str, **_: Any) -> None:
        self.reach(f"before {_call(event_name)}")

    def _response_received(self, event_name: str, **_: Any) -> None:
        self.reach(f"after {_call(event_name)}")

    def watch_store(self, faults: StoreFaults) -> None:
        for name in (*WRITES, *READS):
            setattr(ArtefactStore, name, self._watched(name, getattr(ArtefactStore, name), faults))
        for name in VISIBLE:
            setattr(os, name, self._visible(name, getattr(os, name)))

    def _watched(self, name: str, method: Callable[..., Any], faults: StoreFaults) -> Callable[..., Any]:
        writes = name in WRITES

        def wrapper(store: ArtefactStore, path: str, *arguments: Any, **more: Any) -> Any:
            if threading.get_ident() != self._thread:
                return method(store, path, *arguments, **more)
            place = f"{name} {_short(store, path)}"
            number, self.operations = self.operations, self.operations + 1
            begins = faults.fails_from is not None and number >= faults.fails_from
            ends = faults.fails_until is not None and number >= faults.fails_until
            if begins and not ends and (writes or not faults.readable):
                self.injected += 1
                raise StoreError(f"{store.url}/{path} cannot be used: injected.")
            if writes:
                self.reach(f"before {place}")
            answer = method(store, path, *arguments, **more)
            if number == faults.lost_at:
                self.injected += 1
                raise StoreError(f"{store.url}/{path} did not answer: injected.")
            if writes:
                self.reach(f"after {place}")
            return answer

        return wrapper

    def _visible(self, name: str, function: Callable[..., None]) -> Callable[..., None]:
        def wrapper(source: Any, target: Any, **more: Any) -> None:
            self.reach(f"within the write of {os.path.basename(os.fspath(target))}")
            function(source, target, **more)

        return wrapper


def _call(event_name: str) -> str:
    return ":".join(event_name.split(".")[1:])


def _short(store: ArtefactStore, path: str) -> str:
    return path if path.startswith(("environments/", "open-journals/")) else f"run/{path}"
