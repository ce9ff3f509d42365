"""Load shards on this machine without Airflow or ECS: a run's folder, the processes, and who commands them.

For the component tests and the benchmark of the load container's program.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import quoteattr

from include.capacity.protocol import (
    COMMAND_PATH,
    DISMISSED_PATH,
    SPEC_PATH,
    Command,
    FleetSpec,
    ShardReport,
    incarnation_folder,
    report_path,
    shard_folder,
)
from include.loadgen.settings import REPOSITORY
from include.store.artefacts import ArtefactStore

RENEW_S = 0.4


@dataclass(frozen=True, slots=True)
class Group:
    """A thread group of the plan: its samplers' labels are their paths."""

    name: str
    paths: tuple[str, ...]
    weight: int = 1


def plan_text(groups: Sequence[Group]) -> str:
    """A JMX as a user would write it: plain thread groups with HTTP samplers on `${__P(host)}:${__P(port)}`."""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<jmeterTestPlan version="1.2" properties="5.0" jmeter="5.6.3"><hashTree>
<TestPlan guiclass="TestPlanGui" testclass="TestPlan" testname="Shard" enabled="true">
<elementProp name="TestPlan.user_defined_variables" elementType="Arguments">
<collectionProp name="Arguments.arguments"/></elementProp></TestPlan>
<hashTree>{"".join(_group_text(group) for group in groups)}</hashTree></hashTree></jmeterTestPlan>
"""


def _group_text(group: Group) -> str:
    samplers = "".join(
        f"""<HTTPSamplerProxy guiclass="HttpTestSampleGui" testclass="HTTPSamplerProxy" testname={quoteattr(path)}>
<elementProp name="HTTPsampler.Arguments" elementType="Arguments">
<collectionProp name="Arguments.arguments"/></elementProp>
<stringProp name="HTTPSampler.domain">${{__P(host)}}</stringProp>
<stringProp name="HTTPSampler.port">${{__P(port)}}</stringProp>
<stringProp name="HTTPSampler.protocol">http</stringProp><stringProp name="HTTPSampler.method">GET</stringProp>
<stringProp name="HTTPSampler.path">{path}</stringProp><boolProp name="HTTPSampler.use_keepalive">true</boolProp>
<boolProp name="HTTPSampler.follow_redirects">true</boolProp>
<stringProp name="HTTPSampler.connect_timeout">2000</stringProp>
<stringProp name="HTTPSampler.response_timeout">5000</stringProp></HTTPSamplerProxy><hashTree/>
"""
        for path in group.paths
    )
    return f"""<ThreadGroup guiclass="ThreadGroupGui" testclass="ThreadGroup" testname={quoteattr(group.name)}>
