"""The scaling document and its charts: what they say for each kind of run, and that nothing changes by chance."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt

from include.capacity.errors import InvalidData, StoreError
from include.capacity.report.charts import history_chart, probes_chart, run_chart
from include.capacity.report.markdown import code, escaped
from include.pipeline.publishing import main, render_documents, write_documents, write_result

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "tests" / "data" / "results"


@pytest.fixture
def result() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((RESULTS / "result.json").read_text())
    return loaded


@pytest.fixture(scope="module")
def seconds() -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads((RESULTS / "seconds.json").read_text())
    return loaded


@pytest.fixture(scope="module")
def history() -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads((RESULTS / "history.json").read_text())
    return loaded


def document(result: dict[str, Any], history: list[dict[str, Any]] | None = None) -> str:
    return render_documents(result, [], history or [])["checkout.md"].decode()


def html(text: str) -> str:
    return MarkdownIt("commonmark", {"html": True}).enable("table").render(text)


def test_the_stored_document_is_what_the_result_gives(
    result: dict[str, Any], seconds: list[dict[str, Any]], history: list[dict[str, Any]]
) -> None:
    rendered = render_documents(result, seconds, history)
    assert list(rendered) == [
        "checkout.md",
        *(f"checkout-{name}.svg" for name in ("probes", "story", "run", "history")),
    ]
    assert rendered["checkout.md"].decode() == (RESULTS / "checkout.md").read_text(), (
        "look at the difference; if it is wanted, render the files beside it anew and copy it"
    )


def test_same_input_same_bytes_in_another_process(
    result: dict[str, Any], seconds: list[dict[str, Any]], history: list[dict[str, Any]], tmp_path: Path
) -> None:
    here = render_documents(result, seconds, history)
    files = [str(RESULTS / f"{name}.json") for name in ("result", "seconds", "history")]
    command = [
        sys.executable,
        "-m",
        "include.pipeline.publishing",
        files[0],
        "--seconds",
        files[1],
        "--history",
        files[2],
    ]
    done = subprocess.run(
        [*command, "--out", str(tmp_path)], cwd=ROOT, env={"PYTHONHASHSEED": "7"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == here
    assert done.stdout.splitlines() == [str(tmp_path / name) for name in here]


def test_charts_are_svg_without_dates_or_fonts(
    result: dict[str, Any], seconds: list[dict[str, Any]], history: list[dict[str, Any]]
) -> None:
    for name, content in render_documents(result, seconds, history).items():
        if name.endswith(".svg"):
            root = ElementTree.fromstring(content)
            assert root.tag.endswith("svg")
            assert not list(root.iter("{http://www.w3.org/2000/svg}text"))
            assert b"<dc:date>" not in content


def test_the_answer_stands_in_bold_with_what_it_rests_on(result: dict[str, Any]) -> None:
    text = document(result)
    assert "**checkout sustains 188.2 transactions per second within its SLO on 2 × t3.medium.**" in text
    assert "Verified: a soak of 60 s at this rate met every condition of the SLO." in text
    assert "With 90 % confidence the maximum lies between 178.8 and 201.4 TPS." in text


def test_every_part_that_a_reader_needs_is_there(result: dict[str, Any], history: list[dict[str, Any]]) -> None:
    page = html(document(result, history))
    for heading in (
        "What limits it",
        "How sure this is",
        "What it holds for",
        "Compared with the last accepted run",
        "Every probe",
        "What was discarded, and why",
        "How it was measured",
        "Cost",
        "Raw data",
    ):
        assert f"<h2>{heading}</h2>" in page
    assert page.count("<tr>") == 1 + 10 + 1 + 8 + 2 * (1 + len(result["probes"]))
    assert "At 191.8 TPS the service no longer met its SLO." in page
    assert "Probe 7 at 188.2 TPS: The load generator lagged behind its schedule" in page
    assert "The answer is 0.6 % below it." in page
    assert "None" not in page
    assert "nan" not in re.sub(r"[a-z]*nan[a-z]+|[a-z]+nan[a-z]*", "", page)


def test_every_link_leads_somewhere(result: dict[str, Any], history: list[dict[str, Any]]) -> None:
    anchors = {
        re.sub(r"[^a-z0-9 -]", "", line[3:].lower()).replace(" ", "-")
        for line in (ROOT / "docs" / "glossary.md").read_text().splitlines()
        if line.startswith("## ")
    }
    links = re.findall(r"\]\(([^)]+)\)", document(result, history))
    words = {link.split("#")[1] for link in links if link.startswith("../glossary.md#")}
    assert len(words) >= 10
    assert words <= anchors
    assert [link for link in links if "#" not in link] == [
        "checkout-probes.svg",
        "checkout-history.svg",
        "checkout-story.svg",
    ]
    elsewhere = render_documents(result, [], [], glossary="https://docs.example/glossary.md")["checkout.md"].decode()
    assert "](https://docs.example/glossary.md#slo)" in elsewhere


def changed(result: dict[str, Any], **changes: Any) -> dict[str, Any]:
    result = deepcopy(result)
    if "probes" in changes:
        del result["discarded"]  # it speaks of the probes
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = result
        for parent in parents:
            place = place[parent]
        place[last] = value
    return result


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"answer__verified": False}, "**checkout probably sustains 188.2 transactions per second"),
        ({"answer__verified": False}, "Not verified: no soak at this rate passed; do not plan with it."),
        ({"answer__bound": "at_least", "answer__interval__high": None}, "sustains at least 188.2 transactions"),
        (
            {"answer__bound": "at_least", "answer__interval__high": None},
            "is at least 178.8 TPS; no upper end was found.",
        ),
        (
            {"answer__bound": "at_most", "answer__tps": None, "answer__interval__high": 20, "answer__verified": False},
            "**checkout does not sustain even 20 transactions per second",
        ),
        (
            {"validity": {"status": "inconclusive", "reasons": ["The machine was busy."]}},
            "**This run gives no capacity for checkout: it is inconclusive.** The machine was busy.",
        ),
        ({"comparison": None}, "This run was not compared."),
        ({"cost": None}, "The cost of this run is unknown."),
        ({"restored": {"equal": False, "differences": ["DesiredCapacity is 2."]}}, "> DesiredCapacity is 2."),
        ({"restored": {"equal": False, "differences": ["x"]}}, "| Environment restored | **NO**, see below |"),
        ({"data_quality": []}, "longer test.\n\n## How it was measured"),
        ({"artefacts": {}}, "- none was stored"),
        ({"environment__sizes_during": None, "environment__sizes_before": None}, "| Size before the run | unknown |"),
        ({"versions__java": ""}, "Java unknown"),
        ({"slo": []}, "| SLO |  |"),
    ],
)
def test_each_kind_of_run_is_told(result: dict[str, Any], changes: dict[str, Any], wanted: str) -> None:
    assert wanted in document(changed(result, **changes))


def test_a_run_without_any_probe_still_has_a_document(result: dict[str, Any]) -> None:
    empty = changed(result, probes=[], answer__tps=None, answer__verified=False, answer__bound="unknown")
    empty["answer"]["interval"] |= {"low": None, "high": None}
    empty["validity"] = {"status": "inconclusive", "reasons": ["The smoke probe failed."]}
    rendered = render_documents(empty, [], [])
    assert list(rendered) == ["checkout.md"]
    assert b"![" not in rendered["checkout.md"]


def test_hostile_text_stays_text(result: dict[str, Any]) -> None:
    hostile = "a|b <script>alert(1)</script> [x](http://evil) `c` *d* _e_ # f\n# g ![i](j) https://evil.example"
    page = html(document(changed(result, description=hostile, owner="- x", probes=[], plan_notes=["1. " + hostile])))
    assert "<script>" not in page
    assert 'href="http' not in page
    assert "<h1>g" not in page
    assert "<code>c</code>" not in page
    assert "<em>" not in page.replace("<em>This page is written by Headroom", "")
    assert "a|b &lt;script&gt;" in page


def test_pipes_do_not_break_tables(result: dict[str, Any]) -> None:
    text = document(changed(result, environment__target="http://x/a|b", environment__instance_type="t3|x"))
    lengths = {len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("| ")}
    assert lengths == {3, 9}


def test_escaping() -> None:
    assert escaped("1. a") == "1\\. a"
    assert escaped("a_b*c") == "a\\_b\\*c"
    assert escaped(escaped("a_b")) == "a\\_b"
    assert code("a_b") == "`a_b`"
    assert code("a`b|c") == "a\\`b\\|c"
    assert code("") == ""


def test_the_probes_chart_marks_each_probe(result: dict[str, Any]) -> None:
    chart = probes_chart(result)
    assert chart is not None
    assert [point.number for point in chart.points if point.mark == "invalid"] == [7]
    assert [point.number for point in chart.points if point.soak] == [14, 16, 17]
    assert (chart.limit.percentile, chart.limit.limit_ms) == ("p95", 250)
    assert (chart.band.low, chart.band.tps, chart.band.high) == (178.8, 188.2, 201.4)


def test_the_chart_follows_the_slo(result: dict[str, Any], seconds: list[dict[str, Any]]) -> None:
    result["slo"][0] |= {"metric": "latency_p99_ms", "limit": 400, "text": "p99 latency <= 400 ms"}
    chart = run_chart(result, seconds)
    assert chart is not None
    assert chart.limit.percentile == "p99"
    assert chart.latency_ms[0] == seconds[0]["p99_ms"]
    result["slo"] = [result["slo"][1]]
    assert run_chart(result, seconds).limit.limit_ms is None  # type: ignore[union-attr]


def test_gaps_between_probes_break_the_lines(result: dict[str, Any], seconds: list[dict[str, Any]]) -> None:
    chart = run_chart(result, seconds)
    assert chart is not None
    assert len(chart.times_s) == len(seconds) + len(result["probes"]) - 1
    assert sum(value != value for value in chart.offered_tps) == len(result["probes"]) - 1
    assert [stage for stage, _, _ in chart.stages] == ["smoke", "search", "confirm"]


def test_the_history_holds_this_run_once_and_no_later_one(
    result: dict[str, Any], history: list[dict[str, Any]]
) -> None:
    own = {
        "run_id": result["run_id"],
        "ended_at": result["ended_at"],
        "tps": 1.0,
        "low": 1,
        "high": 1,
        "accepted": True,
    }
    own |= {"verified": True, "validity": "valid", "verdict": None}
    later = own | {"run_id": "later", "ended_at": "2027-01-01T00:00:00.000Z"}
    invalid = own | {"run_id": "bad", "ended_at": "2026-01-01T00:00:00.000Z", "validity": "invalid"}
    chart = history_chart(result, [*history, own, later, invalid])
    assert chart is not None
    assert len(chart.points) == len(history) + 1
    assert [point.tps for point in chart.points if point.current] == [188.2]
    assert chart.points[-1].accepted
    assert history_chart(result, []) is None


def test_data_docs_and_raw_data_are_linked_where_the_folder_of_the_run_is_known(result: dict[str, Any]) -> None:
    result["artefacts"] = {"data_docs": "data-docs/index.html", "odd": "a b/[c].json"}
    beside = render_documents(result, [], [], run_folder="..")["checkout.md"].decode()
    assert "- data docs: [data-docs/index.html](../data-docs/index.html)" in beside
    assert r"- odd: [a b/\[c\].json](../a%20b/%5Bc%5D.json)" in beside
    elsewhere = render_documents(result, [], [])["checkout.md"].decode()
    assert "- data docs: `data-docs/index.html`" in elsewhere


def test_files_are_replaced_as_a_whole(result: dict[str, Any], tmp_path: Path) -> None:
    first = write_documents(result, [], [], tmp_path / "new" / "folder")
    assert [path.name for path in first] == ["checkout.md", "checkout-probes.svg", "checkout-story.svg"]
    again = write_documents(result, [], [], tmp_path / "new" / "folder")
    assert again == first
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == [
        "checkout-probes.svg",
        "checkout-story.svg",
        "checkout.md",
    ]
    path = write_result(result, tmp_path / "result.json")
    assert path.read_text() == (RESULTS / "result.json").read_text()


def test_errors_are_one_sentence(result: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot be written"):
        write_documents(result, [], [], tmp_path / "file" / "x")
    with pytest.raises(InvalidData, match="lacks the column"):
        render_documents(result, [{"second": 1}], [])
    with pytest.raises(InvalidData, match="required property"):
        render_documents({"service": "x"}, [], [])
    for arguments, message in [
        ([str(tmp_path / "none.json")], "none.json cannot be read: No such file"),
        ([str(tmp_path / "file")], "is not JSON"),
        ([str(RESULTS / "history.json")], "holds no object"),
        ([str(RESULTS / "result.json"), "--seconds", str(RESULTS / "result.json")], "holds no list"),
    ]:
        assert main([*arguments, "--out", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert error.startswith("publishing: ")
        assert message in error
        assert error.count("\n") == 1
