from __future__ import annotations

import pytest

from include.capacity.errors import PlanRefused
from include.loadgen.plan.jmx import load
from include.loadgen.plan.loadmodel import AWAIT, DISPATCHER, divide_threads
from include.loadgen.plan.settings import GroupInfo
from tests.unit.loadgen.plan.workshop import Workshop

PLUGIN_GROUP = "com.blazemeter.jmeter.threads.concurrency.ConcurrencyThreadGroup"
STEPPING_GROUP = "kg.apc.jmeter.threads.SteppingThreadGroup"


@pytest.mark.parametrize("kind", ["ThreadGroup", "OpenModelThreadGroup", PLUGIN_GROUP, STEPPING_GROUP])
def test_every_kind_of_load_group_becomes_a_pool_that_loops_for_ever(workshop: Workshop, kind: str) -> None:
    group = workshop.group(
        "load", workshop.http("look"), kind=kind, threads=7, ThreadGroup__scheduler=True, ThreadGroup__duration="60"
    )
    _, document = workshop.prepare(group, threads=33)
    new = workshop.find(document, "load")
    assert new.kind == "ThreadGroup"
    assert new.get("ThreadGroup.num_threads") == "33"
    assert new.get("ThreadGroup.scheduler") == "false"
    assert new.get("ThreadGroup.duration") == ""
    controller = new.property("ThreadGroup.main_controller")
    assert controller is not None
    assert {child.get("name"): child.text for child in controller} == {
        "LoopController.continue_forever": "false",
        "LoopController.loops": "-1",
    }
    assert [child.name for child in new.children] == [AWAIT, "look"]


def test_the_await_asks_for_its_own_group(workshop: Workshop) -> None:
    prepared, document = workshop.prepare(
        workshop.group("first", workshop.http("a")), workshop.group("second", workshop.http("b"))
    )
    for info in prepared.groups:
        script = workshop.find(document, info.name).children[0].get("script")
        assert f"take({info.index})" in script
        assert script.startswith("SampleResult.setIgnore()")
    assert [info.index for info in prepared.groups] == [0, 1]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({}, ("continue", "true")),
        ({"ThreadGroup.on_sample_error": "startnextloop"}, ("startnextloop", "true")),
        ({"ThreadGroup.same_user_on_next_iteration": False}, ("continue", "false")),
    ],
)
def test_error_action_and_same_user_are_kept(workshop: Workshop, given: dict[str, str], kept: tuple[str, str]) -> None:
    _, document = workshop.prepare(workshop.group("load", workshop.http("look"), **given))
    new = workshop.find(document, "load")
    assert (
        new.get("ThreadGroup.on_sample_error"),
        new.get("ThreadGroup.same_user_on_next_iteration"),
    ) == kept


@pytest.mark.parametrize("action", ["stopthread", "stoptest", "stoptestnow"])
def test_stopping_after_an_error_is_refused(workshop: Workshop, action: str) -> None:
    refusal = workshop.refusal(workshop.group("load", workshop.http("a"), ThreadGroup__on_sample_error=action))
    assert refusal.key == "Plan / load"
    assert f"`{action}`" in refusal.problem


def three_groups(workshop: Workshop) -> list[str]:
    return [
        workshop.group("browse", workshop.http("a"), threads=6),
        workshop.group("search", workshop.http("b"), threads="${__P(searchers,3)}"),
        workshop.group("buy", workshop.http("c"), threads=1),
    ]


def test_weights_follow_the_plans_thread_counts(workshop: Workshop) -> None:
    prepared, _ = workshop.prepare(*three_groups(workshop), threads=100)
    assert prepared.groups == (
        GroupInfo("browse", 0, 0.6, 60),
        GroupInfo("search", 1, 0.3, 30),
        GroupInfo("buy", 2, 0.1, 10),
    )


def test_thread_counts_come_from_properties(workshop: Workshop) -> None:
    prepared, _ = workshop.prepare(*three_groups(workshop), properties={"searchers": "13"})
    assert prepared.groups[1].weight == pytest.approx(0.65)


def test_given_weights_win_and_any_unit_will_do(workshop: Workshop) -> None:
    prepared, _ = workshop.prepare(*three_groups(workshop), weights={"browse": 1, "search": 1, "buy": 2}, threads=40)
    assert [(info.weight, info.threads) for info in prepared.groups] == [(0.25, 10), (0.25, 10), (0.5, 20)]


def test_a_group_of_weight_zero_is_left_out(workshop: Workshop) -> None:
    prepared, document = workshop.prepare(*three_groups(workshop), weights={"browse": 1, "search": 0, "buy": 1})
    assert [(info.name, info.index) for info in prepared.groups] == [("browse", 0), ("buy", 1)]
    assert "search" not in [node.name for node in document.plan.walk()]
    assert any("Plan / search: has no thread (weight 0)" in note for note in prepared.notes)


