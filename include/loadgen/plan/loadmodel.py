"""Replaces the plan's load model: thread groups take arrivals from the dispatcher, and nothing else paces them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from include.loadgen.plan import stock
from include.loadgen.plan.findings import Findings
from include.loadgen.plan.jmx import Node, make_node, make_property
from include.loadgen.plan.settings import GroupInfo
from include.loadgen.plan.values import Values

AWAIT = "headroom await"
DISPATCHER = "headroom dispatcher"
DISPATCHER_KEY = "headroom.arrivals"
SCRIPT_PROPERTY = "headroom.script"
ARRIVAL_VARIABLE = "headroom_arrival"

MIN_THREADS = 2

# The text differs between groups only by the index, so that JMeter compiles one class per group and keeps it.
# The sample is ignored first of all: whatever happens then, no line of it reaches the results.
_AWAIT_SCRIPT = """\
SampleResult.setIgnore()
def dispatcher = props.get('%(key)s')
def arrival = dispatcher == null ? null : dispatcher.take(%(index)d)
if (arrival instanceof long[] && arrival[0] >= 0L) {
  vars.put('%(variable)s', arrival[1] + ':' + arrival[0])
} else {
  ctx.thread.stop()
}
"""

_DISPATCHER_SCRIPT = """\
try {
  evaluate(new File(Parameters))
  SampleResult.setIgnore()
} catch (Throwable failure) {
  log.error('The dispatcher of arrivals did not start from ' + Parameters, failure)
  SampleResult.setSuccessful(false)
  SampleResult.setResponseMessage('The dispatcher of arrivals did not start: ' + failure)
}
"""


def plan_weights(
    plan: Node, groups: list[Node], weights: Mapping[str, float], values: Values, findings: Findings
) -> dict[int, float]:
    """Position in `groups` -> share of the arrivals; the shares add up to 1. A group with weight 0 is left out."""
    if not groups:
        findings.refuse(plan, "holds no enabled thread group.", "Enable one, or add one with your samplers.")
        return {}
    raw = _given_weights(plan, groups, weights, findings) if weights else _own_weights(groups, values, findings)
    total = sum(raw.values())
    if total <= 0:
        findings.refuse(plan, "has only thread groups with the weight 0.", "Give one group a positive weight.")
        return {}
    for position, weight in raw.items():
        if not weight:
            findings.note("has no thread (weight 0) and was dropped.", groups[position])
    return {position: weight / total for position, weight in raw.items() if weight}


def _given_weights(
    plan: Node, groups: list[Node], weights: Mapping[str, float], findings: Findings
) -> dict[int, float]:
    names = [group.name for group in groups]
    listed = ", ".join(dict.fromkeys(names))
    for name in weights:
        if name not in names:
            findings.refuse(
                plan,
                f"has no enabled thread group `{name}`, for which a weight is given.",
                f"The groups are: {listed}. Correct load.weights.",
            )
        elif names.count(name) > 1:
            findings.refuse(
                plan,
                f"has {names.count(name)} enabled thread groups named `{name}`, so that its weight is ambiguous.",
                "Give each group a name of its own.",
            )
    for name, weight in weights.items():
        if not (0 <= weight < float("inf")):
            findings.refuse(plan, f"the weight {weight} of `{name}` is no share.", "Give a number from 0 up.")
    missing = [name for name in dict.fromkeys(names) if name not in weights]
    if missing and any(name in names for name in weights):
        findings.refuse(
            plan,
            f"has thread groups without a weight: {', '.join(missing)}.",
            "Weigh every group in load.weights (0 leaves a group out), or none.",
        )
    # A positive stand-in keeps the checks going after a refusal; the plan is never written then.
    return {position: max(float(weights.get(name, 1.0)), 0.0) for position, name in enumerate(names)}


def _own_weights(groups: list[Node], values: Values, findings: Findings) -> dict[int, float]:
    weights: dict[int, float] = {}
    for position, group in enumerate(groups):
        text = group.get("ThreadGroup.num_threads") or group.get("TargetLevel")
        value = values.value(text) if text else "1"
        try:
            weights[position] = max(float(value or ""), 0.0)
        except ValueError:
            weights[position] = 1.0
            if len(groups) > 1:
                findings.refuse(
                    group,
                    f"has the thread count `{text}`, from which no weight follows.",
                    "Give the shares of all groups in load.weights of the profile.",
                )
        if not text and len(groups) > 1:
            findings.note("has no fixed thread count; its weight is 1 unless load.weights says otherwise.", group)
    if len(groups) == 1:
        return {0: weights[0] or 1.0}
    return weights


def divide_threads(pool: int, weights: Mapping[int, float]) -> dict[int, int]:
    """Divides the pool by weight, at least MIN_THREADS each; what rounding leaves goes to the heaviest group."""
    threads = {position: max(MIN_THREADS, int(pool * weight)) for position, weight in weights.items()}
    heaviest = max(weights, key=lambda position: weights[position])
    threads[heaviest] = max(MIN_THREADS, threads[heaviest] + pool - sum(threads.values()))
    return threads


def replace_group(group: Node, info: GroupInfo, values: Values, findings: Findings) -> Node:
    """The stock Thread Group that stands for the user's group: the pool's threads take one arrival per iteration."""
    on_error = group.get("ThreadGroup.on_sample_error", "continue")
    same_user = values.value(group.get("ThreadGroup.same_user_on_next_iteration", "true"))
    new = make_node("ThreadGroup", "ThreadGroupGui", group.name, {"ThreadGroup.on_sample_error": on_error})
    loop = make_property("ThreadGroup.main_controller", "")
    loop.tag, loop.text = "elementProp", None
    loop.attrib.update(
        {
            "elementType": "LoopController",
            "guiclass": "LoopControlPanel",
            "testclass": "LoopController",
            "testname": "Loop Controller",
            "enabled": "true",
        }
    )
    loop.append(make_property("LoopController.continue_forever", False))
    loop.append(make_property("LoopController.loops", -1))
    new.element.append(loop)
    new.set("ThreadGroup.num_threads", info.threads)
    new.set("ThreadGroup.ramp_time", 1)
    new.set("ThreadGroup.delayedStart", False)
    new.set("ThreadGroup.scheduler", False)
    new.set("ThreadGroup.same_user_on_next_iteration", same_user != "false")
    for child in tuple(group.children):
        group.remove(child)
        new.append(child)
    new.insert(0, _script_sampler(AWAIT, _await_script(info.index), ""))
    if group.parent is not None:
        group.parent.replace(group, new)
    findings.note(
        f"its load model ({group.short_kind}) was replaced: {info.threads} threads take"
        f" {info.weight:.1%} of the arrivals.",
        new,
    )
    return new


def _await_script(index: int) -> str:
    return _AWAIT_SCRIPT % {"key": DISPATCHER_KEY, "index": index, "variable": ARRIVAL_VARIABLE}


def dispatcher_group(script: Path) -> Node:
    """The setUp group that starts the dispatcher. It runs beside the user's own setUp groups and ends at once."""
    group = make_node(
        "SetupThreadGroup", "SetupThreadGroupGui", DISPATCHER, {"ThreadGroup.on_sample_error": "continue"}
    )
    loop = make_property("ThreadGroup.main_controller", "")
    loop.tag, loop.text = "elementProp", None
    loop.attrib.update({"elementType": "LoopController", "guiclass": "LoopControlPanel", "testclass": "LoopController"})
    loop.append(make_property("LoopController.continue_forever", False))
    loop.append(make_property("LoopController.loops", 1))
    group.element.append(loop)
    group.set("ThreadGroup.num_threads", 1)
    group.set("ThreadGroup.ramp_time", 0)
    group.set("ThreadGroup.scheduler", False)
    group.set("ThreadGroup.same_user_on_next_iteration", True)
    default = str(script.resolve()).replace("\\", "\\\\").replace(",", "\\,")
    group.append(_script_sampler(DISPATCHER, _DISPATCHER_SCRIPT, f"${{__P({SCRIPT_PROPERTY},{default})}}"))
    return group


