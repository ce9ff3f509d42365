"""The run's folder in the artefact store and what the stages keep in it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from include.capacity.codec import (
    answer_from_json,
    answer_to_json,
    probe_from_json,
    probe_to_json,
    second_from_json,
    second_to_json,
)
from include.capacity.errors import ConfigError
from include.capacity.models import Answer, FleetSecond, ProbeResult
from include.capacity.report.tables import judged_seconds, run_second
from include.capacity.validity.responses import SizeRange, sizes_from_json, sizes_to_json
from include.pipeline.installation import Installation
from include.pipeline.run_plan import PLAN_PATH, STAGES, RunPlan, load, run_key
from include.store.artefacts import ArtefactStore

ANSWER_PATH = "answer.json"
SMOKE_PATH = "smoke.json"
RESPONSES_PATH = "responses.json"
NOTES_PATH = "notes.json"
COLLECTED_PATH = "collected.json"
RESULT_PATH = "result.json"
RUNS_SHOWN = 10  # of those that there are, to somebody who named another


def run_store(installation: Installation, service: str, run_id: str) -> ArtefactStore:
    return installation.store().below(f"{service}/{run_key(run_id)}")


class RunFolder:
    """Reads and writes the run's artefacts by name; each of them is written by exactly one stage."""

    def __init__(self, store: ArtefactStore) -> None:
        self.store = store

    @classmethod
    def of(cls, service: str, run_id: str) -> RunFolder:
        return cls(run_store(Installation.from_environment(), service, run_id))

    def plan(self) -> RunPlan:
        return load(self.store)

    def probes(self, stages: Iterable[str] = ("search", "confirm")) -> list[ProbeResult]:
        """Results of the stages in order of execution."""
        found = []
        for stage in stages:
            for name in self.store.names(f"probes/{stage}"):
                found.append(probe_from_json(self.store.read_json(f"probes/{stage}/{name}")))
        return found

    def add_probe(self, result: ProbeResult, seconds: Iterable[FleetSecond]) -> None:
        """Stores a probe and the seconds it was judged on; the seconds first: a stored probe always has them."""
        name = f"{result.stage}/{result.number:03d}.json"
        rows = [second_to_json(second) for second in seconds]
        self.store.write(f"seconds/{name}", json.dumps(rows, separators=(",", ":")).encode())
        self.store.write_json(f"probes/{name}", probe_to_json(result))

    def seconds_of(self, probe: ProbeResult) -> list[FleetSecond]:
        rows = self.store.read_json(f"seconds/{probe.stage}/{probe.number:03d}.json")
        return [second_from_json(row) for row in rows]

    def seconds_table(self) -> list[dict[str, Any]]:
        """One row per second of all probes, smoke included, ordered by time (see `capacity.report.tables`)."""
        rows = []
        for probe in self.probes(STAGES):
            seconds = self.seconds_of(probe)
            judged = {second.second for second in judged_seconds(probe, seconds)}
            rows += [
                asdict(
                    run_second(
                        second,
                        stage=probe.stage,
                        probe=probe.number,
                        kind=probe.step.kind,
                        judged=second.second in judged,
                        commanded_tps=probe.step.rate_tps,
                        transactions_per_arrival=probe.transactions_per_arrival,
                    )
                )
                for second in seconds
            ]
        return sorted(rows, key=lambda row: (row["second"], row["stage"], row["probe"]))

    def save_answer(self, answer: Answer) -> None:
        self.store.write_json(ANSWER_PATH, answer_to_json(answer))

    def answer(self) -> Answer:
        return answer_from_json(self.store.read_json(ANSWER_PATH))

    def transactions_per_arrival(self) -> float:
        return float(self.store.read_json(SMOKE_PATH)["transactions_per_arrival"])

    def save_usual_sizes(self, usual: Mapping[str, SizeRange]) -> None:
        self.store.write_json(RESPONSES_PATH, sizes_to_json(usual))

    def usual_sizes(self) -> dict[str, SizeRange]:
        """Label -> sizes of good responses in the smoke probe; empty for a run that did not store them."""
        return sizes_from_json(json.loads(self.store.read_or_none(RESPONSES_PATH) or b"{}"))

    def note(self, facts: Mapping[str, Any]) -> None:
        """Adds facts (about the environment, about times) to what is known already."""
        known = self.notes()
        self.store.write_json(NOTES_PATH, {**known, **facts})

    def notes(self) -> dict[str, Any]:
        return json.loads(self.store.read_or_none(NOTES_PATH) or b"{}")


def folder_of_run(root: ArtefactStore, service: str, run_id: str) -> RunFolder:
    """The folder of a run that exists. Raises ConfigError, which names the latest runs that there are."""
    folder = RunFolder.of(service, run_id)
    if not folder.store.exists(PLAN_PATH):
        known = [name for name in root.names(service) if root.exists(f"{service}/{name}/{PLAN_PATH}")]
        cure = (
            f"The latest there: {', '.join(known[-RUNS_SHOWN:])}."
            if known
            else f"There is no run of {service!r} at all. Is HEADROOM_ARTEFACTS set as it is for Airflow?"
        )
        raise ConfigError(root.url, f"{service}/{run_key(run_id)}", "is no run.", cure)
    return folder
