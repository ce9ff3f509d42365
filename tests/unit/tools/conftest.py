"""Parts that several tests of the tools share: a small lock with fake jars, and programs that only pretend to run."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tools.jmeter.lock import JMeterLock, LockedJar, parse_lock, render_lock
from tools.toolchain.programs import Finished


def config_jar() -> bytes:
    """Return the bytes of a jar like ApacheJMeter_config."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n")
        archive.writestr("bin/jmeter.properties", "sampleresult.timestamp.start=true\n")
        archive.writestr("bin/templates/simple.jmx", "<jmeterTestPlan/>\n")
    return sink.getvalue()


@dataclass
class FakeRepository:
    """A jar source in memory. `contents` is by path; each call is noted, and `broken` paths fail once first."""

    contents: dict[str, bytes]
    calls: list[str] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)

    def fetch(self, jar: LockedJar, folder: Path) -> Path:
        """Write the jar below the folder; a broken one is cut short the first time."""
        self.calls.append(jar.path)
        content = self.contents[jar.path]
        if jar.path in self.broken:
            self.broken.discard(jar.path)
            content = content[:-1]
        target = folder / jar.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        return target


@pytest.fixture
def repository() -> FakeRepository:
    """A repository with the smallest JMeter: the launcher, the config, one module, two libraries."""
    group = "org/apache/jmeter"
    contents = {
        f"{group}/ApacheJMeter/5.6.3/ApacheJMeter-5.6.3.jar": b"launcher",
        f"{group}/ApacheJMeter_config/5.6.3/ApacheJMeter_config-5.6.3.jar": config_jar(),
        f"{group}/ApacheJMeter_core/5.6.3/ApacheJMeter_core-5.6.3.jar": b"core",
        f"{group}/jorphan/5.6.3/jorphan-5.6.3.jar": b"jorphan",
        "org/xmlresolver/xmlresolver/5.2.1/xmlresolver-5.2.1-data.jar": b"data",
    }
    return FakeRepository(contents)


@pytest.fixture
def lock(repository: FakeRepository, tmp_path: Path) -> JMeterLock:
    """The lock of the fake repository; it lies at `source`, too."""
    lines = [f"{path} {hashlib.sha256(content).hexdigest()}" for path, content in repository.contents.items()]
    source = tmp_path / "jmeter.lock"
    parsed = parse_lock("\n".join(lines), source)
    source.write_text(render_lock(parsed.jars), encoding="utf-8")
    return parsed


@dataclass
class FakePrograms:
    """Programs that answer from a table: the first entry of which all phrases (joined by " & ") occur gives it."""

    answers: list[tuple[str, Finished]] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    environments: list[Mapping[str, str] | None] = field(default_factory=list)

    def call(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> Finished:
        """Note the call and return the answer; without an entry, the program ends well and prints nothing."""
        line = " ".join(command)
        self.commands.append(line)
        self.environments.append(environment)
        for phrases, answer in self.answers:
            if all(phrase in line for phrase in phrases.split(" & ")):
                return answer
        return Finished(0, "")


@pytest.fixture
def programs() -> FakePrograms:
    """Programs that all end well until a test says otherwise."""
    return FakePrograms()
