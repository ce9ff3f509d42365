"""The files in which Linux tells what a container may use."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from include.loadgen.machine import Machine, MachineReading


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_version_2_of_a_container_with_a_quota(tmp_path: Path) -> None:
    write(
        tmp_path,
        proc__self__cgroup="0::/ecs/task\n",
        sys__fs__cgroup__ecs__task__cpu_dot_stat="usage_usec 5\nnr_periods 40\nnr_throttled 10\nthrottled_usec 9\n",
        sys__fs__cgroup__ecs__task__cpu_dot_max="50000 100000\n",
        sys__fs__cgroup__ecs__task__cpu_dot_pressure="some avg10=1.00 avg60=0.00 avg300=0.00 total=2500000\nfull x\n",
        proc__pressure__cpu="some avg10=9.00 avg60=0.00 avg300=0.00 total=99\n",
    )
    assert Machine(tmp_path, lambda: 4).read() == MachineReading(0.5, 40, 10, 2.5)


def test_a_quota_above_the_own_folder_counts_and_the_path_may_be_the_hosts(tmp_path: Path) -> None:
    write(
        tmp_path,
        proc__self__cgroup="0::/kubepods/pod9/c1\n",  # inside, the mount shows the container's folder as its root
        sys__fs__cgroup__cpu_dot_stat="nr_periods 3\nnr_throttled 1\n",
        sys__fs__cgroup__cpu_dot_max="max 100000\n",
    )
    assert Machine(tmp_path, lambda: 2).read() == MachineReading(2.0, 3, 1, 0.0)
    write(
        tmp_path,
        sys__fs__cgroup__kubepods__pod9__cpu_dot_stat="nr_periods 9\nnr_throttled 0\n",
        sys__fs__cgroup__kubepods__pod9__cpu_dot_max="150000 100000\n",
    )
    assert Machine(tmp_path, lambda: 2).read() == MachineReading(1.5, 9, 0, 0.0)


def test_version_1(tmp_path: Path) -> None:
    folder = "sys__fs__cgroup__cpu,cpuacct__docker__abc__"
    write(tmp_path, proc__self__cgroup="5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/\n")
    write(
        tmp_path,
        **{
            f"{folder}cpu_dot_stat": "nr_periods 8\nnr_throttled 2\nthrottled_time 77\n",
            f"{folder}cpu_dot_cfs_quota_us": "25000\n",
            f"{folder}cpu_dot_cfs_period_us": "100000\n",
        },
    )
    assert Machine(tmp_path, lambda: 2).read() == MachineReading(0.25, 8, 2, 0.0)
    write(tmp_path, **{f"{folder}cpu_dot_cfs_quota_us": "-1\n"})
    assert Machine(tmp_path, lambda: 2).read().cpu_limit_cores == 2.0


@pytest.mark.parametrize("text", ["", "0::/\n", "nonsense", "4:cpu:/x\n"])
def test_what_is_not_told_stays_unknown(tmp_path: Path, text: str) -> None:
    write(tmp_path, proc__self__cgroup=text, proc__pressure__cpu="some total=much\n")
    assert Machine(tmp_path, lambda: 2).read() == MachineReading(2.0, 0, 0, 0.0)


def test_this_machine() -> None:
    machine = Machine()
    began = time.perf_counter()
    reading = machine.read()
    assert time.perf_counter() - began < 0.5
    assert reading.cpu_limit_cores > 0
    assert machine.read().waited_s >= reading.waited_s >= 0
