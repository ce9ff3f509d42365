"""Verdicts on runs whose true change is known."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from include.capacity.baseline.comparison import RunLevel, compare

CONDITIONS = {"SLO": "p95 latency <= 250 ms", "instances": "2"}


def run(week: int, tps: float | None = 200.0, *, half: float = 0.015, accepted: bool = True) -> RunLevel:
    return RunLevel(
        run_id=f"week-{week}",
        ended_at=f"2026-{1 + week // 28:02d}-{1 + week % 28:02d}T03:00:00.000Z",
        tps=tps,
        low=None if tps is None else tps * (1 - half),
        high=None if tps is None else tps * (1 + half),
        verified=tps is not None,
        bound="exact",
        validity="valid",
        accepted=accepted,
        conditions=CONDITIONS,
    )


def test_the_first_run_has_nothing_to_compare_with() -> None:
    found = compare(run(1), [])
    assert (found.verdict, found.change, found.against_run_id) == ("insufficient", None, None)


@pytest.mark.parametrize(
    ("tps", "verdict"),
    [
        (200, "no_change"),
        (194, "no_change"),
        (188, "rerun"),
        (170, "regression"),
        (206, "no_change"),
        (230, "improvement"),
    ],
)
def test_verdict_by_change(tps: float, verdict: str) -> None:
    found = compare(run(2, tps), [run(1)])
    assert found.verdict == verdict
    assert found.change == pytest.approx(tps / 200 - 1)
    assert found.against_run_id == "week-1"


def test_it_says_whether_intervals_overlap_and_what_it_could_have_seen() -> None:
    near, far = compare(run(2, 198), [run(1)]), compare(run(2, 170), [run(1)])
    assert (near.intervals_overlap, far.intervals_overlap) == (True, False)
    assert near.smallest_change == pytest.approx(0.112, abs=0.01)
    wide = compare(run(2, 198, half=0.06), [run(1, half=0.06)])
    assert wide.smallest_change is not None
    assert near.smallest_change is not None
    assert wide.smallest_change > near.smallest_change * 1.4


def test_only_accepted_trusted_earlier_runs_count() -> None:
    history = [
        run(9, 300),  # later
        run(5, 150, accepted=False),
        replace(run(4, 150), validity="inconclusive"),
        replace(run(3, 150), verified=False),
        run(2, 201),
        run(1, 150),
    ]
    assert compare(run(6, 200), history).against_run_id == "week-2"


def test_publishing_again_gives_the_same_verdict() -> None:
    current = run(2, 170)
    assert compare(current, [run(1), current]) == compare(current, [run(1)])


def test_other_conditions_are_not_comparable() -> None:
    current = replace(run(3, 400), conditions=CONDITIONS | {"instances": "4"})
    found = compare(current, [run(1)])
    assert found.verdict == "insufficient"
    assert "instances was 2 and is 4" in found.reasons[0]
    earlier = replace(run(2, 390), conditions=CONDITIONS | {"instances": "4"})
    assert compare(current, [run(1), earlier]).against_run_id == "week-2"


@pytest.mark.parametrize("validity", ["invalid", "inconclusive"])
def test_an_untrusted_run_is_repeated_and_not_read_as_slow(validity: str) -> None:
    broken = replace(run(2, 100), validity=validity)  # type: ignore[arg-type]
    found = compare(broken, [run(1)])
    assert (found.verdict, found.change) == ("rerun", None)
    assert compare(replace(run(2, 100), verified=False), [run(1)]).verdict == "rerun"


def test_a_service_that_fails_at_the_lowest_rate_has_regressed() -> None:
    failed = replace(run(2, None), bound="at_most", high=20.0)
    assert compare(failed, [run(1)]).verdict == "regression"
    too_high = replace(run(2, None), bound="at_most", high=198.0)
    assert compare(too_high, [run(1)]).verdict == "rerun"


def test_a_run_that_never_broke_is_no_regression() -> None:
    unbroken = replace(run(2, 150), bound="at_least", high=None)
    assert compare(unbroken, [run(1)]).verdict == "insufficient"
    assert compare(replace(run(2, 199), bound="at_least", high=None), [run(1)]).verdict == "no_change"
    assert compare(replace(run(2, 260), bound="at_least", high=None), [run(1)]).verdict == "improvement"


def test_more_than_an_unbroken_baseline_is_no_improvement() -> None:
    assert compare(run(2, 260), [replace(run(1), bound="at_least", high=None)]).verdict == "insufficient"


def test_noise_is_learnt_from_the_history() -> None:
    quiet = [run(week, 200 + (week % 2) * 0.5, half=0.004) for week in range(1, 13)]
    loud = [run(week, 200 * (1 + 0.05 * (-1) ** week), half=0.004) for week in range(1, 13)]
    sure, unsure = compare(run(20, 188, half=0.004), quiet), compare(run(20, 188, half=0.004), loud)
    assert (sure.verdict, unsure.verdict) == ("regression", "no_change")
    assert sure.noise_runs == unsure.noise_runs == 12
    assert sure.noise is not None
    assert unsure.noise == pytest.approx(0.07, abs=0.01)
    assert compare(run(20, 188), quiet[:4]).noise_runs == 0


def test_false_alarms_and_power_are_as_promised() -> None:
    """2 % noise between runs, 1 % standard error within: at most 1 % false verdicts, a drop of the told size found."""
    rng = random.Random(11)

    def measured(week: int, true: float) -> RunLevel:
        return run(week, true * (1 + rng.gauss(0, 0.02)) * (1 + rng.gauss(0, 0.01)), half=0.0165)

    quiet = [compare(measured(2, 200), [measured(1, 200)]) for _ in range(2000)]
    assert sum(each.verdict in ("regression", "improvement") for each in quiet) / 2000 < 0.016
    size = quiet[0].smallest_change
    assert size is not None
    dropped = [compare(measured(2, 200 / (1 + size)), [measured(1, 200)]) for _ in range(1000)]
    assert 0.72 < sum(each.verdict == "regression" for each in dropped) / 1000 < 0.9
