from __future__ import annotations

import pytest

from include.capacity.errors import PlanRefused
from include.loadgen.plan.jmx import MAX_DEPTH, dump, load
from tests.unit.loadgen.plan.workshop import Workshop

ENTITY_BOMB = """<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;">]>
<jmeterTestPlan><hashTree><TestPlan testname="&b;"/><hashTree/></hashTree></jmeterTestPlan>"""
FOREIGN_FILE = """<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a SYSTEM "file:///etc/passwd">]>
<jmeterTestPlan><hashTree><TestPlan testname="&a;"/><hashTree/></hashTree></jmeterTestPlan>"""


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "is empty"),
        ("  \n", "is empty"),
        ("not xml", "not well-formed XML"),
        ("<jmeterTestPlan><hashTree>", "not well-formed XML"),
        ("<html/>", "no JMeter plan (its root is `html`)"),
        ("<jmeterTestPlan/>", "holds 0 Test Plan elements"),
        ("<jmeterTestPlan><hashTree/></jmeterTestPlan>", "holds 0 Test Plan elements"),
        ("<jmeterTestPlan><hashTree><hashTree/></hashTree></jmeterTestPlan>", "hashTree that belongs to no element"),
        ('<?xml version="1.0" encoding="no-such-code"?><jmeterTestPlan/>', "encoding"),
        (b"<jmeterTestPlan>\xff\xfe</jmeterTestPlan>", "not well-formed XML"),
        ("<a>" * (MAX_DEPTH + 1), "nested deeper"),
        (ENTITY_BOMB, "DOCTYPE"),
        (FOREIGN_FILE, "DOCTYPE"),
    ],
)
def test_what_is_no_plan_is_refused(workshop: Workshop, content: str | bytes, problem: str) -> None:
    path = workshop.file("bad.jmx", content)
    with pytest.raises(PlanRefused) as caught:
        load(path)
    assert problem in str(caught.value)
    assert caught.value.source == str(path)
    assert caught.value.cure


def test_the_place_of_a_syntax_error_is_named(workshop: Workshop) -> None:
    with pytest.raises(PlanRefused) as caught:
        load(workshop.file("bad.jmx", "<jmeterTestPlan>\n  <hashTree></wrong>\n</jmeterTestPlan>"))
    assert caught.value.key == "line 2, column 15"


def test_an_absent_file_is_refused(workshop: Workshop) -> None:
    with pytest.raises(PlanRefused, match="No such file"):
        load(workshop.folder / "absent.jmx")


def test_a_huge_file_is_refused_without_reading_it(workshop: Workshop) -> None:
    path = workshop.folder / "huge.jmx"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a hole: no disk is used
    with pytest.raises(PlanRefused, match="larger than 32 MiB"):
        load(path)


def test_writing_and_reading_keeps_every_character(workshop: Workshop) -> None:
    body = "first line\r\nsecond <line> & \u00fc \u4e2d \t end "
    document = load(workshop.plan(workshop.http("post", path="/")))
    workshop.find(document, "post").set("body", body)
    dump(document, workshop.out)
    found = workshop.find(load(workshop.out), "post").property("body")
    assert found is not None
    assert found.text == body


def test_a_path_names_the_elements_from_the_plan_down(workshop: Workshop) -> None:
    loop = workshop.element("LoopController", "Loop Controller", workshop.http("look"))
    document = load(workshop.plan(workshop.group("Buyers", loop)))
    assert workshop.find(document, "look").path == "Plan / Buyers / Loop Controller / look"


def test_no_unfinished_file_is_left(workshop: Workshop) -> None:
    dump(load(workshop.plan(workshop.http("look"))), workshop.out)
    assert [path.name for path in workshop.out.parent.iterdir()] == ["plan.jmx"]
