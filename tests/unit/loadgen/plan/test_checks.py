from __future__ import annotations

import pickle

import pytest

from include.capacity.errors import PlanRefused
from tests.unit.loadgen.plan.workshop import Workshop


@pytest.mark.parametrize(
    ("kind", "properties", "problem"),
    [
        ("SyncTimer", {"groupSize": 10}, "Synchronizing Timer"),
        ("LoopController", {"LoopController.loops": "-1"}, "loops for ever"),
        ("LoopController", {"LoopController.loops": "${__P(loops,-1)}"}, "loops for ever"),
        ("LoopController", {"LoopController.continue_forever": True}, "loops for ever"),
        ("WhileController", {"WhileController.condition": "true"}, "never becomes false"),
        ("WhileController", {"WhileController.condition": "${__P(go,yes)}"}, "never becomes false"),
        ("TestAction", {"ActionProcessor.action": 0, "ActionProcessor.target": 0}, "the current thread stop:"),
        ("TestAction", {"ActionProcessor.action": 0, "ActionProcessor.target": 2}, "all threads stop:"),
        ("TestAction", {"ActionProcessor.action": 2, "ActionProcessor.target": 2}, "all threads stop now:"),
        ("ResultAction", {"OnError.action": 1}, "would stop the thread"),
        ("ResultAction", {"OnError.action": 2}, "would stop the test after"),
        ("ResultAction", {"OnError.action": 3}, "would stop the test now"),
        ("ThroughputController", {"ThroughputController.style": 0}, "total number of executions"),
        ("ThroughputController", {}, "total number of executions"),
        ("org.example.Missing", {}, "class `org.example.Missing`, which JMeter 5.6.3 does not know"),
        ("SoapSampler", {}, "class `SoapSampler`, which JMeter 5.6.3 does not know"),
    ],
)
def test_what_cannot_be_kept_is_refused(
    workshop: Workshop, kind: str, properties: dict[str, str | bool | int], problem: str
) -> None:
    element = workshop.element(kind, "the element", workshop.http("inside"), **properties)
    refusals = workshop.refusals(workshop.group("load", element, workshop.http("look")), allow_hosts=("*",))
    (refusal,) = refusals
    assert refusal.key == "Plan / load / the element"
    assert problem in refusal.problem
    assert refusal.cure.endswith(".")


@pytest.mark.parametrize(
    ("kind", "properties"),
    [
        ("LoopController", {"LoopController.loops": "3", "LoopController.continue_forever": True}),
        ("WhileController", {"WhileController.condition": "${more}"}),
        ("WhileController", {"WhileController.condition": "false"}),
        ("TestAction", {"ActionProcessor.action": 1, "ActionProcessor.duration": "100"}),
        ("TestAction", {"ActionProcessor.action": 3}),
        ("TestAction", {"ActionProcessor.action": 5}),
        ("ResultAction", {"OnError.action": 0}),
        ("ResultAction", {"OnError.action": 4}),
        ("ThroughputController", {"ThroughputController.style": 1}),
        ("org.apache.jmeter.control.IfController", {}),
        ("GaussianRandomTimer", {}),
        ("InterleaveControl", {}),
        ("RandomOrderController", {}),
    ],
)
def test_what_can_be_kept_is_kept_unchanged(
    workshop: Workshop, kind: str, properties: dict[str, str | bool | int]
) -> None:
    element = workshop.element(kind, "the element", **properties)
    _, document = workshop.prepare(workshop.group("load", workshop.http("look", element)))
    kept = workshop.find(document, "the element")
    assert kept.kind == kind
    assert {name: kept.get(name) for name in properties} == {
        name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in properties.items()
    }


@pytest.mark.parametrize(
    ("kind", "properties", "note"),
    [
        ("OnceOnlyController", {}, "once for each thread of the pool"),
        ("CriticalSectionController", {}, "only one thread of a shard"),
        ("RunTime", {"RunTime.seconds": "1"}, "for the whole time"),
        ("WhileController", {"WhileController.condition": ""}, "until its last sampler fails"),
        ("WhileController", {"WhileController.condition": "LAST"}, "until its last sampler fails"),
        ("JSR223Listener", {"script": "1"}, "sees transactions"),
        ("JSR223PostProcessor", {"script": "prev.setStopThread(true)"}, "can stop threads"),
        ("JSR223PreProcessor", {"script": "ctx.getThread().stop()"}, "can stop threads"),
        ("HeaderManager", {"h": "user-${__threadNum}"}, "uses the thread number"),
    ],
)
def test_what_changes_its_meaning_is_noted(
    workshop: Workshop, kind: str, properties: dict[str, str], note: str
) -> None:
    element = workshop.element(kind, "the element", **properties)
    prepared, document = workshop.prepare(workshop.group("load", workshop.http("look", element)))
    assert workshop.find(document, "the element").kind == kind
    assert any(text.startswith("Plan / load / look / the element: ") and note in text for text in prepared.notes)


