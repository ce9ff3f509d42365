"""What ended a probe, how the interval was made, what did not count: in words, and from what the search really does."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, get_args

import pytest

from include.capacity.judgement.stops import GUARD, OVERLOAD, SHARD, stop
from include.capacity.judgement.watching import watch
from include.capacity.models import HOLD_COMPLETE, Answer, FleetSecond, SearchSettings, Slo, SloCondition, Validity
from include.capacity.report.charts import story_chart
from include.capacity.report.document_probes import interval_story, probes_context
from include.capacity.report.endings import ENDINGS, Ending, ending_of
from include.capacity.report.story import BASES, discarded, interval_basis
from include.capacity.search import answers
from include.capacity.search.evidence import weigh
from tests.unit.capacity.examples import FIRST, LIMITS, SLO, STEP, result, same, second, seconds
from tests.unit.capacity.report.example_run import FOLDER

SETTINGS = SearchSettings(10, 1000, 0.03, 1.35, 5, 14, 3, 60, 5, 3, 900, 3)
REST = replace(STEP, kind="rest", well_p50_ms=60.0)


def slow_and_fast(slow: int, count: int) -> list[FleetSecond]:
    return seconds(count, rows={("shop", "ok"): same(400, slow).merge(same(20, 100 - slow))})


@pytest.mark.parametrize(
    ("held", "step", "slo", "ending", "plain"),
    [
        (seconds(60), replace(STEP, hold_s=100.0), SLO, "met", "met beyond doubt"),
        (slow_and_fast(60, 40), replace(STEP, hold_s=1000.0), SLO, "missed", "missed beyond doubt"),
        (slow_and_fast(60, 12), STEP, SLO, "allowance", "allowance used up"),
        (
            slow_and_fast(60, 12),
            replace(STEP, hold_s=30.0),
            Slo((SloCondition("latency_p95_ms", 250, window_s=4.0),)),
            "allowance",
            "allowance used up",
        ),
        ([second(FIRST, in_flight=900)], STEP, SLO, "overload", "overload"),
        ([second(FIRST, guard="half of all failed")], STEP, SLO, "guard", "guard"),
        ([second(FIRST, missing=(1,))], STEP, SLO, "shard", "shard lost"),
        ([second(FIRST, restarted=(1,))], STEP, SLO, "shard", "shard lost"),
        (seconds(6), REST, SLO, "well", "well again"),
    ],
)
def test_each_rule_of_the_watch_has_its_words(held: Any, step: Any, slo: Any, ending: Ending, plain: str) -> None:
    reason = watch(step, slo, LIMITS, held, transactions_per_arrival=1.0)
    assert reason is not None
    assert ending_of(reason) == ending, reason
    assert ENDINGS[ending].plain == plain


def test_the_rules_are_a_closed_set() -> None:
    assert set(ENDINGS) == set(get_args(Ending))
    assert ENDINGS[ending_of(HOLD_COMPLETE)].plain == "held to its end"
    assert ending_of("aborted: as the first versions said it") == "other"
    assert {ending_of(stop(reason, "x")) for reason in (OVERLOAD, GUARD, SHARD)} == {"overload", "guard", "shard"}


def told(answer: Answer) -> str:
    interval = {"low": answer.low, "high": answer.high, "level": 0.9, "basis": interval_basis(answer)}
    return " ".join(interval_story({"answer": {"tps": answer.tps, "interval": interval}}))


def test_how_each_interval_was_made() -> None:
    closed = weigh([result("soak", 100, True), result("soak", 104, False)])
    wide = weigh([result("soak", 100, True), result("soak", 130, False)])
    never = weigh([result("soak", 100, True)])
    probes = weigh([result("probe", 100, True), result("probe", 110, False)])
    assert closed.verified is not None
    cases = {
        "simulated_spread": answers.verified_answer(SETTINGS, closed, closed.verified),
        "spread_to_failure": answers.verified_answer(SETTINGS, wide, closed.verified),
        "one_sided": answers.verified_answer(SETTINGS, never, closed.verified),
        "short_probes": answers.unverified_answer(probes, 95),
        "failure": answers.at_most(20, "x"),
        "none": answers.inconclusive(("x",)),
    }
    assert tuple(cases) == BASES
    for basis, done in cases.items():
        assert interval_basis(done.answer) == basis
    words = {basis: told(done.answer) for basis, done in cases.items()}
    assert "Its ends are 95 % and 107 % of the answer." in words["simulated_spread"]
    assert "Its upper end, 130 TPS, is the lowest rate that failed" in words["spread_to_failure"]
    assert "It has no upper end" in words["one_sided"]
    assert "No soak passed" in words["short_probes"]
    assert "20 TPS, is a rate that failed" in words["failure"]
    assert "There is no interval" in words["none"]
    assert interval_basis(None) == "none"
    safe = answers.verified_answer(replace(SETTINGS, safe=True), closed, closed.verified)
    assert interval_basis(safe.answer) == "simulated_spread"
    assert interval_basis(Answer(None, None, 20, False, "at_most", Validity("valid"), ())) == "failure"


def test_what_did_not_count_and_what_overruled_it() -> None:
    probes = [
        result("smoke", 10, True),
        result("ramp", 100, True, hold_s=5),
        result("probe", 100, False, hold_s=14),  # doubted: the later soak passed at this rate
        result("rest", 30, True, hold_s=3),
        result("probe", 110, None, hold_s=14),
        result("rest", 30, None, hold_s=4),
        result("probe", 110, True, hold_s=14),  # voided: the longer test failed
        result("soak", 100, True, hold_s=60),
        result("soak", 108, False, hold_s=60),
    ]
    found = discarded(probes)
    assert [(row["probe"], row["sustainable"], row["by"]) for row in found["overruled"]] == [
        (3, False, 8),
        (7, True, 9),
    ]
    assert [(row["probe"], row["reasons"], row["held_s"]) for row in found["invalid"]] == [
        (5, ["the generator was late"], 14),
        (6, ["the generator was late"], 4),
    ]
    assert found["load_s"] == sum(probe.load_s for probe in probes)
    assert found["rests_s"] == 3  # no second is told twice


def test_a_doubt_that_was_never_settled_is_told() -> None:
    found = discarded([result("probe", 100, True), result("probe", 99, False)])
    assert [(row["probe"], row["by"]) for row in found["overruled"]] == [(2, None)]


def test_nothing_measured_nothing_discarded() -> None:
    assert discarded([]) == {"load_s": 0, "starts_s": 0, "rests_s": 0, "invalid": [], "overruled": []}


@pytest.fixture
def example() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FOLDER / "result.json").read_text())
    return loaded


def test_the_chart_shows_every_probe_with_its_end(example: dict[str, Any]) -> None:
    chart = story_chart(example)
    assert chart is not None
    assert [probe.number for probe in chart.probes] == list(range(1, len(example["probes"]) + 1))
    assert [probe.number for probe in chart.probes if probe.rest] == [6, 10, 12, 15]
    assert [probe.number for probe in chart.probes if not probe.counts] == [13]
    assert [probe.number for probe in chart.probes if probe.mark == "invalid"] == [7]
    labels = [probe.label for probe in chart.probes]
    assert labels[7] == "8  probe, 12 of 14 s: met early"
    assert labels[16] == "17  soak, 60 s"
    assert story_chart(example | {"probes": []}) is None


def test_a_result_of_the_first_versions_tells_what_it_holds(example: dict[str, Any]) -> None:
    new = probes_context(example)
    del example["discarded"]
    for probe in example["probes"]:
        del probe["stop_rule"], probe["held_s"]
        for condition in probe["conditions"]:
            del condition["share"], condition["share_error"], condition["allowed_share"]
    old = probes_context(example)
    assert [str(row).split(" | ")[4] for row in old["probes"]] == [str(row).split(" | ")[4] for row in new["probes"]]
    assert [str(row).split(" | ")[7] for row in old["probes"]] == [str(row).split(" | ")[7] for row in new["probes"]]
    assert old["invalid"] == new["invalid"]
    assert old["overruled"] == []
