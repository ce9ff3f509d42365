"""The end of a demonstration: what counts as good, the truth beside the answer, and the files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from include.capacity.report.facts import RunFacts
from include.capacity.report.result import build_result
from tests.unit.capacity.report.example_run import example_facts
from tools.airflow_api import DagRun
from tools.demo.artefacts import RunArtefacts
from tools.demo.ending import (
    Times,
    answer_lines,
    clear_folder,
    copy_documents,
    keep_result,
    load_seconds,
    problems,
    slo_text,
)
from tools.stack.layout import ROOT

GOOD_RUN = DagRun("d", "r", "success", 0.0, 1.0)
TRUTH = {"max_tps": 160.0, "plant": "checkout"}


@pytest.fixture(scope="module")
def facts() -> RunFacts:
    return example_facts()[0]


@pytest.fixture
def result(facts: RunFacts) -> dict[str, Any]:
    return build_result(facts)


def changed(result: dict[str, Any], part: str, **values: Any) -> dict[str, Any]:
    return {**result, part: {**result[part], **values}}


def test_a_good_run_has_no_problem(result: dict[str, Any]) -> None:
    assert problems(GOOD_RUN, result, []) == []


def test_each_shortcoming_is_named(result: dict[str, Any]) -> None:
    failed = replace(GOOD_RUN, state="failed")
    assert problems(failed, result, ["search"]) == ["the run's state is failed (failed: search)"]
    assert problems(GOOD_RUN, None, []) == ["the run published no result"]
    assert problems(GOOD_RUN, changed(result, "answer", verified=False), []) == [
        "the answer was not verified by a soak"
    ]
    assert problems(GOOD_RUN, changed(result, "answer", tps=None, verified=False), []) == ["there is no answer"]
    assert problems(
        GOOD_RUN, changed(result, "validity", status="inconclusive", reasons=["The lag is 90 ms."]), []
    ) == ["the answer is inconclusive: The lag is 90 ms."]
    assert problems(GOOD_RUN, changed(result, "restored", equal=False, differences=["desired is 2, not 1"]), []) == [
        "the environment was not restored: desired is 2, not 1"
    ]


def test_the_truth_is_asked_for_the_slo_of_the_run() -> None:
    conditions = [
        {"metric": "latency_p95_ms", "limit": 250.0, "label": "all"},
        {"metric": "latency_p99_ms", "limit": 900.0, "label": "checkout"},
        {"metric": "error_ratio", "limit": 0.01, "label": "all"},
        {"metric": "apdex", "limit": 0.9, "label": "all", "target_ms": 200.0},
    ]

    assert slo_text(conditions) == "latency_p95=250 ms,error_ratio=1 %"


def test_the_result_is_kept_with_the_truth_beside_it(result: dict[str, Any], tmp_path: Path) -> None:
    path = keep_result(tmp_path / "demo", result, TRUTH)

    kept = json.loads(path.read_text(encoding="utf-8"))
    assert kept["sandbox_truth"] == TRUTH
    assert {**kept, "sandbox_truth": None} == {**result, "sandbox_truth": None}


def test_the_error_of_the_answer_is_told(result: dict[str, Any]) -> None:
    good = changed(result, "answer", tps=152.0, bound="exact", verified=True)

    lines = answer_lines(good, TRUTH)

    assert "152.0 TPS" in lines[0]
    assert "verified by a soak" in lines[0]
    assert lines[1].startswith("Truth     160.0 TPS")
    assert lines[1].endswith("the answer is -5.0 %")
    assert lines[2].startswith("Restored  yes")


def test_an_answer_of_nothing_is_told_with_its_reason(result: dict[str, Any]) -> None:
    nothing = changed(result, "answer", tps=None, why=["Even the lowest rate failed."])
    nothing = changed(nothing, "restored", equal=False, differences=["desired"])

    lines = answer_lines(nothing, TRUTH)

    assert lines[0] == "Answer    none: Even the lowest rate failed."
    assert lines[-1] == "Restored  NO: desired"


def test_a_bound_is_said_with_the_answer(result: dict[str, Any]) -> None:
    assert answer_lines(changed(result, "answer", bound="at_least"), None)[0].startswith("Answer    at least ")


def test_the_documents_replace_those_of_an_earlier_demonstration(tmp_path: Path) -> None:
    artefacts = RunArtefacts(tmp_path, "checkout", "r")
    (artefacts.documents / "charts").mkdir(parents=True)
    (artefacts.documents / "checkout.md").write_text("[words](../glossary.md#slo)")
    (artefacts.documents / "charts" / "a.svg").write_text("<svg/>")
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "old.md").write_text("old")

    clear_folder(folder)
    pages = copy_documents(artefacts, folder)

    assert pages == [folder / "checkout.md"]
    link = pages[0].read_text(encoding="utf-8").split("(")[1].split("#")[0]
    assert (folder / link).resolve() == ROOT / "docs" / "glossary.md"
    assert (folder / "charts" / "a.svg").exists()
    assert not (folder / "old.md").exists()
    assert copy_documents(RunArtefacts(tmp_path, "checkout", "other"), folder) == []


def test_the_time_is_split(result: dict[str, Any]) -> None:
    load_s = load_seconds(result)

    assert 0 < load_s < 3600
    text = Times(set_up_s=90, start_s=10, run_s=load_s + 60, load_s=load_s, truth_s=2).text()
    assert text.startswith("set-up 90 s, start of sandbox and Airflow 10 s")
    assert "outside load 60 s" in text
    assert "set-up" not in Times(None, 1, 2, 1, 0).text()