@pytest.mark.parametrize(
    "kind",
    [
        "ResultCollector",
        "Summariser",
        "BackendListener",
        "ResultSaver",
        "MailerResultCollector",
        "StatVisualizer",
        "kg.apc.jmeter.vizualizers.CorrectedResultCollector",
        "DebugSampler",
        "DebugPostProcessor",
        "WorkBench",
        "ProxyControl",
    ],
)
def test_observers_are_dropped_and_noted(workshop: Workshop, kind: str) -> None:
    observer = workshop.element(kind, "the observer", filename="results.jtl")
    prepared, document = workshop.prepare(observer, workshop.group("load", workshop.http("look", observer)))
    assert "the observer" not in [node.name for node in document.plan.walk()]
    for place in ("Plan", "Plan / load / look"):
        assert any(note.startswith(f"{place} / the observer: dropped") for note in prepared.notes)


def test_disabled_elements_are_neither_checked_nor_written(workshop: Workshop) -> None:
    off = workshop.element("GenericController", "off", workshop.http("foreign", host="elsewhere.test"), enabled=False)
    missing = workshop.element("org.example.Missing", "missing", enabled=False)
    prepared, document = workshop.prepare(workshop.group("load", workshop.http("look"), off, missing))
    assert not {"off", "foreign", "missing"} & {node.name for node in document.plan.walk()}
    assert "2 disabled elements were dropped." in prepared.notes


def test_a_plug_in_is_known_by_the_jars_of_the_installation(workshop: Workshop) -> None:
    group = workshop.group("load", workshop.http("look", workshop.element("com.acme.Extra", "extra")))
    assert "plug-ins in" in workshop.refusal(group, jmeter_home=workshop.install_class("com.acme.Other")).problem
    workshop.prepare(group, jmeter_home=workshop.install_class("com.acme.Extra", home="second"))


@pytest.mark.parametrize(
    ("tag", "attributes", "problem"),
    [
        ("GenericController", 'guiclass="x" testclass="SyncTimer"', "Synchronizing Timer"),
        ("GenericController", 'guiclass="x" testclass="org.example.Missing"', "class `org.example.Missing`"),
        ("org.example.Missing", 'guiclass="x" testclass="GenericController"', "class `org.example.Missing`"),
        ("org.example.ThreadGroup", 'guiclass="x"', "class `org.example.ThreadGroup`"),
        ("GenericController", "", "no attribute `guiclass`"),
    ],
)
def test_elements_are_what_jmeter_makes_of_them(workshop: Workshop, tag: str, attributes: str, problem: str) -> None:
    element = f'<{tag} {attributes} testname="odd"/><hashTree/>'
    refusal = workshop.refusal(workshop.group("load", workshop.http("look", element)))
    assert refusal.key == "Plan / load / look / odd"
    assert problem in refusal.problem


def test_a_thread_group_that_cannot_be_steered_is_refused(workshop: Workshop) -> None:
    jmeter_home = workshop.install_class("com.acme.OwnThreadGroup")
    own = workshop.group("own", workshop.http("a"), kind="com.acme.OwnThreadGroup")
    refusal = workshop.refusal(own, workshop.group("load", workshop.http("b")), jmeter_home=jmeter_home)
    assert refusal.key == "Plan / own"
    assert "no thread group that can be steered" in refusal.problem


def test_all_refusals_are_told_at_once(workshop: Workshop) -> None:
    group = workshop.group(
        "load",
        workshop.http("look", host="elsewhere.test"),
        workshop.element("SyncTimer", "meet"),
        ThreadGroup__on_sample_error="stoptest",
    )
    with pytest.raises(PlanRefused) as caught:
        workshop.prepare(group)
    text = str(pickle.loads(pickle.dumps(caught.value)))
    assert text == str(caught.value)
    assert text.startswith(f"{workshop.folder / 'plan.jmx'}: the plan holds 3 things that cannot be kept")
    for place in ("Plan / load: ", "Plan / load / meet: ", "Plan / load / look: "):
        assert f"  - {place}" in text
