"""Plant files: what is read, what is refused, and that every refusal says file, key and cure."""

from __future__ import annotations

import copy
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from sandbox.plant_characters import InstanceKind, Metastable, NoisyNeighbour, Pool, RateLimit
from sandbox.plantfile import (
    DEFAULT_PLANT,
    Endpoint,
    Instances,
    Plant,
    PlantFileError,
    SearchBounds,
    ServiceTime,
    Slo,
    Step,
    StepScaling,
    TargetTracking,
    load_plant,
    parse_plant,
    parse_slo,
)
from sandbox.simulation import System

POOL = {"connections": 3, "service_time": {"distribution": "constant", "mean": "5 ms"}}
NOISY = {"hits": "each", "every": "24 s", "lasts": "4 s", "slowdown": 2}
CHARACTERS = (InstanceKind, NoisyNeighbour, Pool, RateLimit, Metastable)
DOCUMENT = Path(__file__).parents[3] / "docs" / "plant-file.md"
SHIPPED = sorted(DEFAULT_PLANT.parent.glob("*.yaml"))


def plant_with(**changes: Any) -> dict[str, Any]:
    """The default plant's raw content; `a__b=value` sets the key b below a, and None removes a key."""
    data: dict[str, Any] = copy.deepcopy(yaml.safe_load(DEFAULT_PLANT.read_text()))
    for dotted, value in changes.items():
        *parents, last = dotted.split("__")
        place = data
        for parent in parents:
            place = place[parent]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return data


def refusal(**changes: Any) -> str:
    with pytest.raises(PlantFileError) as caught:
        parse_plant(plant_with(**changes), "shop.yaml")
    return str(caught.value)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_plants_load_and_fit_a_small_machine(path: Path) -> None:
    plant = load_plant(path)
    assert plant.name == "checkout"  # the one example profile measures each of them
    saturation_tps = System.of(plant, plant.instances_under_test).saturation_tps
    assert 60 <= saturation_tps <= 300
    assert plant.search is not None
    assert plant.search.upper_tps > saturation_tps > plant.search.lower_tps


def test_values_are_held_in_base_units() -> None:
    plant = load_plant(DEFAULT_PLANT)
    assert plant.instances.boot_s == 1.5
    assert plant.endpoints.browse.service_time.mean_s == pytest.approx(0.036)
    assert plant.endpoints.browse.response_size_bytes == 2000
    assert plant.slo.latency_limits_s() == {95: 0.25}
    assert plant.slo.error_ratio == pytest.approx(0.01)
    assert plant.group_name == "checkout-web"


def test_the_mean_service_time_counts_the_mix() -> None:
    plant = parse_plant(plant_with(slots=5))
    assert plant.mean_service_s == pytest.approx(0.6 * 0.036 + 0.3 * 0.044 + 0.1 * 0.052)


def test_instances_are_of_the_kinds_in_turn_and_alike_without_any() -> None:
    plant = parse_plant(plant_with(instance_kinds=[{"slots": 8}, {"speed": "80 %"}]))
    assert [(plant.kind(place).slots, plant.kind(place).speed_ratio) for place in range(3)] == [
        (8, 1),
        (4, 0.8),
        (8, 1),
    ]
    assert parse_plant(plant_with()).kind(5) == InstanceKind(slots=4, speed="100 %")


def test_what_makes_a_plant_hard_is_read() -> None:
    plant = parse_plant(
        plant_with(
            balancing="round_robin",
            noisy_neighbour=NOISY,
            pool=POOL,
            rate_limit={"rate": "90 tps", "burst": 30},
            metastable={"backlog": 40, "cost_factor": 1.5},
        )
    )
    assert plant.balancing == "round_robin"
    assert plant.noisy_neighbour is not None
    assert (plant.noisy_neighbour.every_s, plant.noisy_neighbour.lasts_s) == (24, 4)
    assert plant.pool is not None
    assert (plant.pool.connections, plant.pool.service_time.mean_s) == (3, 0.005)
    assert plant.rate_limit is not None
    assert (plant.rate_limit.rate_tps, plant.rate_limit.burst, plant.rate_limit.status) == (90, 30, 429)
    assert plant.metastable is not None
    assert (plant.metastable.backlog, plant.metastable.relief, plant.metastable.cost_factor) == (40, 0, 1.5)


