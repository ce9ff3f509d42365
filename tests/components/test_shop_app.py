"""The shop as a real process on loopback: HTTP, the queue, boot, drain, and its end with its parent."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PATIENCE_S = 20.0
HOST = "127.31.77.1"


def plant_file(folder: Path, **changes: Any) -> Path:
    def endpoint(path: str, method: str, share: float) -> dict[str, Any]:
        time_ = {"distribution": "constant", "mean": changes.pop(f"{path}_mean", "20 ms")}
        return {"path": path, "method": method, "service_time": time_, "share": share, "response_size": "500 B"}

    content = {
        "schema": 1,
        "name": "shop",
        "endpoints": {
            "browse": endpoint("/products", "GET", 0.5),
            "search": endpoint("/search", "GET", 0.4),
            "checkout": endpoint("/checkout", "POST", 0.1),
        },
        "instances": {"min": 1, "max": 2, "desired": 1, "boot": changes.pop("boot", "0 s"), "warm_up": "0 s"},
        "instances_under_test": 1,
        "slots": 2,
        "slo": {"latency_p95": "1 s"},
        **changes,
    }
    path = folder / "shop.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def command(plant: Path, port: int, *more: str) -> list[str]:
    options = ["--plant", str(plant), "--host", HOST, "--port", str(port), "--instance", "i-0abc"]
    return [sys.executable, "-m", "sandbox.app", *options, *more]


def wait_until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"waited {PATIENCE_S} s in vain: {what}"
        time.sleep(0.02)


class App:
    """A running shop and a client for it."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.port = port

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[http.client.HTTPResponse, dict[str, Any]]:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=PATIENCE_S)
        connection.request(method, path, body)
        response = connection.getresponse()
        text = response.read()
        connection.close()
        return response, json.loads(text) if text else {}

    def stats(self) -> dict[str, Any]:
        return self.ask("GET", "/_stats")[1]

    def raw(self, sent: bytes) -> bytes:
        """All that comes back until the app closes the connection."""
        with socket.create_connection((HOST, self.port), timeout=PATIENCE_S) as client:
            client.sendall(sent)
            received = b""
            while piece := client.recv(65536):
                received += piece
            return received

    def is_listening(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((HOST, self.port), timeout=1):
            return True
        return False


@contextlib.contextmanager
def running(plant: Path, *more: str) -> Iterator[App]:
    port = free_port()
    process = subprocess.Popen(command(plant, port, *more), cwd=ROOT, stderr=subprocess.PIPE)
    app = App(process, port)
    try:
        wait_until(app.is_listening, "the app listens")
        yield app
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    with running(plant_file(tmp_path)) as app:
        yield app


def test_the_shop_answers(app: App) -> None:
    response, catalogue = app.ask("GET", "/products")
    assert response.status == 200
    assert response.getheader("X-Instance") == "i-0abc"
    assert response.getheader("Content-Length") == "500"
    assert catalogue["products"][0]["id"] == 1
    assert app.ask("GET", "/search?q=green+lamp")[1]["query"] == "green lamp"
    response, order = app.ask("POST", "/checkout", b'{"items": [{"product": 1}], "total": 19.5}')
    assert (response.status, order["total"], order["order_id"]) == (200, 19.5, "i-0abc-1")
    assert app.ask("GET", "/health")[1]["status"] == "ok"


def test_wrong_requests_get_the_right_status(app: App) -> None:
    assert app.ask("POST", "/checkout", b"{")[0].status == 400
    assert app.ask("GET", "/search")[0].status == 400
    assert app.ask("GET", "/nothing")[0].status == 404
    response, _ = app.ask("GET", "/checkout")
    assert (response.status, response.getheader("Allow")) == (405, "POST")
    assert app.raw(b"rubbish\r\n\r\n").startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert app.raw(b"GET /health HTTP/1.1\r\nX-Long: " + b"a" * 70_000).startswith(b"HTTP/1.1 431 ")
    too_long = b"POST /checkout HTTP/1.1\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3_000_000
    assert app.raw(too_long).startswith(b"HTTP/1.1 413 ")
    assert app.ask("GET", "/products")[0].status == 200  # and the app goes on


def test_a_connection_serves_many_requests_and_closes_when_asked(app: App) -> None:
    connection = http.client.HTTPConnection(HOST, app.port, timeout=PATIENCE_S)
    connection.connect()
    socket_before = connection.sock
    for _ in range(5):
        connection.request("GET", "/products")
        assert connection.getresponse().read()
    assert connection.sock is socket_before
    connection.request("GET", "/products", headers={"Connection": "close"})
    response = connection.getresponse()
    assert response.getheader("Connection") == "close"
    response.read()
    connection.close()


def test_old_clients_and_head_requests(app: App) -> None:
    old = app.raw(b"GET /health HTTP/1.0\r\n\r\n")
    assert b"Connection: close" in old
    kept = app.raw(b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /health HTTP/1.0\r\n\r\n")
    assert kept.count(b"HTTP/1.1 200 OK") == 2
    assert b"Connection: keep-alive" in kept
    head = app.raw(b"HEAD /health HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert head.endswith(b"\r\n\r\n")


def test_pipelined_answers_come_in_the_order_of_the_requests(tmp_path: Path) -> None:
    with running(plant_file(tmp_path, **{"/products_mean": "200 ms"})) as app:
        received = app.raw(
            b"GET /products HTTP/1.1\r\n\r\n"  # slow
            b"GET /health HTTP/1.1\r\n\r\n"  # at once, but must wait for its turn
            b"GET /search?q=x HTTP/1.1\r\nConnection: close\r\n\r\n"
        )
    places = [received.index(part) for part in (b'"products"', b'"status":"ok"', b'"query":"x"')]
    assert places == sorted(places)


def test_bodies_in_chunks_and_clients_that_ask_before_they_send(app: App) -> None:
    chunked = b"POST /checkout HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    assert b'"total":12' in app.raw(chunked + b'b\r\n{"total": 1\r\n2\r\n2}\r\n0\r\n\r\n')
    with socket.create_connection((HOST, app.port), timeout=PATIENCE_S) as client:
        client.sendall(b"POST /checkout HTTP/1.1\r\nContent-Length: 12\r\nExpect: 100-continue\r\n\r\n")
        assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b'{"total": 7}')
        assert b'"total":7' in client.recv(5000)


def test_an_upgrade_is_declined(app: App) -> None:
    upgrade = b"GET /health HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    with socket.create_connection((HOST, app.port), timeout=PATIENCE_S) as client:
        for sent in (upgrade, b"GET /health HTTP/1.1\r\n\r\n"):
            client.sendall(sent)
            assert client.recv(5000).startswith(b"HTTP/1.1 200 OK")
    together = app.raw(upgrade * 3 + b"GET /products HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert together.count(b"HTTP/1.1 200 OK") == 4


def test_it_runs_without_uvloop_as_well(tmp_path: Path) -> None:
    without = "import sys; sys.modules['uvloop'] = None; from sandbox.app import main; sys.exit(main(sys.argv[1:]))"
    port = free_port()
    arguments = command(plant_file(tmp_path), port)
    process = subprocess.Popen([sys.executable, "-c", without, *arguments[3:]], cwd=ROOT)
    app = App(process, port)
    try:
        wait_until(app.is_listening, "the app listens")
        assert app.ask("GET", "/products")[0].status == 200
        assert app.raw(b"rubbish\r\n\r\n").startswith(b"HTTP/1.1 400 ")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()


def test_slots_bound_the_work_and_the_counters_tell_it(tmp_path: Path) -> None:
    with running(plant_file(tmp_path, **{"/products_mean": "50 ms"})) as app:
        begin = time.monotonic()
        with ThreadPoolExecutor(12) as pool:
            statuses = [reply.status for reply, _ in pool.map(lambda _: app.ask("GET", "/products"), range(12))]
        took_s = time.monotonic() - begin
        stats = app.stats()
    assert statuses == [200] * 12
    assert took_s >= 12 / 2 * 0.05 - 0.002  # two slots need this long, however fast the machine is
    assert stats["busy_s"] == pytest.approx(12 * 0.05)
    assert stats["nominal_service_s"] == pytest.approx(12 * 0.05)
    assert stats["endpoints"]["browse"] == {"requests": 12, "rejected": 0, "errors": 0}
    assert (stats["slots"], stats["queue_length"], stats["in_flight"]) == (2, 0, 0)
    assert len(stats["latencies_s"]) == 12
    assert min(stats["latencies_s"]) >= 0.05 - 0.002  # libuv's timers tick in milliseconds
    assert stats["pid"] > 0


def test_beyond_the_queue_limit_requests_are_refused_at_once(tmp_path: Path) -> None:
    plant = plant_file(tmp_path, slots=1, queue_limit=2, **{"/products_mean": "1 s"})
    with running(plant) as app, ThreadPoolExecutor(6) as pool:
        replies = list(pool.map(lambda _: app.ask("GET", "/products")[0].status, range(6)))
        stats = app.stats()
    assert sorted(replies) == [200, 200, 200, 503, 503, 503]
    assert stats["endpoints"]["browse"]["errors"] == stats["errors"] == 3


def pipelined(count: int) -> bytes:
    """So many requests in one piece: they arrive at the same time."""
    request = b"GET /products HTTP/1.1\r\n\r\n"
    return request * (count - 1) + b"GET /products HTTP/1.1\r\nConnection: close\r\n\r\n"


def test_beyond_the_rate_limit_the_answer_is_429(tmp_path: Path) -> None:
    with running(plant_file(tmp_path, slots=9, rate_limit={"rate": "20 tps", "burst": 3})) as app:
        received = app.raw(pipelined(6))
        assert received.count(b"HTTP/1.1 200 OK") == 3
        assert received.count(b"HTTP/1.1 429 Too Many Requests") == 3
        time.sleep(0.06)
        assert app.ask("GET", "/products")[0].status == 200  # the bucket fills again
        assert app.stats()["endpoints"]["browse"] == {"requests": 7, "rejected": 3, "errors": 0}


def test_requests_wait_for_a_connection_though_slots_are_free(tmp_path: Path) -> None:
    pool = {"connections": 1, "service_time": {"distribution": "constant", "mean": "60 ms"}}
    with running(plant_file(tmp_path, slots=9, pool=pool)) as app:
        begin = time.monotonic()
        assert app.raw(pipelined(6)).count(b"HTTP/1.1 200 OK") == 6
        took_s = time.monotonic() - begin
        stats = app.stats()
    assert took_s >= 6 * 0.06 + 0.02 - 0.002
    assert stats["busy_s"] == pytest.approx(6 * 0.02)
    assert stats["held_s"] == pytest.approx(sum(n * 0.06 + 0.02 for n in range(1, 7)), abs=0.02)


def test_a_backlog_makes_work_cost_more(tmp_path: Path) -> None:
    metastable = {"backlog": 4, "cost_factor": 3}
    with running(plant_file(tmp_path, slots=1, metastable=metastable, **{"/products_mean": "30 ms"})) as app:
        begin = time.monotonic()
        app.raw(pipelined(8))
        took_s = time.monotonic() - begin
        calm = app.ask("GET", "/products")[0].status, app.stats()["costly"]
        worked_s = app.stats()["busy_s"]
    assert took_s >= (5 + 3 * 3) * 0.03 - 0.002  # the sixth finds four waiting
    assert worked_s == pytest.approx((5 + 3 * 3 + 1) * 0.03)
    assert calm == (200, False)


def test_an_instance_works_as_its_place_says(tmp_path: Path) -> None:
    kinds = [{"slots": 5}, {"slots": 3, "speed": "25 %"}]
    with running(plant_file(tmp_path, instance_kinds=kinds), "--place", "1") as app:
        app.ask("GET", "/products")
        stats = app.stats()
    assert (stats["place"], stats["slots"]) == (1, 3)
    assert stats["latencies_s"][0] >= 0.08 - 0.002


def test_a_noisy_neighbour_slows_some_of_the_time(tmp_path: Path) -> None:
    noisy = {"hits": "all", "every": "10 s", "lasts": "5 s", "slowdown": 10}  # of AWS: one second, and half of it
    with running(plant_file(tmp_path, time_scale=10, noisy_neighbour=noisy, **{"/products_mean": "5 ms"})) as app:
        end = time.monotonic() + 2.2
        while time.monotonic() < end:
            app.ask("GET", "/products")
        latencies_s = app.stats()["latencies_s"]
    slow_s = sum(latency for latency in latencies_s if latency >= 0.05 - 0.002)
    assert min(latencies_s) < 0.02
    assert 0.6 < slow_s < 1.6  # about half of the time; on a busy machine the rest takes longer


def test_clients_that_leave_are_counted_and_harm_nobody(tmp_path: Path) -> None:
    with running(plant_file(tmp_path, **{"/products_mean": "300 ms"})) as app:
        with socket.create_connection((HOST, app.port)) as client:
            client.sendall(b"GET /products HTTP/1.1\r\n\r\n")
            wait_until(lambda: app.stats()["in_flight"] == 1, "the request is in flight")
        wait_until(lambda: app.stats()["abandoned"] == 1, "the request counts as abandoned")
        assert app.ask("GET", "/products")[0].status == 200


def test_sigterm_finishes_what_is_in_flight(tmp_path: Path) -> None:
    plant = plant_file(tmp_path, **{"/products_mean": "700 ms"})
    with running(plant) as app, ThreadPoolExecutor(2) as pool:
        idle = socket.create_connection((HOST, app.port), timeout=PATIENCE_S)
        asked = [pool.submit(app.ask, "GET", "/products") for _ in range(2)]
        wait_until(lambda: app.stats()["in_flight"] == 2, "two requests are in flight")
        app.process.send_signal(signal.SIGTERM)
        assert [future.result()[0].status for future in asked] == [200, 200]
        assert idle.recv(1) == b""  # an idle connection is closed
        idle.close()
        assert app.process.wait(PATIENCE_S) == 0
        assert not app.is_listening()


def test_the_drain_has_a_limit(tmp_path: Path) -> None:
    plant = plant_file(tmp_path, **{"/products_mean": "50 s"})
    with running(plant, "--drain-limit-s", "0.2") as app, socket.create_connection((HOST, app.port)) as client:
        client.sendall(b"GET /products HTTP/1.1\r\n\r\n")
        wait_until(lambda: app.stats()["in_flight"] == 1, "the request is in flight")
        app.process.send_signal(signal.SIGTERM)
        assert app.process.wait(PATIENCE_S) == 0


def test_boot_takes_its_time_and_can_be_stopped(tmp_path: Path) -> None:
    plant = plant_file(tmp_path, boot="600 ms")
    begin = time.monotonic()
    with running(plant):
        assert time.monotonic() - begin >= 0.6
    process = subprocess.Popen(command(plant_file(tmp_path, boot="50 s"), free_port()), cwd=ROOT)
    try:
        # Before its handler is in place, SIGTERM ends the process as well, but not with status 0.
        wait_until(lambda: _catches_sigterm(process.pid), "the app handles SIGTERM")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()


def _catches_sigterm(pid: int) -> bool:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    return False


def test_the_app_dies_with_its_parent(tmp_path: Path) -> None:
    port = free_port()
    arguments = command(plant_file(tmp_path), port)
    starter = f"import subprocess, time; subprocess.Popen({arguments!r}); time.sleep(100)"
    parent = subprocess.Popen([sys.executable, "-c", starter], cwd=ROOT)
    app = App(parent, port)
    try:
        wait_until(app.is_listening, "the app listens")
        pid = app.stats()["pid"]
        assert pid != parent.pid
    finally:
        parent.kill()
        parent.wait()
    wait_until(lambda: not _is_alive(pid), "the app has ended")


def _is_alive(pid: int) -> bool:
    """False also for a dead process that nobody has collected yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_the_app_ends_when_its_parent_is_gone_already(tmp_path: Path) -> None:
    arguments = command(plant_file(tmp_path), free_port(), "--parent", str(os.getpid() + 100_000_000))
    assert subprocess.run(arguments, cwd=ROOT, timeout=PATIENCE_S, check=False).returncode == 0


def test_an_address_in_use_is_one_sentence(app: App, tmp_path: Path) -> None:
    done = subprocess.run(
        command(plant_file(tmp_path), app.port), cwd=ROOT, timeout=PATIENCE_S, capture_output=True, check=False
    )
    assert done.returncode == 2
    assert f"i-0abc cannot listen on {HOST}:{app.port}" in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (["--host", "0.0.0.0"], "not a loopback address"),
        (["--host", "localhost"], "is not an IP address"),
        (["--plant", "none.yaml"], "none.yaml: the file does not exist"),
    ],
)
def test_wrong_arguments_end_with_2(tmp_path: Path, change: list[str], expected: str) -> None:
    done = subprocess.run(
        [*command(plant_file(tmp_path), 1), *change], cwd=ROOT, timeout=PATIENCE_S, capture_output=True, check=False
    )
    assert done.returncode == 2
    assert expected in done.stderr.decode()
