"""Sizes of responses that betray another answerer."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.capacity.errors import InvalidData
from include.capacity.histogram import Histogram
from include.capacity.validity.checks import Surroundings
from include.capacity.validity.responses import (
    SizeRange,
    response_problems,
    sizes_from_json,
    sizes_to_json,
    usual_sizes,
)
from tests.unit.capacity.examples import LIMITS, judged, second, seconds


def sizes(*values: int) -> Histogram:
    filled = Histogram()
    for value in values:
        filled.add(value)
    return filled


USUAL = {"shop": SizeRange(400, 2000, 2100), "pay": SizeRange(15, 500, 500)}


def test_a_range_from_what_was_seen() -> None:
    usual = usual_sizes({"shop": sizes(200, 90, 210), "none": Histogram()})
    assert usual == {"shop": SizeRange(3, 90, 210)}
    assert sizes_from_json(sizes_to_json(usual)) == usual


@pytest.mark.parametrize(
    "raw", [[], {"shop": [1, 2]}, {"shop": [1, 9, 2]}, {"shop": "xyz"}, {"shop": [-1, 1, 2]}, {"shop": [1, None, 2]}]
)
def test_a_broken_table_is_refused(raw: object) -> None:
    with pytest.raises(InvalidData, match="not a table of response sizes"):
        sizes_from_json(raw)  # type: ignore[arg-type]


def test_an_error_page_with_status_200_makes_the_probe_invalid() -> None:
    held = [replace(each, sizes={"shop": sizes(*[2050] * 80, *[310] * 20)}) for each in seconds(13)]
    result = judged(held, surroundings=Surroundings(usual_sizes=USUAL))
    assert (result.validity.status, result.sustainable) == ("invalid", None)
    (reason,) = result.validity.reasons
    assert reason.startswith("200 of 1000 good responses of shop have another size")
    assert "310 bytes instead of 2000 to 2100 (limit 5%)" in reason
    assert judged(held).validity.status == "valid"  # nothing is known of what is usual


def test_a_cookie_more_and_a_few_odd_ones_are_no_finding() -> None:
    held = [second(1, sizes={"shop": sizes(*[2300] * 97, *[90] * 3)})]
    assert response_problems(held, USUAL, LIMITS) == []


def test_a_label_of_which_little_is_known_is_left_out() -> None:
    held = [second(1, sizes={"pay": sizes(*[20_000] * 100), "new": sizes(*[1] * 100)})]
    assert response_problems(held, USUAL, LIMITS) == []


def test_the_check_can_be_switched_off() -> None:
    held = [second(1, sizes={"shop": sizes(*[9] * 100)})]
    assert response_problems(held, USUAL, LIMITS) != []
    assert response_problems(held, USUAL, replace(LIMITS, max_odd_sizes_ratio=1.0)) == []


@given(st.integers(0, 10_000), st.integers(20, 300), st.floats(0.2, 3.0))
def test_the_same_service_is_never_taken_for_another(seed: int, known: int, spread: float) -> None:
    """However widely its sizes are spread (lognormal): smoke and probe are draws from one distribution."""
    rng = random.Random(seed)
    usual = usual_sizes({"shop": sizes(*(int(rng.lognormvariate(7, spread)) for _ in range(known)))})
    held = [second(1, sizes={"shop": sizes(*(int(rng.lognormvariate(7, spread)) for _ in range(1000)))})]
    assert response_problems(held, usual, LIMITS) == []
