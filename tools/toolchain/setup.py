"""The command line of the set-up: runs the steps in order, one at a time on a machine, each only where it is needed."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol, TextIO

from tools.errors import ToolError, disk_full, is_disk_full
from tools.toolchain.apt import Apt
from tools.toolchain.haproxy import HAProxy
from tools.toolchain.java import Java
from tools.toolchain.jmeter import JMeter
from tools.toolchain.kernel import JtlKernel
from tools.toolchain.layout import Layout
from tools.toolchain.packages import NEEDED_MIB, Packages
from tools.toolchain.programs import LoggedPrograms

FAILURE = 2


class Part(Protocol):
    """One part of the toolchain."""

    def is_done(self) -> bool:
        """Say, in milliseconds, whether nothing is to do."""
        ...

    def install(self) -> str:
        """Do it and return a few words about the result. Raises ToolError."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """A part with the words for its line of progress."""

    name: str
    title: str
    part: Part
    needs: tuple[str, ...] = ()


def main(arguments: Sequence[str], layout: Layout | None = None) -> int:
    """Run the set-up; return 0, 2 after one sentence on standard error, or 130 if it was interrupted."""
    options = _parser().parse_args(arguments)
    layout = layout or Layout()
    out = None if options.quiet else sys.stdout
    try:
        with _locked(layout, out) as lock:
            run_steps(wanted_steps(_steps(layout, lock), options.what), out)
    except ToolError as error:
        print(f"Set-up failed. {error}", file=sys.stderr)
        return FAILURE
    except OSError as error:
        if not is_disk_full(error):
            print(f"Set-up failed. {error.filename or layout.root}: {error.strerror or error}.", file=sys.stderr)
        else:
            print(f"Set-up failed. {disk_full(layout.root, NEEDED_MIB)}", file=sys.stderr)
        return FAILURE
    except KeyboardInterrupt:
        print("\nSet-up was interrupted. The next call goes on where this one stopped.", file=sys.stderr)
        return 130
    return 0


def wanted_steps(steps: Sequence[Step], what: str) -> list[Step]:
    """Return the steps of one part, those that it needs first; `all` means every step."""
    if what == "all":
        return list(steps)
    wanted = next(step for step in steps if step.name == what)
    return [step for step in steps if step.name in (*wanted.needs, what)]


def run_steps(steps: Sequence[Step], out: TextIO | None) -> None:
    """Run every step that is not done. Raises the ToolError of the first that fails; the steps before it stay done."""
    started = time.monotonic()
    did_something = False
    for number, step in enumerate(steps, start=1):
        if step.part.is_done():
            continue
        did_something = True
        step_started = time.monotonic()
        _print(out, f"[{number}/{len(steps)}] {step.title} ... ", end="")
        try:
            result = step.part.install()
        except BaseException:
            _print(out, "failed")
            raise
        _print(out, f"{result} ({time.monotonic() - step_started:.1f} s)")
    took = time.monotonic() - started
    _print(out, f"Set-up is complete ({took:.1f} s)." if did_something else f"Set-up is up to date ({took:.2f} s).")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 tools/bootstrap.py", description="Set up all that Headroom needs.")
    parts = ("all", "venv", "java", "jmeter", "kernel", "haproxy")
    parser.add_argument("--what", choices=parts, default="all", help="the part to set up, with what it needs")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    return parser


def _steps(layout: Layout, lock: int) -> list[Step]:
    programs = LoggedPrograms(layout.log, lock)
    apt = Apt(programs, layout.log)
    return [
        Step("venv", "Python packages", Packages(layout, programs, apt)),
        Step("java", "Java", Java(layout, programs), needs=("venv",)),
        Step("jmeter", "JMeter", JMeter(layout, programs), needs=("venv", "java")),
        Step("kernel", "JTL reader", JtlKernel(layout, programs), needs=("venv",)),
        Step("haproxy", "HAProxy", HAProxy(apt)),
    ]


@contextlib.contextmanager
def _locked(layout: Layout, out: TextIO | None) -> Iterator[int]:
    """Let one set-up of this repository at a time work; the others wait, and then find everything done."""
    # SIGTERM shall end the called program, too, and leave the log whole.
    before = signal.signal(signal.SIGTERM, _stop)
    layout.toolchain.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(layout.toolchain / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _print(out, "Waiting for another set-up of this folder to end.")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)
        signal.signal(signal.SIGTERM, before)


def _stop(signal_number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _print(out: TextIO | None, text: str, end: str = "\n") -> None:
    if out is not None:
        print(text, end=end, file=out, flush=True)
