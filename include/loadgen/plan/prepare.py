"""Prepares a plan: file in, file out."""

from __future__ import annotations

import os
from pathlib import Path

from include.capacity.errors import PlanRefused
from include.loadgen.plan import checks, datafiles, fragments, loadmodel, stock, targets
from include.loadgen.plan.findings import Findings
from include.loadgen.plan.jmx import Document, Node, dump, load
from include.loadgen.plan.settings import GroupInfo, PlanSettings, PreparedPlan
from include.loadgen.plan.values import Values

__all__ = ["PlanSettings", "PreparedPlan", "check_plan", "prepare_plan"]

# One line per arrival's transaction: without the first, JMeter writes the samplers inside a transaction as lines, too.
RESULT_ARGUMENTS = (
    "-Jjmeter.save.saveservice.subresults=false",
    f"-Jsample_variables={loadmodel.ARRIVAL_VARIABLE}",
)


def prepare_plan(plan_path: Path, out_path: Path, *, settings: PlanSettings) -> PreparedPlan:
    """Writes the plan that JMeter is to run: the user's content under the steered load model.

    The same plan and settings give the same bytes. Raises PlanRefused (with all refusals in its text) before anything
    is written if the plan cannot be read or holds what cannot be kept.
    """
    document, prepared = _prepare(plan_path, out_path, settings)
    dump(document, out_path)
    return prepared


def check_plan(plan_path: Path, *, settings: PlanSettings) -> PreparedPlan:
    """Like prepare_plan, but writes nothing; `path` of the result is the plan itself."""
    return _prepare(plan_path, plan_path, settings)[1]


def _prepare(plan_path: Path, out_path: Path, settings: PlanSettings) -> tuple[Document, PreparedPlan]:
    document = load(plan_path)
    plan = document.plan
    folder = Path(os.path.abspath(settings.plan_folder or plan_path.parent))
    findings = Findings(str(plan_path))

    if any(node.name == loadmodel.DISPATCHER for node in plan.children):
        raise PlanRefused(str(plan_path), "", "was prepared by Headroom already.", "Name the original plan.")
    fragments.inline_modules(plan, findings)
    dropped = fragments.drop_disabled(plan)
    if dropped:
        findings.note(f"{dropped} disabled element{'s were' if dropped > 1 else ' was'} dropped.")
    # Included files may define variables: their paths are resolved without them, all else with them.
    included = fragments.inline_includes(plan, Values(plan, settings.properties, folder), folder, findings)
    values = Values(plan, settings.properties, folder)
    checks.drop_observers(plan, findings)
    loadmodel.drop_pacing(plan, findings)
    checks.check_plan(plan, values, settings.jmeter_home, findings)

    groups = [child for child in plan.children if stock.is_load_group(child)]
    weights = loadmodel.plan_weights(plan, groups, settings.weights, values, findings)
    for position, group in enumerate(groups):
        if weights and position not in weights:
            plan.remove(group)
    hosts = targets.check_targets(plan, values, settings.allow_hosts, findings)
    files = datafiles.use_absolute_paths(plan, values, folder, findings)
    findings.raise_refusals()

    infos = _replace_load_model(plan, groups, weights, values, settings, findings)
    _follow_redirects_visibly(plan, findings)
    _set_plan_switches(plan)
    plan.insert(_first_group(plan), loadmodel.dispatcher_group(settings.dispatcher_script))
    prepared = PreparedPlan(
        path=out_path,
        groups=infos,
        data_files=tuple(dict.fromkeys((*included, *files))),
        notes=findings.notes,
        targets=hosts,
        jmeter_arguments=(*RESULT_ARGUMENTS, *targets.jmeter_arguments(hosts, settings.allow_hosts)),
    )
    return document, prepared


def _replace_load_model(
    plan: Node,
    groups: list[Node],
    weights: dict[int, float],
    values: Values,
    settings: PlanSettings,
    findings: Findings,
) -> tuple[GroupInfo, ...]:
    loadmodel.free_await(plan)
    loadmodel.join_transactions(plan, findings)
    threads = loadmodel.divide_threads(settings.threads, weights)
    infos: list[GroupInfo] = []
    for index, position in enumerate(sorted(weights)):
        info = GroupInfo(groups[position].name, index, weights[position], threads[position])
        loadmodel.replace_group(groups[position], info, values, findings)
        infos.append(info)
    return tuple(infos)


def _follow_redirects_visibly(plan: Node, findings: Findings) -> None:
    """Automatic redirects become followed ones: the same requests, but each under JMeter's own control."""
    for node in plan.walk():
        automatic = node.get("HTTPSampler.auto_redirects", "false") != "false"
        if automatic and node.short_kind in stock.HTTP_SAMPLERS | {"ConfigTestElement"}:
            node.set("HTTPSampler.auto_redirects", False)
            node.set("HTTPSampler.follow_redirects", True)
            findings.note("'Redirect Automatically' became 'Follow Redirects'; the time includes both.", node)


def _set_plan_switches(plan: Node) -> None:
    plan.set("TestPlan.functional_mode", False)  # it would store every response
    plan.set("TestPlan.serialize_threadgroups", False)  # all groups share the arrivals at the same time


def _first_group(plan: Node) -> int:
    """Position before the first thread group: config elements stay in front, as JMeter shows them."""
    return next(
        index for index, child in enumerate(plan.children) if stock.is_load_group(child) or stock.is_side_group(child)
    )