def test_warm_up_falls_in_a_straight_line_to_one() -> None:
    plant = parse_plant(plant_with(warm_up_factor=3, instances__warm_up="4 s"))
    assert [plant.warm_up_multiplier(age) for age in (-1, 0, 2, 4, 100)] == [3, 3, 2, 1, 1]
    assert parse_plant(plant_with(instances__warm_up="0 s")).warm_up_multiplier(0) == 1


def test_a_plant_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        load_plant(DEFAULT_PLANT).slots = 9  # type: ignore[misc]


def test_only_what_must_be_said_is_required() -> None:
    optional = ("time_scale", "queue_limit", "warm_up_factor", "search", "policies", "faults")
    plant = parse_plant(plant_with(**dict.fromkeys(optional), instances={"min": 0, "max": 2, "desired": 1}))
    assert (plant.time_scale, plant.queue_limit, plant.warm_up_factor, plant.search) == (12, 400, 1, None)


@pytest.mark.parametrize(
    ("distribution", "spread"),
    [("constant", 0.0), ("exponential", 1.0)],
)
def test_spread_is_implied_by_the_distribution(distribution: str, spread: float) -> None:
    time = {"distribution": distribution, "mean": "10 ms"}
    assert parse_plant(plant_with(endpoints__browse__service_time=time)).endpoints.browse.service_time.spread == spread
    assert "has the spread" in refusal(endpoints__browse__service_time={**time, "spread": 0.4})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"slotz": 3}, 'slotz: the key is unknown; did you mean "slots"?'),
        ({"instances__bot": "1 s"}, 'instances.bot: the key is unknown; did you mean "boot"?'),
        ({"slo__latency_p94": "1 s"}, 'slo.latency_p94: the key is unknown; did you mean "latency_p'),
        ({"endpoints__zzz": 1}, "the keys allowed here are browse, checkout, search"),
        ({"slots": None}, "slots: the key is missing; write, for example, slots: 4"),
        ({"slots": True}, "slots: True: this must be a whole number; write, for example, slots: 4"),
        ({"slots": "4"}, 'slots: "4": this must be a whole number'),
        ({"slots": 0}, "slots: 0: this must be greater than or equal to 1"),
        ({"time_scale": float("nan")}, "time_scale: nan: this must be a finite number"),
        ({"instances__boot": "3 sec"}, 'instances.boot: "3 sec": the unit "sec" is unknown; write a duration such as'),
        ({"instances__boot": "3 sec"}, "(units: us, ms, s, min, h)"),
        ({"instances__boot": 3}, "instances.boot: 3: the unit is missing"),
        ({"instances__boot": "-3 s"}, 'instances.boot: "-3 s": this is not a duration'),
        ({"instances__min": 3}, "instances: min 3, desired 1, max 4 are not in order; choose min <= desired <= max"),
        ({"instances_under_test": 9}, "choose a number from instances.min (1) to instances.max (4)"),
        ({"name": "Check Out"}, 'name: "Check Out" is not allowed here; write, for example, name: checkout'),
        ({"schema": 2}, "schema: 2 is not allowed; write one of 1"),
        ({"slo": {}}, "slo: an SLO needs at least one limit"),
        ({"slo": "fast"}, 'slo: "fast" is not a mapping'),
        ({"slo__error_ratio": "100 %"}, 'slo.error_ratio: "100 %": this must be less than 1'),
        ({"search__lower": "700 tps"}, "search: lower 700 tps is not below upper 600 tps"),
        ({"endpoints__browse__share": 0.7}, "endpoints: the shares of all endpoints add up to 1.1"),
        ({"endpoints__browse__path": "/health"}, "endpoints: browse: the path /health is the app's own"),
        ({"endpoints__browse__path": "/search"}, "share the path /search; give each its own"),
        ({"endpoints__browse__path": "x"}, "endpoints.browse.path"),
        ({"endpoints__browse__response_size": "1 KB"}, 'the unit "KB" is unknown; write a size such as "1 kB"'),
        ({"endpoints__checkout__method": "GET"}, "write method: POST"),
        ({"endpoints__browse__service_time__spread": 0}, "a lognormal service time needs a spread above 0"),
        ({"endpoints__browse__service_time__distribution": "normal"}, "write one of 'constant', 'exponential'"),
        ({"faults": [{"kill": 1}]}, "faults: "),
        ({"faults": [{"kill": 1}]}, "no fault is supported yet; write faults: [] or leave the key out"),
        (
            {"balancing": "random"},
            "balancing: \"random\" is not allowed; write one of 'least_connections', 'round_robin'",
        ),
        ({"instance_kinds": [{"slotz": 3}]}, 'instance_kinds[0].slotz: the key is unknown; did you mean "slots"?'),
        ({"instance_kinds": [{"speed": 0.8}]}, "instance_kinds[0].speed: 0.8: the unit is missing"),
        ({"instance_kinds": [{"speed": "0 %"}]}, 'instance_kinds[0].speed: "0 %": this must be greater than 0'),
        ({"noisy_neighbour": {**NOISY, "lasts": "24 s"}}, "choose lasts < every"),
        ({"noisy_neighbour": {**NOISY, "every": "500 ms"}}, 'noisy_neighbour.every: "500 ms": this must be greater'),
        (
            {"noisy_neighbour": {**NOISY, "hits": "one"}},
            "noisy_neighbour.hits: \"one\" is not allowed; write one of 'each'",
        ),
        ({"noisy_neighbour": {**NOISY, "slowdown": 0.5}}, "noisy_neighbour.slowdown: 0.5: this must be greater"),
        ({"pool": {**POOL, "connections": 4}}, "pool.connections is 4 and an instance has 4 slots"),
        ({"pool": POOL, "instance_kinds": [{"slots": 9}, {"slots": 3}]}, "an instance has 3 slots"),
        ({"pool": {"connections": 3}}, "pool.service_time: the key is missing"),
        (
            {"pool": {**POOL, "service_time": {"distribution": "constant"}}},
            "pool.service_time.mean: the key is missing",
        ),
        ({"rate_limit": {"rate": 90, "burst": 3}}, "rate_limit.rate: 90: the unit is missing; write a rate such as"),
        ({"rate_limit": {"rate": "9 tps", "burst": 0}}, "rate_limit.burst: 0: this must be greater than or equal to 1"),
        (
            {"rate_limit": {"rate": "9 tps", "burst": 3, "status": 500}},
            "rate_limit.status: 500 is not allowed; write one",
        ),
        ({"metastable": {"backlog": 5, "relief": 5, "cost_factor": 2}}, "metastable: relief 5 is not below backlog 5"),
        ({"metastable": {"backlog": 500, "cost_factor": 2}}, "choose a backlog up to queue_limit"),
        (
            {"metastable": {"backlog": 5}},
            "metastable.cost_factor: the key is missing; write, for example, cost_factor: 1.5",
        ),
        ({"policies": 3}, "policies: 3 is not a list"),
        (
            {"policies": [{"type": "magic"}]},
            "policies[0].type: \"magic\" is not allowed; write one of 'target_tracking'",
        ),
        ({"policies": [{"metric": "cpu"}]}, "policies[0].type: None is not allowed"),
        ({"policies": [{"type": "target_tracking", "metric": "cpu", "target": 600}]}, "policies[0]: target 600"),
        (
            {"policies": [{"type": "target_tracking", "metric": "ram", "target": 60}]},
            'policies[0].metric: "ram" is not',
        ),
    ],
)
def test_a_wrong_value_is_refused_with_file_key_and_cure(changes: dict[str, Any], expected: str) -> None:
    message = refusal(**changes)
    assert message.startswith("shop.yaml: ")
    assert expected in message


