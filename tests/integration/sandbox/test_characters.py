"""A sandbox whose plant has everything that makes one hard to measure: it starts, serves, and keeps its kinds."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.integration.sandbox.conftest import RunningSandbox, free_port, run_sandbox, wait_for

PLANT = """
schema: 1
name: checkout
time_scale: 60
instances: {min: 1, max: 3, desired: 2, boot: 200 ms, warm_up: 0 s}
instances_under_test: 2
slots: 4
balancing: round_robin
instance_kinds: [{slots: 8}, {slots: 3, speed: 50 %}]
noisy_neighbour: {hits: each, every: 60 s, lasts: 12 s, slowdown: 2}
pool: {connections: 2, service_time: {distribution: constant, mean: 5 ms}}
rate_limit: {rate: 0.01 tps, burst: 5}
metastable: {backlog: 20, relief: 2, cost_factor: 2}
endpoints:
  browse: {path: /products, method: GET, service_time: {distribution: constant, mean: 5 ms}, share: 0.8}
  search: {path: /search, method: GET, service_time: {distribution: constant, mean: 5 ms}, share: 0.1}
  checkout: {path: /checkout, method: POST, service_time: {distribution: constant, mean: 5 ms}, share: 0.1}
slo: {latency_p95: 100 ms}
"""


@pytest.fixture
def hard_sandbox(own_folder: Path, tmp_path: Path) -> RunningSandbox:
    file = tmp_path / "hard.yaml"
    file.write_text(PLANT)
    ports = ["--port", str(free_port()), "--lb-port", str(free_port())]
    started = run_sandbox("up", "--state", str(own_folder), "--plant", str(file), *ports)
    assert started.returncode == 0, started.stderr + started.stdout
    return RunningSandbox(own_folder)


def ask(address: str, path: str) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def kinds(sandbox: RunningSandbox) -> dict[str, tuple[int, int]]:
    """Place and slots of each instance that answers."""
    found = {}
    for instance in sandbox.status()["instances"]:
        with contextlib.suppress(OSError):  # it boots, or has ended
            stats: dict[str, Any] = json.loads(ask(instance["address"], "/_stats")[1])
            found[instance["id"]] = (stats["place"], stats["slots"])
    return found


def test_a_plant_with_everything_serves_in_turn_limits_and_keeps_its_kinds(hard_sandbox: RunningSandbox) -> None:
    before = kinds(hard_sandbox)
    assert sorted(before.values()) == [(0, 8), (1, 3)]
    balancer = hard_sandbox.state["load_balancer_url"].removeprefix("http://")
    answers = [ask(balancer, "/products")[0] for _ in range(10)]
    served_by = [answer.getheader("X-Instance") for answer in answers]
    assert set(served_by) == set(before)
    assert served_by[::2] == [served_by[0]] * 5  # in turn
    assert [answer.status for answer in answers] == [200] * 10
    assert ask(balancer, "/products")[0].status == 429

    weak = next(instance for instance, kind in before.items() if kind == (1, 3))
    pid = next(i["pid"] for i in hard_sandbox.status()["instances"] if i["id"] == weak)
    os.kill(pid, signal.SIGKILL)
    wait_for("a replacement", lambda: len(kinds(hard_sandbox)) == 2 and weak not in kinds(hard_sandbox))
    assert sorted(kinds(hard_sandbox).values()) == [(0, 8), (1, 3)]
