"""What shards leave in the store, read back and compared; and the expectations about it."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from include.capacity.histogram import Histogram, bucket_of
from include.capacity.jtl.follow import JtlFollower
from include.capacity.jtl.reconcile import Reconciled
from include.capacity.models import ValidityLimits
from include.capacity.protocol import Counters, GeneratorHealth, ShardReport, report_path, results_part
from include.expectations.columns import RunTables
from include.pipeline import reconciling
from include.pipeline.installation import SERVICES
from include.pipeline.reconciling import Reconciliation, reconcile_fleet, reconcile_run
from include.pipeline.run_folder import RunFolder
from include.pipeline.run_plan import resolve, save
from include.pipeline.validating import validate_run
from include.store.artefacts import ArtefactStore
from tests.unit.capacity.examples import result, second

HEADER = b'timeStamp,elapsed,label,responseCode,responseMessage,success,bytes,"headroom_arrival"\n'
INCARNATION = "00000000000000000005-7"


@pytest.fixture
def store(tmp_path: Path) -> ArtefactStore:
    return ArtefactStore.open(str(tmp_path / "run"))


def rows(first: int, count: int) -> bytes:
    return b"".join(
        f"{1_766_000_000_000 + 7 * number},20,home,200,OK,true,10,{number}:300\n".encode()
        for number in range(first, first + count)
    )


def leave(store: ArtefactStore, shard: int, pieces: list[bytes], *, parts: int | None = None) -> None:
    """A shard that reported every piece, and kept the first `parts` of them (all by default)."""
    follower = JtlFollower("results.jtl")
    for number, piece in enumerate(pieces):
        follower.feed(piece)
        last = number == len(pieces) - 1
        report = ShardReport(
            *(shard, INCARNATION, number, 1_766_000_000.0, "ready", 1, 1, 5.0, None, Counters(), GeneratorHealth()),
            rows=follower.drain().rows,
            rejected=follower.drain_rejects().count,
            final=last,
        )
        store.write(report_path(shard, INCARNATION, number), report.dumps())
    for number, piece in enumerate(pieces[:parts]):
        store.write(results_part(shard, INCARNATION, number), gzip.compress(piece))


def states(found: list[Reconciled]) -> list[tuple[int, str, int, int]]:
    return [(each.shard, each.state, each.reported, each.recorded) for each in found]


def outcomes(found: Reconciliation) -> dict[str, tuple[bool, str]]:
    names = ("results_match_reports", "results_kept", "probes_match_results")
    nothing = RunTables((), (), (), (), (), 0.0, 1.0)
    results = validate_run(nothing, ValidityLimits(40.0, 0.9, 0.1, 1, 0.001, 0.02), None, results=found)
    return {each.name: (each.success, each.observed) for each in results if each.name in names}


def test_every_shard_is_compared_part_by_part(store: ArtefactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciling, "_CHUNK", 3)
    whole = HEADER + rows(0, 500)
    pieces = [whole[start : start + 1500] for start in range(0, len(whole), 1500)]  # parts end anywhere in a line
    leave(store, 0, pieces)
    leave(store, 1, [HEADER, rows(0, 300), rows(300, 100)], parts=2)
    store.write("fleet/shard-000/notes.txt", b"")
    found = reconcile_fleet(store, 3)
    assert states(found) == [(0, "equal", 500, 500), (1, "incomplete", 400, 300)]
    met = outcomes(Reconciliation(tuple(found), ()))
    assert met["results_match_reports"] == (True, "all 2 values hold")
    assert met["results_kept"][0] is False
    assert "shard 1, incarnation 00000000000000000005-7: of 400 transactions" in met["results_kept"][1]
    assert met["probes_match_results"][0] is True


def test_a_difference_fails_the_run_by_name(store: ArtefactStore) -> None:
    leave(store, 0, [HEADER + rows(0, 10)])
    store.write(results_part(0, INCARNATION, 0), gzip.compress(HEADER + rows(0, 11)))
    met = outcomes(Reconciliation(tuple(reconcile_fleet(store, 1)), ()))
    assert met["results_match_reports"][0] is False
    assert "home (ok): 10 reported, 11 recorded" in met["results_match_reports"][1]
    assert met["results_kept"][0] is True


@pytest.mark.parametrize("spoil", [lambda data: data[:-12], lambda data: data[:40] + b"xx" + data[42:], lambda _: b""])
def test_a_damaged_part_is_told(store: ArtefactStore, spoil) -> None:  # type: ignore[no-untyped-def]
    leave(store, 0, [HEADER + rows(0, 50), rows(50, 500)])
    path = results_part(0, INCARNATION, 1)
    store.write(path, spoil(store.read(path)))
    (found,) = reconcile_fleet(store, 1)
    assert (found.state, found.told[:8]) in [("different", "shard 0,"), ("incomplete", "shard 0,")]


def test_a_report_that_is_none_is_told(store: ArtefactStore) -> None:
    leave(store, 0, [HEADER + rows(0, 50)])
    store.write(report_path(0, INCARNATION, 0), b"{}")
    (found,) = reconcile_fleet(store, 1)
    assert (found.state, "not a shard report" in found.told) == ("different", True)


def judged_run(store: ArtefactStore, *, completed: int = 142, rows_judged: int = 142) -> Reconciliation:
    """Two shards of 500 rows each, 7 ms apart from second 1766000000 on, and a probe that judged the second after."""
    for shard in range(2):
        leave(store, shard, [HEADER + rows(0, 500)])
    at = 1_766_000_001
    latency = Histogram({bucket_of(20_300): 2 * rows_judged})
    folder = RunFolder(store)
    probe = result("probe", 143.0, True)
    assert probe.validity.status == "valid"
    folder.add_probe(probe, [second(at, completed=2 * completed, rows={("home", "ok"): latency})])
    return reconcile_run(folder, 2)


def test_a_probe_is_compared_with_what_all_shards_recorded(store: ArtefactStore) -> None:
    found = judged_run(store)
    (probe,) = found.probes
    assert (probe.state, probe.judged, probe.recorded) == ("equal", 284, 286), probe.told  # two came late
    assert all(met for met, _ in outcomes(found).values())
    store.delete(results_part(1, INCARNATION, 0))
    assert reconcile_run(RunFolder(store), 2).probes == ()  # nothing to compare with


@pytest.mark.parametrize(
    ("completed", "rows_judged", "told"),
    [
        (140, 140, "of 286 transactions that ended in its seconds, the judgement missed 6"),
        (144, 142, "more transactions were judged than recorded in the seconds 1766000001"),
        (143, 144, "more was judged than recorded: home (ok): 288 judged, 286 recorded"),
    ],
)
def test_a_probe_that_was_judged_on_something_else_fails_by_name(
    store: ArtefactStore, completed: int, rows_judged: int, told: str
) -> None:
    found = judged_run(store, completed=completed, rows_judged=rows_judged)
    met = outcomes(found)["probes_match_results"]
    assert (met[0], told in met[1]) == (False, True), met


def test_a_stored_run_can_be_compared_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEADROOM_ARTEFACTS", str(tmp_path))
    plan = resolve(
        (SERVICES / "checkout.yaml").read_text(encoding="utf-8"),
        "checkout.yaml",
        {},
        dag_id="capacity_weekly__checkout",
        run_id="manual__1",
        mode="weekly",
        started_at="2026-08-03T03:00:00+00:00",
    )
    store = RunFolder.of("checkout", "manual__1").store
    save(plan, store)
    judged_run(store)
    assert reconciling.main(["checkout", "manual__1"]) == 0
    output = capsys.readouterr().out
    assert "shard 1:       500 reported,       500 recorded: equal" in output
    assert "search 0:       284 judged,       286 recorded: equal" in output
    store.write(results_part(0, INCARNATION, 0), gzip.compress(HEADER + rows(0, 501)))
    assert reconciling.main(["checkout", "manual__1"]) == 1
    assert "home (ok): 500 reported, 501 recorded" in capsys.readouterr().out
    assert reconciling.main(["checkout", "manual__2"]) == 2
    assert "is no run" in capsys.readouterr().err
