"""After the load: validation, comparison and publication, all from stored artefacts. May be repeated at any time."""

from __future__ import annotations

import hashlib
import logging
import platform
import re
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from include.capacity.baseline.comparison import Comparison, compare
from include.capacity.baseline.prior import prior_tps
from include.capacity.cost import Cost, run_cost
from include.capacity.errors import HeadroomError
from include.capacity.models import Answer
from include.capacity.report.codec import from_json, to_json
from include.capacity.report.facts import (
    Environment,
    ExpectationOutcome,
    Instance,
    Method,
    PlanFacts,
    Restored,
    RunFacts,
    Sizes,
    Versions,
)
from include.capacity.report.result import build_result, level_of, result_text, slo_text
from include.capacity.report.tables import health_table, probes_table
from include.capacity.validity.series import load_seconds, seen_ratio, series_row
from include.environment.journal import JOURNAL
from include.expectations.columns import RunTables
from include.history.store import HistoryStore
from include.pipeline.collecting import SERIES
from include.pipeline.environment_journal import RESTORED_PATH
from include.pipeline.fleet import plan_file
from include.pipeline.installation import VERSION, Installation
from include.pipeline.publishing import write_documents
from include.pipeline.reconciling import reconcile_run
from include.pipeline.run_folder import ANSWER_PATH, COLLECTED_PATH, RESULT_PATH, SMOKE_PATH, RunFolder
from include.pipeline.run_plan import STAGES, RunPlan
from include.pipeline.validating import validate_run
from include.store.artefacts import ArtefactStore

log = logging.getLogger(__name__)

QUALITY_PATH = "data-quality.json"
COMPARISON_PATH = "comparison.json"
DATA_DOCS = "data-docs"
DOCUMENTS = "documents"
SECONDS_TABLE_PATH = "seconds.json"
RESULTS_CHECK_PATH = "results-check.json"
ARTEFACTS = {
    "plan": "plan.json",
    "probes": "probes",
    "seconds": SECONDS_TABLE_PATH,
    "collected": COLLECTED_PATH,
    "data_docs": f"{DATA_DOCS}/index.html",
    "documents": DOCUMENTS,
    "load_fleet": "fleet",
    "results_check": RESULTS_CHECK_PATH,
    "journal": JOURNAL,
}


def validate_collected(plan: RunPlan, folder: RunFolder) -> list[ExpectationOutcome]:
    """Runs the expectations, stores their outcomes and the Data Docs."""
    seconds = folder.seconds_table()
    folder.store.write_json(SECONDS_TABLE_PATH, seconds)
    results = reconcile_run(folder, plan.profile.load.fleet.shards)
    folder.store.write_json(RESULTS_CHECK_PATH, to_json(results))
    with tempfile.TemporaryDirectory(prefix="headroom-docs-") as scratch:
        run, limits = _run_tables(plan, folder, seconds), plan.profile.validity_limits()
        outcomes = validate_run(run, limits, Path(scratch), results=results)
        upload_folder(Path(scratch), folder.store, DATA_DOCS)
    folder.store.write_json(QUALITY_PATH, to_json(tuple(outcomes)))
    return outcomes


def _run_tables(plan: RunPlan, folder: RunFolder, seconds: Sequence[Mapping[str, Any]]) -> RunTables:
    probes, limits = folder.probes(STAGES), plan.profile.validity_limits()
    started_at = datetime.fromisoformat(plan.started_at).timestamp()
    return RunTables(
        seconds=seconds,
        probes=probes_table(probes),
        shards=_shard_table(plan, folder),
        health=[row for probe in probes for row in health_table(probe, folder.seconds_of(probe), limits)],
        series=_series_table(plan, folder, seconds),
        started_at=started_at,
        ended_at=max([started_at, *(probe.ended_at for probe in probes)]),
    )


