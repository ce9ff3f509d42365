"""One row of a JTL file (JMeter's CSV results): its numbers, whose arrival it belongs to, and what came out."""

from __future__ import annotations

from dataclasses import dataclass

from include.capacity.protocol import Outcome

ARRIVAL_VARIABLE = "headroom_arrival"
"""JMeter variable `<arrival number>:<schedule lag in microseconds>`, written to every row of the user's samplers."""

CONTROLLER_MESSAGE = "Number of samples in transaction : "
"""How the message of a transaction controller's row begins."""


@dataclass(frozen=True, slots=True)
class JtlRow:
    """One sample that JMeter recorded.

    Attributes:
        started_ms, elapsed_ms: wall clock of the sample's start (epoch milliseconds), and its duration.
        arrival: number of the arrival it belongs to; None for a sample that is not the user's (set-up and the like).
        lag_us: schedule lag of that arrival in microseconds; 0 without an arrival.
        bytes: received.
        cause: what of the generator's own failed, for `generator_error` only.
        thread: name of the JMeter thread; None where the file does not tell.
        controller: whether a transaction controller wrote it.
    """

    started_ms: int
    elapsed_ms: int
    label: str
    outcome: Outcome
    bytes: int
    arrival: int | None
    lag_us: int
    cause: str = ""
    thread: str | None = None
    controller: bool = False
