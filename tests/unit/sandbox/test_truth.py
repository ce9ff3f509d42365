"""The maximum rate: exact where theory gives it, monotone, and clear where there is none."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import pytest

from sandbox import truth
from sandbox.plant_characters import Metastable, RateLimit
from sandbox.plantfile import DEFAULT_PLANT, Plant, Slo, parse_plant, parse_slo
from sandbox.simulation import Effort, Outcome, System, simulate
from sandbox.truth import describe, main, maximum_rate
from tests.unit.sandbox.test_simulation import erlang_c  # the textbook formula


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less effort, for tests that need no exact rate."""
    monkeypatch.setattr(truth, "COARSE_EFFORT", Effort(lanes=4, warm_up_steps=500, steps=4000))
    monkeypatch.setattr(truth, "BRACKET_EFFORT", Effort(lanes=8, warm_up_steps=700, steps=4000))
    monkeypatch.setattr(truth, "BRACKET_WIDTH", 1.03)
    monkeypatch.setattr(truth, "FIRST_FIT_HALF", 0.012)
    monkeypatch.setattr(truth, "WARM_UP_STEPS_RANGE", (500, 1000))
    monkeypatch.setattr(truth, "BUCKET_WARM_UP_STEPS", 5000)
    monkeypatch.setattr(truth, "FIT_LANES", 32)
    monkeypatch.setattr(truth, "FIT_STEPS", 8000)
    monkeypatch.setattr(truth, "TOLERANCE", 0.02)
    monkeypatch.setattr(truth, "POINT_LANES", 8)


def exponential_plant(slots: int = 4, instances: int = 1, queue_limit: int = 2000) -> Plant:
    def endpoint(path: str, method: str, share: float) -> dict[str, Any]:
        time = {"distribution": "exponential", "mean": "40 ms"}
        return {"path": path, "method": method, "service_time": time, "share": share}

    return parse_plant(
        {
            "schema": 1,
            "name": "shop",
            "instances": {"min": 1, "max": 8, "desired": 1},
            "instances_under_test": instances,
            "slots": slots,
            "queue_limit": queue_limit,
            "endpoints": {
                "browse": endpoint("/products", "GET", 0.8),
                "search": endpoint("/search", "GET", 0.2),
                "checkout": endpoint("/checkout", "POST", 0),
            },
            "slo": {"latency_p95": "250 ms"},
        }
    )


def erlang_maximum(slots: int, mean_s: float, limit_s: float) -> float:
    """The rate at which 5 % of the requests to one instance with exponential service take longer than the limit."""
    service_rate = 1 / mean_s

    def slow(rate: float) -> float:
        waits = erlang_c(slots, rate / service_rate)
        drain = slots * service_rate - rate
        both = service_rate * math.exp(-drain * limit_s) - drain * math.exp(-service_rate * limit_s)
        return (1 - waits) * math.exp(-service_rate * limit_s) + waits * both / (service_rate - drain)

    low, high = 1.0, slots * service_rate * 0.9999
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if slow(middle) < 0.05 else (low, middle)
    return low


def test_one_instance_agrees_with_erlang_to_a_third_of_a_per_cent() -> None:
    expected = erlang_maximum(slots=4, mean_s=0.04, limit_s=0.25 - 0.001)
    found = maximum_rate(exponential_plant(), overhead_s=0.001)
    assert found.max_tps == pytest.approx(expected, rel=0.0035)
    assert found.high_tps - found.low_tps < 0.01 * found.max_tps
    assert found.limited_by == "latency_p95"
    at_maximum = next(point for point in found.points if point.factor == 1)
    assert at_maximum.latency_p95_s == pytest.approx(0.25, rel=0.005)
    assert [point.factor for point in found.points] == [0.8, 0.9, 1.0, 1.05]
    p95s = [point.latency_p95_s for point in found.points]
    assert p95s == sorted(p95s)


