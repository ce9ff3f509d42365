from __future__ import annotations

from include.loadgen.plan.loadmodel import AWAIT
from tests.unit.loadgen.plan.workshop import Workshop


def module(workshop: Workshop, name: str, *path: str) -> str:
    names = "".join(f'<stringProp name="x">{part}</stringProp>' for part in ("Test Plan", "Plan", *path))
    raw = f'<collectionProp name="ModuleController.node_path">{names}</collectionProp>'
    return workshop.element("ModuleController", name, raw=raw)


def include(workshop: Workshop, name: str, path: str) -> str:
    return workshop.element("IncludeController", name, IncludeController__includepath=path)


def fragment(workshop: Workshop, *children: str) -> str:
    return workshop.element("TestFragmentController", "Parts", *children, enabled=False)


def included_file(workshop: Workshop, name: str, *children: str) -> None:
    workshop.file(name, workshop.plan(*children).read_text())


def test_a_module_gets_the_content_of_its_target(workshop: Workshop) -> None:
    parts = fragment(workshop, workshop.element("GenericController", "steps", workshop.http("step")))
    group = workshop.group("load", module(workshop, "use steps", "Parts", "steps"))
    prepared, document = workshop.prepare(parts, group)
    assert workshop.find(document, "step").path == "Plan / load / use steps / steps / step"
    assert "Parts" not in [node.name for node in document.plan.walk()]
    assert prepared.targets == ("127.0.0.1",)


def test_a_module_may_use_a_disabled_group(workshop: Workshop) -> None:
    off = workshop.group("off", workshop.element("GenericController", "steps", workshop.http("step")), enabled=False)
    _, document = workshop.prepare(off, workshop.group("load", module(workshop, "m", "off", "steps")))
    assert workshop.find(document, "step").path == "Plan / load / m / steps / step"


def test_what_a_module_brings_in_is_checked(workshop: Workshop) -> None:
    parts = fragment(workshop, workshop.element("GenericController", "steps", workshop.http("s", host="bad.test")))
    refusal = workshop.refusal(parts, workshop.group("load", module(workshop, "m", "Parts", "steps")))
    assert refusal.key == "Plan / load / m / steps / s"


def test_modules_in_modules_are_followed(workshop: Workshop) -> None:
    parts = fragment(
        workshop,
        workshop.element("GenericController", "inner", workshop.http("step")),
        workshop.element("GenericController", "outer", module(workshop, "to inner", "Parts", "inner")),
    )
    _, document = workshop.prepare(parts, workshop.group("load", module(workshop, "m", "Parts", "outer")))
    assert workshop.find(document, "step").path == "Plan / load / m / outer / to inner / inner / step"


def test_a_module_without_a_target_is_refused(workshop: Workshop) -> None:
    group = workshop.group("load", workshop.http("a"), module(workshop, "m", "Nowhere", "steps"))
    assert "points to `Plan / Nowhere / steps`" in workshop.refusal(group).problem


def test_a_module_in_itself_is_refused(workshop: Workshop) -> None:
    steps = workshop.element("GenericController", "steps", workshop.http("a"), module(workshop, "m", "load", "steps"))
    assert "points to" in workshop.refusal(workshop.group("load", steps)).problem


def test_modules_in_a_circle_are_refused(workshop: Workshop) -> None:
    parts = fragment(
        workshop,
        workshop.element("GenericController", "one", module(workshop, "to two", "Parts", "two")),
        workshop.element("GenericController", "two", module(workshop, "to one", "Parts", "one")),
    )
    group = workshop.group("load", workshop.http("a"), module(workshop, "m", "Parts", "one"))
    assert "nested deeper" in workshop.refusal(parts, group).problem


def test_an_include_gets_the_fragment_of_its_file(workshop: Workshop) -> None:
    included_file(
        workshop,
        "more/steps.jmx",
        workshop.http("outside of the fragment"),
        fragment(workshop, workshop.http("step"), workshop.http("off", enabled=False)),
    )
    prepared, document = workshop.prepare(workshop.group("load", include(workshop, "shared", "more/steps.jmx")))
    assert [child.name for child in workshop.find(document, "load").children] == [AWAIT, "shared"]
    assert [child.name for child in workshop.find(document, "shared").children] == ["step"]
    assert prepared.data_files == (workshop.folder / "more/steps.jmx",)


def test_includes_that_cannot_be_used_are_refused(workshop: Workshop) -> None:
    included_file(workshop, "empty.jmx", workshop.http("a"))
    workshop.file("broken.jmx", "<jmeterTestPlan>")
    included_file(workshop, "circle.jmx", fragment(workshop, include(workshop, "again", "circle.jmx")))
    for name, problem in (
        ("absent.jmx", "which does not exist"),
        ("empty.jmx", "holds no Test Fragment"),
        ("broken.jmx", "not well-formed XML"),
        ("circle.jmx", "nested deeper"),
    ):
        group = workshop.group("load", workshop.http("a"), include(workshop, "shared", name))
        assert problem in workshop.refusal(group).problem
