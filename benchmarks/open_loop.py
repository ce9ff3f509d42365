"""A small open-loop HTTP generator: requests leave at given times, whatever has become of those before them.

For loads of some hundred requests a second on loopback, with less CPU than a JVM. It is not part of a run: benchmarks
use it where a plant, and not Headroom, is to be measured.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import httptools

_AHEAD_S = 0.05  # timers tick in milliseconds: a request is sent by the first tick after its time
NO_ANSWER = 0


@dataclass(slots=True)
class Sent:
    """One request: seconds since the start when it was due and when it left; `latency_s` counts from `due_s`."""

    due_s: float
    left_s: float  # later than due_s only if this process was held up
    status: int = NO_ANSWER
    latency_s: float = math.nan


class _Link(asyncio.Protocol):
    """One connection; at most one request on it at a time."""

    def __init__(self, generator: OpenLoop) -> None:
        self._generator = generator
        self._sent: Sent | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, sent: Sent, request: bytes) -> None:
        assert self._transport is not None
        self._sent = sent
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        sent, self._sent = self._sent, None
        if sent is not None:
            sent.status = self._parser.get_status_code()
            sent.latency_s = self._generator.elapsed_s - sent.due_s
            self._generator.idle.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self in self._generator.idle:
            self._generator.idle.remove(self)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class OpenLoop:
    """Sends `requests[i]` (bytes of HTTP/1.1, keep-alive) at `due_s[i]` seconds after the start; times in order."""

    def __init__(self, host: str, port: int, due_s: Sequence[float], requests: Sequence[bytes]) -> None:
        self.idle: list[_Link] = []
        self._address = (host, port)
        self._due_s = due_s
        self._requests = requests
        self._began = 0.0

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._began

    async def run(self, patience_s: float) -> list[Sent]:
        """All requests in their order. Those without an answer `patience_s` after the last one was due have none."""
        loop = asyncio.get_running_loop()
        for _ in range(20):
            self.idle.append((await loop.create_connection(lambda: _Link(self), *self._address))[1])
        self._began = time.monotonic() + _AHEAD_S
        sent: list[Sent] = []
        opening: set[asyncio.Task[None]] = set()
        links: set[_Link] = set(self.idle)
        for due_s, request in zip(self._due_s, self._requests, strict=True):
            while (ahead_s := due_s - self.elapsed_s) > 0:
                await asyncio.sleep(ahead_s)
            sent.append(Sent(due_s, self.elapsed_s))
            if self.idle:
                self.idle.pop().send(sent[-1], request)
            else:
                task = loop.create_task(self._open_and_send(sent[-1], request, links))
                opening.add(task)
                task.add_done_callback(opening.discard)
        end_s = self.elapsed_s + patience_s
        while self.elapsed_s < end_s and any(one.status == NO_ANSWER for one in sent[-20_000:]):
            await asyncio.sleep(0.1)
        for link in links:
            link.close()
        return sent

    async def _open_and_send(self, sent: Sent, request: bytes, links: set[_Link]) -> None:
        link = (await asyncio.get_running_loop().create_connection(lambda: _Link(self), *self._address))[1]
        links.add(link)
        link.send(sent, request)
