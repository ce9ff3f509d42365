"""The load container's program with the real JMeter, against a tiny server on the loopback interface.

Starting JMeter takes some seconds, so each test follows one shard through several events. Times are checked only where
the design promises a limit, and then with room for a busy machine.
"""

from __future__ import annotations

import gzip
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.loopback_target import LoopbackTarget
from benchmarks.shard_fleet import Commander, Group, LocalFleet, fleet_spec, is_running, jmeter_pid
from include.capacity.errors import ConfigError
from include.capacity.histogram import Histogram
from include.capacity.protocol import ShardReport, incarnation_folder, results_folder
from include.loadgen.results import PART_S
from include.loadgen.settings import read_settings
from include.pipeline.reconciling import reconcile_fleet

LEASE_S = 3.0


def _missing() -> str:
    try:
        read_settings({**os.environ, "HEADROOM_STORE": "x", "HEADROOM_SHARD": "0"})
    except ConfigError as error:
        return str(error)
    return ""


pytestmark = [pytest.mark.skipif(bool(_missing()), reason=_missing()), pytest.mark.system]


@pytest.fixture
def target() -> Iterator[LoopbackTarget]:
    target = LoopbackTarget().start()
    yield target
    target.stop()


@pytest.fixture
def fleet(tmp_path: Path, target: LoopbackTarget) -> Iterator[LocalFleet]:
    with LocalFleet(tmp_path / "run", fleet_spec(target.port)) as fleet:
        yield fleet


def in_force(fleet: LocalFleet, rate: float) -> Callable[[], bool]:
    return lambda: (report := fleet.last_report()) is not None and report.rate_per_s == rate


def offered(reports: list[ShardReport]) -> dict[int, int]:
    total: dict[int, int] = {}
    for report in reports:
        for second, count in report.offered.items():
            total[second] = total.get(second, 0) + count
    return total


def completed(reports: list[ShardReport]) -> int:
    return sum(sum(report.completed.values()) for report in reports)


def kept_results(fleet: LocalFleet, incarnation: str) -> bytes:
    """All parts of the results that are in the store: one gzip file of several members."""
    folder = fleet.folder / results_folder(0, incarnation)
    return gzip.decompress(b"".join(part.read_bytes() for part in sorted(folder.glob("*.jtl.gz"))))


def test_a_shard_is_steered_accounts_for_every_arrival_and_leaves_when_dismissed(
    tmp_path: Path, target: LoopbackTarget
) -> None:
    groups = (Group("Readers", ("/", "/second"), weight=3), Group("Buyers", ("/buy",), weight=1))
    with LocalFleet(tmp_path / "run", fleet_spec(target.port, arrivals="even"), groups) as fleet:
        shard = fleet.start()
        commander = Commander(fleet.store, lease_s=LEASE_S).start()
        fleet.wait_ready()
        commander.command(20)
        fleet.wait_for(in_force(fleet, 20), 10, "20/s in force")
        time.sleep(3)
        issued = commander.command(100)
        fleet.wait_for(in_force(fleet, 100), 10, "100/s in force")
        time.sleep(5)
        commander.fall_silent()
        fleet.dismiss()
        dismissed_at = time.monotonic()
        assert shard.wait(20) == 0, fleet.output()
        assert time.monotonic() - dismissed_at < 6
        reports = fleet.reports()
        last = reports[-1]
        in_force_at = next(report.in_force_at for report in reports if report.rate_per_s == 100)

        # The rate is kept: even arrivals leave no room for chance beyond their phase.
        assert in_force_at is not None
        assert 0 <= in_force_at - issued < 1.0
        whole = [count for second, count in offered(reports).items() if in_force_at + 1 < second < in_force_at + 4]
        assert len(whole) >= 3
        assert all(count == pytest.approx(100, abs=2) for count in whole)

        # Every arrival is accounted for, once.
        counters = last.counters
        assert counters.dispatched == sum(offered(reports).values())
        assert counters.dispatched == counters.taken + counters.backlog + counters.dropped
        assert counters.taken == counters.completed + counters.in_flight
        assert (counters.in_flight, counters.dropped) == (0, 0)
        labels = {
            label: sum(row.count for report in reports for row in report.rows if row.label == label)
            for label in ("/", "/second", "/buy")
        }
        assert labels["/"] == labels["/second"]
        assert labels["/"] + labels["/buy"] == counters.dispatched
        assert completed(reports) == target.requests == sum(labels.values())
        assert labels["/"] / counters.dispatched == pytest.approx(0.75, abs=0.1)
        lags = Histogram.merged(lag for report in reports for lag in report.lag.values())
        assert lags.total == counters.dispatched  # one lag for each arrival, although Readers make two transactions
        assert all(row.outcome == "ok" and row.bytes > 0 for report in reports for row in report.rows)
        assert [report.number for report in reports] == list(range(len(reports)))
        assert (last.final, last.end_reason, last.rejected) == (True, "dismissed", 0)
        assert last.generator.heap_max_mb > 300
        assert any(report.generator.jmeter_cpu_cores > 0 for report in reports)

        # What explains the run is kept, and nothing else is left.
        (incarnation,) = fleet.incarnations()
        kept = fleet.folder / incarnation_folder(0, incarnation)
        lines = kept_results(fleet, incarnation).decode().splitlines()
        assert len(lines) == completed(reports) + 1
        (reconciled,) = reconcile_fleet(fleet.store, 1)
        assert (reconciled.state, reconciled.recorded) == ("equal", completed(reports))
        assert "<jmeterTestPlan" in (kept / "prepared.jmx").read_text()
        assert [group["name"] for group in json.loads((kept / "plan-notes.json").read_text())["groups"]] == [
            "Readers",
            "Buyers",
        ]
        assert (kept / "jmeter.log").exists()
        assert list((fleet.folder / "work").iterdir()) == []


