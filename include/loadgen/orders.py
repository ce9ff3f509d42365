"""Which rate a shard may keep: the last accepted command, while its lease holds. Time is always an argument."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from include.capacity.errors import InvalidData
from include.capacity.protocol import Command

Receipt = Literal["accepted", "known", "stale", "malformed", "refused"]


@dataclass(frozen=True, slots=True)
class ReceivedCommand:
    """The command object as it was read. `asked_at` is the shard's monotonic clock *before* the read: what a slow store
    delivers late is not young."""

    data: bytes
    asked_at: float


class Orders:
    """Receives commands and tells the rate in order.

    A command that lies in the store when the shard starts may be what a dead conductor left: it only sets the mark that
    the next one must exceed. A living conductor renews within a part of the lease.

    Args:
        shards: of the fleet; each takes its equal part of the commanded rate.
        max_rate_per_s: of the fleet; a command above is refused.
        started_at: monotonic clock.
    """

    def __init__(self, *, shards: int, max_rate_per_s: float, started_at: float) -> None:
        self._shards = shards
        self._max_rate_per_s = max_rate_per_s
        self._mark = (-1, -1)
        self._command: Command | None = None
        self._received_at = started_at
        self._last_data = b""
        self.refusal = ""

    @property
    def command(self) -> Command | None:
        """The last accepted command."""
        return self._command

    def ignore_leftover(self, data: bytes) -> None:
        """Takes the order of a command that was there before this shard as the mark for later ones."""
        try:
            self._mark = max(self._mark, Command.loads(data).order)
        except InvalidData:
            return
        self._last_data = data

    def receive(self, received: ReceivedCommand) -> Receipt:
        """A command that is unreadable, older than the last one, or above the fleet's limit changes nothing."""
        if received.data == self._last_data:
            return "known"
        self._last_data = received.data
        try:
            command = Command.loads(received.data)
        except InvalidData:
            return "malformed"
        if command.order <= self._mark:
            return "known" if command.order == self._mark else "stale"
        self._mark = command.order
        if command.rate_per_s > self._max_rate_per_s:
            self.refusal = (
                f"command {command.epoch}.{command.seq} of {command.by} wants {command.rate_per_s:g} arrivals/s, "
                f"more than the limit of {self._max_rate_per_s:g}"
            )
            return "refused"
        self._command, self._received_at = command, received.asked_at
        return "accepted"

    def rate_at(self, now: float) -> float:
        """This shard's arrivals per second: its part of the command, and 0 when the lease has run out."""
        command = self._command
        if command is None or self.lease_left(now) <= 0:
            return 0.0
        return command.rate_per_s / self._shards

    def lease_left(self, now: float) -> float:
        """Seconds until the last accepted command lapses; negative after that, 0 before the first."""
        return self._received_at + self._command.lease_s - now if self._command is not None else 0.0

    def silence_at(self, now: float) -> float:
        """Seconds since a command was accepted (or since the start)."""
        return now - self._received_at
