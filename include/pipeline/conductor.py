"""Steers the load fleet through a step: writes commands, reads what the shards publish, watches, judges.

No Airflow in here: the store, the clock and what observes the environment are arguments. A command holds for its lease
only; a conductor that dies leaves a fleet that falls to rate zero by itself.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from include.capacity.errors import HeadroomError, InvalidData, NotReady, RunStopped, StoreError
from include.capacity.fleet import FleetTotals, FleetView
from include.capacity.histogram import Histogram
from include.capacity.judgement.probe import judge
from include.capacity.judgement.watching import Watch
from include.capacity.models import HOLD_COMPLETE, FleetSecond, ProbeResult, Slo, Step, ValidityLimits
from include.capacity.protocol import COMMAND_PATH, Command, ShardReport, report_path, shard_folder
from include.capacity.validity.checks import Surroundings
from include.capacity.validity.environment import EnvironmentState, changes
from include.capacity.validity.responses import SizeRange, usual_sizes
from include.pipeline.sightings import ClockWatch
from include.store.artefacts import ArtefactStore

log = logging.getLogger(__name__)

POLL_S = 0.2
RISE_EVERY_S = 0.4
REPORT_GRACE_S = 2.2  # a report is published each second; this long after a second's end it must be here
MISSING_AFTER_S = 5.0  # a shard silent for so long is missing
STORE_PATIENCE_S = 30.0  # a store that fails for longer fails the stage
PROGRESS_PATH = "progress.json"

Observe = Callable[[], EnvironmentState | None]


@dataclass(frozen=True, slots=True)
class Clock:
    """Wall clock (shared with the shards) and a way to wait; replaced in tests."""

    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True)
class Stage:
    """Who conducts: the name of the Airflow task and an epoch that grows with stages and tries (later ones win)."""

    name: str
    epoch: int


class Conductor:
    """Conducts `shards` shards that work in the run's folder `store`.

    Args:
        observe: returns the environment as seen now, before and after each step; None: nothing is known.
        usual_sizes: label -> sizes of good responses in the smoke probe.
        stop_reason: why the run must end at once, None while it may go on; asked at each poll, so it must not wait.
    """

    def __init__(
        self,
        store: ArtefactStore,
        stage: Stage,
        *,
        shards: int,
        lease_s: float,
        slo: Slo,
        limits: ValidityLimits,
        observe: Observe = lambda: None,
        usual_sizes: Mapping[str, SizeRange] | None = None,
        stop_reason: Callable[[], str | None] = lambda: None,
        clock: Clock | None = None,
    ) -> None:
        self._store, self._stage, self._lease_s = store, stage, lease_s
        self._slo, self._limits, self._observe = slo, limits, observe
        self._usual_sizes = usual_sizes or {}
        self._clocks = ClockWatch(stage.epoch)
        self._stop_reason = stop_reason
        self._clock = clock or Clock()
        self._view = FleetView(shards)
        self._next_report: dict[tuple[int, str], int] = {}
        self._incarnations: dict[int, list[str]] = {shard: [] for shard in range(shards)}
        self._listed_at = -math.inf
        self._seq = 0
        self._sent_at = -math.inf
        self._rate_per_s = 0.0
        self._told_at = -math.inf

    # -- commands -----------------------------------------------------------------------------------------------------

    def command(self, rate_per_s: float) -> None:
        """Orders a rate (arrivals per second of the whole fleet) for one lease."""
        self._seq += 1
        now = self._clock.now()
        self._clocks.commanded(self._seq, rate_per_s, now)
        order = Command(self._stage.epoch, self._seq, rate_per_s, self._lease_s, now, self._stage.name)
        self._store.write(COMMAND_PATH, order.dumps())
        self._rate_per_s, self._sent_at = rate_per_s, now

    def patiently(self, write: Callable[[], None]) -> None:
        """Tries until the store takes it; the lease runs out meanwhile. Raises StoreError when it stays broken."""
        deadline = self._clock.now() + STORE_PATIENCE_S
        while True:
            try:
                return write()
            except StoreError as error:
                if self._clock.now() >= deadline:
                    raise
                log.warning("Trying again for %.0f s: %s", deadline - self._clock.now(), error)
                self._clock.sleep(1)

    def stand_down(self) -> None:
        """Orders rate zero; where the store does not take that, the lease has the same effect a little later."""
        self._rate_per_s = 0.0
        try:
            self.command(0)
        except StoreError as error:
            log.warning("The fleet stands down by its lease only: %s", error)

    def _wait(self) -> None:
        """Until the next poll. Raises RunStopped, the load standing down, when the run must end."""
        self._clock.sleep(POLL_S)
        if (reason := self._stop_reason()) is not None:
            self.stand_down()
            raise RunStopped(reason)

    def _raise(self, rate_per_s: float) -> None:
        """Follows a rising rate, a few times a second at most; what the store does not take is tried again."""
        if rate_per_s != self._rate_per_s and self._clock.now() - self._sent_at >= RISE_EVERY_S:
            try:
                self.command(rate_per_s)
            except StoreError as error:
                log.warning("The rate could not be raised: %s", error)

    def _renew(self) -> None:
        if self._clock.now() - self._sent_at >= self._lease_s / 3:
            try:
                self.command(self._rate_per_s)
            except StoreError as error:  # the lease runs out by itself; the next poll tries again
                log.warning("The command could not be renewed: %s", error)

    # -- reports ------------------------------------------------------------------------------------------------------

    def poll(self) -> None:
        """Reads all new reports. An unreadable store or report is no report: the shard will count as missing."""
        now = self._clock.now()
        try:
            if now - self._listed_at >= 1:
                self._listed_at = now
                for shard in self._incarnations:
                    names = self._store.names(shard_folder(shard))
                    self._incarnations[shard] = [name for name in names if name[:1].isdigit()]
            for shard, incarnations in self._incarnations.items():
                for incarnation in incarnations[-2:]:  # the newest, and the last words of the one before
                    self._read_reports(shard, incarnation)
        except StoreError as error:
            log.warning("The reports could not be read: %s", error)

    def _read_reports(self, shard: int, incarnation: str) -> None:
        number = self._next_report.get((shard, incarnation), 0)
        while (data := self._store.read_or_none(report_path(shard, incarnation, number))) is not None:
            number += 1
            self._next_report[shard, incarnation] = number
            try:
                report = ShardReport.loads(data)
                self._view.add(report, self._clocks.saw(report, self._clock.now()))
            except InvalidData as error:
                log.warning("Report %s of shard %s is unreadable and left out: %s", number - 1, shard, error)

    def totals(self) -> FleetTotals:
        return self._view.totals()

    def response_sizes(self) -> dict[str, SizeRange]:
        """Label -> sizes of the good responses that the fleet had so far."""
        return usual_sizes(self._view.sizes())

    def wait_ready(self, within_s: float) -> float:
        """Waits until every shard is ready, at rate zero. Returns the seconds it took.

        Raises NotReady, with what each missing shard said last, when time is up or a shard ended for good.
        """
        self.patiently(lambda: self.command(0))
        start = self._clock.now()
        while True:
            self.poll()
            states = {shard: self._state(shard) for shard in self._incarnations}
            if all(state == "ready" for state in states.values()):
                return self._clock.now() - start
            refused = [state for state in states.values() if state.startswith(("plan refused", "target refused"))]
            late = self._clock.now() - start > within_s
            if refused or late:
                told = "; ".join(f"shard {shard}: {state}" for shard, state in states.items() if state != "ready")
                raise NotReady(
                    f"The load fleet is not ready{f' after {within_s:g} s' if late else ''}: {told}. "
                    "Look at the logs of the load_fleet tasks; is there a free worker slot for each shard?"
                )
            self._renew()
            self._wait()

    def _state(self, shard: int) -> str:
        report = self._view.latest(shard)
        if report is None:
            return "has not reported yet"
        if report.final:
            return report.end_reason or "ended"
        age = self._clock.now() - report.published_at
        if age > MISSING_AFTER_S:
            return f"silent for {age:.0f} s"
        return report.state

    # -- steps --------------------------------------------------------------------------------------------------------

    def warm(self, rate_per_s: float, *, at_least_s: float, at_most_s: float) -> float:
        """Holds a low rate until the generators' schedule lag is flat (a cold JVM compiles for 20-30 s and would carry
        the backlog of that time into the first probe). Returns the seconds it took."""
        self.patiently(lambda: self.command(rate_per_s))
        start = self._clock.now()
        while (elapsed := self._clock.now() - start) < at_most_s:
            self._wait()
            self._renew()
            self.poll()
            covered = self._view.covered_until()
            if covered is None or elapsed < at_least_s:
                continue
            recent = self._view.seconds(covered - 4, covered)
            lag = Histogram.merged(second.lag for second in recent).quantile_ms(0.99)
            if lag is not None and lag < self._limits.max_lag_p99_ms / 2 and not any(s.missing for s in recent):
                return elapsed
        return at_most_s

    def run_step(
        self,
        step: Step,
        number: int,
        *,
        transactions_per_arrival: float,
        healthy_arrival_s: float | None = None,
    ) -> tuple[ProbeResult, list[FleetSecond]]:
        """Executes one step and judges it once; returns the result and the seconds it was judged on.

        `healthy_arrival_s` is how long an arrival takes at low load, think times included; None if not known yet.
        """
        now = self._clock.now
        before = self._observed()
        watching = Watch(
            step,
            self._slo,
            self._limits,
            transactions_per_arrival=transactions_per_arrival,
            healthy_arrival_s=healthy_arrival_s,
        )
        self.patiently(lambda: self.command(step.rate_at(0) / transactions_per_arrival))
        started = now()
        first = math.ceil(started + 0.15)  # the first whole second with the rate in force
        end = first + math.ceil(step.hold_s)
        stop = HOLD_COMPLETE
        while now() < end + REPORT_GRACE_S:
            self._wait()
            self._raise(step.rate_at(now() - first) / transactions_per_arrival)
            self._renew()
            self.poll()
            seconds = self._finished_seconds(first, end)
            self._tell_progress(step, number, seconds, now() - started, transactions_per_arrival)
            if len(seconds) >= end - first:
                break
            if seconds:
                reason = watching.see(seconds)
                if reason is not None:
                    stop = reason
                    self.stand_down()
                    break
        seconds = self._finished_seconds(first, end)
        after = self._observed()
        result = judge(
            step,
            self._slo,
            self._limits,
            seconds,
            stage=self._stage.name,
            number=number,
            started_at=float(first),
            ended_at=now(),
            stop=stop,
            transactions_per_arrival=transactions_per_arrival,
            expected_shards=self._view.expected,
            healthy_arrival_s=healthy_arrival_s,
            environment=after.figures if after is not None else {},
            surroundings=Surroundings(changes(before, after), self._usual_sizes),
        )
        self._view.forget_before(first - 2)
        return result, seconds

    def _observed(self) -> EnvironmentState | None:
        """What is seen of the environment is evidence beside the load: a probe stands without it."""
        try:
            return self._observe()
        except HeadroomError as error:
            log.warning("The probe is stored without a look at the environment: %s", error)
            return None

    def _finished_seconds(self, first: int, end: int) -> list[FleetSecond]:
        """Seconds that all shards cover, and those so old that a shard that does not is missing."""
        covered = self._view.covered_until()
        overdue = math.floor(self._clock.now() - MISSING_AFTER_S)
        until = min(end, max(covered if covered is not None else first, overdue))
        return self._view.seconds(first, until) if until > first else []

    def _tell_progress(
        self, step: Step, number: int, seconds: list[FleetSecond], elapsed_s: float, transactions_per_arrival: float
    ) -> None:
        if self._clock.now() - self._told_at < 1:
            return
        self._told_at = self._clock.now()
        recent = seconds[-3:]
        latency = Histogram.merged(histogram for second in recent for histogram in second.rows.values())
        progress = {
            "stage": self._stage.name,
            "number": number,
            "kind": step.kind,
            "rate_tps": step.rate_tps,
            "elapsed_s": round(elapsed_s, 1),
            "hold_s": step.hold_s,
            "offered_tps": _mean([second.offered * transactions_per_arrival for second in recent]),
            "achieved_tps": _mean([second.completed for second in recent]),
            "p95_ms": latency.quantile_ms(0.95),
            "in_flight": recent[-1].in_flight if recent else None,
            "note": step.why,
        }
        try:
            self._store.write_json(PROGRESS_PATH, progress)
        except StoreError as error:
            log.warning("Progress could not be stored: %s", error)


def _mean(values: list[float] | list[int]) -> float | None:
    return sum(values) / len(values) if values else None