def test_a_name_leads_only_where_it_was_pinned(tmp_path: Path, target: LoopbackTarget) -> None:
    """No name server knows shop.test: that requests arrive shows that JMeter resolves by the pins alone."""
    pins = {"shop.test": ("127.0.0.1",), "127.0.0.1": ("127.0.0.1",)}
    spec = fleet_spec(target.port, target_host="shop.test", allow_hosts=("shop.test",), addresses=pins)
    with LocalFleet(tmp_path / "run", spec) as fleet:
        shard = fleet.start()
        commander = Commander(fleet.store, lease_s=LEASE_S).start()
        fleet.wait_ready()
        commander.command(20)
        fleet.wait_for(lambda: completed(fleet.reports()) > 20, 20, "load")
        fleet.dismiss()
        assert shard.wait(20) == 0, fleet.output()
        assert {row.outcome for report in fleet.reports() for row in report.rows} == {"ok"}
        assert "shop.test cannot be resolved now" in fleet.output()


def test_a_name_that_leads_elsewhere_than_when_it_was_checked_is_refused(
    tmp_path: Path, target: LoopbackTarget
) -> None:
    pins = {"localhost": ("127.0.0.9",)}
    spec = fleet_spec(target.port, target_host="localhost", allow_hosts=("localhost",), addresses=pins)
    with LocalFleet(tmp_path / "run", spec) as fleet:
        shard = fleet.start()
        assert shard.wait(20) == 2, fleet.output()
        (report,) = [report for report in fleet.reports() if report.final]
        assert report.end_reason.startswith("target refused: localhost resolves to ")
        assert "resolved to 127.0.0.9 when the run was checked" in report.end_reason
    assert target.requests == 0


def test_without_renewal_the_load_ends_with_the_lease_and_sigterm_ends_the_shard(
    fleet: LocalFleet, target: LoopbackTarget
) -> None:
    shard = fleet.start()
    commander = Commander(fleet.store, lease_s=LEASE_S).start()
    fleet.wait_ready()
    commander.command(50)
    fleet.wait_for(in_force(fleet, 50), 10, "50/s in force")
    commander.fall_silent()
    silent_at = time.time()
    fleet.wait_for(in_force(fleet, 0), 15, "rate 0 in force")
    time.sleep(1)
    before = target.requests
    arrivals = offered(fleet.reports())
    assert max(arrivals) <= silent_at + LEASE_S + 1
    time.sleep(2)
    assert target.requests == before
    assert "ran out: rate 0" in fleet.output()

    os.kill(shard.pid, signal.SIGTERM)
    assert shard.wait(15) == 143, fleet.output()
    assert fleet.reports()[-1].end_reason == "terminated by a signal"


def test_the_dispatcher_stops_by_itself_when_the_shard_program_hangs(fleet: LocalFleet, target: LoopbackTarget) -> None:
    """The second level of the lease; and a shard that wakes up late does not go on with an old command."""
    shard = fleet.start()
    commander = Commander(fleet.store, lease_s=60).start()
    fleet.wait_ready()
    commander.command(50)
    fleet.wait_for(in_force(fleet, 50), 10, "50/s in force")
    os.kill(shard.pid, signal.SIGSTOP)
    try:
        time.sleep(5)  # the dispatcher's lease is 3 s
        before = target.requests
        time.sleep(2)
        assert target.requests == before
    finally:
        os.kill(shard.pid, signal.SIGCONT)
    fleet.wait_for(lambda: target.requests > before, 10, "load after the shard program went on")
    commander.fall_silent()


