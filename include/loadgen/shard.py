"""The shard itself: one loop that obeys commands within their lease, guards, reads results and publishes reports.

Each step is short and does no network access (mailbox.py does that in threads of its own), so the lease holds
whatever the store does. Clock, engine and store are arguments.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from include.capacity.jtl.follow import JtlFollower
from include.capacity.protocol import FleetSpec, ShardState, report_path
from include.loadgen.engine import DispatcherOrder, DispatcherStatus, LoadEngine
from include.loadgen.exits import End, ExitCode
from include.loadgen.guard import Guard
from include.loadgen.machine import MachineReading
from include.loadgen.mailbox import Outbox, Seen
from include.loadgen.orders import Orders
from include.loadgen.reporting import Reporter, ShardFacts

STEP_S = 0.05
BEAT_S = 0.5  # several beats within the dispatcher's own lease
REPORT_PHASE_S = 0.3  # after the second's end: by then the dispatcher's status covers all of it
SILENT_S = 15.0
START_LIMIT_S = 180.0
MIN_FREE_BYTES = 32 << 20
_DISK_CHECK_S = 1.0


@dataclass(frozen=True, slots=True)
class Clock:
    """Monotonic and wall clock in seconds, CPU time of this process in seconds, what the machine tells of itself, and a
    way to wait."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    cpu: Callable[[], float] = time.process_time
    machine: Callable[[], MachineReading] = MachineReading
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True)
class Identity:
    """Attributes:
    incarnation: this start of the shard; sorts after those of earlier starts.
    started_at: monotonic clock at the start of the program.
    """

    shard: int
    incarnation: str
    started_at: float


