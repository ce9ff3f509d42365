"""JMeter, by the installer in tools/jmeter, which runs in the virtual environment because it needs a package (jgo)."""

from __future__ import annotations

import os

from tools.errors import ToolError
from tools.jmeter.home import is_complete
from tools.toolchain.layout import Layout, digest_of, stamp_matches, write_stamp
from tools.toolchain.programs import Programs

STAMP = ".checked"


class JMeter:
    """Installs JMeter and starts it once."""

    def __init__(self, layout: Layout, programs: Programs) -> None:
        self._layout = layout
        self._programs = programs

    def is_done(self) -> bool:
        """Say whether the home belongs to the lock and has run."""
        lock = self._layout.read_jmeter_lock()
        home = self._layout.jmeter_home(lock)
        return is_complete(home, lock) and stamp_matches(home / STAMP, self._digest())

    def install(self) -> str:
        """Install the home; return a few words about it. Raises ToolError."""
        lock = self._layout.read_jmeter_lock()
        home = self._layout.jmeter_home(lock)
        command = [str(self._layout.venv_python), "-m", "tools.jmeter", "install", "--home", str(home)]
        command += ["--lock", str(self._layout.jmeter_lock), "--java", str(self._layout.java)]
        environment = {**os.environ, "PYTHONPATH": str(self._layout.root)}
        done = self._programs.call(command, environment)
        if done.status != 0:
            raise ToolError(done.last_line)
        write_stamp(home / STAMP, self._digest())
        return f"{lock.version}, {len(lock.jars)} jars"

    def _digest(self) -> str:
        return digest_of([os.fsencode(os.path.realpath(self._layout.java)), self._layout.code_digest().encode()])