def test_all_mistakes_are_told_at_once() -> None:
    assert len(refusal(slots=0, queue_limit=-1, nmae="x").splitlines()) == 3


def test_policies_of_both_kinds_are_read() -> None:
    steps = [{"from": 0, "to": 10, "change": 1}, {"from": 10, "change": 2}]
    plant = parse_plant(
        plant_with(
            policies=[
                {"type": "target_tracking", "metric": "requests_per_target", "target": 900, "scale_in": False},
                {"type": "step", "metric": "cpu", "above": 70, "steps": steps},
            ]
        )
    )
    tracking, step = plant.policies
    assert (tracking.type, tracking.target, tracking.scale_in) == ("target_tracking", 900, False)
    assert step.type == "step"
    assert step.threshold == 70
    assert [(s.from_distance, s.to_distance, s.change) for s in step.steps] == [(0, 10, 1), (10, None, 2)]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"steps": [{"from": 0, "change": 1}]}, "write either above: 70 or below: 30"),
        ({"above": 70, "steps": [{"from": 5, "change": 1}]}, "must begin at 0"),
        ({"above": 70, "steps": [{"from": 0, "to": 5, "change": 1}]}, "nothing is said beyond 5"),
        (
            {"above": 70, "steps": [{"from": 0, "chang": 1}]},
            'steps[0].chang: the key is unknown; did you mean "change"?',
        ),
        ({"above": 70, "steps": []}, "policies[0].steps"),
    ],
)
def test_a_wrong_step_policy_is_refused(policy: dict[str, Any], expected: str) -> None:
    message = refusal(policies=[{"type": "step", "metric": "cpu", **policy}])
    assert expected in message


