"""The stored truths are true, and belong to the systems as they are drawn now."""

from pathlib import Path

import pytest

from tests.simulators import truth
from tests.simulators.cases import LOWER, LOWEST, UPPER, case
from tests.simulators.systems import FAMILIES, HELD_OUT, TUNE, draw

STORED = truth.read()


def cheapest(family: str) -> str:
    """The stored system of the family with the lowest rate: its holds cost least."""
    own = [name for name, found in STORED.items() if name.startswith(f"{family}/") and (found.tps or 0) >= LOWEST]
    return min(own, key=lambda name: STORED[name].tps or 0.0)


def test_the_halves_have_nothing_in_common() -> None:
    assert not set(TUNE) & set(HELD_OUT)
    assert len(TUNE) == len(HELD_OUT) == 8


@pytest.mark.parametrize("family", FAMILIES)
def test_a_truth_is_held_below_and_missed_above(family: str) -> None:
    name = cheapest(family)
    system, found = draw(family, int(name.partition("/")[2])), STORED[name]
    assert found.digest == truth.digest(system), f"{name} is stale: python -m tests.simulators.truth"
    assert found.tps is not None
    assert sum(truth.sustains(system, 0.93 * found.tps, seed) for seed in (1, 2, 3)) >= 2
    assert sum(truth.sustains(system, 1.1 * found.tps, seed) for seed in (1, 2, 3)) <= 1


def test_a_draw_depends_on_its_seed_only() -> None:
    assert draw.__wrapped__("mixed", 3).digest() == draw("mixed", 3).digest()
    assert draw("mixed", 3).digest() != draw("mixed", 4).digest()


def test_the_bounds_lie_around_the_truth() -> None:
    names = [name for name in STORED if name.startswith(("mgc/", "retry/"))]
    made = [case(draw(name.partition("/")[0], int(name.partition("/")[2])), STORED[name]) for name in names]
    kept = [each for each in made if each is not None]
    assert len(kept) > 5
    for each in kept:
        assert UPPER[0] * 0.94 <= each.upper_tps / each.truth_tps <= UPPER[1] * 1.06
        assert LOWER[0] * 0.94 <= each.lower_tps / each.truth_tps <= LOWER[1] * 1.06
    assert len({round(each.upper_tps / each.truth_tps, 1) for each in kept}) > 3


def test_truths_of_several_processes_end_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "truths.json"
    first, second = truth.Truth(10.0, 0.01, "a"), truth.Truth(None, 0.0, "b")
    truth.add({"usl/10": first}, path)
    truth.add({"usl/9": second}, path)
    assert truth.read(path) == {"usl/9": second, "usl/10": first}
    assert path.read_text().index("usl/9") < path.read_text().index("usl/10")
