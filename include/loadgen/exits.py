"""How a shard can end: what it reports as its reason, and the exit code that Airflow sees."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """Only a dismissed shard ends with 0: any other end must show in Airflow, which decides about another try."""

    DISMISSED = 0
    UNEXPECTED = 1
    REFUSED = 2
    JMETER_DIED = 3
    IDLE = 4
    HARD_LIMIT = 5
    SUPERSEDED = 6
    DISK_FULL = 7
    NO_STORE = 8
    TERMINATED = 143


@dataclass(frozen=True, slots=True)
class End:
    """Attributes:
    reason: a sentence for the log and the final report.
    at_once: JMeter is killed without waiting for the arrivals in flight.
    """

    code: ExitCode
    reason: str
    at_once: bool = False


class ShardEnded(Exception):
    """Raised where a shard cannot go on; carries how it ends."""

    def __init__(self, end: End) -> None:
        super().__init__(end)
        self.end = end

    def __str__(self) -> str:
        return self.end.reason
