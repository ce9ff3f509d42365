"""Keeps JMeter to the addresses that the run may load: names are resolved here, and JMeter reads them from a file.

The Java machine resolves names from the file alone (`jdk.net.hosts.file`), whoever asks: samplers, redirects, drivers,
code of the user. A name that is not in there does not exist for it. When a name leads off the list, the load stops.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from include.capacity.errors import GuardRefused
from include.capacity.guard.addresses import admitted, hosts_file, is_address

RESOLVE_EVERY_S = 10.0
TURN_S = 1.0
JAVA_CACHE_S = 1
"""For so long Java keeps what it read from the file: connections spread over a name's addresses, turn by turn."""

Resolve = Callable[[str], Sequence[str]]


def resolved(host: str) -> list[str]:
    """The addresses of a name as this machine sees them. Raises OSError when there are none."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class AddressBook:
    """The names of a run and their addresses.

    Args:
        pinned: name -> the addresses it had when the run was checked; empty for a name that could not be resolved then.
        networks: of target.allow_addresses; empty: the pinned addresses are the list.
        file: the hosts file that JMeter reads.
        turn: where to begin in each name's addresses, so that shards begin with different ones.

    `refusal` says why the load must stop; empty while it may go on.
    """

    def __init__(
        self,
        pinned: Mapping[str, Sequence[str]],
        networks: Sequence[str],
        file: Path,
        *,
        turn: int,
        say: Callable[[str], None],
        monotonic: Callable[[], float],
        resolve: Resolve = resolved,
    ) -> None:
        self._pinned = {host: tuple(addresses) for host, addresses in pinned.items() if not is_address(host)}
        self._networks, self._file, self._turn = tuple(networks), file, turn
        self._say, self._monotonic, self._resolve = say, monotonic, resolve
        self._known: dict[str, tuple[str, ...]] = {}
        self._written = ""
        self._unresolved: set[str] = set()
        self._resolved_at = float("-inf")
        self.refusal = ""

    def open(self) -> None:
        """Resolves every name and writes the file, before the load. Raises GuardRefused when a name leads off the list,
        OSError when the file cannot be written."""
        self._resolve_all()
        self._write()
        for host, addresses in sorted(self._known.items()):
            self._say(f"{host} is {', '.join(addresses)}, and nothing else for this run")

    def step(self) -> None:
        """One turn: the next addresses come first, and from time to time the names are resolved again. Never raises: a
        full disk, which the shard sees by itself, leaves the file as it is."""
        if self._monotonic() - self._resolved_at >= RESOLVE_EVERY_S:
            try:
                self._resolve_all()
            except GuardRefused as refused:
                self.refusal = self.refusal or str(refused)
                return
        self._turn += 1
        with contextlib.suppress(OSError):
            self._write()

    def _resolve_all(self) -> None:
        for host, pinned in self._pinned.items():
            try:
                found = self._resolve(host)
            except (OSError, UnicodeError) as error:  # a name server that fails for a moment changes nothing
                if host not in self._unresolved:
                    self._say(f"{host} cannot be resolved now: {error}")
                self._unresolved.add(host)
                if host not in self._known and pinned:
                    self._known[host] = admitted(host, pinned, pinned, self._networks)
                continue
            self._unresolved.discard(host)
            self._known[host] = admitted(host, found, pinned, self._networks)
            if not pinned:  # the first time that anybody could resolve it
                self._pinned[host] = self._known[host]
        self._resolved_at = self._monotonic()

    def _write(self) -> None:
        text = hosts_file(self._known, socket.gethostname(), self._turn)
        if text == self._written:
            return
        temporary = self._file.with_suffix(".new")
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, self._file)
        self._written = text
