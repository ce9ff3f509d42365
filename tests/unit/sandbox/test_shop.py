"""The shop without sockets: answers, admission, warm-up and counters, on a clock that the test turns."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sandbox.plantfile import Plant, parse_plant
from sandbox.shop import LATENCIES_KEPT, Shop, check_order


def plant(**changes: Any) -> Plant:
    def endpoint(path: str, method: str, share: float) -> dict[str, Any]:
        time = {"distribution": "constant", "mean": "100 ms"}
        return {"path": path, "method": method, "service_time": time, "share": share, "response_size": "200 B"}

    return parse_plant(
        {
            "schema": 1,
            "name": "shop",
            "instances": {"min": 1, "max": 2, "desired": 1, "boot": "0 s", "warm_up": "10 s"},
            "instances_under_test": 1,
            "slots": 1,
            "queue_limit": 1,
            "endpoints": {
                "browse": endpoint("/products", "GET", 0.5),
                "search": endpoint("/search", "GET", 0.5),
                "checkout": endpoint("/checkout", "POST", 0),
            },
            "slo": {"latency_p95": "1 s"},
            **changes,
        }
    )


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shop(clock: Clock) -> Shop:
    return Shop(plant(), "i-1", clock, seed=1)


def test_requests_queue_up_and_the_rest_is_refused(shop: Shop, clock: Clock) -> None:
    replies = [shop.handle("GET", "/products", "", b"") for _ in range(3)]
    assert [reply.status for reply in replies] == [200, 200, 503]
    assert [reply.due for reply in replies] == [pytest.approx(1000.1), pytest.approx(1000.2), None]
    stats = shop.take_stats()
    assert (stats["in_flight"], stats["queue_length"], stats["errors"]) == (2, 1, 1)
    clock.now = 1000.15
    assert shop.take_stats()["busy_s"] == pytest.approx(0.15)


def test_answers_have_the_planned_size_and_are_json(shop: Shop) -> None:
    for method, path, query, body in (
        ("GET", "/products", "", b""),
        ("GET", "/search", "q=lamp", b""),
    ):
        reply = shop.handle(method, path, query, body)
        assert len(reply.body) == 200
        assert json.loads(reply.body)


def test_search_echoes_the_words_and_needs_them(shop: Shop) -> None:
    assert json.loads(shop.handle("GET", "/search", "q=a+%22b%22", b"").body)["query"] == 'a "b"'
    assert shop.handle("GET", "/search", "q=", b"").status == 200
    assert shop.handle("GET", "/search", "", b"").status == 400


def test_checkout_echoes_the_total_and_numbers_the_orders(clock: Clock) -> None:
    shop = Shop(plant(queue_limit=9), "i-1", clock, seed=1)
    order = b'{"items": [{"product": 1, "quantity": 2}], "total": 12.5}'
    answers = [json.loads(shop.handle("POST", "/checkout", "", order).body) for _ in range(2)]
    assert [answer["order_id"] for answer in answers] == ["i-1-1", "i-1-2"]
    assert {answer["total"] for answer in answers} == {12.5}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"total": "1"}',
        b'{"total": true}',
        b'{"total": -1}',
        b'{"total": NaN}',
        b'{"total": 1, "items": {}}',
        b'{"total": 1, "items": [1]}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_a_bad_order_is_refused_and_costs_no_slot(shop: Shop, body: bytes) -> None:
    assert shop.handle("POST", "/checkout", "", body).status == 400
    stats = shop.take_stats()
    assert stats["admitted_service_s"] == 0
    assert stats["endpoints"]["checkout"] == {"requests": 1, "rejected": 1, "errors": 0}


def test_an_order_needs_no_items() -> None:
    assert check_order(b'{"total": 3}') == 3


def test_wrong_path_and_wrong_method(shop: Shop) -> None:
    assert shop.handle("GET", "/nothing", "", b"").status == 404
    wrong_method = shop.handle("GET", "/checkout", "", b"")
    assert (wrong_method.status, wrong_method.allow) == (405, "POST")
    assert shop.handle("POST", "/health", "", b"").status == 405


def test_health_turns_bad_while_draining(shop: Shop) -> None:
    assert shop.handle("GET", "/health", "", b"").status == 200
    shop.draining = True
    assert shop.handle("GET", "/health", "", b"").status == 503


def test_a_cold_instance_is_slower_until_it_is_warm(clock: Clock) -> None:
    shop = Shop(plant(warm_up_factor=2.0, slots=9), "i-1", clock, seed=1)
    due: list[float] = []
    for age in (0.0, 5.0, 10.0):
        clock.now = 1000.0 + age
        reply = shop.handle("GET", "/products", "", b"")
        assert reply.due is not None
        due.append(reply.due - clock.now)
    assert due == [pytest.approx(0.2), pytest.approx(0.15), pytest.approx(0.1)]
    stats = shop.take_stats()
    assert stats["admitted_service_s"] == pytest.approx(0.45)
    assert stats["nominal_service_s"] == pytest.approx(0.3)


def test_an_instance_of_a_kind_has_its_own_slots_and_speed(clock: Clock) -> None:
    shop = Shop(plant(instance_kinds=[{}, {"slots": 3, "speed": "50 %"}], warm_up_factor=1), "i-1", clock, 1, place=1)
    reply = shop.handle("GET", "/products", "", b"")
    assert reply.due == pytest.approx(1000.2)
    stats = shop.take_stats()
    assert (stats["place"], stats["slots"], stats["admitted_service_s"]) == (1, 3, pytest.approx(0.2))


def test_a_slot_that_waits_for_a_connection_is_held_but_not_busy(clock: Clock) -> None:
    pool = {"connections": 1, "service_time": {"distribution": "constant", "mean": "300 ms"}}
    shop = Shop(plant(slots=2, pool=pool), "i-1", clock, seed=1)
    replies = [shop.handle("GET", "/products", "", b"") for _ in range(2)]
    assert [reply.due for reply in replies] == [pytest.approx(1000.4), pytest.approx(1000.7)]
    clock.now = 1000.5
    shop.answered(replies[0], 1000.0, delivered=True)
    stats = shop.take_stats()
    assert stats["busy_s"] == pytest.approx(0.1)
    assert stats["held_s"] == pytest.approx(0.4 + 0.5)


def test_what_the_rate_limit_refuses_is_rejected_or_an_error(clock: Clock) -> None:
    for status, expected in (
        (429, {"requests": 2, "rejected": 2, "errors": 0}),
        (503, {"requests": 2, "rejected": 0, "errors": 2}),
    ):
        shop = Shop(plant(rate_limit={"rate": "1 tps", "burst": 1, "status": status}), "i-1", clock, seed=1)
        replies = [shop.handle("GET", "/products", "", b"") for _ in range(3)]
        assert [reply.status for reply in replies] == [200, status, status]
        assert json.loads(replies[1].body) == {"error": "the rate limit is reached"}
        assert shop.take_stats()["endpoints"]["browse"] == expected


def test_stats_tell_that_work_costs_more(clock: Clock) -> None:
    shop = Shop(plant(metastable={"backlog": 1, "cost_factor": 2}, queue_limit=9), "i-1", clock, seed=1)
    assert [shop.handle("GET", "/products", "", b"").due for _ in range(3)] == [
        pytest.approx(1000 + end) for end in (0.1, 0.2, 0.4)
    ]
    assert shop.take_stats()["costly"] is True


def test_latencies_are_given_once_and_abandoned_requests_apart(shop: Shop, clock: Clock) -> None:
    replies = [shop.handle("GET", "/products", "", b"") for _ in range(2)]
    clock.now += 0.25
    shop.answered(replies[0], 1000.0, delivered=True)
    shop.answered(replies[1], 1000.0, delivered=False)
    stats = shop.take_stats()
    assert stats["latencies_s"] == [0.25]
    assert (stats["requests"], stats["abandoned"], stats["in_flight"]) == (1, 1, 0)
    assert shop.take_stats()["latencies_s"] == []


def test_latencies_that_nobody_fetches_are_counted_and_dropped(shop: Shop) -> None:
    reply = shop.handle("GET", "/products", "", b"")
    for _ in range(LATENCIES_KEPT + 5):
        shop.answered(reply, 1000.0, delivered=True)
    stats = shop.take_stats()
    assert (len(stats["latencies_s"]), stats["latencies_dropped"]) == (LATENCIES_KEPT, 5)


def test_the_same_seed_and_instance_repeat_the_service_times() -> None:
    lognormal = {"distribution": "lognormal", "mean": "40 ms", "spread": 0.5}
    shared = plant(slots=256)
    browse = shared.endpoints.browse.model_copy(
        update={"service_time": type(shared.endpoints.browse.service_time).model_validate(lognormal)}
    )
    shared = shared.model_copy(update={"endpoints": shared.endpoints.model_copy(update={"browse": browse})})

    def dues(instance: str, seed: int) -> list[float | None]:
        shop = Shop(shared, instance, Clock(), seed)
        return [shop.handle("GET", "/products", "", b"").due for _ in range(200)]

    assert dues("i-1", 1) == dues("i-1", 1)
    assert dues("i-1", 1) != dues("i-2", 1)
    assert dues("i-1", 1) != dues("i-1", 2)
    mean = sum(due - 1000 for due in dues("i-1", 1) if due is not None) / 200
    assert mean == pytest.approx(0.04, rel=0.15)
