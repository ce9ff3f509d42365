"""Fetches single jars from a Maven repository with `jgo`."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from tools.errors import ToolError
from tools.jmeter.lock import LockedJar

REPOSITORY_VARIABLE = "HEADROOM_MAVEN_REPOSITORY"
REQUEST_TIMEOUT_S = 30
ATTEMPTS = 3
_CURE = (
    f"check the network and the proxy settings, or name a mirror in {REPOSITORY_VARIABLE}, then give the same command "
    "again; it goes on where it stopped."
)


class JarSource(Protocol):
    """Where jars come from."""

    def fetch(self, jar: LockedJar, folder: Path) -> Path:
        """Download one jar to a path below `folder` and return that path. Raises ToolError where it cannot be had."""
        ...


class MavenRepository:
    """The Maven repository behind a URL; without one, the repository that jgo uses by default."""

    def __init__(self, url: str | None, *, sleep: Callable[[float], None] = time.sleep) -> None:
        if url and not url.startswith(("http://", "https://")):
            raise ToolError(
                f"{url!r} is not the address of a Maven repository: it must begin with http:// or https://."
            )
        self._url = url.rstrip("/") if url else None
        self._sleep = sleep
        # jgo warns of a wrong sha1 in its own words; the sha256 of the lock decides here.
        logging.getLogger("jgo").setLevel(logging.ERROR)

    def fetch(self, jar: LockedJar, folder: Path) -> Path:
        """Download one jar, with `ATTEMPTS` attempts where the connection breaks."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._fetch_once(jar, folder)
            except ConnectionError:
                if attempt == ATTEMPTS:
                    raise self._no_connection(jar) from None
                self._sleep(attempt * 0.5)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _fetch_once(self, jar: LockedJar, folder: Path) -> Path:
        # Imported here: reading a lock and assembling a home must work without jgo.
        import requests
        from jgo.maven import MavenContext

        remote = {"mirror": self._url} if self._url else None
        context = MavenContext(repo_cache=folder, remote_repos=remote, timeout=REQUEST_TIMEOUT_S)
        artifact = context.project(jar.group, jar.artifact).at_version(jar.version).artifact(jar.classifier)
        # jgo writes straight to the final name: what a broken attempt left would pass for a finished download.
        (folder / jar.path).unlink(missing_ok=True)
        try:
            return Path(artifact.resolve())
        except requests.ConnectTimeout:
            # Nobody answers at all: another attempt would only double the wait.
            raise self._no_connection(jar) from None
        except requests.RequestException as error:
            raise ConnectionError(str(error)) from error
        except RuntimeError:
            # jgo answers so to every status but 200.
            raise ToolError(
                f"The Maven repository{self._name()} does not hand out {jar.path}: if it is a mirror, check that it "
                f"carries Maven Central; else {_CURE}"
            ) from None

    def _no_connection(self, jar: LockedJar) -> ToolError:
        return ToolError(f"No connection to the Maven repository{self._name()} for {jar.file_name}: {_CURE}")

    def _name(self) -> str:
        return f" {self._url}" if self._url else ""


def repository_from_environment(url: str | None) -> MavenRepository:
    """Return the repository of the command line's `url`, else of the environment, else jgo's default."""
    return MavenRepository(url or os.environ.get(REPOSITORY_VARIABLE) or None)
