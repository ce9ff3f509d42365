"""The shard's loop, with a clock, an engine and a store that the tests move."""

from __future__ import annotations

import errno
from itertools import pairwise
from pathlib import Path
from typing import cast

import pytest

from include.capacity.jtl.follow import JtlFollower
from include.capacity.protocol import Counters, FleetSpec, ShardReport, incarnation_folder
from include.loadgen.exits import End, ExitCode
from include.loadgen.mailbox import Outbox, Seen
from include.loadgen.orders import ReceivedCommand
from include.loadgen.reporting import Reporter
from include.loadgen.shard import MIN_FREE_BYTES, SILENT_S, START_LIMIT_S, STEP_S, Identity, Shard
from include.store.artefacts import ArtefactStore
from tests.unit.loadgen.fakes import HEADER, FailingStore, FakeEngine, FakeTime, command, spec

INCARNATION = "00000000000000000005-1"


class Scene:
    """A shard that has just started, and the hands to move its world."""

    def __init__(self, folder: Path, *, fleet: FleetSpec | None = None, leftover: bytes | None = None) -> None:
        self.time = FakeTime()
        self.engine = FakeEngine(self.time)
        self.store = FailingStore(ArtefactStore.open(str(folder)))
        self.outbox = Outbox(cast(ArtefactStore, self.store))
        self.lines: list[str] = []
        self.forbidden = ""
        self.seen = Seen(looked=True)
        self.end: End | None = None
        follower = JtlFollower("results.jtl")
        self.shard = Shard(
            Identity(0, INCARNATION, self.time.monotonic),
            fleet or spec(),
            self.engine,
            self.outbox,
            threads=10,
            follower=follower,
            reporter=Reporter(0, INCARNATION, follower),
            leftover=leftover,
            say=self.lines.append,
            clock=self.time.clock(),
            forbidden=lambda: self.forbidden,
        )

    def command(self, seq: int, rate_per_s: float, **changes: float) -> None:
        data = command(seq, rate_per_s, **changes)  # type: ignore[arg-type]
        self.seen = Seen(looked=True, command=ReceivedCommand(data, self.time.monotonic))

    def run(self, seconds: float) -> End | None:
        """Steps until the time is over or the shard wants to end."""
        until = self.time.monotonic + seconds
        while self.end is None and self.time.monotonic < until - 1e-9:
            self.end = self.shard.step(self.seen)
            self.outbox.publish_next()
            self.time.advance(STEP_S)
        return self.end

    def finish(self) -> ShardReport:
        assert self.end is not None
        self.shard.finish(self.end, grace_s=3)
        while self.outbox.publish_next():
            pass
        return self.reports()[-1]

    def reports(self) -> list[ShardReport]:
        store = cast(ArtefactStore, self.store)
        folder = f"{incarnation_folder(0, INCARNATION)}/reports"
        return [ShardReport.loads(store.read(f"{folder}/{name}")) for name in store.names(folder)]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def said(scene: Scene, text: str) -> int:
    return sum(text in line for line in scene.lines)


def test_a_command_reaches_the_engine_with_the_next_step(scene: Scene) -> None:
    scene.run(0.2)
    scene.command(1, 40)
    scene.run(STEP_S)
    assert scene.engine.rate == 20
    assert scene.engine.orders[-1].order == (1001, 1)


def test_no_load_before_all_threads_have_come(scene: Scene) -> None:
    scene.engine.threads = 9
    scene.command(1, 40)
    scene.run(1.0)
    assert (scene.engine.rate, scene.shard.state) == (0, "starting")
    scene.engine.threads = 10
    scene.run(0.1)
    assert (scene.engine.rate, scene.shard.state) == (20, "ready")


def test_the_rate_drops_to_zero_when_the_lease_runs_out(scene: Scene) -> None:
    scene.command(1, 40)
    scene.run(2.95)
    assert scene.engine.rate == 20
    scene.run(0.15)
    assert scene.engine.rate == 0
    scene.run(5.0)
    assert said(scene, "the lease of command 1001.1 ran out") == 1
    assert scene.end is None
    scene.command(2, 40)
    scene.run(0.1)
    assert scene.engine.rate == 20


def test_the_engine_gets_a_beat_while_there_is_load_and_none_at_rest(scene: Scene) -> None:
    scene.command(1, 40, lease_s=60)
    scene.run(5.0)
    assert 9 <= len(scene.engine.orders) <= 12
    scene.command(2, 0, lease_s=60)
    scene.run(0.1)
    count = len(scene.engine.orders)
    scene.run(5.0)
    assert len(scene.engine.orders) == count


