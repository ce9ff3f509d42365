"""up, status and down, and what happens when one of them does not go by the book."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import urllib.request
from pathlib import Path

from sandbox.processes.proc import SANDBOX_MARK, marked_processes, start_ticks
from tests.integration.sandbox.conftest import PLANT, RunningSandbox, free_port, run_sandbox, wait_for


def up(folder: Path, plant_file: Path, *more: str) -> RunningSandbox:
    started = run_sandbox("up", "--state", str(folder), "--plant", str(plant_file), *more)
    assert started.returncode == 0, started.stdout + started.stderr
    return RunningSandbox(folder)


def test_up_status_down(own_folder: Path, plant_file: Path) -> None:
    ports = ["--port", str(free_port()), "--lb-port", str(free_port())]
    running = up(own_folder, plant_file, *ports)
    state = running.state
    assert state["endpoint_url"] == f"http://127.0.0.1:{ports[1]}"
    assert state["load_balancer_url"] == f"http://127.0.0.1:{ports[3]}"
    assert (own_folder / "sandbox.pid").read_text().strip() == str(state["pid"])

    with urllib.request.urlopen(f"{state['load_balancer_url']}/products") as answer:
        assert answer.status == 200

    again = run_sandbox("up", "--state", str(own_folder), "--plant", str(plant_file))
    assert again.returncode == 0
    assert "up already" in again.stdout
    assert running.state["pid"] == state["pid"]

    picture = wait_for("a picture of the instances", lambda: running.status().get("instances") and running.status())
    assert picture["up"] is True
    (instance,) = picture["instances"]
    assert instance["state"] == "InService"
    assert instance["address"].startswith("127.31.")
    assert start_ticks(instance["pid"]) is not None
    assert [target["id"] for target in picture["targets"]] == [instance["id"]]

    other = own_folder.parent / "other.yaml"
    other.write_text(PLANT.replace("name: checkout", "name: other"))
    refused = run_sandbox("up", "--state", str(own_folder), "--plant", str(other))
    assert refused.returncode == 2
    assert "is up with the plant checkout" in refused.stderr
    assert "python -m sandbox down" in refused.stderr

    ended = run_sandbox("down", "--state", str(own_folder))
    assert (ended.returncode, ended.stdout) == (0, "The sandbox has ended.\n")
    assert marked_processes(SANDBOX_MARK, state["mark"]) == []
    assert start_ticks(state["pid"]) is None
    assert not (own_folder / "state.json").exists()

    nothing = run_sandbox("status", "--state", str(own_folder), "--json")
    assert (nothing.returncode, json.loads(nothing.stdout)) == (3, {"up": False})
    assert run_sandbox("down", "--state", str(own_folder)).stdout == "The sandbox is not up.\n"


def test_a_killed_supervisor_leaves_no_process_and_the_next_start_recovers(own_folder: Path, plant_file: Path) -> None:
    running = up(own_folder, plant_file)
    state = running.state
    network = {"awsvpcConfiguration": {"subnets": state["resources"]["subnets"], "securityGroups": []}}
    # A task whose child moves to a session of its own: neither the group nor the parent's death reaches it.
    command = ["sh", "-c", "setsid sleep 600 & setsid sleep 601 & wait"]
    running.client("ecs").run_task(
        cluster="headroom-load",
        taskDefinition="headroom-shard",
        launchType="FARGATE",
        networkConfiguration=network,
        overrides={"containerOverrides": [{"name": "shard", "command": command}]},
    )
    wait_for("HAProxy, an instance and the task's three processes", lambda: len(running.processes()) >= 5)

    os.kill(state["pid"], signal.SIGKILL)

    wait_for("the end of every process", lambda: marked_processes(SANDBOX_MARK, state["mark"]) == [], timeout_s=10)
    assert run_sandbox("status", "--state", str(own_folder)).returncode == 3
    recovered = up(own_folder, plant_file)
    assert recovered.state["pid"] != state["pid"]
    assert recovered.state["endpoint_url"] == state["endpoint_url"], "the ports of the last start are taken again"


def test_a_process_that_took_over_the_process_id_is_not_ended(own_folder: Path, plant_file: Path) -> None:
    own_folder.mkdir()
    state = {
        "status": "ready",
        "pid": os.getpid(),
        "start_ticks": (start_ticks(os.getpid()) or 0) - 1,
        "mark": "a-sandbox-that-has-ended",
        "plant": "checkout",
        "plant_file": str(plant_file),
        "endpoint_url": "http://127.0.0.1:1",
        "load_balancer_url": "http://127.0.0.1:2",
        "region": "us-east-1",
        "account_id": "123456789012",
        "time_scale": 60.0,
        "started_at": "2026-01-01T00:00:00+00:00",
        "log_folder": str(own_folder / "logs"),
        "resources": {},
    }
    (own_folder / "state.json").write_text(json.dumps(state))

    ended = run_sandbox("down", "--state", str(own_folder))

    assert (ended.returncode, ended.stdout) == (0, "The sandbox is not up.\n")
    assert not (own_folder / "state.json").exists()


def test_a_port_in_use_is_named(own_folder: Path, plant_file: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        failed = run_sandbox("up", "--state", str(own_folder), "--plant", str(plant_file), "--lb-port", str(port))
    assert failed.returncode == 1
    assert f"port {port} for the load balancer (--lb-port) is in use" in failed.stderr
    assert run_sandbox("status", "--state", str(own_folder)).returncode == 3


def test_a_wrong_plant_file_is_refused_before_anything_starts(own_folder: Path) -> None:
    failed = run_sandbox("up", "--state", str(own_folder), "--plant", "no-such-plant.yaml")
    assert failed.returncode == 2
    assert "no-such-plant.yaml: the file does not exist" in failed.stderr
    assert not own_folder.exists()


def test_everything_listens_on_loopback_only(shared_sandbox: RunningSandbox) -> None:
    pids = {shared_sandbox.state["pid"], *shared_sandbox.processes()}
    listening = set()
    for pid in pids:
        inodes = set()
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            target = os.readlink(entry)
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
        for table in ("tcp", "tcp6", "udp", "udp6"):
            for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[9] in inodes and fields[3] in {"0A", "07"}:
                    listening.add((table, fields[1].split(":")[0]))
    assert listening, "the endpoint, the load balancer and an instance listen"
    assert all(table == "tcp" and address.endswith("7F") for table, address in listening), listening


def test_the_control_socket_is_private_and_its_path_short(shared_sandbox: RunningSandbox) -> None:
    config = (shared_sandbox.folder / "haproxy.cfg").read_text()
    path = Path(next(line.split()[2] for line in config.splitlines() if "stats socket" in line))
    assert len(str(path)) < 100
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
