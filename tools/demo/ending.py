"""The end of a demonstration: the sandbox's truth, the files in build/demo, and whether the run was good."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from include.capacity.errors import InvalidData
from include.capacity.report.result import result_text, with_sandbox_truth
from tools.airflow_api import DagRun
from tools.demo.artefacts import RunArtefacts
from tools.errors import ToolError
from tools.stack.airflow_environment import clean_environment
from tools.stack.layout import ROOT

TRUTH_LIMIT_S = 180


@dataclass(frozen=True, slots=True)
class Times:
    """Where the time went, in seconds; None where it is not known."""

    set_up_s: float | None
    start_s: float
    run_s: float
    load_s: float
    truth_s: float

    def text(self) -> str:
        parts = [
            f"start of sandbox and Airflow {self.start_s:.0f} s",
            f"run {self.run_s:.0f} s (load {self.load_s:.0f} s, outside load {self.run_s - self.load_s:.0f} s)",
            f"truth {self.truth_s:.0f} s",
        ]
        if self.set_up_s is not None:
            parts.insert(0, f"set-up {self.set_up_s:.0f} s")
        return ", ".join(parts)


def sandbox_truth(plant: Path, result: Mapping[str, Any]) -> dict[str, Any]:
    """What the sandbox's own simulation says about the service, for the SLO and the size that the run measured with.

    Raises ToolError.
    """
    command = [sys.executable, "-m", "sandbox", "truth", "--json", "--plant", str(plant)]
    if slo := slo_text(result["slo"]):
        command += ["--slo", slo]
    during = result["environment"]["sizes_during"]
    if during is not None:
        command += ["--instances", str(during["desired"])]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=TRUTH_LIMIT_S
        )
    except subprocess.TimeoutExpired:
        raise ToolError(f"The sandbox did not find the truth within {TRUTH_LIMIT_S} s.") from None
    if done.returncode != 0:
        raise ToolError(f"The sandbox could not say the truth: {(done.stderr or done.stdout).strip()}")
    try:
        values = json.loads(done.stdout)
    except ValueError as error:
        raise ToolError(f"The sandbox's truth is not JSON: {error}.") from None
    return {name: value for name, value in values.items() if value is None or isinstance(value, int | float | str)}


def slo_text(conditions: Sequence[Mapping[str, Any]]) -> str:
    """The conditions of a result that the sandbox can judge, as its --slo option takes them."""
    parts = []
    for condition in conditions:
        if condition["label"] != "all":
            continue
        if condition["metric"] == "error_ratio":
            parts.append(f"error_ratio={condition['limit'] * 100:.10g} %")
        elif condition["metric"].startswith("latency_"):
            parts.append(f"{condition['metric'].removesuffix('_ms')}={condition['limit']:.10g} ms")
    return ",".join(parts)


def keep_result(folder: Path, result: Mapping[str, Any], truth: Mapping[str, Any] | None) -> Path:
    """Write the result with the truth beside it. Raises ToolError if the run's result is not what its schema says."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "result.json"
    try:
        together = with_sandbox_truth(result, truth) if truth else result
    except InvalidData as error:
        raise ToolError(f"The run's result is malformed: {error}") from None
    path.write_text(result_text(together), encoding="utf-8")
    return path


def clear_folder(folder: Path) -> None:
    """Remove what an earlier demonstration left, so that nothing of it can be taken for this one's."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)


def copy_documents(artefacts: RunArtefacts, folder: Path) -> list[Path]:
    """Copy the generated documents; the pages among them. Their links to the glossary are bent to where it is."""
    if not artefacts.documents.is_dir():
        return []
    shutil.copytree(artefacts.documents, folder, dirs_exist_ok=True)
    pages = sorted(folder.rglob("*.md"))
    for page in pages:
        glossary = os.path.relpath(ROOT / "docs" / "glossary.md", page.parent)
        page.write_text(page.read_text(encoding="utf-8").replace("](../glossary.md", f"]({glossary}"), encoding="utf-8")
    return pages


def data_docs(artefacts: RunArtefacts, result: Mapping[str, Any]) -> Path | None:
    """The first page of the Data Docs, if they were written."""
    name = result["artefacts"].get("data_docs")
    return artefacts.folder / name if name else None


def load_seconds(result: Mapping[str, Any]) -> float:
    """How long the probes of a result took, in seconds."""
    return sum(_epoch(probe["ended_at"]) - _epoch(probe["started_at"]) for probe in result["probes"])


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def problems(run: DagRun, result: Mapping[str, Any] | None, failed_tasks: Sequence[str]) -> list[str]:
    """Why a run does not count; empty for a success with a verified, valid answer and a restored environment."""
    found = []
    if run.state != "success":
        tasks = f" (failed: {', '.join(failed_tasks)})" if failed_tasks else ""
        found.append(f"the run's state is {run.state}{tasks}")
    if result is None:
        found.append("the run published no result")
        return found
    validity = result["validity"]
    if validity["status"] != "valid":
        found.append(f"the answer is {validity['status']}: {' '.join(validity['reasons'])}")
    if result["answer"]["tps"] is None:
        found.append("there is no answer")
    elif not result["answer"]["verified"]:
        found.append("the answer was not verified by a soak")
    if not result["restored"]["equal"]:
        found.append(f"the environment was not restored: {'; '.join(result['restored']['differences']) or 'unknown'}")
    return found


def answer_lines(result: Mapping[str, Any], truth: Mapping[str, Any] | None) -> list[str]:
    """The answer in words, the truth beside it."""
    answer, interval = result["answer"], result["answer"]["interval"]
    slo = "; ".join(condition["text"] for condition in result["slo"])
    if answer["tps"] is None:
        lines = [f"Answer    none: {' '.join(answer['why']) or 'unknown'}"]
    else:
        bounds = " to ".join("?" if value is None else f"{value:.1f}" for value in (interval["low"], interval["high"]))
        bound = {"at_least": "at least ", "at_most": "at most "}.get(answer["bound"], "")
        kind = "verified by a soak" if answer["verified"] else "not verified"
        lines = [f"Answer    {bound}{answer['tps']:.1f} TPS sustained ({bounds}), {kind}; SLO: {slo}"]
        if truth is not None:
            error = f", the answer is {(answer['tps'] / truth['max_tps'] - 1) * 100:+.1f} %" if truth["max_tps"] else ""
            lines.append(f"Truth     {truth['max_tps']:.1f} TPS by the sandbox's own simulation{error}")
    restored = result["restored"]
    lines.append(
        "Restored  yes, the environment equals the snapshot taken before the run"
        if restored["equal"]
        else f"Restored  NO: {'; '.join(restored['differences']) or 'unknown'}"
    )
    return lines
