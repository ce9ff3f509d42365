"""The run's folder in the artefact store and what the stages keep in it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from include.capacity.codec import answer_from_json, answer_to_json, probe_from_json, probe_to_json
from include.capacity.fleet import merged_rows
from include.capacity.histogram import Histogram
from include.capacity.models import Answer, FleetSecond, ProbeResult
from include.pipeline.installation import Installation
from include.pipeline.run_plan import STAGES, RunPlan, load, run_key
from include.store.artefacts import ArtefactStore

ANSWER_PATH = "answer.json"
SMOKE_PATH = "smoke.json"
ENVIRONMENT_PATH = "environment.json"
COLLECTED_PATH = "collected.json"
RESULT_PATH = "result.json"


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
        """Stores a probe and its seconds; the seconds first, so that a stored probe always has them."""
        name = f"{result.stage}/{result.number:03d}.json"
        rows = [second_row(second, result) for second in seconds]
        self.store.write(f"seconds/{name}", json.dumps(rows, separators=(",", ":")).encode())
        self.store.write_json(f"probes/{name}", probe_to_json(result))

    def seconds(self) -> list[dict[str, Any]]:
        """The per-second table of the whole run, ordered by time."""
        rows: list[dict[str, Any]] = []
        for stage in STAGES:
            for name in self.store.names(f"seconds/{stage}"):
                rows += self.store.read_json(f"seconds/{stage}/{name}")
        return sorted(rows, key=lambda row: (row["second"], row["stage"], row["number"]))

    def save_answer(self, answer: Answer) -> None:
        self.store.write_json(ANSWER_PATH, answer_to_json(answer))

    def answer(self) -> Answer:
        return answer_from_json(self.store.read_json(ANSWER_PATH))

    def transactions_per_arrival(self) -> float:
        return float(self.store.read_json(SMOKE_PATH)["transactions_per_arrival"])

    def note_environment(self, facts: Mapping[str, Any]) -> None:
        """Adds facts about the environment to what is known already."""
        known = self.environment()
        self.store.write_json(ENVIRONMENT_PATH, {**known, **facts})

    def environment(self) -> dict[str, Any]:
        return json.loads(self.store.read_or_none(ENVIRONMENT_PATH) or b"{}")


def second_row(second: FleetSecond, result: ProbeResult) -> dict[str, Any]:
    """One line of the per-second table: rates in TPS, latencies in ms (null when nothing completed)."""
    outcomes = merged_rows([second])
    latency = Histogram.merged(outcomes.values())
    return {
        "second": second.second,
        "stage": result.stage,
        "number": result.number,
        "kind": result.step.kind,
        "commanded_tps": result.step.rate_tps,
        "offered_tps": second.offered * result.transactions_per_arrival,
        "completed_tps": second.completed,
        "transactions": latency.total,
        "p50_ms": latency.quantile_ms(0.5),
        "p95_ms": latency.quantile_ms(0.95),
        "p99_ms": latency.quantile_ms(0.99),
        "errors": sum(count.total for outcome, count in outcomes.items() if outcome != "ok"),
        "lag_p99_ms": second.lag.quantile_ms(0.99),
        "in_flight": second.in_flight,
        "shards": len(second.shards),
        "missing_shards": len(second.missing),
        "rejected": second.rejected,
        "generator_cpu_cores": max((shard.generator.jmeter_cpu_cores for shard in second.shards), default=0.0),
    }
