"""The target: allowed, pinned, and asked at its pinned address."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from include.capacity.errors import GuardRefused, NotReady
from include.capacity.profile import ServiceProfile, parse_profile
from include.loadgen.plan.settings import PreparedPlan
from include.pipeline.guards_target import (
    addresses_stop,
    check_target,
    hosts_of,
    named_pins,
    pin,
)

TEXT = Path("include/services/checkout.yaml").read_text(encoding="utf-8")
TARGET = ("http", "shop.test", 80)


def profile(**target: Any) -> ServiceProfile:
    raw = yaml.safe_load(TEXT)
    raw["target"] |= {"allow_hosts": ["shop.test", "pay.test", "*.wild.test"], **target}
    return parse_profile(yaml.safe_dump(raw), "checkout.yaml")


def plan_to(*hosts: str) -> PreparedPlan:
    return PreparedPlan(Path("plan.jmx"), (), (), (), hosts)


def names(**known: list[str]) -> Any:
    def resolve(host: str) -> list[str]:
        if host.partition(".")[0] not in known:
            raise OSError("no such name")
        return known[host.partition(".")[0]]

    return resolve


def test_every_host_that_the_load_may_address_is_looked_up() -> None:
    assert hosts_of(profile(), TARGET, plan_to("a.wild.test", "shop.test")) == ("shop.test", "a.wild.test", "pay.test")
    everything = profile(allow_hosts=["*"])
    assert hosts_of(everything, TARGET, plan_to("a.test")) == ("shop.test",)
    assert named_pins(everything, {"shop.test": ("10.0.0.1",)}) == {}
    assert named_pins(profile(), {"shop.test": ("10.0.0.1",), "10.0.0.7": ("10.0.0.7",)}) == {
        "shop.test": ("10.0.0.1",)
    }


def test_hosts_are_pinned_once_and_kept() -> None:
    hosts = ("shop.test", "pay.test", "10.0.0.7")
    told: list[str] = []
    pins = pin(profile(), hosts, resolve=names(shop=["10.0.0.1", "10.0.0.2"]), tell=told.append)
    assert pins == {"shop.test": ("10.0.0.1", "10.0.0.2"), "pay.test": (), "10.0.0.7": ("10.0.0.7",)}
    assert told == ["pay.test does not resolve here: no such name. It is left to the load containers."]
    again = pin(profile(), hosts, pins, names(shop=["10.0.0.2", "10.0.0.9"], pay=["10.0.0.3"]))
    assert again["shop.test"] == ("10.0.0.2",)
    with pytest.raises(GuardRefused, match=r"shop\.test resolves to 10\.0\.0\.9 now"):
        pin(profile(), hosts, pins, names(shop=["10.0.0.9"]))
    assert pin(profile(), ["shop.test"], pins, names()) == {"shop.test": ("10.0.0.1", "10.0.0.2")}


def test_a_target_that_does_not_resolve_and_one_off_the_networks_are_told() -> None:
    with pytest.raises(NotReady, match=r"target shop\.test does not resolve: no such name\. Is it spelt right"):
        pin(profile(), ["shop.test"], resolve=names())
    guarded = profile(allow_addresses=["10.0.0.0/24"])
    with pytest.raises(GuardRefused, match=r"10\.0\.1\.7, and target\.allow_addresses"):
        pin(guarded, ["shop.test"], resolve=names(shop=["10.0.1.7"]))
    with pytest.raises(GuardRefused, match=r"192\.168\.0\.1, and target\.allow_addresses"):
        pin(guarded, ["192.168.0.1"])


def test_the_run_stops_when_a_name_leads_off_the_list_and_not_for_a_silent_name_server() -> None:
    pins = {"shop.test": ("10.0.0.1",), "pay.test": ()}
    assert addresses_stop(profile(), pins, names(shop=["10.0.0.1"])) is None
    assert addresses_stop(profile(), pins, names()) is None
    why = addresses_stop(profile(), pins, names(shop=["10.0.0.9"]))
    assert why is not None
    assert why.startswith("shop.test resolves to 10.0.0.9 now")
    assert why.endswith("The run was stopped.")


class _Service(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.seen.append((self.path, self.headers["Host"]))  # type: ignore[attr-defined]
        status = {"/health": 200, "/gone": 404, "/sick": 503}.get(self.path, 302)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "//login.example.com/" if self.path == "/away" else "/health")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Nothing to read in there."""


@pytest.fixture
def service() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Service)
    server.seen = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_target_is_asked_at_its_pinned_address_by_its_name(service: ThreadingHTTPServer) -> None:
    port = service.server_port
    check_target(profile(), ("http", "shop.test", port), ["127.0.0.1"])
    assert service.seen == [("/health", f"shop.test:{port}")]  # type: ignore[attr-defined]
    check_target(profile(), ("http", "shop.test", port), ["127.0.0.99", "127.0.0.1"])  # the next one where one is down


@pytest.mark.parametrize(
    ("path", "kind", "told"),
    [
        ("/gone", NotReady, "/gone answers with status 404. Check target.health_path"),
        ("/sick", NotReady, "status 503. The service, or the load balancer"),
        ("/there", NotReady, "redirects (status 302) to http://shop.test:"),
        ("/away", GuardRefused, "login.example.com is not on target.allow_hosts"),
    ],
)
def test_a_bad_answer_is_told(service: ThreadingHTTPServer, path: str, kind: type[Exception], told: str) -> None:
    with pytest.raises(kind) as caught:
        check_target(profile(health_path=path), ("http", "shop.test", service.server_port), ["127.0.0.1"])
    assert told in str(caught.value)


def test_a_host_off_the_list_is_refused_before_any_request(service: ThreadingHTTPServer) -> None:
    with pytest.raises(GuardRefused, match=r"bank\.test is not on target\.allow_hosts \(shop\.test, pay\.test"):
        check_target(profile(), ("http", "bank.test", service.server_port), ["127.0.0.1"])
    assert service.seen == []  # type: ignore[attr-defined]


def test_a_target_without_an_answer_names_the_keys() -> None:
    with pytest.raises(NotReady, match=r"http://shop\.test:9/health: .*aws\.load_balancer and target\.scheme"):
        check_target(profile(), ("http", "shop.test", 9), ["127.0.0.1"])
