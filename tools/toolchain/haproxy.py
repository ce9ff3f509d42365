"""HAProxy, the load balancer of the sandbox: the system's own, or installed by apt."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tools.errors import ToolError
from tools.toolchain.apt import Apt

# Debian puts it into a folder that is not on the PATH of ordinary users.
SYSTEM_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/sbin")
_SYSTEMD = Path("/run/systemd/system")


def find_haproxy() -> str | None:
    """Return the path of the haproxy program, or None."""
    return shutil.which("haproxy") or shutil.which("haproxy", path=os.pathsep.join(SYSTEM_FOLDERS))


class HAProxy:
    """Finds HAProxy or installs it."""

    def __init__(self, apt: Apt) -> None:
        self._apt = apt

    def is_done(self) -> bool:
        """Say whether there is one."""
        return find_haproxy() is not None

    def install(self) -> str:
        """Install it by apt; return its path. Raises ToolError, which says what to type."""
        self._apt.install("haproxy", "HAProxy, the sandbox's load balancer, is missing")
        # The package starts a service that nobody asked for; the sandbox runs processes of its own.
        if _SYSTEMD.exists():
            self._apt.run_as_root(["systemctl", "disable", "--now", "haproxy"])
        else:
            self._apt.run_as_root(["service", "haproxy", "stop"])
        found = find_haproxy()
        if found is None:
            raise ToolError("apt-get installed haproxy, but there is no program of this name: reinstall the package.")
        return found
