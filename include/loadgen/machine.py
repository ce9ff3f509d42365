"""What the shard's machine and container allow it, and where they hold it back: CPUs, the container's CPU quota, and
the time in which its processes waited for a CPU.

Linux tells it in files; what a kernel or a container does not show stays unknown (zero), which is no evidence.
Sources: kernel documentation, admin-guide/cgroup-v2 (cpu.max, cpu.stat, cpu.pressure), scheduler/sched-bwc (version 1),
accounting/psi.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

_V2_MOUNTS = ("sys/fs/cgroup", "sys/fs/cgroup/unified")
_V1_MOUNTS = ("sys/fs/cgroup/cpu,cpuacct", "sys/fs/cgroup/cpu")


@dataclass(frozen=True, slots=True)
class MachineReading:
    """Counters are cumulative.

    Attributes:
        cpu_limit_cores: CPUs that the shard may use at once, by affinity and quota.
        periods, throttled_periods: of the container's CPU quota; 0 without one.
        waited_s: time in which some process of the container (or machine) could run and got no CPU.
    """

    cpu_limit_cores: float = 0.0
    periods: int = 0
    throttled_periods: int = 0
    waited_s: float = 0.0


NOTHING_KNOWN = MachineReading()


class Machine:
    """Reads from below `root`; each reading opens three small files.

    Args:
        cpus: number of CPUs that this process may run on.
    """

    def __init__(self, root: Path = Path("/"), cpus: Callable[[], int] = lambda: len(os.sched_getaffinity(0))) -> None:
        self._root, self._cpus = root, cpus
        self._folders = _own_folders(root)
        self._quota_cores = min(filter(None, map(_quota, self._folders)), default=0.0)

    def read(self) -> MachineReading:
        numbers = next((found for folder in self._folders if (found := _numbers(folder / "cpu.stat"))), {})
        cpus = float(self._cpus())
        return MachineReading(
            cpu_limit_cores=min(cpus, self._quota_cores) if self._quota_cores else cpus,
            periods=numbers.get("nr_periods", 0),
            throttled_periods=numbers.get("nr_throttled", 0),
            waited_s=self._waited_s(),
        )

    def _waited_s(self) -> float:
        places = [folder / "cpu.pressure" for folder in self._folders]
        for place in (*places, self._root / "proc/pressure/cpu"):
            for line in _text(place).splitlines():
                if line.startswith("some ") and "total=" in line:
                    total = line.rsplit("total=", 1)[1]
                    return int(total) / 1e6 if total.isdigit() else 0.0
        return 0.0


def _own_folders(root: Path) -> list[Path]:
    """Folders of the CPU controller for this process, the innermost first. A container may see its own folder as the
    root of the mount, under whatever path the host gave it."""
    found: list[Path] = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            mounts = _V2_MOUNTS
        elif "cpu" in controllers.split(","):
            mounts = _V1_MOUNTS
        else:
            continue
        for mount in mounts:
            base = root / mount
            inner = Path(path.lstrip("/"))
            for part in (inner, *inner.parents):
                folder = base / part
                if (folder / "cpu.stat").is_file() and folder not in found:
                    found.append(folder)
    return found


def _quota(folder: Path) -> float:
    """CPUs' worth of time that a folder's quota allows; 0 without a quota."""
    limit = _text(folder / "cpu.max").split()
    if not limit:
        limit = [_text(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    if len(limit) == 2 and all(part.isdigit() for part in limit) and int(limit[1]) > 0:
        return int(limit[0]) / int(limit[1])
    return 0.0


def _numbers(path: Path) -> Mapping[str, int]:
    pairs = (line.split() for line in _text(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
