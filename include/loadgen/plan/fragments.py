"""Puts the content of Module and Include Controllers in their place, so that every check sees all of the plan.

JMeter does the same when it starts; done here, a Test Fragment's samplers are checked like all others.
"""

from __future__ import annotations

from pathlib import Path

from include.capacity.errors import PlanRefused
from include.loadgen.plan import datafiles
from include.loadgen.plan.findings import Findings
from include.loadgen.plan.jmx import Node, load, make_node
from include.loadgen.plan.values import Values

MAX_NESTING = 10


def inline_modules(plan: Node, findings: Findings) -> None:
    """Replaces each enabled Module Controller by a Simple Controller with a copy of what it points to.

    To be called while disabled elements are still in the tree: a module may lie in a disabled group.
    """
    for _ in range(MAX_NESTING):
        modules = [node for node in _running(plan) if node.short_kind == "ModuleController"]
        if not modules:
            return
        for module in modules:
            _inline_module(plan, module, findings)
    findings.refuse(plan, f"has Module Controllers nested deeper than {MAX_NESTING}.", "Break the circle of modules.")
    for module in [node for node in _running(plan) if node.short_kind == "ModuleController"]:
        module.element.set("enabled", "false")


def inline_includes(plan: Node, values: Values, folder: Path, findings: Findings) -> tuple[Path, ...]:
    """Replaces each Include Controller by a Simple Controller with the file's Test Fragment. Returns the files read."""
    files: list[Path] = []
    for _ in range(MAX_NESTING):
        includes = [node for node in plan.walk() if node.short_kind == "IncludeController"]
        if not includes:
            return tuple(dict.fromkeys(files))
        for include in includes:
            files.extend(_inline_include(include, values, folder, findings))
    findings.refuse(plan, f"has Include Controllers nested deeper than {MAX_NESTING}.", "Break the circle of includes.")
    return tuple(dict.fromkeys(files))


def drop_disabled(plan: Node) -> int:
    """Removes disabled elements and Test Fragments (which run only where a module or include uses them)."""
    dropped = 0
    for node in tuple(plan.walk()):
        if node.parent is not None and (not node.enabled or node.short_kind == "TestFragmentController"):
            dropped += node.short_kind != "TestFragmentController"
            node.parent.remove(node)
    return dropped


def _running(plan: Node) -> list[Node]:
    """All nodes that are enabled with all their ancestors."""
    found: list[Node] = []
    pending = [plan]
    while pending:
        node = pending.pop()
        if node.enabled:
            found.append(node)
            pending.extend(node.children)
    return found


def _inline_module(plan: Node, module: Node, findings: Findings) -> None:
    assert module.parent is not None
    target = _module_target(plan, module)
    if target is None or module is target or target in module.ancestors():
        wanted = " / ".join(_module_path(module)[1:]) or "nothing"
        findings.refuse(module, f"points to `{wanted}`, which the plan does not hold.", "Choose the module again.")
        module.element.set("enabled", "false")
        return
    simple = make_node("GenericController", "LogicControllerGui", module.name, {})
    content = target.copy()
    content.element.set("enabled", "true")
    if content.short_kind == "TestFragmentController":
        for child in content.children:
            simple.append(child)
    else:
        simple.append(content)
    module.parent.replace(module, simple)


def _module_path(module: Node) -> list[str]:
    """Names from the GUI's root: the first stands for the tree itself, the second is the Test Plan's."""
    found = module.property("ModuleController.node_path")
    return [element.text or "" for element in found.iter("stringProp")] if found is not None else []


def _module_target(plan: Node, module: Node) -> Node | None:
    names = _module_path(module)
    if len(names) < 3:
        return None
    # JMeter goes by the names and takes the last of equal ones; an ambiguous name is followed in the same way here.
    candidates = [plan]
    for name in names[2:]:
        candidates = [child for node in candidates for child in node.children if child.name == name]
    return candidates[-1] if candidates else None


def _inline_include(include: Node, values: Values, folder: Path, findings: Findings) -> list[Path]:
    assert include.parent is not None
    simple = make_node("GenericController", "LogicControllerGui", include.name, {})
    found = datafiles.find_file(
        include, include.get("IncludeController.includepath"), values, folder, findings, "the included plan"
    )
    files: list[Path] = []
    if found is not None:
        files.append(found)
        try:
            included = load(found).plan
        except PlanRefused as error:
            findings.refuse(include, f"cannot be included: {error}", "Mend the included file.")
        else:
            fragment = next((node for node in included.walk() if node.short_kind == "TestFragmentController"), None)
            if fragment is None:
                findings.refuse(
                    include, f"includes `{found.name}`, which holds no Test Fragment.", "Put its content into one."
                )
            else:
                inline_modules(included, findings)
                for child in [child for child in fragment.children if child.enabled]:
                    drop_disabled(child)
                    simple.append(child)
    include.parent.replace(include, simple)
    return files