def test_a_leftover_command_is_not_obeyed(tmp_path: Path) -> None:
    scene = Scene(tmp_path, leftover=command(5, 800))
    scene.command(5, 800)
    scene.run(1.0)
    assert scene.engine.rate == 0
    scene.command(6, 40)
    scene.run(0.1)
    assert scene.engine.rate == 20


def test_malformed_and_stale_commands_are_told_once_and_ignored(scene: Scene) -> None:
    scene.command(5, 40)
    scene.run(0.5)
    scene.seen = Seen(looked=True, command=ReceivedCommand(b"{", scene.time.monotonic))
    scene.run(0.5)
    scene.command(4, 400)
    scene.run(0.5)
    assert scene.engine.rate == 20
    assert said(scene, "malformed") == 1
    assert said(scene, "stale") == 1


def test_a_store_that_fails_lets_the_lease_run_out_and_loses_no_count(scene: Scene) -> None:
    scene.engine.pending.append(HEADER)
    scene.command(1, 40)
    scene.run(1.5)
    scene.store.broken = True
    scene.seen = Seen(looked=True, command=scene.seen.command, error="the store is away")
    for burst in range(10):
        scene.engine.add_rows(30, first=1 + 30 * burst)
        scene.run(1.0)
    assert scene.engine.rate == 0
    assert scene.end is None
    assert said(scene, "the store fails: the store is away") == 1
    assert not scene.outbox.has_room
    scene.store.broken = False
    scene.seen = Seen(looked=True, command=scene.seen.command)
    scene.run(3.0)
    reports = scene.reports()
    assert [report.number for report in reports] == list(range(len(reports)))
    assert len(reports) <= 10  # what was not published went into the next report, not into a queue without end
    assert sum(sum(report.completed.values()) for report in reports) == 300
    assert said(scene, "the store works again") == 1


def test_reports_come_once_a_second(scene: Scene) -> None:
    scene.run(10.0)
    assert len(scene.reports()) in (10, 11)
    times = [report.published_at for report in scene.reports()[1:]]
    gaps = [after - before for before, after in pairwise(times)]
    assert all(gap == pytest.approx(1.0, abs=0.06) for gap in gaps)


def test_a_dismissal_ends_the_engine_in_order(scene: Scene) -> None:
    scene.engine.pending.append(HEADER)
    scene.command(1, 40)
    scene.run(1.0)
    scene.seen = Seen(looked=True, command=scene.seen.command, dismissed=True)
    end = scene.run(0.1)
    assert end is not None
    assert end.code is ExitCode.DISMISSED
    scene.engine.add_rows(3)
    report = scene.finish()
    assert scene.engine.orders[-1].end
    assert (report.final, report.end_reason, report.state, report.rate_per_s) == (True, "dismissed", "ending", 0)
    assert sum(report.completed.values()) == 3


def test_an_engine_that_does_not_end_is_killed(scene: Scene) -> None:
    scene.engine.ends_when_told = False
    scene.seen = Seen(looked=True, dismissed=True)
    scene.run(0.1)
    scene.finish()
    assert scene.engine.killed
    assert scene.engine.code == -9


def test_a_newer_incarnation_takes_over(scene: Scene) -> None:
    scene.command(1, 40)
    scene.run(1.0)
    scene.seen = Seen(looked=True, command=scene.seen.command, newer="00000000000000000009-1")
    end = scene.run(0.1)
    assert end is not None
    assert (end.code, end.at_once) == (ExitCode.SUPERSEDED, True)
    assert scene.finish().end_reason == "superseded by incarnation 00000000000000000009-1"
    assert scene.engine.killed


def test_the_death_of_jmeter_ends_the_shard_with_its_last_words(scene: Scene) -> None:
    scene.run(1.0)
    scene.engine.code = -9
    end = scene.run(0.1)
    assert end is not None
    assert end.code is ExitCode.JMETER_DIED
    report = scene.finish()
    assert report.end_reason.startswith("JMeter died (killed by signal 9).")
    assert "its last words" in report.end_reason


def test_a_dispatcher_that_falls_silent_ends_the_shard(scene: Scene) -> None:
    scene.command(1, 40, lease_s=60)
    scene.run(1.0)
    scene.engine.silent = True
    assert scene.run(SILENT_S - 1) is None
    end = scene.run(2.0)
    assert end is not None
    assert (end.code, end.at_once) == (ExitCode.JMETER_DIED, True)


