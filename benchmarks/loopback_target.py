"""A tiny HTTP server on the loopback interface: what a load generator is measured against.

`/` answers 200 at once, `/fail` answers 500, `/slow` answers after a second, `/close` closes without an answer.
Run as a program it serves until it is killed: `python -m benchmarks.loopback_target 18977`.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import cast

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"
_FAILED = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nno"
SLOW_S = 1.0


class _Connection(asyncio.Protocol):
    """Requests have no body; one at a time is in flight, as JMeter sends them."""

    def __init__(self, target: LoopbackTarget) -> None:
        self._target = target
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            request, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
            self._answer(request.split(b" ", 2)[1])

    def _answer(self, path: bytes) -> None:
        self._target.requests += 1
        if path == b"/slow":
            asyncio.get_running_loop().call_later(SLOW_S, self._transport.write, _OK)
        elif path == b"/close":
            self._transport.abort()
        elif path == b"/fail":
            self._transport.write(_FAILED)
        else:
            self._transport.write(self._target.answer)


class LoopbackTarget:
    """Serves in a thread of its own between `start` and `stop`.

    Attributes:
        port: 0 until started, unless one was given.
        requests: that have come so far.
        answer: what it answers where nothing else is said; may be replaced at any time.
    """

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.requests = 0
        self.answer = _OK
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="loopback-target", daemon=True)

    def start(self) -> LoopbackTarget:
        self._thread.start()
        if not self._started.wait(10):
            raise RuntimeError("the loopback target did not start within 10 s")
        return self

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            self._loop.create_server(lambda: _Connection(self), "127.0.0.1", self.port, backlog=1024)
        )
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        self._loop.run_forever()
        server.close()


if __name__ == "__main__":
    target = LoopbackTarget(int(sys.argv[1])).start()
    threading.Event().wait()