def _script_sampler(name: str, script: str, parameters: str) -> Node:
    return make_node(
        "JSR223Sampler",
        "TestBeanGUI",
        name,
        {
            "scriptLanguage": "groovy",
            "filename": "",
            "parameters": parameters,
            "cacheKey": "true",
            "script": script,
        },
    )


def drop_pacing(plan: Node, findings: Findings) -> None:
    """Drops what would pace the load beside the dispatcher: throughput timers."""
    for node in tuple(plan.walk()):
        if node.parent is not None and stock.is_load_model_timer(node):
            findings.note(f"dropped ({node.short_kind}): the rate comes from the dispatcher alone.", node)
            node.parent.remove(node)


def free_await(plan: Node) -> None:
    """Moves timers and pre-processors of the plan and of load groups one level down, so that none acts on the await.

    JMeter applies such an element to every sampler in its scope; with a copy at the front of each of the scope's
    children the user's samplers see the same elements in the same order, and the await sees none.
    """
    groups = [child for child in plan.children if stock.is_load_group(child) or stock.is_side_group(child)]
    _move_down(plan, groups)
    for group in plan.children:
        if stock.is_load_group(group):
            _move_down(
                group, [child for child in group.children if stock.is_sampler(child) or stock.is_controller(child)]
            )


def _move_down(scope: Node, receivers: list[Node]) -> None:
    moved = [child for child in scope.children if stock.is_timer(child) or stock.is_preprocessor(child)]
    for element in moved:
        scope.remove(element)
    for receiver in receivers:
        for position, element in enumerate(moved):
            receiver.insert(position, element.copy())


def join_transactions(group: Node, findings: Findings) -> None:
    """Makes every Transaction Controller one sample, so that a transaction is counted once, with its samplers inside.

    JMeter checks the assertions in scope on such a sample, too, though it has no response of its own. The assertions
    above a changed controller are therefore moved down to the samplers, which they were meant for.
    """
    changed: list[Node] = []
    for node in group.walk():
        if node.short_kind == "TransactionController" and node.get("TransactionController.parent") != "true":
            node.set("TransactionController.parent", True)
            changed.append(node)
            findings.note("is measured as one sample ('Generate parent sample'); its samplers are inside it.", node)
        if node.short_kind == "TransactionController" and node.get("TransactionController.includeTimers") == "true":
            findings.note("counts timers and pre-processors as part of its time, as the plan says.", node)
    for scope in {id(above): above for node in changed for above in (node, *node.ancestors())}.values():
        for assertion in [child for child in scope.children if stock.is_assertion(child)]:
            scope.remove(assertion)
            _give_to_samplers(scope, assertion, changed)


def _give_to_samplers(scope: Node, assertion: Node, changed: list[Node]) -> None:
    for child in scope.children:
        if stock.is_sampler(child):
            child.append(assertion.copy())
        elif child.short_kind == "TransactionController" and child not in changed:
            child.append(assertion.copy())  # it was one sample before: the assertion was meant for it
        elif stock.is_controller(child) or stock.is_load_group(child) or stock.is_side_group(child):
            _give_to_samplers(child, assertion, changed)
