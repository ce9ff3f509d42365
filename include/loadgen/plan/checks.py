"""Refuses elements that lose their meaning when threads are a pool that takes arrivals; drops what only observes."""

from __future__ import annotations

import re
from pathlib import Path

from include.loadgen.plan import stock
from include.loadgen.plan.findings import Findings
from include.loadgen.plan.jmx import OPEN_IN_JMETER, Node
from include.loadgen.plan.values import Values

_KEPT_ERROR_ACTIONS = frozenset({"continue", "startnextloop"})
_STOP_ACTIONS = {"0": "stop", "2": "stop now"}  # of Flow Control Action
_STOP_ON_ERROR = {"1": "stop the thread", "2": "stop the test", "3": "stop the test now"}  # of Result Status Action

_SCRIPT_STOPS = re.compile(
    r"setStop(?:Thread|Test|TestNow)\s*\(\s*true|stop(?:Test|TestNow|Thread|Engine)\s*\(|System\s*\.\s*exit"
    r"|(?:getThread\(\)|\bthread)\s*\.\s*stop\s*\("
)
_THREAD_NUMBER = re.compile(r"\$\{__threadNum\}|getThreadNum\(\)|\bthreadNum\b")


def drop_observers(plan: Node, findings: Findings) -> None:
    """Removes listeners, debug elements and parts of JMeter's workshop; each would cost time or count as load."""
    for node in tuple(plan.walk()):
        if node.parent is None:
            continue
        if stock.is_listener(node):
            findings.note("dropped (listener): the load generator records the results itself.", node)
        elif node.short_kind in stock.DEBUG_ELEMENTS:
            findings.note("dropped: a debug element, whose samples would count as transactions.", node)
        elif node.short_kind in stock.WORKSHOP_ELEMENTS:
            findings.note("dropped: it takes no part in a test.", node)
        else:
            continue
        node.parent.remove(node)


def check_plan(plan: Node, values: Values, jmeter_home: Path | None, findings: Findings) -> None:
    """Walks the plan, without its disabled elements, and refuses or notes what its elements mean here."""
    for node in plan.walk():
        _check_class(node, jmeter_home, findings)
    for group in plan.children:
        if stock.is_load_group(group):
            _check_load_group(group, values, findings)
            for node in group.walk():
                _check_element(node, values, findings)
        elif stock.is_side_group(group):
            _check_side_group(group, values, findings)
        else:
            _check_outside_of_groups(group, findings)
            for node in group.walk():
                _check_element(node, values, findings)


def _check_class(node: Node, jmeter_home: Path | None, findings: Findings) -> None:
    if stock.is_load_group(node):
        return  # it is replaced by a stock one, and need not be installed
    missing = stock.unknown_class(node, jmeter_home)
    if missing is not None:
        where = "JMeter 5.6.3 does"
        if jmeter_home is not None:
            where = f"JMeter 5.6.3 and the plug-ins in {jmeter_home}/lib/ext do"
        findings.refuse(
            node,
            f"is of the class `{missing}`, which {where} not know.",
            "Put the plug-in's jar into the load image's lib/ext, or use a stock element.",
        )
    elif not node.element.get("guiclass"):
        findings.refuse(node, "has no attribute `guiclass`, without which JMeter does not load it.", OPEN_IN_JMETER)


def _check_load_group(group: Node, values: Values, findings: Findings) -> None:
    action = group.get("ThreadGroup.on_sample_error", "continue")
    if action not in _KEPT_ERROR_ACTIONS:
        findings.refuse(
            group,
            f"has `{action}` as the action after a sampler error: each error would take a thread from the pool.",
            "Choose 'Continue' or 'Start Next Thread Loop'.",
        )
    if not any(stock.is_sampler(node) and node.short_kind != "TestAction" for node in group.walk()):
        findings.refuse(
            group,
            "holds no enabled sampler: its arrivals would do nothing.",
            "Enable or add a sampler, or disable the group.",
        )


def _check_outside_of_groups(child: Node, findings: Findings) -> None:
    """A thread group of an unknown kind would run its samplers beside the dispatcher, at a rate of its own."""
    if any(stock.is_sampler(node) for node in child.walk()):
        findings.refuse(
            child,
            f"holds samplers, but is no thread group that can be steered ({child.kind}).",
            "Move them into a stock Thread Group.",
        )


