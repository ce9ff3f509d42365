"""The command line of the installer: `python -m tools.jmeter install|verify|lock`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tools.errors import ToolError
from tools.jmeter.fetch import fetch_jars
from tools.jmeter.home import assemble_home, check_runs, damaged_files, is_complete
from tools.jmeter.lock import LOCK_PATH, read_lock
from tools.jmeter.repository import REPOSITORY_VARIABLE, repository_from_environment

FAILURE = 2


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit status: 0, or 2 after one sentence on standard error."""
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except ToolError as error:
        print(error, file=sys.stderr)
        return FAILURE
    except KeyboardInterrupt:
        print("Stopped. The next call goes on where this one stopped.", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.jmeter", description="Install JMeter by its lock file.")
    commands = parser.add_subparsers(required=True, metavar="command")

    install = commands.add_parser("install", help="fetch what is missing, verify every jar, assemble the home")
    install.add_argument("--home", type=Path, required=True, help="the JMeter home to make")
    install.add_argument("--cache", type=Path, help="where verified jars are kept (default: `jars` beside the home)")
    install.add_argument("--java", help="a java program; with it, the new home is started once with --version")
    install.add_argument("--quiet", action="store_true", help="print nothing but errors")
    install.set_defaults(command=_install)

    verify = commands.add_parser("verify", help="compare every jar of a home with the lock")
    verify.add_argument("--home", type=Path, required=True, help="the JMeter home to look at")
    verify.set_defaults(command=_verify)

    lock = commands.add_parser("lock", help="resolve JMeter's modules anew and write the lock file")
    lock.add_argument("--version", help="the JMeter version to lock (default: the one of the present lock)")
    lock.add_argument("--cache", type=Path, help="a folder for the downloads (default: a temporary one)")
    lock.set_defaults(command=_lock)

    for command in (install, lock):
        command.add_argument(
            "--repository",
            metavar="URL",
            help=f"the Maven repository or mirror (default: ${REPOSITORY_VARIABLE}, else Maven Central)",
        )
    for command in (install, verify, lock):
        command.add_argument("--lock", type=Path, default=LOCK_PATH, help="the lock file (default: %(default)s)")
    return parser


def _install(options: argparse.Namespace) -> None:
    started = time.monotonic()
    home: Path = options.home.absolute()
    cache: Path = (options.cache or home.parent / "jars").absolute()
    lock = read_lock(options.lock)
    downloaded = 0
    if not is_complete(home, lock):
        show_progress = not options.quiet and sys.stderr.isatty()
        source = repository_from_environment(options.repository)
        downloaded = fetch_jars(lock, cache, source, _print_progress if show_progress else lambda done, total: None)
        assemble_home(lock, cache, home)
    if options.java:
        check_runs(home, options.java, lock.version)
    seconds = time.monotonic() - started
    _say(
        options, f"JMeter {lock.version} is at {home}: {len(lock.jars)} jars, {downloaded} downloaded, {seconds:.1f} s."
    )


def _verify(options: argparse.Namespace) -> None:
    lock = read_lock(options.lock)
    damaged = damaged_files(options.home, lock)
    if damaged:
        raise ToolError(
            f"{len(damaged)} of {len(lock.jars)} jars of {options.home} are missing or differ from {lock.source}, "
            f"the first is {damaged[0]}: remove the folder and install it again."
        )
    print(f"All {len(lock.jars)} jars of {options.home} are as {lock.source} says.")


def _lock(options: argparse.Namespace) -> None:
    # Imported here: only this command needs jgo's resolver.
    from tools.jmeter.resolve import write_lock

    version = options.version or read_lock(options.lock).version
    count = write_lock(version, options.lock, options.cache, options.repository)
    print(f"{options.lock} names {count} jars of JMeter {version}.")


def _say(options: argparse.Namespace, text: str) -> None:
    if not options.quiet:
        print(text)


def _print_progress(done: int, total: int) -> None:
    print(f"\r  jars: {done}/{total} ", end="\n" if done == total else "", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