<elementProp name="ThreadGroup.main_controller" elementType="LoopController">
<intProp name="LoopController.loops">1</intProp></elementProp>
<stringProp name="ThreadGroup.on_sample_error">continue</stringProp>
<stringProp name="ThreadGroup.num_threads">{group.weight}</stringProp>
<stringProp name="ThreadGroup.ramp_time">0</stringProp></ThreadGroup><hashTree>{samplers}</hashTree>
"""


def fleet_spec(target_port: int, **changes: object) -> FleetSpec:
    """One shard with 50 threads and wide limits, unless `changes` says otherwise."""
    settings: dict[str, object] = {
        "shards": 1,
        "threads_per_shard": 50,
        "plan_path": "plan/plan.jmx",
        "data_folder": "plan",
        "target_scheme": "http",
        "target_host": "127.0.0.1",
        "target_port": target_port,
        "allow_hosts": ("127.0.0.1",),
        "properties": {},
        "weights": {},
        "arrivals": "poisson",
        "seed": 20_240_229,
        "max_rate_per_s": 10_000.0,
        "max_error_ratio": 0.5,
        "guard_window_s": 3.0,
        "max_in_flight": 20_000,
        "idle_limit_s": 90.0,
        "hard_limit_s": 600.0,
    }
    return FleetSpec(**{**settings, **changes})  # type: ignore[arg-type]


class Commander:
    """Stands in for the conductor: writes commands and renews the last one until it is told to be silent."""

    def __init__(self, store: ArtefactStore, *, lease_s: float = 3.0, epoch: int = 1001) -> None:
        self._store, self._lease_s, self._epoch = store, lease_s, epoch
        self._lock = threading.Lock()
        self._seq, self._rate = 0, 0.0
        self._silent = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True)

    def start(self) -> Commander:
        self._thread.start()
        return self

    def command(self, rate_per_s: float) -> float:
        """Returns the wall clock of the command."""
        with self._lock:
            self._seq += 1
            self._rate = rate_per_s
            now = time.time()
            order = Command(self._epoch, self._seq, rate_per_s, self._lease_s, now, "bench")
            self._store.write(COMMAND_PATH, order.dumps())
            return now

    def fall_silent(self) -> None:
        """As if the conductor had died."""
        self._silent.set()
        self._thread.join()

    def _renew(self) -> None:
        while not self._silent.is_set():
            self.command(self._rate)
            self._silent.wait(RENEW_S)


@dataclass(slots=True)
class LocalFleet:
    """Shards as processes. Use as a context manager: nothing is left running.

    Attributes:
        folder: the run's folder; also holds each shard's output.
        prefixes: command in front of a shard's own, such as `taskset -c 0`, by shard.
    """

    folder: Path
    spec: FleetSpec
    groups: Sequence[Group] = (Group("Users", ("/",)),)
    environment: Mapping[str, str] = field(default_factory=dict)
    prefixes: Mapping[int, Sequence[str]] = field(default_factory=dict)
    processes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __enter__(self) -> LocalFleet:
        (self.folder / "plan").mkdir(parents=True)
        (self.folder / "plan" / "plan.jmx").write_text(plan_text(self.groups))
        self.store.write(SPEC_PATH, self.spec.dumps())
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()

    @property
    def store(self) -> ArtefactStore:
        return ArtefactStore.open(str(self.folder))

    def start(self, shard: int = 0) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "HEADROOM_STORE": str(self.folder),
            "HEADROOM_SHARD": str(shard),
            "HEADROOM_WORK": str(self.folder / "work"),
            **self.environment,
        }
        command = [*self.prefixes.get(shard, ()), sys.executable, "-m", "include.loadgen"]
        with open(self.folder / f"shard-{shard}.out", "ab") as output:
            process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=output, stderr=output)
        self.processes[shard] = process
        return process

    def output(self, shard: int = 0) -> str:
        return (self.folder / f"shard-{shard}.out").read_text()

    def incarnations(self, shard: int = 0) -> list[str]:
        return [name for name in self.store.names(shard_folder(shard)) if name[:1].isdigit()]

    def reports(self, shard: int = 0, incarnation: str | None = None) -> list[ShardReport]:
        """All reports of an incarnation (the newest if none is given)."""
        if incarnation is None:
            incarnation = max(self.incarnations(shard), default=None)
        if incarnation is None:
            return []
        names = self.store.names(f"{incarnation_folder(shard, incarnation)}/reports")
        return [
            ShardReport.loads(self.store.read(report_path(shard, incarnation, number))) for number in range(len(names))
        ]

    def last_report(self, shard: int = 0) -> ShardReport | None:
        """The newest report, without reading all of them."""
        incarnation = max(self.incarnations(shard), default=None)
        if incarnation is None:
            return None
        count = len(self.store.names(f"{incarnation_folder(shard, incarnation)}/reports"))
        return ShardReport.loads(self.store.read(report_path(shard, incarnation, count - 1))) if count else None

    def wait_ready(self, within_s: float = 90.0) -> None:
        for shard in self.processes:
            self.wait_for(lambda shard=shard: self._is_ready(shard), within_s, f"shard {shard} to be ready")  # type: ignore[misc]

    def wait_for(self, condition: Callable[[], bool], within_s: float, what: str) -> float:
        """Returns the seconds it took; raises AssertionError with the shards' output when time is up."""
        start = time.monotonic()
        while not condition():
            if time.monotonic() - start > within_s:
                outputs = "\n".join(self.output(shard) for shard in self.processes)
                raise AssertionError(f"waited {within_s:g} s for {what}\n{outputs}")
            time.sleep(0.05)
        return time.monotonic() - start

    def dismiss(self) -> None:
        self.store.create(DISMISSED_PATH, b"{}")

    def _is_ready(self, shard: int) -> bool:
        code = self.processes[shard].poll()
        if code is not None:
            raise AssertionError(f"shard {shard} ended with {code}\n{self.output(shard)}")
        report = self.last_report(shard)
        return report is not None and report.state == "ready"


def jmeter_pid(shard_pid: int) -> int | None:
    """The JMeter that a shard started; None while there is none."""
    try:
        children = Path(f"/proc/{shard_pid}/task/{shard_pid}/children").read_text().split()
    except FileNotFoundError:
        return None
    return int(children[0]) if children else None


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False
