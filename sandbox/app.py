"""One instance of the shop as a process.

    python -m sandbox.app --plant FILE --host 127.31.0.5 --port 8080 --instance i-0abc

It boots (sleeps) first and listens then, serves HTTP/1.1, finishes what is in flight on SIGTERM, and dies with its
parent process. When a request is answered is decided on the virtual clock of sandbox.slot_queue as soon as it has
arrived; only the delivery depends on how busy this machine is.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import functools
import gc
import ipaddress
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import cast
from urllib.parse import urlsplit

import httptools

from sandbox.plantfile import Plant, PlantFileError, load_plant
from sandbox.shop import Reply, Shop

LARGEST_HEAD_BYTES = 64 * 1024
LARGEST_BODY_BYTES = 1024 * 1024
LISTEN_BACKLOG = 1024
LINGER_S = 1.0
DRAIN_LIMIT_S = 10.0
DRAIN_POLL_S = 0.02
PR_SET_PDEATHSIG = 1
EXIT_USAGE = 2


class _Exchange:
    """One request on a connection and, once it is known, the bytes of its answer."""

    __slots__ = ("answer", "arrived_at", "http_version", "is_head", "keep_alive", "reply")

    def __init__(self, arrived_at: float, keep_alive: bool, http_version: str, is_head: bool) -> None:
        self.arrived_at = arrived_at
        self.keep_alive = keep_alive
        self.http_version = http_version
        self.is_head = is_head
        self.reply: Reply | None = None
        self.answer: bytes | None = None


class Connection(asyncio.Protocol):
    """HTTP/1.1 on one connection: answers leave in the order of the requests, also when the client pipelines them."""

    def __init__(self, server: ShopServer) -> None:
        self._server = server
        self._shop = server.shop
        self._transport: asyncio.Transport | None = None
        self._exchanges: deque[_Exchange] = deque()
        self._closing = False
        self._refused = False
        self._parser = httptools.HttpRequestParser(self)
        self._in_head = True
        self._head_bytes = 0

    # -- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class does not derive from asyncio's
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._server.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        if self._in_head:
            self._head_bytes += len(data)
        while data and not self._closing:
            try:
                self._parser.feed_data(data)
                data = b""
            except httptools.HttpParserUpgrade as upgrade:
                # Declined: the request was answered as plain HTTP/1.1. What follows it is the next request.
                data = data[upgrade.args[0] :]
            except httptools.HttpParserError:
                self._refuse(400, b'{"error":"this is not HTTP/1.1"}')
        if self._in_head and self._head_bytes > LARGEST_HEAD_BYTES:
            self._refuse(431, b'{"error":"the request head is too long"}')

    # -- what the parser calls

    def on_message_begin(self) -> None:
        self._url = b""
        self._body = b""
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(name) == 6 and name.lower() == b"expect" and value.lower() == b"100-continue" and self._transport:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0

    def on_body(self, body: bytes) -> None:
        if len(self._body) + len(body) > LARGEST_BODY_BYTES:
            self._refuse(413, b'{"error":"the body is too long"}')
        else:
            self._body += body

    def on_message_complete(self) -> None:
        self._in_head = True
        if self._closing:
            return
        method = self._parser.get_method().decode("ascii")
        keep_alive = self._parser.should_keep_alive() and not self._shop.draining
        exchange = _Exchange(time.monotonic(), keep_alive, self._parser.get_http_version(), method == "HEAD")
        self._exchanges.append(exchange)
        self._closing = not keep_alive
        url = self._url.decode("latin-1")
        if url.startswith("/"):
            path, _, query = url.partition("?")
        else:
            parts = urlsplit(url)
            path, query = parts.path or "/", parts.query
        reply = self._shop.handle(method, path, query, self._body)
        exchange.reply = reply
        if reply.due is None:
            self._finish(exchange)
        else:
            self._server.loop.call_later(max(0.0, reply.due - time.monotonic()), self._deliver, exchange)

    # -- answers

    def _deliver(self, exchange: _Exchange) -> None:
        assert exchange.reply is not None
        self._shop.answered(exchange.reply, exchange.arrived_at, delivered=self._transport is not None)
        self._finish(exchange)

    def _finish(self, exchange: _Exchange) -> None:
        """Make the answer's bytes, and send all answers that are next in order."""
        assert exchange.reply is not None
        reply = exchange.reply
        head = _head(
            reply.status,
            len(reply.body),
            self._shop.instance,
            reply.allow,
            exchange.http_version,
            exchange.keep_alive,
        )
        exchange.answer = head if exchange.is_head else head + reply.body
        exchanges = self._exchanges
        while exchanges and exchanges[0].answer is not None:
            done = exchanges.popleft()
            if self._transport is not None and done.answer is not None:
                self._transport.write(done.answer)
                if self._refused:
                    self._linger()
                elif not done.keep_alive:
                    self._transport.close()

    def _refuse(self, status: int, body: bytes) -> None:
        """Answer what cannot be read, and close: nothing after it on this connection can be understood."""
        if self._closing:
            return
        self._closing = self._refused = True
        exchange = _Exchange(time.monotonic(), keep_alive=False, http_version="1.1", is_head=False)
        exchange.reply = Reply(status, body)
        self._exchanges.append(exchange)
        self._finish(exchange)

    def _linger(self) -> None:
        """Close for writing, and read on for a moment: a close with unread bytes would reset the answer away."""
        if self._transport is not None:
            self._transport.write_eof()
            self._server.loop.call_later(LINGER_S, self._transport.close)

    def close_if_idle(self) -> None:
        """Close the connection unless an answer is still owed."""
        if not self._exchanges and self._transport is not None:
            self._transport.close()


