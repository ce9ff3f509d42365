"""Where the parts of the toolchain lie below the repository's root."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tools.jmeter.lock import JMeterLock, read_lock

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Layout:
    """All paths of the set-up. Outside `root` only the caches of pip and uv are written, and what apt installs."""

    root: Path = ROOT

    @property
    def venv(self) -> Path:
        """The virtual environment."""
        return self.root / ".venv"

    @property
    def venv_python(self) -> Path:
        """The Python of the virtual environment."""
        return self.venv / "bin" / "python"

    @property
    def requirements(self) -> Path:
        """The locked packages."""
        return self.root / "requirements.txt"

    @property
    def jmeter_lock(self) -> Path:
        """The locked jars."""
        return self.root / "tools" / "jmeter" / "jmeter.lock"

    @property
    def toolchain(self) -> Path:
        """The folder of everything that is installed but is not a Python package."""
        return self.root / "build" / "toolchain"

    @property
    def jre(self) -> Path:
        """A link to the Java runtime inside the virtual environment."""
        return self.toolchain / "jre"

    @property
    def java(self) -> Path:
        """The java program."""
        return self.jre / "bin" / "java"

    @property
    def log(self) -> Path:
        """The output of every program that the last set-up called."""
        return self.toolchain / "setup.log"

    def read_jmeter_lock(self) -> JMeterLock:
        """Read the lock of the jars. Raises ToolError if it is malformed."""
        return read_lock(self.jmeter_lock)

    def jmeter_home(self, lock: JMeterLock) -> Path:
        """The JMeter home that belongs to a lock."""
        return self.toolchain / f"jmeter-{lock.version}"

    def code_digest(self) -> str:
        """Return a digest of the set-up's own code: where it changes, every step is looked at again."""
        tools = self.root / "tools"
        files = [tools / "bootstrap.py", tools / "errors.py", *(tools / "toolchain").glob("*.py")]
        return digest_of(path.read_bytes() for path in sorted([*files, *(tools / "jmeter").glob("*.py")]))


def digest_of(parts: Iterable[bytes]) -> str:
    """Return one sha256 over several byte strings; the borders between them count."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()


def stamp_matches(stamp: Path, digest: str) -> bool:
    """Say whether a step left this very digest at its end."""
    try:
        return stamp.read_text(encoding="utf-8").strip() == digest
    except (OSError, UnicodeDecodeError):
        return False


def write_stamp(stamp: Path, digest: str) -> None:
    """Note that a step ended well."""
    stamp.write_text(digest + "\n", encoding="utf-8")
