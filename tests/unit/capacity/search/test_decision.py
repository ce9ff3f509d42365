"""The decisions of the search, on histories written by hand or by simple rules."""

import itertools
from dataclasses import replace

import pytest

from include.capacity.models import Done, ProbeResult, Slo, SloCondition, Step
from include.capacity.search.decision import next_step
from tests.unit.capacity.examples import SLO, result
from tests.unit.capacity.search.histories import kinds, outcome, passes_below, play, rates
from tests.unit.capacity.simulators.driver import SETTINGS


def test_it_begins_with_the_lowest_rate_and_ramps_by_the_factor() -> None:
    def feels_the_load(step: Step, number: int) -> ProbeResult:
        result = outcome(step, step.rate_tps <= 100)
        return replace(result, latency_ms={**result.latency_ms, "p50": 50 + step.rate_tps})

    _, history = play(feels_the_load)
    assert rates(history, "ramp")[1:4] == [31.37, 42.35, 57.17]


def test_the_ramp_is_faster_while_the_service_does_not_feel_the_load() -> None:
    _, history = play(passes_below(100))
    assert rates(history, "ramp")[:4] == [20, 31.37, 49.21, 77.19]  # by 1.35 ** 1.5


@pytest.mark.parametrize("truth", [21, 33.3, 150, 599])
def test_it_finds_a_sharp_limit_from_below(truth: float) -> None:
    answer, _ = play(passes_below(truth))
    assert answer.tps is not None
    assert 0.945 * truth <= answer.tps <= truth
    assert (answer.verified, answer.bound, answer.validity.status) == (True, "exact", "valid")
    assert answer.low is not None
    assert answer.high is not None
    assert answer.low <= answer.tps <= truth <= answer.high


def test_every_failure_is_followed_by_a_rest() -> None:
    _, history = play(passes_below(150))
    failures = [index for index, each in enumerate(history) if each.sustainable is False]
    assert len(failures) >= 2
    assert all(history[index + 1].step.kind == "rest" for index in failures if index + 1 < len(history))


def test_a_rest_is_light() -> None:
    _, history = play(passes_below(150))
    assert max(rates(history, "rest")) < 50


def test_smoke_results_change_nothing() -> None:
    smoke = result("smoke", 500.0, False, overloaded=True)
    assert next_step(SETTINGS, SLO, [smoke]) == next_step(SETTINGS, SLO, [])


# ------------------------------------------------------------------------------------------------ bounds


def test_a_service_that_never_breaks_sustains_at_least_the_upper_bound() -> None:
    answer, history = play(passes_below(1e9))
    assert (answer.tps, answer.bound, answer.verified, answer.high) == (600, "at_least", True, None)
    assert history[-1].step.kind == "soak"
    assert all(each.step.rate_tps <= 600 for each in history)


def test_a_service_that_fails_at_the_lowest_rate_has_an_upper_limit_only() -> None:
    answer, history = play(passes_below(0))
    assert (answer.tps, answer.bound, answer.verified, answer.high) == (None, "at_most", False, 20)
    assert answer.validity.status == "valid"
    assert kinds(history) == ["ramp", "rest", "probe"]  # tested twice


def test_a_lowest_rate_that_passes_the_second_time_is_no_limit() -> None:
    def unlucky_start(step: Step, number: int) -> ProbeResult:
        return outcome(step, number > 0 and step.rate_tps <= 150)

    answer, _ = play(unlucky_start)
    assert answer.tps is not None
    assert answer.tps > 140


# ------------------------------------------------------------------------------------------------ invalid probes


def test_an_invalid_probe_is_repeated_after_a_rest() -> None:
    history = [result("ramp", 20.0, None)]
    rest = next_step(SETTINGS, SLO, history)
    assert isinstance(rest, Step)
    assert rest.kind == "rest"
    again = next_step(SETTINGS, SLO, [*history, outcome(rest, True)])
    assert isinstance(again, Step)
    assert (again.kind, again.rate_tps) == ("ramp", 20.0)
    assert "the generator was late" in again.why


def test_too_many_invalid_probes_in_a_row_give_no_number() -> None:
    answer, history = play(lambda step, _: outcome(step, None if step.rate_tps > 60 else True))
    assert (answer.tps, answer.bound, answer.validity.status) == (None, "unknown", "inconclusive")
    assert answer.validity.reasons == ("the generator was late",)
    assert sum(each.validity.status == "invalid" for each in history) == SETTINGS.max_invalid_repeats + 1


def test_no_repeats_allowed() -> None:
    decided = next_step(replace(SETTINGS, max_invalid_repeats=0), SLO, [result("ramp", 20.0, None)])
    assert isinstance(decided, Done)


def test_invalid_probes_with_a_valid_one_between_do_not_add_up() -> None:
    tried: set[tuple[str, float]] = set()

    def first_attempts_are_invalid(step: Step, number: int) -> ProbeResult:
        again = step.kind == "rest" or (step.kind, step.rate_tps) in tried
        tried.add((step.kind, step.rate_tps))
        return outcome(step, step.rate_tps <= 150 if again else None)

    answer, _ = play(first_attempts_are_invalid, replace(SETTINGS, max_load_s=3000.0))
    assert answer.verified