def test_missing_step_items_are_not_reported_twice() -> None:
    message = refusal(policies=[{"type": "step", "metric": "cpu", "above": 70, "steps": [{"from": 0}]}])
    assert message == "shop.yaml: policies[0].steps[0].change: the key is missing; write, for example, change: 1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("slots: 1\nslots: 2\n", 'line 2: the key "slots" is given twice'),
        ("slots: [1\n", "line 2: "),
        ("- 1\n", "a plant file is a mapping"),
        ("", "a plant file is a mapping"),
    ],
)
def test_a_file_that_is_no_plant_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text(text)
    with pytest.raises(PlantFileError, match="^" + str(path)) as caught:
        load_plant(path)
    assert expected in str(caught.value)


def test_a_missing_file_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    with pytest.raises(PlantFileError, match="does not exist; check the path"):
        load_plant(tmp_path / "none.yaml")
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PlantFileError, match="cannot be read"):
        load_plant(path)


def test_an_slo_on_one_line() -> None:
    slo = parse_slo("latency_p95=250 ms, error_ratio = 1 %")
    assert slo.latency_limits_s() == {95: 0.25}
    assert slo.error_ratio == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("latency_p95", "--slo: latency_p95: write key=value"),
        ("latency_95=1 s", '--slo: latency_95: the key is unknown; did you mean "latency_p95"?'),
        ("error_ratio=2", "the unit is missing"),
        ("error_ratio=1 %,error_ratio=2 %", "is given twice"),
        ("", "write key=value"),
    ],
)
def test_a_wrong_slo_is_refused(text: str, expected: str) -> None:
    with pytest.raises(PlantFileError) as caught:
        parse_slo(text)
    assert expected in str(caught.value)


def test_the_error_survives_a_process_boundary() -> None:
    error = PlantFileError("a.yaml", [("slots", "is wrong")])
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) == "a.yaml: slots: is wrong"


def documented_blocks() -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)


def test_the_examples_of_the_document_are_valid() -> None:
    whole, hard, policies = (yaml.safe_load(block) for block in documented_blocks())
    assert parse_plant(whole).name == "checkout"
    assert parse_plant({**whole, **hard}).metastable is not None
    assert len(parse_plant({**whole, **policies}).policies) == 2


def test_the_document_explains_every_key() -> None:
    text = DOCUMENT.read_text()
    for model in (
        Plant,
        Instances,
        Endpoint,
        ServiceTime,
        Slo,
        SearchBounds,
        TargetTracking,
        StepScaling,
        Step,
        *CHARACTERS,
    ):
        for name, field in model.model_fields.items():
            key = field.alias or name
            assert re.search(rf"[`.]{key}`|\b{key}: ", text), f"{key} is not in {DOCUMENT.name}"
