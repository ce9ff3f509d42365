"""Reads and writes `jmeter.lock`: one line for each jar, `path/in/the/repository.jar sha256`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tools.errors import ToolError

LOCK_PATH = Path(__file__).with_name("jmeter.lock")
REGENERATE = "make jmeter-lock"

_JMETER_GROUP = "org/apache/jmeter"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PATH_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")


@dataclass(frozen=True, slots=True)
class LockedJar:
    """One jar of the lock, as Maven names it, with the sha256 (64 hexadecimal digits) that it must have."""

    group: str
    artifact: str
    version: str
    classifier: str
    sha256: str

    @property
    def file_name(self) -> str:
        """The name of the file in the repository, such as `jsoup-1.17.1.jar`."""
        classifier = f"-{self.classifier}" if self.classifier else ""
        return f"{self.artifact}-{self.version}{classifier}.jar"

    @property
    def path(self) -> str:
        """The path below the root of a Maven repository."""
        return f"{self.group.replace('.', '/')}/{self.artifact}/{self.version}/{self.file_name}"

    @property
    def is_jmeter_module(self) -> bool:
        """Whether the jar is a part of JMeter that its class loader looks for in `lib/ext`."""
        return self.path.startswith(f"{_JMETER_GROUP}/") and self.artifact.startswith("ApacheJMeter_")


@dataclass(frozen=True, slots=True)
class JMeterLock:
    """The whole lock: the jars sorted by file name, JMeter's version, and the digest that names this set of jars."""

    jars: tuple[LockedJar, ...]
    version: str
    digest: str
    source: Path

    @property
    def launcher(self) -> LockedJar:
        """The jar that starts JMeter."""
        return self._module("ApacheJMeter")

    @property
    def config(self) -> LockedJar:
        """The jar that carries the files of `bin/`."""
        return self._module("ApacheJMeter_config")

    def _module(self, artifact: str) -> LockedJar:
        return next(jar for jar in self.jars if jar.artifact == artifact and jar.path.startswith(f"{_JMETER_GROUP}/"))


def read_lock(path: Path = LOCK_PATH) -> JMeterLock:
    """Read and check a lock file.

    Raises ToolError, which names the file, the line and the cure, for a missing file or a malformed line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ToolError(f"{path} is missing: restore it with git, or write it anew with `{REGENERATE}`.") from None
    except UnicodeDecodeError:
        raise ToolError(f"{path} is not a text file: restore it with git.") from None
    return parse_lock(text, path)


def parse_lock(text: str, source: Path) -> JMeterLock:
    """Turn the text of a lock file into a JMeterLock; `source` is named in the errors."""
    jars: list[LockedJar] = []
    line_of_name: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        jar = _parse_line(line, f"{source}, line {number}")
        # Two jars of one name would overwrite each other in the home's lib folder.
        if jar.file_name in line_of_name:
            raise ToolError(
                f"{source}, line {number}: {jar.file_name} stands in line {line_of_name[jar.file_name]} already: "
                f"remove one of the two lines, or run `{REGENERATE}`."
            )
        line_of_name[jar.file_name] = number
        jars.append(jar)
    return _checked_lock(jars, source)


def render_lock(jars: Iterable[LockedJar]) -> str:
    """Return the text of a lock file: sorted by file name, so that the same jars give the same bytes."""
    return "".join(f"{jar.path} {jar.sha256}\n" for jar in sorted(jars, key=lambda jar: jar.file_name))


def _parse_line(line: str, place: str) -> LockedJar:
    fields = line.split()
    if len(fields) != 2:
        raise ToolError(f"{place}: expected `path sha256`, found {len(fields)} fields: run `{REGENERATE}`.")
    path, sha256 = fields
    if not _SHA256.fullmatch(sha256):
        raise ToolError(f"{place}: {sha256!r} is not a sha256 of 64 lower-case hexadecimal digits: run `{REGENERATE}`.")
    jar = _parse_path(path, sha256)
    if jar is None:
        raise ToolError(
            f"{place}: {path!r} is not of the form group/artifact/version/artifact-version.jar: run `{REGENERATE}`."
        )
    return jar


def _parse_path(path: str, sha256: str) -> LockedJar | None:
    parts = path.split("/")
    if len(parts) < 4 or not all(_PATH_PART.fullmatch(part) for part in parts):
        return None
    *group, artifact, version, file_name = parts
    stem = f"{artifact}-{version}"
    if not file_name.startswith(stem) or not file_name.endswith(".jar"):
        return None
    rest = file_name[len(stem) : -len(".jar")]
    if rest and not rest.startswith("-"):
        return None
    return LockedJar(".".join(group), artifact, version, rest[1:], sha256)


def _checked_lock(jars: list[LockedJar], source: Path) -> JMeterLock:
    versions = {jar.artifact: jar.version for jar in jars if jar.path.startswith(f"{_JMETER_GROUP}/")}
    for artifact in ("ApacheJMeter", "ApacheJMeter_config", "ApacheJMeter_core"):
        if artifact not in versions:
            raise ToolError(
                f"{source} names no {artifact} jar, so no JMeter home can be made of it: run `{REGENERATE}`."
            )
    modules = {artifact: version for artifact, version in versions.items() if artifact.startswith("ApacheJMeter")}
    if len(set(modules.values())) > 1:
        raise ToolError(f"{source} mixes JMeter's versions {sorted(set(modules.values()))}: run `{REGENERATE}`.")
    digest = hashlib.sha256(render_lock(jars).encode()).hexdigest()
    return JMeterLock(tuple(sorted(jars, key=lambda jar: jar.file_name)), versions["ApacheJMeter"], digest, source)