def test_invalid_rests_end_the_search_too() -> None:
    answer, _ = play(lambda step, _: outcome(step, None if step.kind == "rest" else step.rate_tps <= 150))
    assert answer.validity.status == "inconclusive"


def test_an_inconclusive_probe_is_repeated_for_longer_and_later_ones_remember() -> None:
    history = [result("ramp", 20.0, True), result("ramp", 30.0, False, overloaded=True), result("rest", 10.0, True)]
    first = next_step(SETTINGS, SLO, history)
    assert isinstance(first, Step)
    assert first.kind == "probe"
    history.append(outcome(first, None, status="inconclusive", reason="too few"))
    longer = next_step(SETTINGS, SLO, history)
    assert isinstance(longer, Step)
    assert longer.rate_tps == first.rate_tps
    assert longer.hold_s - longer.discard_s >= 2 * (first.hold_s - first.discard_s) - 0.1
    after = next_step(SETTINGS, SLO, [*history, outcome(longer, True)])
    assert isinstance(after, Step)
    assert (
        after.rate_tps * (after.hold_s - after.discard_s) >= 2 * first.rate_tps * (first.hold_s - first.discard_s) - 5
    )


def test_steps_are_long_enough_for_the_percentile() -> None:
    history = [result("ramp", 2.0, True), result("ramp", 3.0, False), result("rest", 1.0, True)]
    slo = Slo((SloCondition("latency_p99_ms", 250.0),))
    step = next_step(replace(SETTINGS, lower_tps=2.0, max_load_s=5000.0), slo, history)
    assert isinstance(step, Step)
    assert step.kind == "probe"
    assert step.rate_tps * (step.hold_s - step.discard_s) >= 499


# ------------------------------------------------------------------------------------------------ recovery


def test_the_load_goes_on_only_when_the_service_is_well_again() -> None:
    ill = 3

    def slow_to_recover(step: Step, number: int) -> ProbeResult:
        nonlocal ill
        if step.kind == "rest" and ill:
            ill -= 1
            return replace(outcome(step, True), latency_ms={"p50": 400.0})  # 50 ms when healthy
        return outcome(step, step.rate_tps <= 150)

    answer, history = play(slow_to_recover, replace(SETTINGS, max_load_s=900.0))
    first = kinds(history).index("rest")
    assert kinds(history)[first : first + 5] == ["rest", "rest", "rest", "rest", "probe"]
    holds = [each.step.hold_s for each in history[first : first + 4]]
    assert holds == sorted(holds)
    assert holds[-1] > 4 * holds[0]
    assert answer.verified


def test_a_service_that_never_recovers_gives_no_number() -> None:
    broken = False

    def dies(step: Step, number: int) -> ProbeResult:
        nonlocal broken
        broken = broken or step.rate_tps > 150
        return outcome(step, not broken)

    answer, _ = play(dies)
    assert (answer.tps, answer.validity.status) == (None, "inconclusive")
    assert "did not recover" in answer.validity.reasons[0]


# ------------------------------------------------------------------------------------------------ doubt


def test_a_soft_failure_of_a_ramp_step_is_tested_again() -> None:
    def hiccup(step: Step, number: int) -> ProbeResult:
        unlucky = step.kind == "ramp" and step.rate_tps == 49.21
        return replace(outcome(step, not unlucky and step.rate_tps <= 150), overloaded=step.rate_tps > 150)

    answer, history = play(hiccup)
    assert 49.21 in rates(history, "probe")
    assert answer.tps is not None
    assert answer.tps > 140


def test_an_overload_that_a_single_ramp_step_saw_is_tested_again_before_a_soak() -> None:
    def paused(step: Step, number: int) -> ProbeResult:
        return outcome(step, step.rate_tps <= 150 and not (step.kind == "ramp" and step.rate_tps == 49.21))

    answer, _ = play(paused)
    assert answer.tps is not None
    assert answer.tps > 140


def test_a_failure_below_a_pass_is_tested_again_before_it_is_believed() -> None:
    passed = result("probe", 100.0, True)
    failed = result("probe", 90.0, False, overloaded=True)
    rest = result("rest", 30.0, True)
    again = next_step(SETTINGS, SLO, [passed, failed, rest])
    assert isinstance(again, Step)
    assert (again.kind, again.rate_tps) == ("probe", 90.0)
    believed = next_step(SETTINGS, SLO, [passed, failed, rest, failed, rest])
    assert isinstance(believed, Step)
    assert believed.rate_tps < 90
    overruled = next_step(SETTINGS, SLO, [passed, failed, rest, result("probe", 90.0, True)])
    assert isinstance(overruled, Step)
    assert overruled.rate_tps > 100