def _check_side_group(group: Node, values: Values, findings: Findings) -> None:
    what = "setUp" if group.short_kind == "SetupThreadGroup" else "tearDown"
    findings.note(f"kept as it is: a {what} Thread Group runs once, outside of the steered load.", group)
    controller = next((element for element in group.element if element.get("elementType") == "LoopController"), None)
    texts = {child.get("name"): (child.text or "").strip() for child in controller} if controller is not None else {}
    forever = values.is_true(texts.get("LoopController.continue_forever", ""))
    loops = values.value(texts.get("LoopController.loops", ""))
    limited = values.is_true(group.get("ThreadGroup.scheduler"))
    if (loops == "-1" or (forever and not loops)) and not limited:
        findings.refuse(
            group,
            f"loops for ever: a {what} Thread Group has to end by itself.",
            "Set a loop count, or a duration under 'Specify Thread lifetime'.",
        )


def _check_element(node: Node, values: Values, findings: Findings) -> None:
    kind = node.short_kind
    if kind == "SyncTimer":
        findings.refuse(
            node,
            "is a Synchronizing Timer: it gathers threads into bursts, against the arrivals that the load model sets.",
            "Remove or disable it; a burst is a traffic shape of the profile, not a part of the plan.",
        )
    elif kind == "LoopController":
        if values.value(node.get("LoopController.loops")) == "-1" or (
            values.is_true(node.get("LoopController.continue_forever")) and not node.get("LoopController.loops")
        ):
            findings.refuse(node, "loops for ever: the arrival that enters it would never end.", "Set a loop count.")
    elif kind == "WhileController":
        _check_while(node, values, findings)
    elif kind == "TestAction":
        action = values.value(node.get("ActionProcessor.action")) or ""
        if action in _STOP_ACTIONS:
            whole = values.value(node.get("ActionProcessor.target")) == "2"
            target = "all threads" if whole else "the current thread"
            findings.refuse(
                node,
                f"is a Flow Control Action that makes {target} {_STOP_ACTIONS[action]}: the pool would shrink.",
                "Use 'Go to next iteration of thread loop' to end an arrival early.",
            )
    elif kind == "ResultAction":
        action = values.value(node.get("OnError.action")) or ""
        if action in _STOP_ON_ERROR:
            findings.refuse(
                node,
                f"would {_STOP_ON_ERROR[action]} after an error.",
                "Choose 'Continue' or 'Start next thread loop': the guard of the profile ends a load that fails.",
            )
    elif kind == "ThroughputController":
        # Style 0 counts executions, 1 is a percentage.
        if values.value(node.get("ThroughputController.style", "0")) == "0":
            findings.refuse(
                node,
                "runs a total number of executions: its share would depend on how long the load lasts.",
                "Choose 'Percent Executions'.",
            )
    elif kind == "OnceOnlyController":
        findings.note(
            "kept: it runs once for each thread of the pool, in the first arrival that the thread takes; its samples"
            " come mostly during warm-up and whenever a rising load wakes a thread for the first time.",
            node,
        )
    elif kind == "CriticalSectionController":
        findings.note("kept: only one thread of a shard is inside at a time, which can limit the rate.", node)
    elif kind == "RunTime":
        findings.note("kept: an arrival repeats its content for the whole time that it names.", node)
    elif kind in stock.SCRIPTED_LISTENERS:
        findings.note("kept: a scripted listener sees transactions, not the samplers inside them.", node)
    _note_scripts(node, findings)


def _check_while(node: Node, values: Values, findings: Findings) -> None:
    text = node.get("WhileController.condition")
    condition = values.value(text)
    if condition is None:
        return
    if condition.lower() in ("", "last"):
        findings.note("repeats until its last sampler fails: an arrival may stay in it for long.", node)
    elif condition.lower() != "false":
        findings.refuse(
            node,
            f"has the condition `{text}`, which never becomes false: the arrival that enters it would never end.",
            "Use a condition that changes while the plan runs, or a Loop Controller.",
        )


def _note_scripts(node: Node, findings: Findings) -> None:
    for element in node.texts():
        text = element.text or ""
        if node.short_kind.startswith(("JSR223", "BeanShell", "BSF")) and (stop := _SCRIPT_STOPS.search(text)):
            findings.note(
                f"has a script that can stop threads or the test (`{stop[0]}…`): if it does, the shard ends and the"
                " probe becomes invalid.",
                node,
            )
        if _THREAD_NUMBER.search(text):
            findings.note("uses the thread number, which numbers the pool's threads of a shard, not users.", node)
