"""The benchmark of the search as a whole, on one cheap system."""

from pathlib import Path

import pytest

from benchmarks import bench_search
from benchmarks.bench_search import Plan
from benchmarks.search_peers.algorithms import REFERENCE
from benchmarks.search_table import draw
from tests.simulators.cases import Case
from tests.unit.benchmarks.test_search_peers import known


@pytest.fixture(scope="module")
def case() -> Case:
    return known()


def test_all_rows_of_a_system_end_in_table_and_picture(case: Case, tmp_path: Path) -> None:
    plan = Plan(("default", "safe"), (REFERENCE,))
    rows = bench_search.measure(case, plan)
    text = bench_search.table(rows, plan)
    assert [row.algorithm for row in rows] == ["ours", "ours, safe", REFERENCE]
    assert all(f"| {row.algorithm} " in text for row in rows)
    assert "100.0%" in text
    draw(rows, tmp_path / "errors.svg")
    assert (tmp_path / "errors.svg").stat().st_size > 10_000
    own = bench_search.worst(rows, 1)
    assert "truth 40.014" in own
    assert own.count("\n  ramp") > 3


def test_the_prior_is_drawn_around_the_truth(case: Case) -> None:
    assert Plan(("default",)).prior_tps(case) is None
    drawn = {Plan(("default",), seed=seed, prior=(0.9, 1.1)).prior_tps(case) for seed in range(5)}
    assert len(drawn) == 5
    assert all(0.9 <= (prior or 0.0) / case.truth_tps <= 1.1 for prior in drawn)


@pytest.mark.parametrize(("text", "expected"), [("0.9:1.1", (0.9, 1.1)), ("2", (2.0, 2.0))])
def test_ranges_of_factors(text: str, expected: tuple[float, float]) -> None:
    assert bench_search.factors(text) == expected
