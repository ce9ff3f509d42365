"""A search under cuts of its load time: as recorded, so decided again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from include.capacity.guard.spending import PAUSE_S, Cut, cut_at, decide, needed_s, new_cut
from include.capacity.models import Answer, Done, ProbeResult, SearchSettings, Slo, Step, Validity
from include.capacity.profile import load_profile
from tests.unit.capacity.profile.test_documentation import ROOT

PROFILE = load_profile(ROOT / "include" / "services" / "checkout.yaml")
SETTINGS = PROFILE.search_settings()
SLO = PROFILE.slo_conditions()
PROBE = Step("probe", 100.0, 14.0, 3.0, "a test")
SOAK = replace(PROBE, kind="soak", hold_s=60.0)
WHY = "The search was cut short."


def test_the_last_cut_that_was_made_by_then_is_in_force() -> None:
    cuts = [Cut(3, 300.0, WHY), Cut(7, 200.0, WHY), Cut(7, 150.0, WHY)]
    found = [cut_at(cuts, number) for number in (0, 2, 3, 6, 7, 9)]
    assert [cut and cut.max_load_s for cut in found] == [None, None, 300.0, 300.0, 150.0, 150.0]


def test_a_search_sees_less_load_time_and_its_answer_says_why() -> None:
    seen: list[float] = []
    answer = Answer(100.0, None, None, False, "at_least", Validity("valid", ()), ("The budget of load is used up.",))

    def next_step(settings: SearchSettings, slo: Slo, history: object) -> Step | Done:
        seen.append(settings.max_load_s)
        return Done(answer)

    assert decide(next_step, [], SETTINGS, SLO, []) == Done(answer)
    cut = decide(next_step, [Cut(0, 42.0, WHY)], SETTINGS, SLO, [])
    assert cut == Done(replace(answer, why=("The budget of load is used up.", WHY)))
    decide(next_step, [Cut(0, 1e6, WHY)], SETTINGS, SLO, [])
    assert seen == [SETTINGS.max_load_s, 42.0, SETTINGS.max_load_s]  # a cut never gives more


def test_a_probe_needs_the_soak_after_it_until_one_has_passed() -> None:
    assert needed_s(PROBE, SETTINGS, []) == 14 + 60 + 2 * PAUSE_S
    assert needed_s(SOAK, SETTINGS, []) == 60 + PAUSE_S


@pytest.mark.parametrize(("left_s", "load_s"), [(82.0, None), (81.0, 273.0), (5.0, 200.0), (-30.0, 200.0)])
def test_a_cut_leaves_what_the_money_lasts_for(left_s: float, load_s: float | None) -> None:
    history: list[ProbeResult] = []
    cut = new_cut(PROBE, left_s, WHY, SETTINGS, history, spent_s=200.0)
    assert (cut and cut.max_load_s) == load_s
    if cut is not None:
        assert (cut.after, cut.why) == (0, WHY)
