from __future__ import annotations

import pytest

from include.loadgen.plan.jmx import load
from include.loadgen.plan.values import UNKNOWN, Values
from tests.unit.loadgen.plan.workshop import Workshop

PROPERTIES = {"host": "10.0.0.7", "empty": "", "pointer": "host"}


def values(workshop: Workshop, *children: str) -> Values:
    return Values(load(workshop.plan(*children)).plan, PROPERTIES, workshop.folder)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("", ""),
        ("${__P(host)}", "10.0.0.7"),
        ("${__P( host )}", "10.0.0.7"),
        ("http://${__P(host)}:80/", "http://10.0.0.7:80/"),
        ("${__P(absent,default)}", "default"),
        ("${__P(absent,)}", ""),
        ("${__P(empty,default)}", ""),
        ("${__P(absent,one\\,two)}", "one,two"),
        ("${__P(absent,${__P(host)})}", "10.0.0.7"),
        ("${__P(${__P(pointer)})}", "10.0.0.7"),
        ("${__property(host)}", "10.0.0.7"),
        ("${__property(absent,,default)}", "default"),
        ("${server}", "10.0.0.7"),
        ("${alias}:${port}", "10.0.0.7:8080"),
        ("${__P(absent,${port})}", "8080"),
        ("a ${ b", "a ${ b"),
    ],
)
def test_what_is_certain(workshop: Workshop, text: str, value: str) -> None:
    variables = workshop.variables(server="${__P(host)}", alias="${server}", port="8080")
    expansion = values(workshop, variables).expand(text)
    assert expansion.text == value
    assert expansion.certain


@pytest.mark.parametrize(
    ("text", "expanded", "reason"),
    [
        ("${__P(absent)}", UNKNOWN, "the property `absent` is not given"),
        ("${__property(absent,variable)}", UNKNOWN, "the property `absent` is not given"),
        ("/a/${nothing}/b", f"/a/{UNKNOWN}/b", "nothing in the plan defines the variable `nothing`"),
        ("${__Random(1,9)}", UNKNOWN, "the function `__Random`"),
        ("${__P}", UNKNOWN, "the function `__P`"),
        ("${twice}", UNKNOWN, "defined 2 times"),
        ("${circle}", UNKNOWN, "defined by itself"),
        ("${__P(absent,${nothing})}", UNKNOWN, "`nothing`"),
    ],
)
def test_what_is_not_certain_says_why(workshop: Workshop, text: str, expanded: str, reason: str) -> None:
    variables = workshop.variables(twice="a", circle="${circle}")
    expansion = values(workshop, variables, workshop.variables(twice="b")).expand(text)
    assert expansion.text == expanded
    assert reason in expansion.reasons[0]
    assert values(workshop, variables).value("${nothing}") is None


SETTERS = [
    ("CSVDataSet", {"variableNames": "other,host_name"}),
    ("RegexExtractor", {"RegexExtractor.refname": "host_name"}),
    ("BoundaryExtractor", {"BoundaryExtractor.refname": "host_name"}),
    ("JSONPostProcessor", {"JSONPostProcessor.referenceNames": "a;host_name"}),
    ("CounterConfig", {"CounterConfig.name": "host_name"}),
    ("RandomVariableConfig", {"variableName": "host_name"}),
    ("ForeachController", {"ForeachController.returnVal": "host_name"}),
    ("JSR223PreProcessor", {"script": "vars.put('host_name', pick())"}),
    ("JSR223PostProcessor", {"script": "vars.host_name = pick()"}),
    ("BeanShellPreProcessor", {"script": 'vars.put("host_name", pick());'}),
]


@pytest.mark.parametrize(("kind", "properties"), SETTERS, ids=[kind for kind, _ in SETTERS])
def test_a_variable_that_the_plan_sets_again_is_not_certain(
    workshop: Workshop, kind: str, properties: dict[str, str]
) -> None:
    variables = workshop.variables(host_name="127.0.0.1")
    assert values(workshop, variables).value("${host_name}") == "127.0.0.1"
    setter = workshop.element(kind, "the setter", **properties)
    (reason,) = values(workshop, variables, setter).expand("${host_name}").reasons
    assert "by `the setter`" in reason


def test_a_csv_file_names_its_variables_in_its_first_line(workshop: Workshop) -> None:
    workshop.file("data.csv", 'user,"host_name"\nann,elsewhere\n')
    csv = workshop.element("CSVDataSet", "data", filename="data.csv", variableNames="")
    assert values(workshop, workshop.variables(host_name="127.0.0.1"), csv).value("${host_name}") is None


@pytest.mark.parametrize(
    "script", ["props.put('host', 'x')", 'props.setProperty("host", "x")', "${__setProperty(host,x)}"]
)
def test_a_property_that_the_plan_sets_again_is_not_certain(workshop: Workshop, script: str) -> None:
    setter = workshop.element("JSR223PreProcessor", "the setter", script=script)
    assert values(workshop, setter).value("${__P(host)}") is None
