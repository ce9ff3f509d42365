"""result.json: content, schema, determinism."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from include.capacity.cost import run_cost
from include.capacity.errors import InvalidData
from include.capacity.models import SloCondition
from include.capacity.profile import Prices
from include.capacity.report import schema
from include.capacity.report.codec import from_json, to_json
from include.capacity.report.facts import RunFacts
from include.capacity.report.result import (
    acceptable,
    build_result,
    condition_text,
    epoch_of,
    iso_time,
    level_of,
    result_text,
    with_sandbox_truth,
)
from include.capacity.report.schema import RESULT_SCHEMA, check_result, schema_text
from tests.unit.capacity.report.example_run import FOLDER, example_facts


@pytest.fixture(scope="module")
def facts() -> RunFacts:
    return example_facts()[0]


def test_the_stored_example_is_what_the_facts_give(facts: RunFacts) -> None:
    assert result_text(build_result(facts)) == (FOLDER / "result.json").read_text()


def test_facts_survive_json(facts: RunFacts) -> None:
    assert from_json(RunFacts, json.loads(json.dumps(to_json(facts)))) == facts


def test_same_facts_same_bytes_whatever_the_order(facts: RunFacts) -> None:
    shuffled = replace(
        facts,
        probes=tuple(reversed(facts.probes)),
        artefacts=dict(reversed(facts.artefacts.items())),
        environment=replace(facts.environment, instances=tuple(reversed(facts.environment.instances))),
    )
    assert result_text(build_result(shuffled)) == result_text(build_result(facts))


def test_what_the_demo_reads(facts: RunFacts) -> None:
    result = build_result(facts)
    assert result["answer"]["tps"] == 188.2
    assert result["answer"]["interval"] == {"low": 178.8, "high": 201.4, "level": 0.9, "basis": "simulated_spread"}
    assert result["answer"]["verified"] is True
    assert result["validity"] == {"status": "valid", "reasons": []}
    assert result["sandbox_truth"]["max_tps"] == 189.4
    assert [probe["validity"]["status"] for probe in result["probes"]].count("invalid") == 1


def test_a_run_without_an_answer_is_inconclusive_and_says_why(facts: RunFacts) -> None:
    failed = replace(
        facts, answer=None, probes=(), comparison=None, cost=None, sandbox_truth=None, failure="The target was down."
    )
    failed = replace(failed, plan=replace(facts.plan, sha256=""), environment=replace(facts.environment, during=None))
    result = build_result(failed)
    assert result["validity"] == {"status": "inconclusive", "reasons": ["The target was down."]}
    assert (result["answer"]["tps"], result["answer"]["bound"]) == (None, "unknown")
    assert not acceptable(result)
    assert level_of(result).tps is None


def test_the_published_schema_is_the_code_and_is_a_schema() -> None:
    published = Path(schema.__file__).with_name("result.schema.json")
    assert published.read_text() == schema_text(), (
        "run: python -m include.capacity.report.schema > include/capacity/report/result.schema.json"
    )
    Draft202012Validator.check_schema(json.loads(published.read_text()))


def test_the_schema_is_strict_and_explains_everything() -> None:
    def walk(part: dict[str, Any], place: str) -> None:
        assert part.get("description"), f"{place} has no description"
        if "properties" in part and part.get("additionalProperties") is False:
            for name, inner in part["properties"].items():
                walk(inner, f"{place}.{name}")
        elif part.get("type") == "object":
            assert "additionalProperties" in part, f"{place} is not strict"

    walk(dict(RESULT_SCHEMA), "result")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("answer.tps", "188", r"answer\.tps: '188' is not of type 'number', 'null'"),
        ("answer.tps", -1, r"answer\.tps: -1 is less than the minimum of 0"),
        ("answer.tps", float("nan"), r"answer\.tps is no finite number"),
        ("probes.3.latency_ms.p95", float("inf"), r"probes\[3\]\.latency_ms\.p95 is no finite number"),
        ("probes.3.kind", "sprint", r"probes\[3\]\.kind: 'sprint' is not one of"),
        ("validity.status", "fine", r"validity\.status: 'fine' is not one of"),
        ("started_at", "yesterday", r"started_at: 'yesterday' does not match"),
        ("colour", "red", r"Additional properties are not allowed \('colour' was unexpected\)"),
        ("probes.0.colour", "red", r"probes\[0\]: Additional properties"),
        ("plan_hash", "abc", r"plan_hash: 'abc' does not match"),
        ("sandbox_truth", {}, r"sandbox_truth: 'max_tps' is a required property"),
        ("schema_version", 2, r"schema_version: 1 was expected"),
        ("restored.equal", "yes", r"restored\.equal"),
        ("comparison.verdict", "worse", r"comparison\.verdict"),
    ],
)
def test_what_is_not_a_result_is_refused(facts: RunFacts, path: str, value: object, message: str) -> None:
    result: Any = json.loads(result_text(build_result(facts)))
    *parents, last = path.split(".")
    place = result
    for parent in parents:
        place = place[int(parent) if parent.isdigit() else parent]
    place[last] = value
    with pytest.raises(InvalidData, match=message):
        check_result(result)


def test_every_missing_key_is_refused(facts: RunFacts) -> None:
    result = build_result(facts)
    for key in set(result) - {"sandbox_truth", *schema.LATER_KEYS}:
        with pytest.raises(InvalidData, match=f"'{key}' is a required property"):
            check_result({name: value for name, value in result.items() if name != key})


def without_later_keys(value: Any) -> Any:
    """A result as the first versions wrote it."""
    if isinstance(value, dict):
        return {key: without_later_keys(entry) for key, entry in value.items() if key not in schema.LATER_KEYS}
    return [without_later_keys(entry) for entry in value] if isinstance(value, list) else value


def test_results_of_the_first_versions_are_still_read(facts: RunFacts) -> None:
    old = without_later_keys(build_result(facts))
    assert "stop_rule" not in old["probes"][0]
    check_result(old)


def test_the_sandbox_truth_is_added(facts: RunFacts) -> None:
    result = build_result(replace(facts, sandbox_truth=None))
    assert "sandbox_truth" not in result
    assert with_sandbox_truth(result, {"max_tps": 190.5, "plant": "narrow"})["sandbox_truth"]["max_tps"] == 190.5
    with pytest.raises(InvalidData):
        with_sandbox_truth(result, {"plant": "narrow"})


def test_times_go_there_and_back() -> None:
    assert iso_time(1_785_726_007.25) == "2026-08-03T03:00:07.250Z"
    assert epoch_of("2026-08-03T03:00:07.250Z") == 1_785_726_007.25


def test_conditions_in_words() -> None:
    assert condition_text(SloCondition("latency_p99_ms", 1500, "pay", 5, 0.1)) == (
        "p99 latency <= 1500 ms for pay in each 5 s (10 % of them may miss it)"
    )
    assert condition_text(SloCondition("error_ratio", 0.001)) == "share of errors <= 0.1 %"
    assert condition_text(SloCondition("apdex", 0.9, target_ms=200)) == "Apdex score >= 0.9 (target 200 ms)"
    assert condition_text(SloCondition("throughput_tps", 15, window_s=5)) == "throughput >= 15 tps in each 5 s"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"service": 5}, r"RunFacts\.service is 5; expected a text"),
        ({"mode": "daily"}, r"RunFacts\.mode is 'daily'; expected one of 'weekly', 'release'"),
        ({"extra": 1}, r"RunFacts holds the unknown key 'extra'"),
        ({"probes": {}}, r"RunFacts\.probes is \{\}; expected a list"),
        ({"started_at": "now"}, r"RunFacts\.started_at is 'now'; expected a finite number"),
    ],
)
def test_wrong_facts_name_the_place(facts: RunFacts, raw: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidData, match=message):
        from_json(RunFacts, to_json(facts) | raw)


def test_a_missing_fact_is_named(facts: RunFacts) -> None:
    raw = to_json(facts)
    del raw["probes"][2]["step"]["kind"]
    with pytest.raises(InvalidData, match=r"RunFacts\.probes\[2\]\.step\.kind is missing"):
        from_json(RunFacts, raw)


def test_cost() -> None:
    prices = Prices(instance_hour=0.5, shard_hour=0.25)
    cost = run_cost(prices, shards=4, fleet_s=1800, added_instances=2, environment_s=3600)
    assert (cost.load_hours, cost.instance_hours) == (2, 2)
    assert (cost.load, cost.instances, cost.total) == (0.5, 1.0, 1.5)
    short = run_cost(prices, shards=1, fleet_s=5, added_instances=-1, environment_s=3600)
    assert (short.load_hours, short.instances) == (pytest.approx(1 / 60), 0)
    assert run_cost(prices, shards=1, fleet_s=0, added_instances=0, environment_s=0).total == 0
