"""Installs system packages with apt-get where that is possible without asking for a password."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from tools.errors import ToolError
from tools.toolchain.programs import Programs, explain

NEEDED_MIB = 50


class Apt:
    """apt-get as root, or through a sudo that asks nothing."""

    def __init__(
        self,
        programs: Programs,
        log: Path,
        *,
        is_root: Callable[[], bool] = lambda: os.geteuid() == 0,
        which: Callable[[str], str | None] = shutil.which,
    ) -> None:
        self._programs = programs
        self._log = log
        self._is_root = is_root
        self._which = which

    def install(self, package: str, reason: str) -> None:
        """Install a package. Where that cannot be done, raises ToolError: `reason`, and what to type."""
        if self._which("apt-get") is None:
            raise ToolError(
                f"{reason}: install it with the system's package manager, then give the same command again."
            )
        prefix = self._prefix()
        if prefix is None:
            raise ToolError(f"{reason}: type `sudo apt-get install -y {package}`, then give the same command again.")
        apt_get = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-o", "DPkg::Lock::Timeout=120"]
        # A third-party source that fails must not stop the others; the next call tells what is really missing.
        self._programs.call([*apt_get, "update"])
        done = self._programs.call([*apt_get, "install", "-y", "--no-install-recommends", package])
        if done.status != 0:
            cause = explain(
                done, f"Installing {package}", [Path("/var/cache/apt"), Path("/usr")], NEEDED_MIB, self._log
            )
            raise ToolError(f"{reason}. {cause}")

    def run_as_root(self, command: list[str]) -> None:
        """Call a program as root if that needs no password; its failure is of no importance."""
        prefix = self._prefix()
        if prefix is not None:
            self._programs.call([*prefix, *command])

    def _prefix(self) -> list[str] | None:
        if self._is_root():
            return []
        if self._which("sudo") and self._programs.call(["sudo", "-n", "true"]).status == 0:
            return ["sudo", "-n"]
        return None
