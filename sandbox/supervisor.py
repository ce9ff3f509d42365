"""The sandbox itself: one process that holds moto and the plant, and owns every other process through the keeper."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import uuid
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import IO, Any

from sandbox.plant.haproxy import ALGORITHMS, Balancer, BalancerError, configuration, find_haproxy
from sandbox.plantfile import load_plant
from sandbox.processes.client import KeeperClient, ManagedProcess, StartFailed, clean_environment
from sandbox.processes.proc import start_ticks
from sandbox.state import DEFAULT_BALANCER_PORT, DEFAULT_ENDPOINT_PORT, Folder, SandboxError, State, listen, write_json

log = logging.getLogger(__name__)

READY_TIMEOUT_S = 60.0
SNAPSHOT_PERIOD_S = 0.5
END_GRACE_S = 8.0
LONGEST_SOCKET_PATH = 90  # Linux allows 107 characters, HAProxy adds some while it starts


class Supervisor:
    """Starts everything, waits for a signal, ends everything."""

    def __init__(self, plant_file: Path, folder: Folder, port: int | None, balancer_port: int | None) -> None:
        self._plant_file = plant_file.resolve()
        self._plant = load_plant(self._plant_file)
        self._folder = folder
        self._wanted_ports = (port, balancer_port)
        self._mark = uuid.uuid4().hex
        self._stop = threading.Event()
        self._socket_folder: Path | None = None
        self._keeper: KeeperClient | None = None
        self._haproxy: ManagedProcess | None = None
        self._parts: list[Any] = []
        self._problem = ""

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT. Returns 0; raises SandboxError when the sandbox cannot start or breaks."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        lock = self._lock()
        try:
            self._start()
            self._stop.wait()
            if self._problem:
                raise SandboxError(self._problem)
            log.info("asked to end")
            return 0
        except (BalancerError, StartFailed) as error:
            raise SandboxError(str(error)) from error
        finally:
            self._end()
            lock.close()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stop.set()

    def _lock(self) -> IO[str]:
        """One supervisor for each state folder."""
        file = self._folder.lock_file.open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise SandboxError(f"another sandbox starts in {self._folder.path} at this moment: try again") from error
        return file

    def _start(self) -> None:
        # moto's modules take a second to load, so they are loaded here and not with this module.
        from sandbox.aws.calls import CallLog
        from sandbox.aws.extend import extend_moto
        from sandbox.aws.moto_access import ACCOUNT_ID, REGION
        from sandbox.aws.outbox import OUTBOX
        from sandbox.aws.server import AwsServer
        from sandbox.plant.containers import ContainerRunner
        from sandbox.plant.machines import MachineFactory, is_free_address
        from sandbox.plant.minute import Clock, Minute
        from sandbox.plant.reconciler import Reconciler
        from sandbox.plant.resources import ACCESS_KEY, SECRET_KEY, TASK_SESSION, ResourceMaker
        from sandbox.plant.services import ServiceScheduler
        from sandbox.plant.targets import TargetSync

        logs, plant = self._folder.logs, self._plant
        program = find_haproxy()
        previous = self._folder.previous_ports()
        listener = listen(self._wanted_ports[0], previous[0], DEFAULT_ENDPOINT_PORT, "the AWS endpoint (--port)")
        reserved = listen(self._wanted_ports[1], previous[1], DEFAULT_BALANCER_PORT, "the load balancer (--lb-port)")
        endpoint_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        balancer_port = reserved.getsockname()[1]
        state = State(
            status="starting",
            pid=os.getpid(),
            start_ticks=start_ticks(os.getpid()) or 0,
            mark=self._mark,
            plant=plant.name,
            plant_file=str(self._plant_file),
            endpoint_url=endpoint_url,
            load_balancer_url=f"http://127.0.0.1:{balancer_port}",
            region=REGION,
            account_id=ACCOUNT_ID,
            time_scale=plant.time_scale,
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
            log_folder=str(logs),
        )
        self._folder.write(state)

        self._keeper = keeper = KeeperClient(self._mark, logs / "keeper.log", self._on_process_end)
        reserved.close()
        balancer = self._start_haproxy(program, balancer_port)
        targets = TargetSync(balancer, plant.time_scale)
        factory = MachineFactory(keeper, self._plant_file, logs)
        self._services = services = ServiceScheduler()
        self._reconciler = reconciler = Reconciler(factory, targets, plant.time_scale)
        role = {
            "AWS_ENDPOINT_URL": endpoint_url,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_SESSION_TOKEN": TASK_SESSION,
        }
        self._containers = containers = ContainerRunner(keeper, logs, role)
        extend_moto(plant.name, is_free_address, containers.run, containers.stop, plant.time_scale)
        minute = Minute(reconciler, targets, Clock(plant.time_scale))
        reconciler.after_step = minute.traffic.observe
        server = AwsServer(listener, CallLog(logs / "aws-calls.jsonl"))
        self._parts = [server, minute, reconciler, services, containers]
        OUTBOX.start()
        server.start()
        containers.start()
        services.start()
        reconciler.start()
        resources = ResourceMaker(plant, endpoint_url, balancer_port).make()
        minute.start()
        self._wait_until_healthy(balancer)
        threading.Thread(target=self._write_snapshots, args=(balancer,), name="snapshots", daemon=True).start()
        self._folder.write(State(**{**asdict(state), "status": "ready", "resources": asdict(resources)}))
        log.info("ready: endpoint %s, load balancer %s", endpoint_url, state.load_balancer_url)

    def _start_haproxy(self, program: str, port: int) -> Balancer:
        assert self._keeper is not None
        folder = self._folder.path.resolve()
        if len(str(folder)) > LONGEST_SOCKET_PATH:
            folder = self._socket_folder = Path(tempfile.mkdtemp(prefix="hr-"))  # mode 700
        control = folder / "haproxy.sock"
        control.unlink(missing_ok=True)
        config = self._folder.path / "haproxy.cfg"
        config.write_text(configuration(port, control, ALGORITHMS[self._plant.balancing]), encoding="utf-8")
        self._haproxy = self._keeper.start(
            [program, "-db", "-f", str(config.resolve())],
            log=self._folder.logs / "haproxy.log",
            environment=clean_environment({}),
        )
        balancer = Balancer(control)
        deadline = time.monotonic() + 10
        while True:
            try:
                balancer.view()
                return balancer
            except BalancerError:
                if not self._haproxy.running or time.monotonic() > deadline:
                    raise SandboxError(
                        f"HAProxy did not start on port {port}: see {self._folder.logs / 'haproxy.log'}"
                    ) from None
                time.sleep(0.02)

    def _wait_until_healthy(self, balancer: Balancer) -> None:
        """Until as many targets answer through the load balancer as are desired."""
        deadline = time.monotonic() + READY_TIMEOUT_S + self._plant.instances.boot_s
        wanted = self._plant.instances.desired
        while sum(1 for server in balancer.view().servers.values() if server.up) < wanted or not self._all_in_service():
            if self._stop.wait(0.05):
                raise SandboxError(self._problem or "the sandbox was asked to end while it started")
            if time.monotonic() > deadline:
                raise SandboxError(
                    f"{wanted} instances were not healthy within {READY_TIMEOUT_S:g} s: see the instance logs in "
                    f"{self._folder.logs}"
                )

    def _all_in_service(self) -> bool:
        machines = list(self._reconciler.machines.values())
        return sum(1 for m in machines if m.in_service_s is not None) >= self._plant.instances.desired

    def _on_process_end(self) -> None:
        """Called from the keeper's thread whenever a process has ended."""
        if hasattr(self, "_reconciler"):
            self._reconciler.wake()
            self._containers.wake()
            self._services.wake()
        if self._stop.is_set():
            return
        if self._keeper is not None and not self._keeper.alive:
            self._problem = "the process keeper has ended, and with it every instance"
            self._stop.set()
        elif self._haproxy is not None and not self._haproxy.running:
            self._problem = f"HAProxy has ended: see {self._folder.logs / 'haproxy.log'}"
            self._stop.set()

    def _write_snapshots(self, balancer: Balancer) -> None:
        from sandbox.plant.snapshot import snapshot

        while not self._stop.is_set():
            try:
                write_json(self._folder.snapshot_file, snapshot(self._reconciler, self._containers, balancer))
            except Exception:
                if not self._stop.is_set():
                    log.exception("status.json")
            self._stop.wait(SNAPSHOT_PERIOD_S)

    def _end(self) -> None:
        self._stop.set()
        for part in self._parts[1:]:
            part.end()
        if self._keeper is not None:
            self._keeper.shutdown(END_GRACE_S)
        if self._parts:
            self._parts[0].stop()
        if self._socket_folder is not None:
            shutil.rmtree(self._socket_folder, ignore_errors=True)
        (self._folder.path / "haproxy.sock").unlink(missing_ok=True)
        self._folder.clear()
        log.info("everything has ended")


def serve(plant_file: Path, folder: Folder, port: int | None, balancer_port: int | None, to_terminal: bool) -> int:
    """Run a sandbox in this process until it is asked to end."""
    folder.logs.mkdir(parents=True, exist_ok=True)
    handlers: list[logging.Handler] = [logging.FileHandler(folder.logs / "supervisor.log")]
    if to_terminal:
        screen = logging.StreamHandler(sys.stderr)
        screen.setLevel(logging.INFO if sys.stderr.isatty() else logging.WARNING)
        handlers.append(screen)
    logging.basicConfig(
        level=logging.INFO, handlers=handlers, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    for chatty in ("werkzeug", "botocore", "boto3", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    return Supervisor(plant_file, folder, port, balancer_port).run()
