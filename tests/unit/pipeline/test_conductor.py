"""The conductor against a simulated fleet: leases, readiness, holding, aborting, resuming."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from include.capacity.errors import NotReady, RunStopped
from include.capacity.models import Slo, SloCondition, Step, ValidityLimits
from include.capacity.protocol import COMMAND_PATH, Command
from include.capacity.validity.environment import EnvironmentState
from include.capacity.validity.responses import SizeRange
from include.pipeline.conductor import PROGRESS_PATH, Conductor, Observe, Stage
from include.store.artefacts import ArtefactStore
from tests.unit.pipeline.simulated_fleet import SimulatedFleet

SLO = Slo((SloCondition("latency_p95_ms", 250.0), SloCondition("error_ratio", 0.01)))
LIMITS = ValidityLimits(40.0, 0.9, 0.1, 1, 0.001, 0.02)
PROBE = Step("probe", 60.0, 12.0, 2.0, "a test")


@pytest.fixture
def store(tmp_path: Path) -> ArtefactStore:
    return ArtefactStore.open(str(tmp_path))


def conductor(
    fleet: SimulatedFleet,
    epoch: int = 1001,
    stop_reason: Callable[[], str | None] = lambda: None,
    observe: Observe = lambda: EnvironmentState({"in_service": 2.0}),
    usual_sizes: dict[str, SizeRange] | None = None,
) -> Conductor:
    return Conductor(
        fleet.store,
        Stage("search", epoch),
        shards=fleet.shards,
        lease_s=3.0,
        slo=SLO,
        limits=LIMITS,
        observe=observe,
        usual_sizes=usual_sizes,
        stop_reason=stop_reason,
        clock=fleet.clock(),
    )


def test_a_hold_is_judged_on_what_the_shards_counted(store: ArtefactStore) -> None:
    fleet = SimulatedFleet(store)
    conducted = conductor(fleet)
    conducted.wait_ready(10)
    result, seconds = conducted.run_step(PROBE, 4, transactions_per_arrival=1.0)
    assert result.validity.status == "valid", result.validity.reasons
    assert result.sustainable, result.misses
    assert (result.stage, result.number, result.stop) == ("search", 4, "hold complete")
    assert result.environment == {"in_service": 2.0}
    assert len(seconds) == 12
    assert result.offered_tps == pytest.approx(60, rel=0.15)
    assert {rate for at, rate in fleet.rates if rate} == {60.0}  # never a gap: the lease was renewed in time


def test_an_overload_is_aborted_long_before_the_hold_ends(store: ArtefactStore) -> None:
    fleet = SimulatedFleet(store, capacity_tps=50)
    conducted = conductor(fleet)
    conducted.wait_ready(10)
    began = fleet.now
    result, _ = conducted.run_step(Step("probe", 200.0, 60.0, 2.0, "far too much"), 0, transactions_per_arrival=1.0)
    assert result.sustainable is False
    assert result.stop != "hold complete"
    assert fleet.now - began < 10
    fleet.advance(1)
    assert fleet.rate() == 0


def test_without_its_conductor_the_fleet_falls_to_zero_within_the_lease(store: ArtefactStore) -> None:
    fleet = SimulatedFleet(store)
    conducted = conductor(fleet)
    conducted.command(80)
    fleet.advance(2)
    assert fleet.rate() == 80
    fleet.advance(1.3)
    assert fleet.rate() == 0


@pytest.mark.parametrize("where", ["wait_ready", "warm", "run_step"])
def test_a_stop_from_outside_ends_the_load_at_once(store: ArtefactStore, where: str) -> None:
    fleet = SimulatedFleet(store)
    stop_at = fleet.now + 4
    conducted = conductor(fleet, stop_reason=lambda: "An alarm is on." if fleet.now > stop_at else None)
    work = {
        "wait_ready": lambda: conducted.wait_ready(60),
        "warm": lambda: conducted.warm(60, at_least_s=30, at_most_s=30),
        "run_step": lambda: conducted.run_step(PROBE, 0, transactions_per_arrival=1.0),
    }[where]
    if where == "wait_ready":
        fleet.silent = {1}
    with pytest.raises(RunStopped, match="An alarm is on"):
        work()
    assert fleet.now - stop_at < 0.5
    fleet.advance(0.3)
    assert fleet.rate() == 0


def test_commands_of_an_older_conductor_lose(store: ArtefactStore) -> None:
    fleet = SimulatedFleet(store)
    old, new = conductor(fleet, epoch=1001), conductor(fleet, epoch=1002)
    new.command(10)
    fleet.advance(0.3)
    old.command(500)
    fleet.advance(0.3)
    assert fleet.rate() == 10
    assert Command.loads(store.read(COMMAND_PATH)).epoch == 1001  # it did write, but no shard obeys it


def test_a_silent_shard_makes_the_probe_invalid_never_slow(store: ArtefactStore) -> None:
    fleet = SimulatedFleet(store)
    conducted = conductor(fleet)
    conducted.wait_ready(10)
    fleet.silent = {1}
    result, _ = conducted.run_step(PROBE, 0, transactions_per_arrival=1.0)
    assert result.validity.status == "invalid"
    assert result.sustainable is None
    assert "Shard 1" in " ".join(result.validity.reasons)


def test_a_restarted_shard_makes_the_probe_invalid(store: ArtefactStore) -> None:
    fleet = SimulatedFleet(store)
    conducted = conductor(fleet)
    conducted.wait_ready(10)
    original = fleet.clock().sleep

    def sleep(seconds: float) -> None:
        original(seconds)
        if fleet.now > start + 5 and not restarted:
            restarted.append(1)
            fleet.restart(0)

    restarted: list[int] = []
    start = fleet.now
    conducted._clock = type(conducted._clock)(now=lambda: fleet.now, sleep=sleep)
    result, _ = conducted.run_step(PROBE, 0, transactions_per_arrival=1.0)
    assert result.validity.status == "invalid", result.validity


def test_lag_of_the_generator_makes_the_probe_invalid(store: ArtefactStore) -> None:
    fleet = SimulatedFleet(store)
    fleet.lag_ms = 120.0
    conducted = conductor(fleet)
    conducted.wait_ready(10)
    result, _ = conducted.run_step(PROBE, 0, transactions_per_arrival=1.0)
    assert result.validity.status == "invalid"
    assert "lag" in " ".join(result.validity.reasons)


@pytest.mark.parametrize(
    ("ahead_s", "words"),
    [
        (1.5, "The clock of shard 1 is at least 1."),
        (-1.5, "The clock of shard 1 is at least 1."),
        (0.4, ""),
        (-0.4, ""),
    ],
)
def test_a_skewed_clock_of_a_shard_makes_the_probe_invalid(store: ArtefactStore, ahead_s: float, words: str) -> None:
    fleet = SimulatedFleet(store)
    fleet.ahead_s = {1: ahead_s}
    conducted = conductor(fleet)
    conducted.wait_ready(10)
    result, seconds = conducted.run_step(PROBE, 0, transactions_per_arrival=1.0)
    assert {entry.shard for each in seconds for entry in each.shards if entry.in_force_after_s is not None} == {0, 1}
    if not words:
        assert result.validity.status == "valid", result.validity.reasons
        return
    assert result.validity.status == "invalid"
    (reason,) = result.validity.reasons
    assert reason.startswith(words)
    assert ("ahead of" if ahead_s > 0 else "behind") in reason


def test_an_instance_that_is_replaced_under_the_step_makes_the_probe_invalid(store: ArtefactStore) -> None:
    fleet = SimulatedFleet(store)
    start = fleet.now

    def observe() -> EnvironmentState:
        return EnvironmentState({"in_service": 2.0}, {"i-1": "a", "i-2" if fleet.now < start + 8 else "i-3": "a"})

    conducted = conductor(fleet, observe=observe)
    conducted.wait_ready(10)
    result, _ = conducted.run_step(PROBE, 0, transactions_per_arrival=1.0)
    assert result.validity.status == "invalid"
    assert "2 became 2; gone: i-2; new: i-3" in result.validity.reasons[0]
    again, _ = conducted.run_step(PROBE, 1, transactions_per_arrival=1.0)
    assert again.validity.status == "valid", again.validity.reasons


def test_another_answer_than_in_the_smoke_probe_makes_the_probe_invalid(store: ArtefactStore) -> None:
    fleet = SimulatedFleet(store)
    smoke = conductor(fleet)
    smoke.wait_ready(10)
    smoke.run_step(Step("smoke", 40.0, 5.0, 0.0, "a test"), 0, transactions_per_arrival=1.0)
    usual = smoke.response_sizes()
    assert usual["browse"].low <= 2048 <= usual["browse"].high
    fleet.sizes = [2048, 2048, 2048, 700]  # every fourth response is another page
    result, _ = conductor(fleet, epoch=2001, usual_sizes=usual).run_step(PROBE, 0, transactions_per_arrival=1.0)
    assert result.validity.status == "invalid"
    assert "good responses of browse have another size than in the smoke probe" in result.validity.reasons[0]


def test_a_fleet_that_never_comes_is_told_with_what_each_shard_said(store: ArtefactStore) -> None:
    fleet = SimulatedFleet(store)
    fleet.silent = {1}
    with pytest.raises(NotReady, match="shard 1: has not reported yet"):
        conductor(fleet).wait_ready(10)


def test_progress_is_told_while_a_step_is_held(store: ArtefactStore) -> None:
    fleet = SimulatedFleet(store)
    conducted = conductor(fleet)
    conducted.wait_ready(10)
    conducted.run_step(PROBE, 2, transactions_per_arrival=1.0)
    progress = json.loads(store.read(PROGRESS_PATH))
    assert (progress["stage"], progress["number"], progress["rate_tps"]) == ("search", 2, 60.0)
    assert progress["achieved_tps"] == pytest.approx(60, rel=0.3)


def test_an_unreadable_report_is_left_out(store: ArtefactStore) -> None:
    fleet = SimulatedFleet(store, shards=1)
    conducted = conductor(fleet)
    conducted.wait_ready(10)
    name = store.names("fleet/shard-000")[0]
    last = store.names(f"fleet/shard-000/{name}/reports")[-1]
    number = int(last.split(".")[0]) + 1
    store.write(f"fleet/shard-000/{name}/reports/{number:06d}.json", b'{"schema": 1, "shar')
    fleet._number[0] = number + 1
    result, _ = conducted.run_step(PROBE, 0, transactions_per_arrival=1.0)
    assert result.validity.status == "valid", result.validity


def test_an_unreadable_report_of_the_step_makes_the_probe_invalid_never_short(store: ArtefactStore) -> None:
    fleet = SimulatedFleet(store, shards=1)
    conducted = conductor(fleet)
    conducted.wait_ready(10)
    spoil_at = fleet.now + 6
    original = fleet.store.write

    def write(path: str, data: bytes) -> None:
        spoiled = "reports" in path and spoil_at < fleet.now < spoil_at + 1.2
        original(path, data[: len(data) // 2] if spoiled else data)

    fleet.store.write = write  # type: ignore[method-assign]
    result, _ = conducted.run_step(PROBE, 0, transactions_per_arrival=1.0)
    assert (result.validity.status, result.sustainable) == ("invalid", None)
    assert "Shard 0 did not report" in result.validity.reasons[0]
