"""What every peer has: it holds rates against a running service and counts what its clients saw.

The service is the simulator's raw form. Latencies are those from the intended start, as for ours; a peer whose own
clients cannot see that (a closed model) is thus measured on better data than it has.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tests.simulators.cases import Case
from tests.simulators.running import Hold, Running

OK = 0


@dataclass(frozen=True, slots=True)
class PeerAnswer:
    """Attributes: tps: None without a number. bound: `at_least` when no rate that was tried missed the SLO."""

    tps: float | None
    bound: str = "exact"


@dataclass(slots=True)
class Load:
    """The service under load, and an account of the load.

    Attributes:
        seconds: (rate, seconds) of each stretch of load; waiting at rate 0 is no load.
    """

    case: Case
    seed: int = 0
    seconds: list[tuple[float, float]] = field(default_factory=list)
    _running: Running = field(init=False)

    def __post_init__(self) -> None:
        self._running = self.case.running(self.seed)

    def hold(self, rate_tps: float, seconds: float) -> Hold:
        self.seconds.append((rate_tps, seconds))
        return self._running.hold(rate_tps, seconds)

    def drain(self, most_s: float = 60.0) -> None:
        """Waits without load until nothing is in flight."""
        for _ in range(int(most_s)):
            if self._running.in_flight == 0:
                return
            self._running.hold(0.0, 1.0)

    def redeploy(self) -> None:
        """Fresh instances."""
        self._running.replace()

    def meets(self, *holds: Hold) -> bool:
        """Whether what ended in these holds meets the SLO. Nothing ended: it does not."""
        latency = np.concatenate([hold.latency_s for hold in holds])
        if not len(latency):
            return False
        outcome = np.concatenate([hold.outcome for hold in holds])
        system = self.case.system
        return bool(
            (latency > system.limit_s).mean() <= 1 - system.quantile and (outcome != OK).mean() <= system.error_limit
        )
