"""One plant after another: the table, and that one run's failure does not stop the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from include.capacity.report.result import build_result
from tests.unit.capacity.report.example_run import example_facts
from tools.demo import plants
from tools.demo.demonstration import BAD, GOOD, INTERRUPTED, DemoOptions
from tools.demo.plants import main, row, table
from tools.demo.terminal import Terminal
from tools.errors import ToolError
from tools.stack.layout import StackOptions


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    return build_result(example_facts()[0])


def with_truth(result: dict[str, Any], truth_tps: float) -> dict[str, Any]:
    return {**result, "sandbox_truth": {"max_tps": truth_tps}}


def test_a_row_holds_answer_and_truth(result: dict[str, Any]) -> None:
    tps = result["answer"]["tps"]
    one = row("pool", with_truth(result, tps / 1.02), "good")
    assert one.error_percent == pytest.approx(2)
    assert one.probes == len(result["probes"])
    assert one.invalid == sum(probe["validity"]["status"] == "invalid" for probe in result["probes"])
    assert one.load_s is not None
    assert one.load_s > 0
    assert one.beyond_s is not None
    highest = max(probe["commanded_tps"] for probe in result["probes"])
    assert row("pool", with_truth(result, highest), "good").beyond_s == 0
    everything = row("pool", with_truth(result, 0.001), "good")
    assert everything.beyond_s == everything.load_s


def test_the_table_is_markdown_with_a_line_for_each_plant(result: dict[str, Any]) -> None:
    tps = result["answer"]["tps"]
    lines = table(
        [
            row("pool", with_truth(result, tps), "good"),
            row("uneven", with_truth(result, 10 * tps), "the answer was not verified by a soak"),
            row("metastable", None, "failed; see log.txt"),
        ]
    ).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert len({len(line) for line in lines}) == 1
    assert set(lines[1]) == {"|", "-"}
    by_name = [dict(zip(cells[0], line, strict=True)) for line in cells[2:]]
    assert (by_name[0]["error %"], by_name[0]["truth in it"]) == ("+0.0", "yes")
    assert (by_name[1]["error %"], by_name[1]["truth in it"]) == ("-90.0", "no")
    assert (by_name[2]["answer TPS"], by_name[2]["error %"], by_name[2]["probes"]) == ("-", "-", "0")
    assert [line["verdict"] for line in by_name] == [
        "good",
        "the answer was not verified by a soak",
        "failed; see log.txt",
    ]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(plants, "ROOT", tmp_path)
    monkeypatch.setattr(plants, "FOLDER", tmp_path / "demo-plants")
    return tmp_path / "demo-plants"


def test_each_plant_has_a_history_of_its_own_and_failures_are_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], result: dict[str, Any]
) -> None:
    builds = []

    def demonstrate(options: DemoOptions, stack: StackOptions, terminal: Terminal) -> int:
        assert options.plant is not None
        assert not options.keep
        builds.append(stack.build)
        options.folder.mkdir()
        if options.plant.stem == "pool":
            raise ToolError("There is no Java.")
        together = json.dumps(with_truth(result, 100.0))
        (options.folder / "result.json").write_text(together, encoding="utf-8")
        if options.plant.stem == "uneven":
            terminal.line("Not good: there is no answer.")
            return BAD
        return GOOD

    monkeypatch.setattr(plants, "demonstrate", demonstrate)
    assert main(["--plants", "pool,uneven,metastable"]) == BAD
    assert len(set(builds)) == 3
    written = (folder / "table.md").read_text(encoding="utf-8")
    assert written in capsys.readouterr().out
    assert ["There is no Java." in line for line in written.splitlines()[2:]] == [True, False, False]
    assert ["there is no answer." in line for line in written.splitlines()[2:]] == [False, True, False]
    assert "good" in written.splitlines()[-1]
    assert "Not good" in (folder / "uneven" / "log.txt").read_text(encoding="utf-8")
    assert main(["--plants", "metastable"]) == GOOD


def test_ctrl_c_ends_the_series_with_what_there_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(plants, "demonstrate", lambda *_: INTERRUPTED)
    assert main([]) == INTERRUPTED
    lines = (folder / "table.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 3
    assert "stopped" in lines[2]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--plants", "pol"], "pol.yaml: the file does not exist"),
        (["--plants", ","], "--plants: write at least one name"),
        (["--timeout", "0"], "--timeout: write minutes above 0"),
        (["--params", "{"], "--params: this is not JSON"),
    ],
)
def test_a_wrong_command_line_starts_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    assert main(arguments) == plants.USAGE
    assert expected in capsys.readouterr().err
    assert not folder.exists()
