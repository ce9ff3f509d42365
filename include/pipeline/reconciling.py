"""Reads back from the store what every shard recorded, and compares it with what was reported and judged live.

`validate` does it for every run; `python -m include.pipeline.reconciling SERVICE RUN_ID` by hand.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO, cast

from include.capacity.errors import HeadroomError, InvalidData
from include.capacity.jtl.bulk import aggregate_jtl
from include.capacity.jtl.bulk_table import SecondTable
from include.capacity.jtl.layout import JtlOptions
from include.capacity.jtl.reconcile import (
    Reconciled,
    ReconciledProbe,
    Recorded,
    RecordedSeconds,
    Reported,
    reconcile,
    reconcile_probe,
)
from include.capacity.protocol import (
    ShardReport,
    incarnation_folder,
    report_path,
    results_folder,
    results_part,
    shard_folder,
)
from include.pipeline.installation import Installation
from include.pipeline.run_folder import RunFolder, folder_of_run
from include.pipeline.run_plan import STAGES
from include.store.artefacts import ArtefactStore

_AT_ONCE = 8  # reports that are fetched at the same time: a remote store answers each in tens of milliseconds
_CHUNK = 256


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """Each start of each shard, and each valid probe."""

    shards: tuple[Reconciled, ...]
    probes: tuple[ReconciledProbe, ...]


def reconcile_run(folder: RunFolder, shards: int) -> Reconciliation:
    """Compares all that a run recorded with all that was reported and judged. Memory grows with the seconds of its
    probes, not with the transactions.

    Probes are compared only if the store holds all that was recorded; those that are not valid never are. Raises
    StoreError. A report or a part that cannot be read makes its shard `different`.
    """
    valid = [probe for probe in folder.probes(STAGES) if probe.validity.status == "valid"]
    wanted = {second.second for probe in valid for second in folder.seconds_of(probe)}
    recorded = RecordedSeconds()
    fleet = reconcile_fleet(folder.store, shards, lambda table: recorded.add(table, wanted))
    probes: list[ReconciledProbe] = []
    if all(each.state == "equal" for each in fleet):
        probes = [reconcile_probe(probe.stage, probe.number, folder.seconds_of(probe), recorded) for probe in valid]
    return Reconciliation(tuple(fleet), tuple(probes))


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 all is equal, 1 something differs or is missing, 2 wrong input."""
    parser = argparse.ArgumentParser(
        prog="python -m include.pipeline.reconciling",
        description="Compares what JMeter recorded with what was reported and judged, for one stored run.",
        epilog="Exit status: 0 equal; 1 something differs or is missing; 2 wrong input. HEADROOM_ARTEFACTS: the store.",
    )
    parser.add_argument("service", help="name of the service profile, such as checkout")
    parser.add_argument("run_id", help="the DAG run's id as the UI shows it")
    arguments = parser.parse_args(argv)
    try:
        folder = folder_of_run(Installation.from_environment().store(), arguments.service, arguments.run_id)
        found = reconcile_run(folder, folder.plan().profile.load.fleet.shards)
    except HeadroomError as error:
        print(error, file=sys.stderr)
        return 2
    for each in found.shards:
        print(f"shard {each.shard}: {each.reported:>9,} reported, {each.recorded:>9,} recorded: {each.state}")
    for probe in found.probes:
        print(f"{probe.stage} {probe.number}: {probe.judged:>9,} judged, {probe.recorded:>9,} recorded: {probe.state}")
    told = [each.told for each in found.shards if each.told] + [each.told for each in found.probes if each.told]
    print("\n".join(told) or "What was recorded, reported and judged is the same.")
    return 1 if told else 0


def reconcile_fleet(
    store: ArtefactStore, shards: int, sink: Callable[[SecondTable], None] = lambda _: None
) -> list[Reconciled]:
    """One entry for each start of each shard of a run; `sink` takes what was recorded, finished second by second."""
    return [
        _reconciled(store, shard, incarnation, sink)
        for shard in range(shards)
        for incarnation in store.names(shard_folder(shard))
        if incarnation[:1].isdigit()
    ]


def _reconciled(store: ArtefactStore, shard: int, incarnation: str, sink: Callable[[SecondTable], None]) -> Reconciled:
    live = Reported()
    try:
        for report in _reports(store, shard, incarnation):
            live.add(report)
    except InvalidData as error:
        return Reconciled(shard, incarnation, "different", live.transactions, 0, f"shard {shard}: {error}")
    return reconcile(shard, incarnation, live, _recorded(store, shard, incarnation, sink))


def _reports(store: ArtefactStore, shard: int, incarnation: str) -> Iterator[ShardReport]:
    count = len(store.names(f"{incarnation_folder(shard, incarnation)}/reports"))
    paths = (report_path(shard, incarnation, number) for number in range(count))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while chunk := list(islice(paths, _CHUNK)):
            for data in pool.map(store.read, chunk):
                yield ShardReport.loads(data)


def _recorded(store: ArtefactStore, shard: int, incarnation: str, sink: Callable[[SecondTable], None]) -> Recorded:
    names = store.names(results_folder(shard, incarnation))
    numbers = tuple(int(name.split(".")[0]) for name in names if name.split(".")[0].isdigit())
    if not numbers:
        return Recorded()
    paths = (results_part(shard, incarnation, number) for number in numbers)
    options = JtlOptions(name=f"the results of shard {shard}")
    try:
        with io.BufferedReader(_Parts(store, paths)) as stream:
            result = aggregate_jtl(cast(BinaryIO, stream), options=options, sink=sink, forgiving=True)
    except InvalidData as error:
        return Recorded(numbers, unreadable=str(error))
    damaged = [str(example) for example in result.rejections.examples if "damaged" in example.reason]
    return Recorded(numbers, result, unreadable=damaged[0] if damaged else "")


class _Parts(io.RawIOBase):
    """The parts of a results file as one stream; one of them is in memory at a time."""

    def __init__(self, store: ArtefactStore, paths: Iterator[str]) -> None:
        self._store, self._paths = store, paths
        self._part = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, room: memoryview) -> int:  # type: ignore[override]
        while not self._part:
            path = next(self._paths, None)
            if path is None:
                return 0
            self._part = memoryview(self._store.read(path))
        size = min(len(room), len(self._part))
        room[:size] = self._part[:size]
        self._part = self._part[size:]
        return size


if __name__ == "__main__":
    sys.exit(main())
