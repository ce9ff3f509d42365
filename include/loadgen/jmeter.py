"""JMeter as a child process: how it is started, told, read and ended."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from include.capacity.errors import InvalidData
from include.capacity.jtl.rows import ARRIVAL_VARIABLE
from include.loadgen.addresses import JAVA_CACHE_S
from include.loadgen.engine import DispatcherOrder, DispatcherStatus
from include.loadgen.results import ResultParts

RESULTS = "results.jtl"
LOG = "jmeter.log"
CONSOLE = "jmeter.out"
DISPATCHER_LEASE_S = 3.0

_PIECE = 256 * 1024
_PR_SET_PDEATHSIG = 1
_SHOWN_LINES = 5

# Only these columns: each one costs disk and parsing with every transaction.
_SAVED = (
    "timestamp_format=ms",
    "time=true",
    "label=true",
    "response_code=true",
    "response_message=true",
    "successful=true",
    "bytes=true",
    "latency=true",
    "connect_time=true",
    "idle_time=true",
    "assertion_results_failure_message=true",
    "print_field_names=true",
    "output_format=csv",
    "default_delimiter=,",
    "autoflush=true",  # a row must be in the file when its transaction ends
)
_NOT_SAVED = ("data_type", "thread_name", "sent_bytes", "url", "thread_counts", "sample_count", "hostname", "encoding")


@dataclass(frozen=True, slots=True)
class JMeterStart:
    """How to start JMeter.

    Attributes:
        properties: JMeter properties of the user and the target; Headroom's own win over them.
        dispatcher: properties of arrivals.groovy without the prefix `headroom.`.
        arguments: further arguments that the prepared plan demands.
        work: folder for all of JMeter's files.
        quick_compiler: use the JVM's quick compiler only. It halves the CPU of a cold JVM, which otherwise disturbs the
            first minute of load, and costs a third more at thousands of arrivals per second.
        plan_folder: JMeter's current folder, where the plan finds its files.
        hosts: file of the only names that exist for it; None: those of the machine.
    """

    java: str
    home: Path
    plan: Path
    plan_folder: Path
    work: Path
    heap_mb: int
    quick_compiler: bool
    properties: Mapping[str, str]
    dispatcher: Mapping[str, str]
    arguments: Sequence[str] = ()
    hosts: Path | None = None


class JMeter:
    """A running JMeter; implements LoadEngine. It dies with this process, even when that is killed.

    Args:
        parts: take all that JMeter recorded.
    """

    def __init__(self, start: JMeterStart, parts: ResultParts) -> None:
        self._work, self._parts = start.work, parts
        self._control, self._status = start.work / "control", start.work / "status"
        self._results: IO[bytes] | None = None
        self._beat = 0
        self.tell(DispatcherOrder((0, 0), 0.0))
        properties = start.work / "headroom.properties"
        properties.write_text(_properties_text(start, self._control, self._status), encoding="ascii")
        with open(start.work / CONSOLE, "wb") as console:
            self._process = subprocess.Popen(
                _command_line(start, properties),
                cwd=start.plan_folder,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_dies_with_parent(),
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def exit_code(self) -> int | None:
        return self._process.poll()

    def tell(self, order: DispatcherOrder) -> None:
        self._beat += 1
        epoch, seq = order.order
        line = f"{self._beat} {epoch} {seq} {order.rate_per_s:.9f} {'end' if order.end else 'run'}\n"
        temporary = self._control.with_suffix(".new")
        temporary.write_text(line, encoding="ascii")
        os.replace(temporary, self._control)

    def status(self) -> DispatcherStatus | None:
        try:
            return DispatcherStatus.loads(self._status.read_bytes())
        except (OSError, InvalidData):
            return None

    def results(self) -> bytes:
        if self._results is None:
            try:
                self._results = open(self._work / RESULTS, "rb")  # noqa: SIM115
            except FileNotFoundError:
                return b""
        piece = self._results.read(_PIECE)
        if piece:
            self._parts.write(piece)
        return piece

    def wait(self, timeout_s: float) -> bool:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        return self._process.poll() is not None

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):  # the group lives on while anything in it does
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """Closes the files; the last part of the results is complete after that. Raises OSError (disk full)."""
        if self._results is not None:
            self._results.close()
        self._parts.cut()

    def last_words(self) -> str:
        lines = _tail(self._work / LOG)
        errors = [line for line in lines if " ERROR " in line or " FATAL " in line] or _tail(self._work / CONSOLE)
        return " | ".join(errors[-_SHOWN_LINES:])

    def free_bytes(self) -> int:
        disk = os.statvfs(self._work)
        return disk.f_bavail * disk.f_frsize


def _command_line(start: JMeterStart, properties: Path) -> list[str]:
    temporary = start.work / "tmp"
    temporary.mkdir(exist_ok=True)
    heap = f"{start.heap_mb}m"
    return [
        start.java,
        f"-Xms{heap}",
        f"-Xmx{heap}",
        "-XX:+UseParallelGC",  # the smallest schedule lag of the collectors that were measured
        "-XX:+ExitOnOutOfMemoryError",  # a generator without memory must not go on producing numbers
        "-XX:-UsePerfData",
        *(("-XX:TieredStopAtLevel=1",) if start.quick_compiler else ()),
        "-Djava.awt.headless=true",
        f"-Djava.io.tmpdir={temporary}",
        f"-Djava.util.prefs.userRoot={temporary}",
        f"-Djmeter.home={start.home}",
        *(_resolving_from(start.hosts) if start.hosts else ()),
        "-jar",
        str(start.home / "bin" / "ApacheJMeter.jar"),
        *("-n", "-t", str(start.plan)),
        *("-l", str(start.work / RESULTS)),
        *("-j", str(start.work / LOG)),
        *("-q", str(properties)),
        *start.arguments,
    ]


def _resolving_from(hosts: Path) -> tuple[str, ...]:
    return f"-Djdk.net.hosts.file={hosts}", f"-Dsun.net.inetaddr.ttl={JAVA_CACHE_S}"


def _properties_text(start: JMeterStart, control: Path, status: Path) -> str:
    """In the order of their weight: of equal keys JMeter takes the last."""
    save = "jmeter.save.saveservice."
    own = {
        "sample_variables": ARRIVAL_VARIABLE,
        "sampleresult.timestamp.start": "true",
        "jmeterengine.force.system.exit": "true",
        "jmeterengine.nongui.port": "0",  # no port for remote shutdown
        "summariser.name": "",
        **{save + key: value for key, value in (entry.split("=", 1) for entry in _SAVED)},
        **{save + key: "false" for key in _NOT_SAVED},
        "headroom.control": str(control),
        "headroom.status": str(status),
        "headroom.lease_s": f"{DISPATCHER_LEASE_S:g}",
        **{f"headroom.{key}": value for key, value in start.dispatcher.items()},
    }
    entries = [*start.properties.items(), *own.items()]
    return "".join(f"{_escape(key)}={_escape(value)}\n" for key, value in entries)


def _escape(text: str) -> str:
    """For a Java properties file: everything that could be read as syntax, and all that is not ASCII, is escaped."""
    escaped = []
    for character in text:
        if character.isascii() and (character.isalnum() or character in "._-/,"):
            escaped.append(character)
        else:
            units = character.encode("utf-16-be")
            escaped += [f"\\u{units[i] << 8 | units[i + 1]:04x}" for i in range(0, len(units), 2)]
    return "".join(escaped)


def _dies_with_parent() -> Callable[[], None]:
    """For the child between fork and exec: it gets SIGKILL when the thread that started it ends."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def request() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it was too late
            os._exit(1)

    return request


def _tail(path: Path, size: int = 16 * 1024) -> list[str]:
    try:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(file.tell() - size, 0))
            return file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