@pytest.mark.parametrize(
    ("weights", "problem"),
    [
        ({"browse": 1, "search": 1, "buy": 1, "sell": 1}, "no enabled thread group `sell`"),
        ({"browse": 1, "search": 1}, "thread groups without a weight: buy"),
        ({"browse": 0, "search": 0, "buy": 0}, "only thread groups with the weight 0"),
        ({"browse": -1, "search": 1, "buy": 1}, "the weight -1 of `browse` is no share"),
        ({"browse": float("nan"), "search": 1, "buy": 1}, "is no share"),
    ],
)
def test_weights_that_do_not_fit_are_refused(workshop: Workshop, weights: dict[str, float], problem: str) -> None:
    assert problem in workshop.refusal(*three_groups(workshop), weights=weights).problem


def test_equal_names_are_ambiguous_only_when_weights_are_given(workshop: Workshop) -> None:
    twins = [workshop.group("twin", workshop.http("a")), workshop.group("twin", workshop.http("b"))]
    prepared, _ = workshop.prepare(*twins)
    assert len(prepared.groups) == 2
    workshop.out.unlink()
    assert "ambiguous" in workshop.refusal(*twins, weights={"twin": 1}).problem


def test_an_uncertain_thread_count_needs_given_weights(workshop: Workshop) -> None:
    groups = [
        workshop.group("certain", workshop.http("a"), threads=2),
        workshop.group("uncertain", workshop.http("b"), threads="${__P(absent)}"),
    ]
    assert "load.weights" in workshop.refusal(*groups).cure
    prepared, _ = workshop.prepare(*groups, weights={"certain": 1, "uncertain": 3})
    assert [info.weight for info in prepared.groups] == [0.25, 0.75]


def test_a_single_group_takes_all_arrivals_whatever_its_thread_count(workshop: Workshop) -> None:
    prepared, _ = workshop.prepare(workshop.group("only", workshop.http("a"), threads="${__P(absent)}"))
    assert [info.weight for info in prepared.groups] == [1.0]


@pytest.mark.parametrize(
    ("pool", "weights", "threads"),
    [
        (200, {0: 0.6, 1: 0.3, 2: 0.1}, {0: 120, 1: 60, 2: 20}),
        (10, {0: 0.98, 1: 0.01, 2: 0.01}, {0: 6, 1: 2, 2: 2}),
        (3, {0: 0.5, 1: 0.5}, {0: 2, 1: 2}),
        (100, {0: 1 / 3, 1: 1 / 3, 2: 1 / 3}, {0: 34, 1: 33, 2: 33}),
    ],
)
def test_the_pool_is_divided_by_weight_with_two_threads_at_least(
    pool: int, weights: dict[int, float], threads: dict[int, int]
) -> None:
    assert divide_threads(pool, weights) == threads


def test_a_plan_without_a_group_is_refused(workshop: Workshop) -> None:
    disabled = workshop.group("off", workshop.http("a"), enabled=False)
    assert "no enabled thread group" in workshop.refusal(disabled).problem


@pytest.mark.parametrize("content", ["nothing", "only a pause", "only a disabled sampler"])
def test_a_group_without_a_sampler_is_refused(workshop: Workshop, content: str) -> None:
    inside = {
        "nothing": [],
        "only a pause": [workshop.element("TestAction", "pause", ActionProcessor__action=1)],
        "only a disabled sampler": [workshop.http("off", enabled=False)],
    }[content]
    assert "no enabled sampler" in workshop.refusal(workshop.group("empty", *inside)).problem


def test_the_dispatcher_comes_before_the_first_group_and_after_the_settings(workshop: Workshop) -> None:
    _, document = workshop.prepare(
        workshop.variables(a="b"),
        workshop.group("own preparation", workshop.http("a"), kind="SetupThreadGroup"),
        workshop.group("load", workshop.http("b")),
    )
    assert [child.name for child in document.plan.children] == ["variables", DISPATCHER, "own preparation", "load"]
    (sampler,) = document.plan.children[1].children
    assert sampler.get("parameters") == f"${{__P(headroom.script,{workshop.folder}/arrivals.groovy)}}"


def test_set_up_and_tear_down_groups_are_kept_as_they_are(workshop: Workshop) -> None:
    groups = [
        workshop.group(kind, workshop.http(f"in {kind}"), kind=kind, threads=3, ThreadGroup__on_sample_error="stoptest")
        for kind in ("SetupThreadGroup", "PostThreadGroup")
    ]
    _, document = workshop.prepare(*groups, workshop.group("load", workshop.http("a")))
    for kind in ("SetupThreadGroup", "PostThreadGroup"):
        kept = workshop.find(document, kind)
        assert (kept.kind, kept.get("ThreadGroup.num_threads"), len(kept.children)) == (kind, "3", 1)


@pytest.mark.parametrize("kind", ["SetupThreadGroup", "PostThreadGroup"])
def test_an_endless_side_group_is_refused(workshop: Workshop, kind: str) -> None:
    endless = workshop.group("endless", workshop.http("a"), kind=kind, loops=-1)
    load = workshop.group("load", workshop.http("b"))
    assert "loops for ever" in workshop.refusal(endless, load).problem
    limited = workshop.group("limited", workshop.http("a"), kind=kind, loops=-1, ThreadGroup__scheduler=True)
    workshop.prepare(limited, load)


