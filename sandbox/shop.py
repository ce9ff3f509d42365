"""The shop that one instance runs: endpoints, answers, worker slots and counters. No sockets here."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from sandbox.admission import Admission, Refusal
from sandbox.plantfile import Endpoint, Plant, ServiceTime
from sandbox.service_times import lognormal_parameters

LATENCIES_KEPT = 20_000
HEALTH_PATH = "/health"
STATS_PATH = "/_stats"


@dataclass(slots=True)
class EndpointCounts:
    """What one endpoint has answered: `requests` in all, of these `rejected` with 4xx and `errors` with 5xx."""

    requests: int = 0
    rejected: int = 0
    errors: int = 0

    def as_dict(self) -> dict[str, int]:
        return {"requests": self.requests, "rejected": self.rejected, "errors": self.errors}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: status, JSON body, when it is due on the shop's clock (None: at once), and the work in it."""

    status: int
    body: bytes
    due: float | None = None
    work_s: float = 0.0
    endpoint: str | None = None
    allow: str = ""


@dataclass(slots=True)
class _Route:
    name: str
    endpoint: Endpoint
    draw_service_s: Callable[[], float]
    catalogue: bytes
    counts: EndpointCounts = field(default_factory=EndpointCounts)


class Shop:
    """One instance of the shop at a place (0, 1, ...) of its group.

    `clock` gives seconds and never goes back; `seed` fixes the service times and a noisy neighbour's episodes.
    """

    def __init__(
        self, plant: Plant, instance: str, clock: Callable[[], float], seed: int | str, place: int = 0
    ) -> None:
        self.instance = instance
        self.draining = False
        self._plant = plant
        self._clock = clock
        self._started_at = clock()
        self._place = place
        self._admission = Admission(plant, place, f"{seed}/{instance}")
        self._queue = self._admission.queue
        self._worked_s = 0.0
        self._nominal_service_s = 0.0
        self._orders = 0
        self._in_flight = 0
        self._abandoned = 0
        self._latencies_s: list[float] = []
        self._latencies_dropped = 0
        generator = random.Random(f"{seed}/{instance}")
        self._routes = {
            endpoint.path: _Route(name, endpoint, _sampler(endpoint.service_time, generator), _catalogue(endpoint))
            for name, endpoint in plant.endpoints.by_name().items()
        }
        self._draw_connection_s = _sampler(plant.pool.service_time, generator) if plant.pool else lambda: 0.0

    @property
    def in_flight(self) -> int:
        """Requests admitted and not answered yet."""
        return self._in_flight

    def handle(self, method: str, path: str, query: str, body: bytes) -> Reply:
        """Decide about a request that has arrived now. If it was admitted (`due` is set), call `answered` when sent."""
        route = self._routes.get(path)
        if route is None:
            return self._handle_own_path(method, path)
        if method != route.endpoint.method:
            self._count(route, 405)
            return Reply(405, _error(f"use {route.endpoint.method} {path}"), allow=route.endpoint.method)
        try:
            content = self._content(route, query, body)
        except ValueError as error:
            self._count(route, 400)
            return Reply(400, _error(str(error)))
        now = self._clock()
        nominal_s, connection_s = route.draw_service_s(), self._draw_connection_s()
        warm_up = self._plant.warm_up_multiplier(now - self._started_at)
        admitted = self._admission.admit(now, nominal_s * warm_up, connection_s)
        if isinstance(admitted, Refusal):
            self._count(route, admitted.status)
            return Reply(admitted.status, _error(admitted.reason))
        self._nominal_service_s += nominal_s + connection_s
        self._in_flight += 1
        return Reply(200, content, due=admitted.end, work_s=admitted.work_s, endpoint=path)

    def answered(self, reply: Reply, arrived_at: float, delivered: bool) -> None:
        """Count an admitted request's answer; `delivered` is False when the client had gone."""
        self._in_flight -= 1
        self._worked_s += reply.work_s
        if not delivered:
            self._abandoned += 1
            return
        assert reply.endpoint is not None
        self._count(self._routes[reply.endpoint], reply.status)
        if len(self._latencies_s) < LATENCIES_KEPT:
            self._latencies_s.append(round(self._clock() - arrived_at, 6))
        else:
            self._latencies_dropped += 1

    def take_stats(self) -> dict[str, Any]:
        """The counters since the start, and the latencies (seconds) of the answers since the last call."""
        now = self._clock()
        latencies_s, self._latencies_s = self._latencies_s, []
        dropped, self._latencies_dropped = self._latencies_dropped, 0
        counts = {route.name: route.counts for route in self._routes.values()}
        return {
            "instance": self.instance,
            "pid": os.getpid(),
            "cpu_s": time.process_time(),
            "uptime_s": now - self._started_at,
            "draining": self.draining,
            "place": self._place,
            "slots": self._queue.slots,
            # A slot that waits for a connection is held, but its instance does not work.
            "busy_s": self._worked_s if self._plant.pool else self._queue.busy_s(now),
            "held_s": self._queue.busy_s(now),
            "admitted_service_s": self._queue.admitted_s,
            "nominal_service_s": self._nominal_service_s,
            "warm_up_multiplier": self._plant.warm_up_multiplier(now - self._started_at),
            "in_flight": self._in_flight,
            "queue_length": self._queue.waiting(now),
            "costly": self._admission.is_costly(),
            "requests": sum(count.requests for count in counts.values()),
            "errors": sum(count.errors for count in counts.values()),
            "abandoned": self._abandoned,
            "endpoints": {name: count.as_dict() for name, count in counts.items()},
            "latencies_s": latencies_s,
            "latencies_dropped": dropped,
        }

    def _handle_own_path(self, method: str, path: str) -> Reply:
        if path not in {HEALTH_PATH, STATS_PATH}:
            return Reply(404, _error(f"nothing is at {path}"))
        if method not in {"GET", "HEAD"}:
            return Reply(405, _error(f"use GET {path}"), allow="GET")
        if path == STATS_PATH:
            return Reply(200, _json(self.take_stats()))
        if self.draining:
            return Reply(503, _json({"status": "draining"}))
        return Reply(200, _json({"status": "ok", "instance": self.instance}))

    def _content(self, route: _Route, query: str, body: bytes) -> bytes:
        """The body of a good answer. Raises ValueError with a sentence for the client when the request is wrong."""
        if route.name == "browse":
            return route.catalogue
        if route.name == "search":
            words = parse_qs(query, keep_blank_values=True).get("q")
            if words is None:
                raise ValueError(f"write what to search for: {route.endpoint.path}?q=lamp")
            return _fill({"query": words[0], "found": len(words[0])}, route)
        total = check_order(body)
        self._orders += 1
        return _fill({"order_id": f"{self.instance}-{self._orders}", "total": total, "status": "accepted"}, route)

    @staticmethod
    def _count(route: _Route, status: int) -> None:
        route.counts.requests += 1
        if status >= 500:
            route.counts.errors += 1
        elif status >= 400:
            route.counts.rejected += 1