@pytest.mark.usefixtures("quick")
def test_the_stated_error_covers_the_exact_answer_mostly() -> None:
    expected = erlang_maximum(slots=4, mean_s=0.04, limit_s=0.25)
    found = [maximum_rate(exponential_plant(), overhead_s=0.0, seed=seed) for seed in range(1, 6)]
    covered = sum(result.low_tps <= expected <= result.high_tps for result in found)
    assert covered >= 3
    assert len({result.max_tps for result in found}) == 5


@pytest.mark.usefixtures("quick")
def test_more_instances_and_more_slots_carry_more() -> None:
    one, two, three = (maximum_rate(exponential_plant(), instances=count).max_tps for count in (1, 2, 3))
    assert one < two < three
    assert two > 2 * one  # a larger pool uses its slots better
    assert maximum_rate(exponential_plant(slots=6)).max_tps > 1.4 * one


@pytest.mark.usefixtures("quick")
def test_a_tighter_slo_and_more_overhead_carry_less() -> None:
    plant = exponential_plant()
    wide = maximum_rate(plant, parse_slo("latency_p95=300 ms")).max_tps
    tight = maximum_rate(plant, parse_slo("latency_p95=200 ms")).max_tps
    both = maximum_rate(plant, parse_slo("latency_p95=200 ms,latency_p99=220 ms"))
    slow_network = maximum_rate(plant, parse_slo("latency_p95=300 ms"), overhead_s=0.1).max_tps
    assert both.max_tps < tight < wide
    assert both.limited_by == "latency_p99"
    assert slow_network == pytest.approx(tight, rel=0.02)


@pytest.mark.usefixtures("quick")
def test_an_slo_that_an_idle_plant_breaks_has_no_rate() -> None:
    # 95 % of exponential services of 40 ms take less than 120 ms.
    found = maximum_rate(exponential_plant(), parse_slo("latency_p95=110 ms"))
    assert (found.max_tps, found.low_tps, found.limited_by) == (0, 0, "latency_p95")
    assert found.points[0].latency_p95_s == pytest.approx(0.001 + 0.04 * math.log(20), rel=0.03)
    assert "No rate meets the SLO" in describe(found)


@pytest.mark.usefixtures("quick")
def test_a_limit_below_the_overhead_has_no_rate() -> None:
    assert maximum_rate(exponential_plant(), parse_slo("latency_p50=1 ms"), overhead_s=0.002).max_tps == 0


@pytest.mark.usefixtures("quick")
def test_an_slo_that_never_breaks_ends_at_saturation() -> None:
    plant = exponential_plant(queue_limit=100)
    found = maximum_rate(plant, parse_slo("latency_p95=60 s,error_ratio=5 %"))
    assert (found.max_tps, found.limited_by) == (pytest.approx(100), "saturation")
    assert found.points[-1].error_ratio > 0.03
    assert "until all slots are always busy" in describe(found)


@pytest.mark.usefixtures("quick")
def test_a_fit_that_ends_above_saturation_is_cut_off_there(monkeypatch: pytest.MonkeyPatch) -> None:
    plant = exponential_plant()
    beyond = truth._Crossing("latency_p95", 100.1, half_width_tps=0.5, steepness=20)
    outcomes = simulate(System.of(plant, 1), [90.0, 95.0], Effort(4, 10, 50), seed=1)
    monkeypatch.setattr(truth._Search, "_fit", lambda *_: (beyond, outcomes))
    found = maximum_rate(plant)
    assert (found.max_tps, found.high_tps, found.limited_by) == (100, 100, "saturation")


@pytest.mark.usefixtures("quick")
def test_refused_requests_limit_the_rate_where_few_may_wait() -> None:
    plant = exponential_plant(queue_limit=2)
    found = maximum_rate(plant, parse_slo("error_ratio=1 %"))
    offered = found.max_tps * 0.04
    weights = [offered**n / math.factorial(n) for n in range(5)]
    weights += [weights[-1] * (offered / 4) ** n for n in (1, 2)]
    assert found.limited_by == "error_ratio"
    assert weights[-1] / sum(weights) == pytest.approx(0.01, rel=0.1)