def test_timers_and_pre_processors_never_act_on_the_await(workshop: Workshop) -> None:
    def element(kind: str, name: str) -> str:
        return workshop.element(kind, name)

    loop = workshop.element(
        "LoopController",
        "loop",
        element("JSR223PreProcessor", "of loop"),
        workshop.http("b"),
        LoopController__loops="2",
    )
    _, document = workshop.prepare(
        element("JSR223PreProcessor", "of plan"),
        workshop.group("set up", workshop.http("s"), kind="SetupThreadGroup"),
        workshop.group(
            "load",
            element("ConstantTimer", "timer"),
            element("SampleTimeout", "timeout"),
            element("HeaderManager", "headers"),
            workshop.http("a", element("JSR223PreProcessor", "of a")),
            loop,
        ),
    )
    moved = ["of plan", "timer", "timeout"]
    assert [child.name for child in workshop.find(document, "load").children] == [AWAIT, "headers", "a", "loop"]
    assert workshop.find(document, AWAIT).children == []
    assert [child.name for child in workshop.find(document, "a").children] == [*moved, "of a"]
    assert [child.name for child in workshop.find(document, "loop").children] == [*moved, "of loop", "b"]
    assert [child.name for child in workshop.find(document, "set up").children] == ["of plan", "s"]


@pytest.mark.parametrize(
    "kind", ["ConstantThroughputTimer", "PreciseThroughputTimer", "kg.apc.jmeter.timers.VariableThroughputTimer"]
)
def test_throughput_timers_are_dropped_and_noted(workshop: Workshop, kind: str) -> None:
    group = workshop.group("load", workshop.element(kind, "pace"), workshop.http("a", workshop.element(kind, "pace 2")))
    prepared, document = workshop.prepare(group)
    assert not {"pace", "pace 2"} & {node.name for node in document.plan.walk()}
    assert [note for note in prepared.notes if "Plan / load / pace: dropped" in note]


def test_transactions_are_joined_and_their_assertions_move_to_the_samplers(workshop: Workshop) -> None:
    group = workshop.group(
        "load",
        workshop.element("ResponseAssertion", "says hello"),
        workshop.element(
            "TransactionController",
            "order",
            workshop.element("DurationAssertion", "quick"),
            workshop.http("look"),
            workshop.element("IfController", "maybe", workshop.http("buy")),
            TransactionController__parent=False,
        ),
        workshop.element("TransactionController", "whole", workshop.http("inside"), TransactionController__parent=True),
        workshop.http("alone"),
    )
    prepared, document = workshop.prepare(group)

    def below(name: str) -> list[str]:
        return [child.name for child in workshop.find(document, name).children]

    assert workshop.find(document, "order").get("TransactionController.parent") == "true"
    assert below("order") == ["look", "maybe"]
    assert sorted(below("look")) == sorted(below("buy")) == ["quick", "says hello"]
    assert below("whole") == ["inside", "says hello"]  # JMeter checked it on this sample in the user's plan, too
    assert below("inside") == []
    assert below("alone") == ["says hello"]
    assert below(AWAIT) == []
    assert sum("is measured as one sample" in note for note in prepared.notes) == 1


def test_without_a_change_to_transactions_assertions_stay_where_they_are(workshop: Workshop) -> None:
    group = workshop.group("load", workshop.element("ResponseAssertion", "says hello"), workshop.http("alone"))
    _, document = workshop.prepare(group)
    assert [child.name for child in workshop.find(document, "load").children] == [AWAIT, "says hello", "alone"]


def test_the_plans_switches_are_set(workshop: Workshop) -> None:
    path = workshop.plan(workshop.group("load", workshop.http("a")))
    text = path.read_text().replace(
        '<TestPlan guiclass="x" testclass="TestPlan" testname="Plan" enabled="true">',
        '<TestPlan guiclass="x" testclass="TestPlan" testname="Plan" enabled="true">'
        '<boolProp name="TestPlan.functional_mode">true</boolProp>'
        '<boolProp name="TestPlan.serialize_threadgroups">true</boolProp>'
        '<boolProp name="TestPlan.tearDown_on_shutdown">true</boolProp>',
    )
    path.write_text(text)
    workshop.prepare_file(path)
    plan = load(workshop.out).plan
    assert plan.get("TestPlan.functional_mode") == "false"
    assert plan.get("TestPlan.serialize_threadgroups") == "false"
    assert plan.get("TestPlan.tearDown_on_shutdown") == "true"


def test_the_same_plan_gives_the_same_bytes(workshop: Workshop) -> None:
    groups = three_groups(workshop)
    workshop.prepare(*groups)
    first = workshop.out.read_bytes()
    workshop.prepare(*groups)
    assert workshop.out.read_bytes() == first


def test_a_prepared_plan_is_not_prepared_again(workshop: Workshop) -> None:
    prepared, _ = workshop.prepare(workshop.group("load", workshop.http("a")))
    with pytest.raises(PlanRefused, match="prepared by Headroom already"):
        workshop.prepare_file(prepared.path)
