"""A real fleet of two shards under a real conductor, while one shard gets worse and worse: each fault makes the probe
invalid, for the right reason and with its evidence, and the other shard is never blamed.

One fleet goes through all of it, since starting JMeter takes longer than the probes.
"""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.loopback_target import LoopbackTarget
from benchmarks.shard_fleet import LocalFleet, fleet_spec
from include.capacity.models import ProbeResult, Slo, SloCondition, Step, ValidityLimits
from include.capacity.validity.clocks import ahead_between, by_shard
from include.capacity.validity.responses import SizeRange
from include.pipeline.conductor import Conductor, Stage
from tests.components.test_shard import _missing

pytestmark = [
    pytest.mark.skipif(bool(_missing()), reason=_missing()),
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.timeout(240),
]

SOURCE = Path(__file__).with_name("moved_clock.c")
SLO = Slo((SloCondition("latency_p95_ms", 5000.0),))
# Wide where a busy machine could interfere; the quota's limit is the default.
LIMITS = ValidityLimits(2000.0, 4.0, 0.9, 0, 0.001, 0.5, max_clock_skew_s=0.5)
RATE_TPS = 60.0
HEALTHY, AILING = 0, 1
PAGE = b"<html><body>" + b"We are sorry, the shop is closed for maintenance. " * 20 + b"</body></html>"
QUOTA = ("cpu.cfs_quota_us", "/sys/fs/cgroup/cpu"), ("cpu.max", "/sys/fs/cgroup")


class MovedClock:
    """The wall clock of the processes that run under `prefix`."""

    def __init__(self, folder: Path) -> None:
        self._control, self._library = folder / "clock", folder / "moved_clock.so"
        self.move(0.0, 0.0)
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("no C compiler: the clock of a shard cannot be moved here")
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", self._library, SOURCE], check=True)
        self.prefix = ("env", f"LD_PRELOAD={self._library}", f"MOVED_CLOCK={self._control}")

    def move(self, seconds: float, rate: float) -> None:
        """Adds `seconds`; from now on it also runs wrong by the share `rate`."""
        values = struct.pack("ddd", seconds, time.time(), rate)
        if not self._control.exists():
            self._control.write_bytes(values)
        with open(self._control, "r+b") as file:  # the same pages that the processes see
            file.write(values)


class Quota:
    """A control group with a CPU quota that can be changed; needs the right to make one."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        for self._file, mount in QUOTA:
            folder = Path(mount) / f"headroom-test-{os.getpid()}"
            try:
                folder.mkdir()
            except OSError:
                continue
            if (folder / self._file).exists():
                self.folder = folder
                return
            folder.rmdir()

    @property
    def prefix(self) -> tuple[str, ...]:
        if self.folder is None:
            return ()
        return ("sh", "-c", f'echo $$ > {self.folder}/cgroup.procs && exec "$@"', "sh")

    def set(self, cores: float | None) -> None:
        assert self.folder is not None
        period = 100_000
        if self._file == "cpu.max":
            text = f"{'max' if cores is None else round(cores * period)} {period}"
        else:
            text = str(-1 if cores is None else round(cores * period))
        (self.folder / self._file).write_text(text)

    def remove(self) -> None:
        deadline = time.monotonic() + 5
        while self.folder is not None and time.monotonic() < deadline:
            try:
                self.folder.rmdir()
                return
            except OSError:  # its processes are still being reaped
                time.sleep(0.1)


@pytest.fixture
def target() -> Iterator[LoopbackTarget]:
    target = LoopbackTarget().start()
    yield target
    target.stop()


@pytest.fixture
def quota() -> Iterator[Quota]:
    quota = Quota()
    yield quota
    quota.remove()


@dataclass
class Conducted:
    fleet: LocalFleet
    epoch: int = 1000

    def conductor(self, usual_sizes: dict[str, SizeRange] | None = None) -> Conductor:
        self.epoch += 1
        return Conductor(
            self.fleet.store,
            Stage("search", self.epoch),
            shards=2,
            lease_s=3.0,
            slo=SLO,
            limits=LIMITS,
            usual_sizes=usual_sizes,
        )


def test_each_fault_makes_the_probe_invalid_for_its_own_reason(
    tmp_path: Path, target: LoopbackTarget, quota: Quota
) -> None:
    clock = MovedClock(tmp_path)
    spec = fleet_spec(target.port, shards=2, threads_per_shard=20, heap_mb=128, max_error_ratio=1.0)
    with LocalFleet(tmp_path / "run", spec, prefixes={AILING: (*clock.prefix, *quota.prefix)}) as fleet:
        for shard in (HEALTHY, AILING):
            fleet.start(shard)
        fleet.wait_ready()
        conducted = Conducted(fleet)
        smoke = conducted.conductor()
        smoke.wait_ready(30)
        good, seconds = smoke.run_step(step("smoke"), 0, transactions_per_arrival=1.0)
        assert good.validity.status == "valid", good.validity.reasons
        usual = smoke.response_sizes()
        assert usual["/"].count > 20
        bounds = {shard: ahead_between(entries) for shard, entries in by_shard(seconds).items()}
        for low, high in bounds.values():  # one machine: the clocks are the same
            assert low is not None
            assert high is not None
            assert low - 0.01 <= 0 <= high + 0.01
            assert high - low < 2.0, bounds

        def probe(hold_s: float = 3.0) -> ProbeResult:
            conductor = conducted.conductor(usual)
            conductor.command(0)
            time.sleep(1.0)  # the shards take the change of the rate, by which their clocks are seen
            return conductor.run_step(step("probe", hold_s), 0, transactions_per_arrival=1.0)[0]

        clock.move(1.5, 0.0)
        expect(probe(), f"The clock of shard {AILING} is at least 1.", "ahead of the conductor's")

        clock.move(-1.5, 0.0)
        target.answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(PAGE) + PAGE
        expect(
            probe(),
            f"The clock of shard {AILING} is at least ",
            "behind the conductor's",
            "good responses of / have another size than in the smoke probe",
            "error page with status 200",
        )

        clock.move(0.0, -0.15)  # slow: it loses 150 ms each second
        target.answer = b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere.example/\r\nContent-Length: 0\r\n\r\n"
        expect(
            probe(),
            f"The clock of shard {AILING} was set, or does not keep time",
            "failed in the load generator itself: a redirect or link to a host off target.allow_hosts",
        )
        clock.move(0.0, 0.0)
        target.answer = LoopbackTarget().answer

        if quota.folder is not None:
            quota.set(0.1)
            held_back = probe(hold_s=4.0)
            quota.set(None)
            expect(held_back, f"container of shard {AILING} was held back by its CPU quota", "more CPU")
            assert "Use 3 shards" in " ".join(held_back.validity.reasons), held_back.validity.reasons

        os.kill(fleet.processes[AILING].pid, signal.SIGKILL)  # JMeter dies with it
        expect(probe(hold_s=8.0), f"hard {AILING} did not report")
    if quota.folder is None:
        pytest.skip("no right to make a control group here: the CPU quota was left out, all else was shown")


def step(kind: str, hold_s: float = 3.0) -> Step:
    return Step(kind, RATE_TPS, hold_s, 1.0, "a test")  # type: ignore[arg-type]


def expect(result: ProbeResult, *words: str) -> None:
    """The probe is invalid, says so in these words, and blames nothing on the healthy shard."""
    told = " ".join(result.validity.reasons)
    assert (result.validity.status, result.sustainable) == ("invalid", None), result
    for word in words:
        assert word in told, told
    assert f"hard {HEALTHY} " not in told, told