@pytest.mark.usefixtures("quick")
def test_the_plants_own_slo_and_size_are_used_when_nothing_is_said() -> None:
    plant = exponential_plant(instances=2)
    explicit = maximum_rate(plant, Slo.model_validate({"latency_p95": "250 ms"}), 2)
    assert maximum_rate(plant) == explicit


@pytest.mark.usefixtures("quick")
def test_a_rate_limit_gives_the_maximum_where_errors_reach_their_limit() -> None:
    plant = exponential_plant().model_copy(
        update={"rate_limit": RateLimit.model_validate({"rate": "50 tps", "burst": 20})}
    )
    found = maximum_rate(plant, parse_slo("latency_p95=1 s,error_ratio=10 %"))
    assert found.limited_by == "error_ratio"
    assert found.max_tps == pytest.approx(50 / 0.9, rel=0.01)  # nine of ten get a token
    assert found.period_s is None


@pytest.mark.usefixtures("quick")
def test_a_plant_with_memory_must_hold_for_a_stated_time_and_longer_is_harder() -> None:
    plain = exponential_plant()
    rule = Metastable.model_validate({"backlog": 40, "cost_factor": 1.6})
    hard = plain.model_copy(update={"metastable": rule})
    short, long = (maximum_rate(hard, period_s=period_s) for period_s in (60.0, 900.0))
    assert long.max_tps < short.max_tps < maximum_rate(plain).max_tps
    assert (short.period_s, long.period_s) == (60, 900)
    assert long.shocked_tps == pytest.approx(100 / 1.6)
    assert long.max_tps > 1.1 * long.shocked_tps
    assert "held for 15 min each" in describe(long)
    assert "recovers only below 62.5 tps" in describe(long)


@pytest.mark.usefixtures("quick")
def test_a_plant_with_memory_is_warmed_gently_at_every_rate_and_held_for_the_period(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held: list[tuple[float, Effort]] = []

    def watched(system: System, rates_tps: Sequence[float], effort: Effort, **options: Any) -> list[Outcome]:
        held.extend((rate, effort) for rate in rates_tps)
        return simulate(system, rates_tps, effort, **options)

    monkeypatch.setattr(truth, "simulate", watched)
    rule = Metastable.model_validate({"backlog": 40, "cost_factor": 1.6})
    maximum_rate(exponential_plant().model_copy(update={"metastable": rule}), period_s=30.0)
    assert len(held) > 20
    for rate, effort in held:
        assert effort.gentle
        assert effort.warm_up_steps / rate == pytest.approx(40, rel=0.1, abs=1 / rate)
        assert effort.steps / rate == pytest.approx(30, rel=0.1, abs=1 / rate)


@pytest.mark.usefixtures("quick")
def test_the_command_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--plant", str(DEFAULT_PLANT), "--instances", "1", "--slo", "latency_p95=250 ms", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert 80 < answer["max_tps"] < 100
    assert answer["slo"] == {"latency_p95_s": 0.25}
    assert answer["instances"] == 1
    assert answer["points"][0]["factor"] == 0.8


@pytest.mark.usefixtures("quick")
def test_the_command_prints_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--overhead", "2 ms"]) == 0
    text = capsys.readouterr().out
    assert "plant checkout, 2 instances" in text
    assert "limited by latency_p95" in text
    assert "includes 2 ms" in text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--plant", "none.yaml"], "none.yaml: the file does not exist"),
        (["--slo", "latency_p94=1 s"], 'did you mean "latency_p9'),
    ],
)
def test_a_wrong_file_or_slo_ends_with_2(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--instances", "0"], ["--overhead", "1"], ["--overhead", "1 week"], ["--period", "15"]]
)
def test_a_wrong_argument_ends_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