def check_order(body: bytes) -> float | int:
    """The total of an order such as {"items": [{"product": 7, "quantity": 2}], "total": 39.8}; `items` may be left out.

    Raises ValueError with a sentence for the client.
    """
    try:
        order = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise ValueError("the body is not JSON") from None
    if not isinstance(order, Mapping):
        raise ValueError("the body is not a JSON object")
    total = order.get("total")
    if isinstance(total, bool) or not isinstance(total, int | float) or total < 0:
        raise ValueError("the order needs a total, a number of 0 or more")
    items = order.get("items", [])
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        raise ValueError("items must be a list of objects")
    return total


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _sampler(service_time: ServiceTime, generator: random.Random) -> Callable[[], float]:
    mean_s = service_time.mean_s
    if service_time.distribution == "constant":
        return lambda: mean_s
    if service_time.distribution == "exponential":
        return lambda: generator.expovariate(1 / mean_s)
    mu, sigma = lognormal_parameters(mean_s, service_time.spread)
    return lambda: generator.lognormvariate(mu, sigma)


def _catalogue(endpoint: Endpoint) -> bytes:
    """A list of products about as long as the endpoint's answers, padded with spaces (legal JSON) to exactly that."""
    products: list[dict[str, Any]] = []
    text = _json({"products": products})
    while True:
        number = len(products) + 1
        products.append({"id": number, "name": f"Product {number}", "price": 9.5 + number})
        longer = _json({"products": products})
        if len(longer) > endpoint.response_size_bytes:
            return text.ljust(endpoint.response_size_bytes)
        text = longer


def _fill(content: Mapping[str, Any], route: _Route) -> bytes:
    return _json(content).ljust(route.endpoint.response_size_bytes)


def _error(text: str) -> bytes:
    return _json({"error": text})


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()
