"""Writes `jmeter.lock` anew: resolves JMeter's modules with `jgo` and notes the sha256 of every jar."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from tools.errors import ToolError, disk_full, is_disk_full
from tools.jmeter.fetch import NEEDED_MIB, WORKERS, sha256_of
from tools.jmeter.lock import LockedJar, parse_lock, render_lock
from tools.jmeter.repository import REPOSITORY_VARIABLE, REQUEST_TIMEOUT_S

if TYPE_CHECKING:
    from jgo.maven import Dependency, MavenContext

GROUP = "org.apache.jmeter"
# All samplers and functions of JMeter's own distribution; the launcher and the files of bin/ come first.
MODULES = (
    "ApacheJMeter",
    "ApacheJMeter_config",
    "ApacheJMeter_core",
    "ApacheJMeter_http",
    "ApacheJMeter_components",
    "ApacheJMeter_functions",
    "ApacheJMeter_java",
    "ApacheJMeter_jdbc",
    "ApacheJMeter_tcp",
    "ApacheJMeter_bolt",
    "ApacheJMeter_jms",
    "ApacheJMeter_ftp",
    "ApacheJMeter_ldap",
    "ApacheJMeter_mail",
    "ApacheJMeter_native",
    "ApacheJMeter_mongodb",
    "ApacheJMeter_junit",
)


def write_lock(version: str, lock_path: Path, cache: Path | None, repository: str | None) -> int:
    """Resolve all modules of one JMeter version, download every jar, and write the lock; return the number of jars.

    The downloads stay in `cache`, or are thrown away without one. Raises ToolError if the repository cannot be reached
    or lacks a module; the old lock is then untouched.
    """
    logging.getLogger("jgo").setLevel(logging.ERROR)
    with contextlib.ExitStack() as stack:
        folder = cache or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headroom-jmeter-lock-")))
        jars = _resolve(version, folder.absolute(), repository or os.environ.get(REPOSITORY_VARIABLE))
    text = render_lock(jars)
    parse_lock(text, lock_path)
    temporary = lock_path.with_suffix(".new")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, lock_path)
    return len(jars)


def _resolve(version: str, folder: Path, repository: str | None) -> list[LockedJar]:
    # Imported here: reading a lock must work without jgo.
    import requests
    from jgo.maven import MavenContext

    remote = {"mirror": repository.rstrip("/")} if repository else None
    context = MavenContext(repo_cache=folder, remote_repos=remote, timeout=REQUEST_TIMEOUT_S)
    try:
        modules, others = context.resolver.resolve(_wanted(context, version))
        wanted = [dependency for dependency in (*modules, *others) if _is_needed_to_run(dependency)]
        with ThreadPoolExecutor(max_workers=WORKERS) as executor:
            return sorted(set(executor.map(_lock_jar, wanted)), key=lambda jar: jar.path)
    except requests.RequestException as error:
        raise ToolError(
            f"No connection to the Maven repository ({type(error).__name__}): check the network and the proxy "
            f"settings, or name a mirror in {REPOSITORY_VARIABLE}; the lock is unchanged."
        ) from None
    except OSError as error:
        if is_disk_full(error):
            raise disk_full(folder, NEEDED_MIB) from None
        raise
    except RuntimeError as error:
        raise ToolError(f"JMeter {version} cannot be resolved: {error}; the lock is unchanged.") from None


# The "!" keeps jgo to the versions that the modules' own POMs name, as Maven does; without it the dependency management
# of all modules is merged, which gives other versions.
def _wanted(context: MavenContext, version: str) -> list[Dependency]:
    return [context.create_dependency(f"{GROUP}:{module}:{version}!") for module in MODULES]


def _is_needed_to_run(dependency: Dependency) -> bool:
    return dependency.type == "jar" and dependency.scope in (None, "compile", "runtime") and not dependency.optional


def _lock_jar(dependency: Dependency) -> LockedJar:
    artifact = dependency.artifact
    return LockedJar(
        artifact.groupId,
        artifact.artifactId,
        artifact.version,
        artifact.classifier,
        sha256_of(Path(artifact.resolve())),
    )
