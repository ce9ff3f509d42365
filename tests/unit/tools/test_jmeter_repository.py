"""The Maven repository: the real client against a server on loopback, and every way in which it can fail."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tools.errors import ToolError
from tools.jmeter.lock import LockedJar
from tools.jmeter.repository import ATTEMPTS, REPOSITORY_VARIABLE, MavenRepository, repository_from_environment

JAR = LockedJar("org.example", "thing", "1.0", "data", "0" * 64)


@dataclass
class Mirror:
    """A server that answers with a status and a body; `cut` answers break off before their end."""

    address: str = ""
    status: int = 200
    cut: int = 0
    paths: list[str] = field(default_factory=list)


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    """A Maven repository on loopback."""
    state = Mirror()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.paths.append(self.path)
            self.send_response(404 if self.path.endswith(".sha1") else state.status)
            self.send_header("Content-Length", "8")
            self.end_headers()
            if state.cut > 0 and not self.path.endswith(".sha1"):
                state.cut -= 1
                self.wfile.write(b"half")
            else:
                self.wfile.write(b"contents")

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.address = f"http://127.0.0.1:{server.server_address[1]}/maven2/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback must be reached directly on machines behind a proxy, too."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def test_a_jar_with_a_classifier_is_fetched_from_its_maven_path(mirror: Mirror, tmp_path: Path) -> None:
    path = MavenRepository(mirror.address).fetch(JAR, tmp_path)
    assert path.read_bytes() == b"contents"
    assert mirror.paths[0] == "/maven2/org/example/thing/1.0/thing-1.0-data.jar"


def test_a_transfer_that_breaks_is_repeated(mirror: Mirror, tmp_path: Path) -> None:
    mirror.cut = ATTEMPTS - 1
    slept: list[float] = []
    path = MavenRepository(mirror.address, sleep=slept.append).fetch(JAR, tmp_path)
    assert path.read_bytes() == b"contents"
    assert len(slept) == ATTEMPTS - 1


def test_a_transfer_that_always_breaks_is_given_up(mirror: Mirror, tmp_path: Path) -> None:
    mirror.cut = ATTEMPTS
    with pytest.raises(ToolError, match=r"No connection to the Maven repository http://127.* for thing-1\.0-data\.jar"):
        MavenRepository(mirror.address, sleep=lambda seconds: None).fetch(JAR, tmp_path)


def test_a_jar_that_the_mirror_lacks_is_named(mirror: Mirror, tmp_path: Path) -> None:
    mirror.status = 404
    with pytest.raises(ToolError, match=r"does not hand out org/example/.*check that it carries Maven Central"):
        MavenRepository(mirror.address).fetch(JAR, tmp_path)


def test_a_port_where_nobody_listens_is_no_connection(tmp_path: Path) -> None:
    # Port 9 (discard) is closed on practically every machine.
    nobody = MavenRepository("http://127.0.0.1:9", sleep=lambda seconds: None)
    with pytest.raises(ToolError, match=rf"No connection .*name a mirror in {REPOSITORY_VARIABLE}"):
        nobody.fetch(JAR, tmp_path)


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ToolError, match="'ftp://mirror' is not the address of a Maven repository"):
        MavenRepository("ftp://mirror")


def test_the_environment_names_the_mirror(mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REPOSITORY_VARIABLE, mirror.address)
    assert repository_from_environment(None).fetch(JAR, tmp_path).read_bytes() == b"contents"


def test_the_command_line_goes_before_the_environment(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(REPOSITORY_VARIABLE, "http://127.0.0.1:9")
    assert repository_from_environment(mirror.address).fetch(JAR, tmp_path).read_bytes() == b"contents"