def test_a_jmeter_that_is_never_ready_ends_the_shard(tmp_path: Path) -> None:
    scene = Scene(tmp_path, fleet=spec(idle_limit_s=1e6, hard_limit_s=1e6))
    scene.engine.threads = 3
    assert scene.run(START_LIMIT_S) is None
    end = scene.run(1.0)
    assert end is not None
    assert "was not ready within 180 s" in end.reason


def test_without_commands_the_shard_ends_itself(scene: Scene) -> None:
    scene.command(1, 40)
    scene.run(0.1)
    assert scene.run(59.5) is None
    end = scene.run(1.0)
    assert end is not None
    assert (end.code, end.reason) == (ExitCode.IDLE, "no valid command for 60 s")


def test_no_shard_lives_beyond_the_hard_limit(tmp_path: Path) -> None:
    scene = Scene(tmp_path, fleet=spec(hard_limit_s=20))
    for second in range(30):
        scene.command(1 + second, 40)
        scene.run(1.0)
    assert scene.end is not None
    assert scene.end.code is ExitCode.HARD_LIMIT
    assert scene.time.monotonic == pytest.approx(120.1, abs=0.1)


def test_the_guard_stops_the_load_for_good_and_keeps_the_shard_alive(scene: Scene) -> None:
    scene.engine.pending.append(HEADER)
    scene.command(1, 40, lease_s=60)
    scene.run(0.5)
    scene.engine.add_rows(30, failed=20)
    scene.run(STEP_S)
    assert scene.engine.rate == 0
    scene.command(2, 60, lease_s=60)
    scene.run(5.0)
    assert scene.engine.rate == 0
    assert scene.end is None
    assert scene.reports()[-1].guard.startswith("20 of 30 transactions")
    assert said(scene, "the rate is zero for good") == 1


def test_what_is_forbidden_from_outside_stops_the_load_for_good(scene: Scene) -> None:
    scene.command(1, 40, lease_s=60)
    scene.run(0.5)
    assert scene.engine.rate == 20
    scene.forbidden = "shop resolves to 10.9.9.9 now"
    scene.run(2 * STEP_S)
    assert scene.engine.rate == 0
    scene.forbidden = ""
    scene.command(2, 60, lease_s=60)
    scene.run(2.0)
    assert scene.engine.rate == 0
    assert scene.reports()[-1].guard == "shop resolves to 10.9.9.9 now"
    assert said(scene, "the rate is zero for good") == 1


def test_too_many_arrivals_in_flight_trip_the_guard(scene: Scene) -> None:
    scene.command(1, 40, lease_s=60)
    scene.run(0.5)
    scene.engine.counters = Counters(threads=10, dispatched=200, taken=90, in_flight=90, backlog=11)
    scene.run(0.1)
    assert scene.engine.rate == 0


def test_a_rate_above_the_limit_trips_the_guard(scene: Scene) -> None:
    scene.command(1, 40, lease_s=60)
    scene.run(0.5)
    scene.command(2, 1001, lease_s=60)
    scene.run(1.5)
    assert scene.engine.rate == 0
    assert "more than the limit of 1000" in scene.reports()[-1].guard


def test_a_nearly_full_disk_ends_the_shard_before_rows_are_lost(scene: Scene) -> None:
    scene.run(1.0)
    scene.engine.free = MIN_FREE_BYTES - 1
    end = scene.run(1.1)
    assert end is not None
    assert (end.code, end.at_once) == (ExitCode.DISK_FULL, True)
    assert scene.finish().end_reason.startswith("disk full: 31 MiB are left")


def test_a_write_that_the_disk_refuses_ends_the_shard(scene: Scene) -> None:
    scene.run(1.0)
    scene.engine.tell_error = OSError(errno.ENOSPC, "No space left on device")
    scene.command(1, 40)
    end = scene.run(0.1)
    assert end is not None
    assert end.code is ExitCode.DISK_FULL
    report = scene.finish()
    assert report.final
    assert scene.engine.killed


def test_a_file_cut_in_mid_line_is_told_in_the_final_report(scene: Scene) -> None:
    scene.engine.pending.append(HEADER + b"1700000000000,10,GET /,200,OK,true,5,1:400\n17000000")
    scene.run(1.0)
    scene.engine.code = -9
    scene.run(0.1)
    report = scene.finish()
    assert report.rejected == 1
    assert report.rejects[0].startswith("results.jtl, line 3 (byte 129): cut off at the end of the file")
