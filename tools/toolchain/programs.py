"""Calls other programs, keeps their output in a log, and turns their failures into sentences."""

from __future__ import annotations

import re
import shlex
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import disk_usage
from typing import Protocol

from tools.errors import ToolError, disk_full

# What pip, uv, apt-get and the C library print, in lower case.
_DISK_FULL = (
    "no space left on device",
    "os error 28",
    "errno 28",
    "disk quota exceeded",
    "don't have enough free space",
)
_NO_NETWORK = (
    "name resolution",
    "dns error",
    "failed to lookup address",
    "could not resolve",
    "name or service not known",
    "nodename nor servname",
    "connection refused",
    "connection reset",
    "connection timed out",
    "network is unreachable",
    "no route to host",
    "tcp connect error",
    "error sending request",
    "cannot connect to proxy",
    "proxyerror",
    "failed to establish a new connection",
    "max retries exceeded",
    "timed out",
    "could not connect to",
    "tunnel error",
    "client error (connect)",
)
_WRONG_HASH = (
    re.compile(r"hash mismatch for `(?P<name>[^`]+)`", re.IGNORECASE),
    re.compile(r"DO NOT MATCH THE HASHES.*?\n\s+(?P<name>\S+).*? from ", re.DOTALL),
)


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that ended: its exit status and all that it printed."""

    status: int
    output: str

    @property
    def last_line(self) -> str:
        """The last line of the output that says something."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        return lines[-1] if lines else "it printed nothing"


class Programs(Protocol):
    """Calls programs."""

    def call(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> Finished:
        """Run a program to its end; `environment` replaces the present one. Raises FileNotFoundError."""
        ...


class LoggedPrograms:
    """Calls programs; their output goes to a log file.

    `inherited` is the descriptor of the set-up's lock: a child holds it, too, so that what a killed set-up left running
    does not work beside the next one.
    """

    def __init__(self, log: Path, inherited: int | None = None) -> None:
        self._log = log
        self._inherited = () if inherited is None else (inherited,)

    def call(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> Finished:
        """Run a program to its end and log what it printed."""
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            pass_fds=self._inherited,
            check=False,
        )
        finished = Finished(done.returncode, done.stdout.decode("utf-8", "replace"))
        self._note(f"$ {shlex.join(command)}\n{finished.output}[exit status {finished.status}]\n\n")
        return finished

    def _note(self, text: str) -> None:
        try:
            with self._log.open("a", encoding="utf-8") as stream:
                stream.write(text)
        except OSError:
            # A log that cannot be written (full disk) must not hide the failure that it would describe.
            return


def is_disk_full(output: str) -> bool:
    """Say whether the output tells of a full disk."""
    return any(sign in output.lower() for sign in _DISK_FULL)


def is_no_network(output: str) -> bool:
    """Say whether the output tells of a network that does not work."""
    return any(sign in output.lower() for sign in _NO_NETWORK)


def wrong_hash(output: str) -> str | None:
    """Return the package whose hash is wrong, if the output of pip or uv tells of one."""
    for pattern in _WRONG_HASH:
        if found := pattern.search(output):
            return found["name"]
    return None


def explain(finished: Finished, doing: str, folders: Sequence[Path], needed_mib: int, log: Path) -> ToolError:
    """Return the sentence for a program that failed.

    `doing` says what failed, such as "Installing the packages"; `folders` are the places it writes to.
    """
    if is_disk_full(finished.output):
        return disk_full(_fullest(folders), needed_mib)
    if name := wrong_hash(finished.output):
        return ToolError(
            f"{doing} failed: {name} does not have the hash that requirements.txt says. The file at the package index "
            "or requirements.txt was changed; trust neither until you know which, restore requirements.txt with git or "
            "run `make lock`."
        )
    if is_no_network(finished.output):
        return ToolError(
            f"{doing} failed: no connection to the package index. Check the network and the proxy settings, then give "
            "the same command again; it goes on where it stopped."
        )
    return ToolError(f"{doing} failed: {finished.last_line} (the whole output is in {log})")


def _fullest(folders: Sequence[Path]) -> Path:
    existing = [folder for folder in (*folders, Path(tempfile.gettempdir())) if folder.exists()]
    return min(existing, key=lambda folder: disk_usage(folder).free)