def test_after_an_easy_soak_few_short_failures_above_it_are_tested_again() -> None:
    def two_hiccups(step: Step, number: int) -> ProbeResult:
        unlucky = step.rate_tps == 49.21 and seen.count(49.21) < 2
        seen.append(step.rate_tps)
        return outcome(step, step.rate_tps <= 150 and not unlucky, p95_ms=60.0)

    seen: list[float] = []
    answer, _ = play(two_hiccups)
    assert answer.tps is not None
    assert answer.tps > 140


def test_a_failed_soak_far_above_a_verified_rate_steps_down_from_there() -> None:
    def two_hiccups(step: Step, number: int) -> ProbeResult:
        unlucky = step.rate_tps == 49.21 and seen.count(49.21) < 2
        seen.append(step.rate_tps)
        truth = 140 if step.kind == "soak" else 150
        return outcome(step, step.rate_tps <= truth and not unlucky, p95_ms=60.0)

    seen: list[float] = []
    answer, history = play(two_hiccups)
    assert rates(history, "soak")[0] < 49.21
    assert answer.tps is not None
    assert 0.965 * 140 < answer.tps <= 140


# ------------------------------------------------------------------------------------------------ soak


def test_a_failed_soak_steps_down_until_one_passes() -> None:
    answer, history = play(lambda step, _: outcome(step, step.rate_tps <= (140 if step.kind == "soak" else 150)))
    soaks = rates(history, "soak")
    assert soaks == sorted(soaks, reverse=True)
    assert len(soaks) > 1
    assert answer.tps == soaks[-1] <= 140
    assert answer.verified
    assert answer.tps > 0.965 * 140


def test_a_collapse_steps_down_further_and_then_tries_the_middle() -> None:
    def collapse(step: Step, number: int) -> ProbeResult:
        passed = step.rate_tps <= (120 if step.kind == "soak" else 150)
        return outcome(step, passed, goodput=1.0 if passed else 0.5)

    answer, history = play(collapse, replace(SETTINGS, max_load_s=2000.0))
    soaks = rates(history, "soak")
    down, middle = soaks[:-1], soaks[-1]
    factors = [lower / higher for higher, lower in itertools.pairwise(down)]
    assert factors == pytest.approx([0.95, 0.91, 0.88], rel=1e-3)  # what is left of it is far less
    assert down[-1] < middle < down[-2]
    assert answer.verified
    assert answer.tps == middle <= 120


def test_when_no_soak_passes_there_is_an_upper_limit_only() -> None:
    answer, history = play(
        lambda step, _: outcome(step, step.kind != "soak" and step.rate_tps <= 150),
        replace(SETTINGS, max_load_s=5000.0),
    )
    assert (answer.tps, answer.bound, answer.verified) == (None, "at_most", False)
    assert answer.high == rates(history, "soak")[-1]


def test_only_a_passed_soak_verifies() -> None:
    for budget in range(40, 500, 20):
        answer, history = play(passes_below(150), replace(SETTINGS, max_load_s=float(budget)))
        soaked = [each.step.rate_tps for each in history if each.step.kind == "soak" and each.sustainable]
        assert answer.verified is (answer.tps in soaked)


# ------------------------------------------------------------------------------------------------ budget and prior


@pytest.mark.parametrize("budget", [6, 30, 60, 70, 100, 150, 200, 300])
def test_the_load_budget_is_kept_and_the_answer_is_honest(budget: float) -> None:
    answer, history = play(passes_below(150), replace(SETTINGS, max_load_s=float(budget)))
    assert sum(each.load_s for each in history) <= budget
    assert answer.tps is not None
    assert answer.tps <= 150
    if all(each.sustainable for each in history):
        assert answer.bound == "at_least"
    else:
        assert answer.bound == "exact"
        assert answer.high is not None
        assert answer.high >= 150


def test_no_budget_at_all() -> None:
    answer, history = play(passes_below(150), replace(SETTINGS, max_load_s=1.0))
    assert (answer.tps, answer.validity.status, history) == (None, "inconclusive", [])


def test_a_prior_shortens_the_search() -> None:
    spent = {True: 0.0, False: 0.0}
    for truth in (110.0, 150.0, 270.0, 410.0, 550.0):
        for known in spent:
            answer, history = play(passes_below(truth), replace(SETTINGS, prior_tps=truth if known else None))
            assert history[0].step.kind == ("warm" if known else "ramp")
            assert answer.tps is not None
            assert 0.945 * truth <= answer.tps <= truth
            spent[known] += sum(each.load_s for each in history)
    assert spent[True] < spent[False] - 5 * 5


@pytest.mark.parametrize("prior", [0.1, 15.0, 70.0, 350.0, 599.0, 5000.0])
def test_a_wrong_prior_is_not_trusted(prior: float) -> None:
    answer, _ = play(passes_below(150), replace(SETTINGS, prior_tps=prior))
    assert answer.tps is not None
    assert 0.945 * 150 <= answer.tps <= 150


def test_a_resolution_finer_than_the_rates_ends() -> None:
    answer, _ = play(passes_below(150), replace(SETTINGS, resolution=1e-9, max_load_s=1e6))
    assert answer.tps == pytest.approx(0.985 * 0.985 * 150, rel=1e-3)