class ShopServer:
    """The shop behind a listening socket."""

    def __init__(self, shop: Shop, loop: asyncio.AbstractEventLoop) -> None:
        self.shop = shop
        self.loop = loop
        self.connections: set[Connection] = set()
        self._server: asyncio.Server | None = None

    async def listen(self, host: str, port: int) -> None:
        """Begin to accept connections. Raises OSError when the address cannot be used."""
        self._server = await self.loop.create_server(lambda: Connection(self), host, port, backlog=LISTEN_BACKLOG)

    async def drain(self, limit_s: float) -> None:
        """Accept nothing new, finish what is in flight within `limit_s` seconds, and close all connections."""
        self.shop.draining = True
        if self._server is not None:
            self._server.close()
        end = time.monotonic() + limit_s
        while self.connections and time.monotonic() < end:
            for connection in list(self.connections):
                connection.close_if_idle()
            await asyncio.sleep(DRAIN_POLL_S)


@functools.lru_cache(maxsize=1024)
def _head(status: int, length: int, instance: str, allow: str, http_version: str, keep_alive: bool) -> bytes:
    """The head of an answer. Few different ones exist, so that building them costs nothing."""
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "Content-Type: application/json",
        f"Content-Length: {length}",
        f"X-Instance: {instance}",
    ]
    if allow:
        lines.append(f"Allow: {allow}")
    if not keep_alive:
        lines.append("Connection: close")
    elif http_version == "1.0":
        lines.append("Connection: keep-alive")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def serve(
    plant: Plant, host: str, port: int, instance: str, drain_limit_s: float, seed: int, place: int = 0
) -> None:
    """Boot, listen, and serve until SIGTERM or SIGINT; then drain."""
    loop = asyncio.get_running_loop()
    asked_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked_to_stop.set)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asked_to_stop.wait(), plant.instances.boot_s)
    if asked_to_stop.is_set():
        return
    server = ShopServer(Shop(plant, instance, time.monotonic, seed, place), loop)
    await server.listen(host, port)
    gc.collect()
    gc.freeze()
    _say(f"{instance} listens on {host}:{port}")
    await asked_to_stop.wait()
    await server.drain(drain_limit_s)
    _say(f"{instance} ends, {server.shop.in_flight} requests unanswered")


def die_with_parent(expected_parent: int | None) -> bool:
    """Ask Linux to kill this process when the thread that started it ends; False if that has happened already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    return expected_parent is None or os.getppid() == expected_parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one instance. Returns 0 after SIGTERM, 2 when the plant file or the address cannot be used."""
    options = _parse(arguments)
    if not die_with_parent(options.parent):
        return 0
    try:
        plant = load_plant(options.plant)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(
                serve(
                    plant,
                    options.host,
                    options.port,
                    options.instance,
                    options.drain_limit_s,
                    options.seed,
                    options.place,
                )
            )
    except PlantFileError as error:
        _say(str(error))
        return EXIT_USAGE
    except OSError as error:
        _say(f"{options.instance} cannot listen on {options.host}:{options.port}: {error.strerror}; free that address")
        return EXIT_USAGE
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox.app", description="One instance of the sandbox's shop.")
    parser.add_argument("--plant", required=True, help="the plant file (docs/plant-file.md)")
    parser.add_argument("--host", required=True, type=_loopback, help="the loopback address to listen on")
    parser.add_argument("--port", required=True, type=int, help="the port to listen on")
    parser.add_argument("--instance", required=True, help="the instance's id; answers carry it as X-Instance")
    parser.add_argument("--drain-limit-s", type=float, default=DRAIN_LIMIT_S, help="seconds to finish after SIGTERM")
    parser.add_argument("--seed", type=int, default=1, help="seed of the service times, mixed with the instance's id")
    parser.add_argument("--place", type=int, default=0, help="its place in the group, which decides its kind")
    parser.add_argument("--parent", type=int, help="process id of the starter; end at once if it is gone already")
    return parser.parse_args(arguments)


def _loopback(text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not an IP address; use one such as 127.0.0.1") from None
    if not address.is_loopback:
        raise argparse.ArgumentTypeError(f"{text} is not a loopback address; the sandbox stays on 127.0.0.0/8")
    return text


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:  # not on this platform: slower, but the same behaviour
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
