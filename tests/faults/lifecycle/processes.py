"""The processes of a case, forked from the warm campaign: they do their work, die or are stopped where they are told
to."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.lifecycle.points import Points, StoreFaults
from tests.faults.lifecycle.stages import Clients, Outcome
from tests.faults.lifecycle.virtual_time import CLOCK, real_monotonic, real_sleep

LONGEST_S = 60.0
Work = Callable[[Outcome, Points], None]


@dataclass(frozen=True, slots=True)
class Orders:
    """What happens to a process: killed or stopped at a point, with a store that fails, with a clock that is ahead."""

    kill_at: int | None = None
    stop_at: int | None = None
    store: StoreFaults = field(default_factory=StoreFaults)
    ahead_s: float = 0.0


@dataclass(slots=True)
class Process:
    """A forked process of a case."""

    pid: int
    file: Path
    log: Path
    began_s: float
    status: int | None = None
    stopped: bool = False

    def wait(self) -> Outcome | None:
        """Its outcome; None if it was killed, or is stopped (see `stopped`). Raises TimeoutError if it hangs."""
        while self.status is None and not self.stopped:
            pid, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED)
            if pid and os.WIFSTOPPED(status):
                self.stopped = True
            elif pid:
                self.status = status
            elif real_monotonic() - self.began_s > LONGEST_S:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise TimeoutError(f"a process hung for {LONGEST_S:g} s: see {self.log}")
            else:
                real_sleep(0.002)
        return None if self.stopped else Outcome.load(self.file)

    def go_on(self) -> None:
        """Lets a stopped process continue."""
        self.stopped = False
        os.kill(self.pid, signal.SIGCONT)


def start(clients: Clients, folder: Path, name: str, work: Work, orders: Orders | None = None) -> Process:
    """Forks a process that does some work; its files lie in the case's folder."""
    orders = orders or Orders()
    file, log = folder / f"{name}.json", folder / f"{name}.log"
    pid = os.fork()
    if pid:
        return Process(pid, file, log, real_monotonic())
    status = 1
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(descriptor, stream)
        _tell_to(sys.stderr)
        CLOCK.slept_s, CLOCK.ahead_s = 0.0, orders.ahead_s
        os.environ["HEADROOM_ARTEFACTS"] = str(folder / "store")
        points = Points(
            orders.kill_at if orders.stop_at is None else orders.stop_at,
            signal.SIGKILL if orders.stop_at is None else signal.SIGSTOP,
        )
        points.watch_clients(clients.all)
        points.watch_store(orders.store)
        outcome = Outcome()
        with contextlib.suppress(SystemExit):
            work(outcome, points)
        outcome.points, outcome.operations, outcome.injected = points.names, points.operations, points.injected
        outcome.save(file)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _tell_to(stream: object) -> None:
    """The project's own log lines go to the process's log; Airflow's and botocore's do not."""
    root = logging.getLogger()
    root.handlers[:] = [logging.StreamHandler(stream)]  # type: ignore[arg-type]
    root.setLevel(logging.WARNING)
    logging.getLogger("include").setLevel(logging.INFO)
    logging.getLogger("include").handlers[:] = []
