from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.loadgen.plan.workshop import Value, Workshop


def csv(workshop: Workshop, **properties: Value) -> str:
    return workshop.element("CSVDataSet", "data", **{"filename": "data.csv", "variableNames": "a"} | properties)


def load(workshop: Workshop, *children: str) -> str:
    return workshop.group("load", workshop.http("look"), *children)


@pytest.mark.parametrize("name", ["data.csv", "./data.csv", "below/../data.csv", "${__P(file,data.csv)}"])
def test_paths_become_absolute(workshop: Workshop, name: str) -> None:
    path = workshop.file("data.csv", "1\n")
    prepared, document = workshop.prepare(load(workshop, csv(workshop, filename=name)))
    assert workshop.find(document, "data").get("filename") == str(path)
    assert prepared.data_files == (path,)


def test_files_are_looked_for_in_the_given_folder(workshop: Workshop) -> None:
    path = workshop.file("elsewhere/data.csv", "1\n")
    prepared, _ = workshop.prepare(load(workshop, csv(workshop)), plan_folder=path.parent)
    assert prepared.data_files == (path,)


def test_a_linked_file_counts_where_the_link_is(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> None:
    real = tmp_path_factory.mktemp("shared") / "real.csv"
    real.write_text("1\n")
    link = workshop.folder / "data.csv"
    link.symlink_to(real)
    prepared, _ = workshop.prepare(load(workshop, csv(workshop)))
    assert prepared.data_files == (link,)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("absent.csv", "which does not exist (looked for"),
        ("", "does not name the data file"),
        ("../outside.csv", "outside of the plan's folder"),
        ("/etc/hostname", "outside of the plan's folder"),
        ("below", "which does not exist"),
        ("${unknown}", "nothing in the plan defines the variable `unknown`"),
    ],
)
def test_files_that_cannot_travel_are_refused(workshop: Workshop, name: str, problem: str) -> None:
    workshop.file("below/other.csv", "1\n")
    refusal = workshop.refusal(load(workshop, csv(workshop, filename=name)))
    assert refusal.key == "Plan / load / data"
    assert problem in refusal.problem


@pytest.mark.parametrize(
    ("content", "properties"),
    [
        ("", {}),
        ("\n\n", {}),
        ("a\n", {"variableNames": ""}),
        ("a\n", {"ignoreFirstLine": True}),
    ],
)
def test_a_file_without_rows_is_refused(workshop: Workshop, content: str, properties: dict[str, Value]) -> None:
    workshop.file("data.csv", content)
    assert "holds no row of data" in workshop.refusal(load(workshop, csv(workshop, **properties))).problem


def test_data_must_last_for_ever(workshop: Workshop) -> None:
    workshop.file("data.csv", "1\n")
    refusal = workshop.refusal(load(workshop, csv(workshop, recycle=False, stopThread=True)))
    assert "does not recycle" in refusal.problem


def test_stopping_at_the_end_of_a_recycled_file_is_switched_off(workshop: Workshop) -> None:
    workshop.file("data.csv", "1\n")
    prepared, document = workshop.prepare(load(workshop, csv(workshop, recycle=True, stopThread=True)))
    assert workshop.find(document, "data").get("stopThread") == "false"
    assert any("'Stop thread on EOF' was switched off" in note for note in prepared.notes)


@pytest.mark.parametrize(
    ("share", "note"),
    [("shareMode.all", "each shard reads the whole file"), ("shareMode.thread", "each thread of each shard reads")],
)
def test_sharing_between_shards_is_noted(workshop: Workshop, share: str, note: str) -> None:
    workshop.file("data.csv", "1\n")
    prepared, _ = workshop.prepare(load(workshop, csv(workshop, shareMode=share)))
    assert any(note in text for text in prepared.notes)


@pytest.mark.parametrize("function", ["FileToString", "StringFromFile", "CSVRead"])
def test_files_of_functions_become_absolute(workshop: Workshop, function: str) -> None:
    path = workshop.file("body, one.txt", "x")
    sampler = workshop.http("post", body=f"<${{__{function}(body\\, one.txt,utf-8)}}>")
    prepared, document = workshop.prepare(workshop.group("load", sampler))
    escaped = str(path).replace(",", "\\,")
    assert workshop.find(document, "post").get("body") == f"<${{__{function}({escaped},utf-8)}}>"
    assert prepared.data_files == (path,)


def test_an_absent_file_of_a_function_is_refused(workshop: Workshop) -> None:
    sampler = workshop.http("post", body="${__FileToString(absent.txt)}")
    assert "`absent.txt`, which does not exist" in workshop.refusal(workshop.group("load", sampler)).problem


def test_uploads_and_scripts_and_libraries_travel(workshop: Workshop) -> None:
    picture = workshop.file("picture.png", "x")
    script = workshop.file("scripts/one.groovy", "1")
    upload = (
        '<elementProp name="HTTPsampler.Files" elementType="HTTPFileArgs"><collectionProp name="HTTPFileArgs.files">'
        '<elementProp name="picture.png" elementType="HTTPFileArg">'
        '<stringProp name="File.path">picture.png</stringProp></elementProp></collectionProp></elementProp>'
    )
    sampler = workshop.element(
        "HTTPSamplerProxy", "post", raw=upload, HTTPSampler__domain="127.0.0.1", HTTPSampler__response_timeout="1"
    )
    processor = workshop.element("JSR223PreProcessor", "code", filename="scripts/one.groovy")
    prepared, document = workshop.prepare(workshop.group("load", sampler, workshop.http("look", processor)))
    assert set(prepared.data_files) == {picture, script}
    paths = [
        element.text for element in workshop.find(document, "post").element.iter() if element.get("name") == "File.path"
    ]
    assert [Path(path or "") for path in paths] == [picture]


def test_each_file_is_listed_once(workshop: Workshop) -> None:
    workshop.file("data.csv", "1\n")
    prepared, _ = workshop.prepare(load(workshop, csv(workshop), csv(workshop)))
    assert len(prepared.data_files) == 1
