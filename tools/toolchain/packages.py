"""The virtual environment with the locked packages."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tools.errors import ToolError
from tools.toolchain.apt import Apt
from tools.toolchain.layout import Layout, digest_of, stamp_matches, write_stamp
from tools.toolchain.programs import Finished, Programs, explain, is_no_network

NEEDED_MIB = 1100
# Lies in the virtual environment from before the first write until the last package is in.
UNFINISHED = ".headroom-unfinished"
STAMP = ".headroom-complete"


class Packages:
    """Makes the virtual environment and installs requirements.txt into it."""

    def __init__(self, layout: Layout, programs: Programs, apt: Apt) -> None:
        self._layout = layout
        self._programs = programs
        self._apt = apt

    def is_done(self) -> bool:
        """Say whether this very requirements.txt is installed here."""
        venv = self._layout.venv
        # exists() follows the link: it tells of a system Python that is gone.
        return self._layout.venv_python.exists() and stamp_matches(venv / STAMP, self._digest())

    def install(self) -> str:
        """Install; return a few words about it. Raises ToolError."""
        count = len(locked_sections(self._requirements()))
        venv = self._layout.venv
        if venv.exists() and not self._is_usable():
            shutil.rmtree(venv)
        (venv / STAMP).unlink(missing_ok=True)
        venv.mkdir(exist_ok=True)
        (venv / UNFINISHED).touch()
        if not self._layout.venv_python.exists():
            self._create()
        installer = self._install_packages()
        (venv / UNFINISHED).unlink()
        write_stamp(venv / STAMP, self._digest())
        return f"{count} locked packages by {installer}"

    def _requirements(self) -> str:
        try:
            return self._layout.requirements.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise ToolError(f"{self._layout.requirements} is missing: restore it with git.") from None

    def _digest(self) -> str:
        try:
            configuration = (self._layout.venv / "pyvenv.cfg").read_bytes()
        except OSError:
            configuration = b""
        # The scripts of a virtual environment name its folder, so it does not survive a move.
        place = os.fsencode(self._layout.venv)
        return digest_of([self._requirements().encode(), configuration, place, self._layout.code_digest().encode()])

    def _is_usable(self) -> bool:
        """Say whether packages can be installed over what is there: whole, at its own place, of a Python that runs."""
        venv = self._layout.venv
        if (venv / UNFINISHED).exists() or not self._layout.venv_python.exists():
            return False
        script = venv / "bin" / "pip"
        if not script.exists() or os.fsencode(venv) not in script.read_bytes().partition(b"\n")[0]:
            return False
        code = "import pip, sys; sys.exit(sys.version_info < (3, 11))"
        return self._programs.call([str(self._layout.venv_python), "-c", code]).status == 0

    def _create(self) -> None:
        command = [sys.executable, "-m", "venv", str(self._layout.venv)]
        done = self._programs.call(command)
        if done.status != 0 and _lacks_ensurepip(done):
            # Debian and Ubuntu put this part of Python into a package of its own.
            package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
            self._apt.install(package, f"This Python cannot make virtual environments without the package {package}")
            done = self._programs.call(command)
        if done.status != 0:
            raise self._failure(done, "Making the virtual environment")

    def _install_packages(self) -> str:
        pip = [str(self._layout.venv_python), "-m", "pip", "install", "--no-input", "--quiet", "--retries", "2"]
        locked = ["--require-hashes", "--no-deps", "-r", str(self._layout.requirements)]
        uv_error = self._install_uv(pip)
        if uv_error is None:
            uv = [str(self._layout.venv / "bin" / "uv"), "pip", "install", "--python", str(self._layout.venv_python)]
            done = self._programs.call([*uv, "--no-progress", *locked], self._uv_environment())
            installer = "uv"
        elif _has_no_wheel(uv_error):
            # No uv for this kind of machine: pip is slower and does the same.
            done = self._programs.call([*pip, *locked])
            installer = "pip"
        else:
            raise self._failure(uv_error, "Fetching uv")
        if done.status != 0:
            raise self._failure(done, "Installing the packages")
        return installer

    def _install_uv(self, pip: Sequence[str]) -> Finished | None:
        """Install the locked uv; return the failed call, or None."""
        sections = locked_sections(self._requirements())
        if "uv" not in sections:
            raise ToolError(f"{self._layout.requirements} does not lock uv: restore it with git or run `make lock`.")
        with tempfile.TemporaryDirectory(prefix="headroom-") as folder:
            only_uv = Path(folder) / "uv.txt"
            only_uv.write_text(sections["uv"], encoding="utf-8")
            done = self._programs.call([*pip, "--require-hashes", "--no-deps", "-r", str(only_uv)])
        return None if done.status == 0 else done

    def _uv_environment(self) -> dict[str, str]:
        """Return the environment for uv, which does not read pip's settings: a mirror for pip is meant for both."""
        environment = dict(os.environ)
        if any(name in environment for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_CONFIG_FILE")):
            return environment
        listed = self._programs.call([str(self._layout.venv_python), "-m", "pip", "config", "list"])
        for setting, variable in (("index-url", "UV_DEFAULT_INDEX"), ("extra-index-url", "UV_INDEX")):
            if found := re.search(rf"^(?:global|install|:env:)\.{setting}='([^']+)'", listed.output, re.MULTILINE):
                environment.setdefault(variable, " ".join(found[1].replace("\\n", " ").split()))
        return environment

    def _failure(self, done: Finished, doing: str) -> ToolError:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return explain(done, doing, [self._layout.venv, caches], NEEDED_MIB, self._layout.log)


def locked_sections(requirements: str) -> dict[str, str]:
    """Split the text of a locked requirements file into the lines of each package, by the package's name."""
    sections: dict[str, list[str]] = {}
    name = ""
    for line in requirements.splitlines(keepends=True):
        if found := re.match(r"([A-Za-z0-9][A-Za-z0-9._-]*)(\[[^]]*\])?==", line):
            name = found[1]
            sections[name] = []
        if name:
            sections[name].append(line)
    return {name: "".join(lines) for name, lines in sections.items()}


def _has_no_wheel(done: Finished) -> bool:
    # pip says so without a network, too.
    return "no matching distribution" in done.output.lower() and not is_no_network(done.output)


def _lacks_ensurepip(done: Finished) -> bool:
    return "ensurepip" in done.output