def test_jmeter_dies_with_its_shard_and_the_next_incarnation_starts_at_rest(
    fleet: LocalFleet, target: LoopbackTarget
) -> None:
    shard = fleet.start()
    commander = Commander(fleet.store, lease_s=LEASE_S).start()
    fleet.wait_ready()
    commander.command(50)
    fleet.wait_for(in_force(fleet, 50), 10, "50/s in force")
    jmeter = jmeter_pid(shard.pid)
    assert jmeter is not None
    (died,) = fleet.incarnations()
    fleet.wait_for(lambda: kept_results(fleet, died).count(b"\n") > 1, 3 * PART_S, "a part with results")
    time.sleep(1.5)  # so that it reports transactions that no part holds
    os.kill(shard.pid, signal.SIGKILL)
    shard.wait()
    fleet.wait_for(lambda: not is_running(jmeter), 5, "JMeter to die with its shard")
    commander.fall_silent()  # and its last command lies in the store

    before = target.requests
    again = fleet.start()
    fleet.wait_ready()
    time.sleep(1)
    assert target.requests == before
    assert len(fleet.incarnations()) == 2

    # JMeter's own death ends the shard, and says so.
    second_jmeter = jmeter_pid(again.pid)
    assert second_jmeter is not None
    os.kill(second_jmeter, signal.SIGKILL)
    assert again.wait(15) == 3, fleet.output()
    assert fleet.reports()[-1].end_reason.startswith("JMeter died (killed by signal 9)")

    # Of the shard that was killed the store holds what was recorded up to its last part, and the rest is told.
    first, second = reconcile_fleet(fleet.store, 1)
    assert (first.incarnation, first.state, second.state) == (died, "incomplete", "equal")
    assert 0 < first.recorded < first.reported
    assert f"{first.reported - first.recorded} are not kept" in first.told


def test_an_older_incarnation_yields_to_a_newer_one(fleet: LocalFleet) -> None:
    first = fleet.start()
    fleet.wait_ready()
    (older,) = fleet.incarnations()
    second = fleet.start()
    assert first.wait(30) == 6, fleet.output()
    assert second.poll() is None
    assert fleet.reports(incarnation=older)[-1].end_reason.startswith("superseded by incarnation")
    fleet.dismiss()
    assert second.wait(30) == 0, fleet.output()


def test_the_guard_stops_the_load_when_the_service_fails(tmp_path: Path, target: LoopbackTarget) -> None:
    with LocalFleet(tmp_path / "run", fleet_spec(target.port), (Group("Users", ("/fail",)),)) as fleet:
        shard = fleet.start()
        commander = Commander(fleet.store, lease_s=LEASE_S).start()
        fleet.wait_ready()
        commander.command(50)
        fleet.wait_for(lambda: bool((r := fleet.last_report()) and r.guard), 15, "the guard")
        fleet.wait_for(in_force(fleet, 0), 10, "rate 0 in force")
        before = target.requests
        commander.command(80)
        time.sleep(2)
        assert target.requests == before
        assert shard.poll() is None
        fleet.dismiss()
        assert shard.wait(15) == 0, fleet.output()
        outcomes = {row.outcome for report in fleet.reports() for row in report.rows}
        assert outcomes == {"service_error"}


def test_a_plan_that_cannot_be_kept_is_refused_before_any_load(tmp_path: Path, target: LoopbackTarget) -> None:
    spec = replace(fleet_spec(target.port), allow_hosts=("shop.example",))
    with LocalFleet(tmp_path / "run", spec) as fleet:
        assert fleet.start().wait(30) == 2, fleet.output()
        report = fleet.reports()[-1]
        assert report.final
        assert report.end_reason.startswith("plan refused: ")
        assert "127.0.0.1" in report.end_reason
        assert "plan refused: " in fleet.output()
        assert target.requests == 0


def test_a_store_without_a_specification_or_with_a_dismissal_ends_it_at_once(
    fleet: LocalFleet, target: LoopbackTarget
) -> None:
    fleet.dismiss()
    assert fleet.start().wait(30) == 0, fleet.output()
    assert fleet.reports()[-1].end_reason == "dismissed before the start"
    (fleet.folder / "fleet" / "dismissed.json").unlink()
    (fleet.folder / "fleet" / "spec.json").unlink()
    assert fleet.start().wait(30) == 2
    assert "fleet/spec.json does not exist. Set HEADROOM_STORE to the run's folder." in fleet.output()
