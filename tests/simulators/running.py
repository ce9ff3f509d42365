"""A simulated service that runs: time goes on while a rate is held."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.simulators import engine
from tests.simulators.service import Service

START = 1000.0  # the clock's first second; whole, as an epoch second is


@dataclass(frozen=True, slots=True)
class Hold:
    """What clients saw end while a rate was held, in no particular order.

    Attributes:
        started, latency_s, outcome: arrays, one entry per transaction that ended; outcomes are OK, SERVICE_ERROR,
            TIMEOUT of `engine`.
        offered: arrivals in that time.
        in_flight: transactions that had not ended at its end, whenever they began.
    """

    started: np.ndarray
    latency_s: np.ndarray
    outcome: np.ndarray
    offered: int
    in_flight: int


class Running:
    """One life of a service after the other: `replace` begins a new one with fresh instances.

    Args:
        seed: of the arrivals and everything else that is random.
    """

    def __init__(self, service: Service, seed: int) -> None:
        self._service = service
        self._params = service.record()
        self._rng = np.random.SeedSequence(seed).generate_state(4, np.uint64)
        self._state = np.zeros(1, engine.STATE)
        self._state["now"] = START
        self._room(4096)
        self.replace()

    def _room(self, size: int) -> None:
        """Makes the lists of what is under way at least this long."""
        old, n = getattr(self, "_starts", None), int(self._state["pending"][0])
        lists = [np.empty(size), np.empty(size), np.empty(size, np.int64), np.empty(size, np.int64)]
        retries = np.empty((size, 3))
        if old is not None:
            for new, before in zip(lists, (self._starts, self._ends, self._outcomes, self._owners), strict=True):
                new[:n] = before[:n]
            retries[: len(self._retries)] = self._retries
        self._starts, self._ends, self._outcomes, self._owners = lists
        self._retries = retries
        self._out = np.empty(size), np.empty(size), np.empty(size, np.int64)
        columns = size if self._service.counts_open else 1
        opens = np.empty((len(self._service.instances), columns))
        if old is not None:
            opens[:, : self._opens.shape[1]] = self._opens
        self._opens = opens

    def replace(self) -> None:
        """Fresh instances. What is in flight is lost: it ends as errors of the service, now."""
        service, state = self._service, self._state
        n = int(state["pending"][0])
        now = float(state["now"][0])
        lost = self._retries[: int(state["retrying"][0]), 1]
        if n + len(lost) >= len(self._starts):
            self._room(2 * (n + len(lost)))
        still = self._ends[:n] > now
        self._outcomes[:n][still] = engine.SERVICE_ERROR
        self._ends[:n][still] = now
        self._starts[n : n + len(lost)], self._ends[n : n + len(lost)] = lost, now
        self._outcomes[n : n + len(lost)], self._owners[n : n + len(lost)] = engine.SERVICE_ERROR, -1
        state["pending"], state["retrying"] = n + len(lost), 0
        state["heat"], state["turn"], state["window"], state["used"] = 0.0, 0, -1.0, 0.0
        state["tokens"], state["tokens_at"] = service.limit_burst, now
        self._instances = _fresh(service, now, self._rng)
        slots = max(each.slots for each in service.instances)
        self._free = np.full((len(service.instances), slots), -engine.NEVER)
        self._pool = np.full((len(service.instances), max(service.pool_slots, 1)), -engine.NEVER)

    @property
    def now(self) -> float:
        return float(self._state["now"][0])

    @property
    def in_flight(self) -> int:
        """Transactions that began and have not ended for the client."""
        return int(self._state["pending"][0]) + int(self._state["retrying"][0])

    def advance(self, rate_tps: float, until: float) -> tuple[int, int]:
        """Holds the rate until a time.

        Returns:
            Arrivals, and transactions that ended; `ended` shows the latter until the next call.
        """
        state = self._state
        before = int(state["offered"][0])
        while engine.advance(
            self._params,
            state,
            self._instances,
            self._free,
            self._pool,
            self._opens,
            self._retries,
            self._starts,
            self._ends,
            self._outcomes,
            self._owners,
            self._rng,
            until,
            rate_tps,
        ):
            self._room(2 * len(self._starts))
        ended = engine.collect(self._params, state, self._starts, self._ends, self._outcomes, self._owners, *self._out)
        return int(state["offered"][0]) - before, ended

    @property
    def ended(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Start, latency in seconds and outcome; only as many entries as the last `advance` told are of it."""
        return self._out

    def hold(self, rate_tps: float, seconds: float) -> Hold:
        """Holds a rate and returns all that ended in that time."""
        offered, n = self.advance(rate_tps, self.now + seconds)
        started, took, how = (column[:n].copy() for column in self._out)
        return Hold(started, took, how, offered, self.in_flight)


def _fresh(service: Service, now: float, rng: np.ndarray) -> np.ndarray:
    rows = np.zeros(len(service.instances), engine.INSTANCE)
    rows["slots"] = [each.slots for each in service.instances]
    rows["slowness"] = [each.slowness for each in service.instances]
    rows["weight"] = np.cumsum([each.weight for each in service.instances])
    rows["born"] = -1.0
    rows["lose_at"] = service.lose_slot_every
    rows["credit"] = service.credit_first * service.credit_s
    rows["credit_at"] = now
    for row in rows:
        # pauses and spells of the instances are out of step
        row["minor_at"] = service.minor_gc_every * engine.uniform(rng)
        row["major_at"] = service.major_gc_every * engine.uniform(rng)
        share = service.noisy_on_s / max(service.noisy_on_s + service.noisy_off_s, 1e-9)
        row["noisy"] = float(engine.uniform(rng) < share)
        mean = service.noisy_on_s if row["noisy"] else service.noisy_off_s
        row["noisy_until"] = now + mean * engine.exponential(rng)
    return rows