class Shard:
    """One incarnation of a shard, from the start of its engine on.

    Args:
        threads: that the plan starts; the shard is ready when all have come.
        reporter: numbers the reports; those of the preparation came before.
        follower: of the results; the reporter empties it.
        leftover: command that lay in the store at the start of the program; not obeyed, only exceeded.
        say: prints one line for the Airflow log.
        forbidden: why the load must stop for a reason outside of the shard; empty while it may go on.
    """

    def __init__(
        self,
        identity: Identity,
        spec: FleetSpec,
        engine: LoadEngine,
        outbox: Outbox,
        *,
        threads: int,
        follower: JtlFollower,
        reporter: Reporter,
        leftover: bytes | None,
        say: Callable[[str], None],
        clock: Clock,
        forbidden: Callable[[], str] = str,
    ) -> None:
        self._forbidden = forbidden
        self._identity, self._spec, self._engine, self._outbox = identity, spec, engine, outbox
        self._threads, self._say, self._clock = threads, say, clock
        self._orders = Orders(shards=spec.shards, max_rate_per_s=spec.max_rate_per_s, started_at=identity.started_at)
        if leftover is not None:
            self._orders.ignore_leftover(leftover)
        self._guard = Guard(spec)
        self._follower, self._reporter = follower, reporter
        self._status: DispatcherStatus | None = None
        self._status_changed_at = self._started_at = clock.monotonic()
        self._ready = False
        self._told: tuple[tuple[int, int], float] | None = None
        self._told_at = float("-inf")
        self._published_second = -1
        self._disk_checked_at = float("-inf")
        self._lapsed = False
        self._store_error = ""
        self.transactions = 0

    @property
    def state(self) -> ShardState:
        return "ready" if self._ready else "starting"

    def step(self, seen: Seen) -> End | None:
        """One round. Returns how the shard must end, or None to go on."""
        now = self._clock.monotonic()
        self._note_store(seen)
        self._take_command(seen)
        if why := self._forbidden():
            self._guarded(lambda: self._guard.trip(why))
        try:
            self._read_status(now)
            self._read_results(now)
            end = self._end(now, seen)
            if end is None:
                self._steer(now)
        except OSError as error:
            end = End(ExitCode.DISK_FULL, f"disk full or broken below the work folder: {error}", at_once=True)
        if end is None:
            self._publish_when_due()
        return end

    def finish(self, end: End, grace_s: float) -> None:
        """Ends the engine (its arrivals in flight have `grace_s` to complete), reads the rest and reports for the last
        time. Raises nothing: whatever fails now must not keep the shard from ending."""
        reason = end.reason
        try:
            if not end.at_once:
                self._engine.tell(DispatcherOrder(self._command_order(), 0.0, end=True))
                self._engine.wait(grace_s)
        except OSError as error:
            reason += f" (its orderly end failed: {error})"
        finally:
            self._engine.kill()
        try:
            self._status = self._engine.status() or self._status
            while piece := self._engine.results():
                self.transactions += self._follower.feed(piece).transactions
        except OSError as error:
            reason += f" (the rest of the results could not be kept: {error})"
        self._follower.finish()
        self._publish(reason)

    # -- obeying --------------------------------------------------------------------------------------------------

    def _take_command(self, seen: Seen) -> None:
        if seen.command is None:
            return
        before = self._orders.command
        receipt = self._orders.receive(seen.command)
        command = self._orders.command
        if receipt == "accepted" and command is not None:
            self._lapsed = False
            if before is None or (before.rate_per_s, before.epoch) != (command.rate_per_s, command.epoch):
                self._say(
                    f"command {command.epoch}.{command.seq} of {command.by}: {command.rate_per_s:g} arrivals/s "
                    f"for the fleet, {command.rate_per_s / self._spec.shards:g} for this shard"
                )
        elif receipt == "refused":
            self._guard.trip(self._orders.refusal)
            self._say(f"guard: {self._guard.reason}; the rate is zero for good")
        elif receipt in ("malformed", "stale"):
            self._say(f"a {receipt} command is ignored: {seen.command.data[:200]!r}")

    def _steer(self, now: float) -> None:
        rate = self._orders.rate_at(now) if self._ready and not self._guard.reason else 0.0
        command = self._orders.command
        if command is not None and self._orders.lease_left(now) <= 0 and not self._lapsed:
            self._lapsed = True
            if command.rate_per_s:
                self._say(f"the lease of command {command.epoch}.{command.seq} ran out: rate 0")
        wanted = (self._command_order(), rate)
        if wanted != self._told or (rate and now - self._told_at >= BEAT_S):
            self._engine.tell(DispatcherOrder(*wanted))
            self._told, self._told_at = wanted, now

    def _command_order(self) -> tuple[int, int]:
        command = self._orders.command
        return command.order if command is not None else (0, 0)

    # -- reading --------------------------------------------------------------------------------------------------

    def _read_status(self, now: float) -> None:
        status = self._engine.status()
        if status is None or (self._status is not None and status.at == self._status.at):
            return
        self._status, self._status_changed_at = status, now
        if not self._ready and status.counters.threads >= self._threads:
            self._ready = True
            self._say(f"ready after {now - self._identity.started_at:.1f} s with {status.counters.threads} threads")
        self._guarded(lambda: self._guard.saw_counters(status.counters))

    def _read_results(self, now: float) -> None:
        tally = self._follower.feed(self._engine.results())
        self.transactions += tally.transactions
        self._guarded(lambda: self._guard.saw_transactions(now, tally))

    def _guarded(self, look: Callable[[], None]) -> None:
        before = self._guard.reason
        look()
        if self._guard.reason != before:
            self._say(f"guard: {self._guard.reason}; the rate is zero for good")

    def _note_store(self, seen: Seen) -> None:
        error = seen.error or self._outbox.error
        if bool(error) != bool(self._store_error):
            self._say(f"the store fails: {error}" if error else "the store works again")
        self._store_error = error

    # -- ending ---------------------------------------------------------------------------------------------------

    def _end(self, now: float, seen: Seen) -> End | None:
        """The first reason wins: a dismissal makes every other one pointless."""
        spec = self._spec
        if seen.dismissed:
            return End(ExitCode.DISMISSED, "dismissed")
        if seen.newer:
            return End(ExitCode.SUPERSEDED, f"superseded by incarnation {seen.newer}", at_once=True)
        if (code := self._engine.exit_code()) is not None:
            return End(ExitCode.JMETER_DIED, f"JMeter died ({_how(code)}). {self._engine.last_words()}".strip())
        if not self._ready and now - self._started_at > START_LIMIT_S:
            words = self._engine.last_words()
            return End(ExitCode.JMETER_DIED, f"JMeter was not ready within {START_LIMIT_S:g} s. {words}".strip())
        if self._ready and now - self._status_changed_at > SILENT_S:
            return End(ExitCode.JMETER_DIED, f"JMeter's dispatcher is silent for {SILENT_S:g} s", at_once=True)
        if now - self._identity.started_at > spec.hard_limit_s:
            return End(ExitCode.HARD_LIMIT, f"the hard limit of {spec.hard_limit_s:g} s is over")
        if self._orders.silence_at(now) > spec.idle_limit_s:
            return End(ExitCode.IDLE, f"no valid command for {spec.idle_limit_s:g} s")
        if now - self._disk_checked_at >= _DISK_CHECK_S:
            self._disk_checked_at = now
            free = self._engine.free_bytes()
            if free < MIN_FREE_BYTES:
                reason = f"disk full: {free >> 20} MiB are left in the work folder, {MIN_FREE_BYTES >> 20} are needed"
                return End(ExitCode.DISK_FULL, reason, at_once=True)
        return None

    # -- publishing -----------------------------------------------------------------------------------------------

    def _publish_when_due(self) -> None:
        second = int(self._clock.wall() - REPORT_PHASE_S)
        if second != self._published_second and self._outbox.has_room:
            self._published_second = second
            self._publish()

    def _publish(self, end_reason: str = "") -> None:
        facts = ShardFacts(
            now=self._clock.wall(),
            monotonic_s=self._clock.monotonic(),
            machine=self._clock.machine(),
            cpu_s=self._clock.cpu(),
            state="ending" if end_reason else self.state,
            command=self._command_order(),
            guard=self._guard.reason,
            final=bool(end_reason),
            end_reason=end_reason,
        )
        report = self._reporter.build(facts, self._status)
        self._outbox.put(report_path(report.shard, report.incarnation, report.number), report.dumps())


def _how(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"