def _series_table(plan: RunPlan, folder: RunFolder, seconds: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row per series of CloudWatch that a run collects, whether there is anything of it or not."""
    period_s, load = plan.profile.aws.metric_period_s, load_seconds(seconds)
    collected = (_json_or_none(folder.store, COLLECTED_PATH) or {}).get("series", {})
    rows = []
    for name, presence in SERIES.items():
        points = [(datetime.fromisoformat(at).timestamp(), value) for at, value in collected.get(name, ())]
        row = series_row(name, points, load, period_s=period_s, presence=presence)
        if name == "requests" and plan.profile.target.url is None:  # else the load does not come through the balancer
            row["seen_ratio"] = seen_ratio(points, load, period_s=period_s)
        rows.append(row)
    return rows


def _shard_table(plan: RunPlan, folder: RunFolder) -> list[dict[str, Any]]:
    """One row per expected shard: in how many seconds it reported, out of how many, and as how many incarnations."""
    seen: dict[int, int] = defaultdict(int)
    incarnations: dict[int, set[str]] = defaultdict(set)
    total = 0
    for probe in folder.probes(STAGES):
        for second in folder.seconds_of(probe):
            total += 1
            for shard in second.shards:
                seen[shard.shard] += 1
                incarnations[shard.shard].add(shard.incarnation)
    return [
        {"shard": shard, "seconds": seen[shard], "expected_seconds": total, "incarnations": len(incarnations[shard])}
        for shard in range(plan.profile.load.fleet.shards)
    ]


def with_prior(plan: RunPlan, installation: Installation) -> RunPlan:
    """The plan with the newest comparable answer as its prior. A history that cannot be read stops no run."""
    if not plan.profile.search.use_prior:
        return plan
    conditions = {
        "SLO": slo_text(plan.profile.slo_conditions()),
        "instances": str(plan.profile.prescale.instances),
    }
    try:
        return replace(plan, prior_tps=prior_tps(_history(installation).levels(plan.service), conditions))
    except HeadroomError as error:
        log.warning("The search begins without a prior: %s", error)
        return plan


def compare_with_history(plan: RunPlan, folder: RunFolder, installation: Installation) -> Comparison:
    """Stores the verdict. Earlier publications of this very run do not count as history."""
    history = _history(installation)
    current = level_of(build_result(run_facts(plan, folder)))
    earlier = [level for level in history.levels(plan.service) if level.run_id != plan.run_id]
    comparison = compare(current, earlier)
    folder.store.write_json(COMPARISON_PATH, to_json(comparison))
    return comparison


def publish(plan: RunPlan, folder: RunFolder, installation: Installation) -> dict[str, Any]:
    """Writes result.json, the documents and the history row; publishing twice changes nothing."""
    result = build_result(run_facts(plan, folder))
    folder.store.write(RESULT_PATH, result_text(result).encode())
    history = _history(installation)
    history.record(result)
    earlier = [run.summary() for run in history.runs(plan.service) if run.run_id != plan.run_id]
    with tempfile.TemporaryDirectory(prefix="headroom-documents-") as scratch:
        write_documents(result, folder.seconds_table(), earlier, Path(scratch), run_folder="..")
        upload_folder(Path(scratch), folder.store, DOCUMENTS)
    return result


def _history(installation: Installation) -> HistoryStore:
    history = HistoryStore(installation.history)
    history.migrate()
    return history


def upload_folder(source: Path, store: ArtefactStore, folder: str) -> None:
    for path in sorted(source.rglob("*")):
        if path.is_file():
            store.upload(str(path), f"{folder}/{path.relative_to(source).as_posix()}")


def run_facts(plan: RunPlan, folder: RunFolder) -> RunFacts:
    """Everything the result says, read back from the run's folder."""
    profile, notes = plan.profile, folder.notes()
    probes = tuple(folder.probes(STAGES))
    answer = folder.answer() if folder.store.exists(ANSWER_PATH) else None
    smoke = _json_or_none(folder.store, SMOKE_PATH) or {}
    started_at = datetime.fromisoformat(plan.started_at).timestamp()
    return RunFacts(
        service=plan.service,
        description=profile.description,
        owner=profile.owner,
        run_id=plan.run_id,
        mode="release" if plan.mode == "release" else "weekly",
        started_at=started_at,
        ended_at=max([started_at, notes.get("restored_at", started_at), *(probe.ended_at for probe in probes)]),
        slo=profile.slo_conditions(),
        answer=answer,
        failure=_failure(answer, bool(smoke), notes.get("stopped", "")),
        transactions_per_arrival=smoke.get("transactions_per_arrival", 1.0),
        probes=probes,
        method=Method(
            search=plan.search_settings(),
            limits=profile.validity_limits(),
            arrivals=profile.load.arrivals,
            shards=profile.load.fleet.shards,
            threads_per_shard=profile.load.fleet.threads_per_shard,
        ),
        plan=_plan_facts(plan, folder, notes),
        versions=_versions(folder.store),
        environment=_environment(plan, notes),
        restored=_restored(folder.store),
        comparison=_stored(folder.store, COMPARISON_PATH, Comparison),
        cost=_cost(plan, notes),
        data_quality=_stored(folder.store, QUALITY_PATH, tuple[ExpectationOutcome, ...]) or (),
        artefacts=ARTEFACTS,
    )


def _failure(answer: Answer | None, smoke_passed: bool, stopped: str) -> str:
    if answer is not None:
        return ""
    if stopped:
        return f"The run was stopped from outside before it came to an answer. {stopped}"
    if not smoke_passed:
        return "The smoke probe did not pass, so no search took place; its log says why."
    return "The search was ended before it came to an answer; the logs of search and confirm say why."


def _plan_facts(plan: RunPlan, folder: RunFolder, notes: Mapping[str, Any]) -> PlanFacts:
    stored = folder.store.read_or_none(f"plan/{plan_file(plan.profile).name}")
    digest = hashlib.sha256(stored).hexdigest() if stored is not None else ""
    return PlanFacts(plan.profile.load.plan, digest, tuple(notes.get("plan_notes", ())))


def _versions(store: ArtefactStore) -> Versions:
    """Those of JMeter and Java come from the first shard's JMeter log."""
    jmeter, java = "", ""
    for name in store.names("fleet"):
        for incarnation in store.names(f"fleet/{name}") if name.startswith("shard-") else []:
            log = (store.read_or_none(f"fleet/{name}/{incarnation}/jmeter.log") or b"").decode(errors="replace")
            jmeter = jmeter or _first_match(r"Version (\d[\w.]*)", log)
            java = java or _first_match(r"java\.version\s*=\s*(\S+)", log)
    return Versions(VERSION, _package("apache-airflow"), jmeter, platform.python_version(), java)


def _first_match(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1] if found else ""


def _package(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _environment(plan: RunPlan, notes: Mapping[str, Any]) -> Environment:
    aws = plan.profile.aws
    during, before = notes.get("during"), notes.get("before")
    types: Sequence[str] = (during or before or {}).get("instance_types", [])
    return Environment(
        region=aws.region,
        account=aws.account,
        autoscaling_group=aws.autoscaling_group,
        instance_type=", ".join(types),
        load_balancer=aws.load_balancer,
        target=notes.get("target", ""),
        before=_sizes(before),
        during=_sizes(during),
        instances=tuple(Instance(**entry) for entry in notes.get("instances", ())),
    )


def _sizes(facts: Mapping[str, Any] | None) -> Sizes | None:
    if facts is None:
        return None
    sizes = facts["sizes"]
    return Sizes(minimum=sizes["MinSize"], desired=sizes["DesiredCapacity"], maximum=sizes["MaxSize"])


def _restored(store: ArtefactStore) -> Restored:
    outcome = _json_or_none(store, RESTORED_PATH)
    if outcome is None:
        return Restored(False, ("The environment was not restored; the log of the task restore says why.",))
    return Restored(outcome["equal"], (*outcome["differences"], *outcome["conflicts"], *outcome.get("failures", ())))


def _cost(plan: RunPlan, notes: Mapping[str, Any]) -> Cost | None:
    before, during = _sizes(notes.get("before")), _sizes(notes.get("during"))
    if before is None or during is None or "fleet_opened_at" not in notes:
        return None
    ended = notes.get("fleet_ended_at", notes["fleet_opened_at"])
    return run_cost(
        plan.profile.prices,
        shards=plan.profile.load.fleet.shards,
        fleet_s=ended - notes["fleet_opened_at"],
        added_instances=during.desired - before.desired,
        environment_s=notes.get("restored_at", ended) - notes["prescale_began_at"],
    )


def _json_or_none(store: ArtefactStore, path: str) -> Any:
    try:
        return store.read_json(path)
    except FileNotFoundError:
        return None


def _stored(store: ArtefactStore, path: str, kind: Any) -> Any:
    raw = _json_or_none(store, path)
    return None if raw is None else from_json(kind, raw, path)
