"""What a run may cost: before it, and how long it may go on."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.capacity.cost import run_cost
from include.capacity.guard.budget import Limits, MonthSpend, at_most, money, refusal, seconds_left, told
from include.capacity.guard.duration import COLLECT_S, FLEET_END_S, Durations, longest
from include.capacity.profile import Prices

PRICES = Prices(currency="EUR", instance_hour=0.5, shard_hour=0.1)
HOURS = Durations(fleet_s=3600, environment_s=7200, run_s=7300)
SPENT = MonthSpend("2026-08", "EUR", 38.5, 7, unknown=1)


def test_the_estimate_is_shards_and_added_instances_for_the_longest_time() -> None:
    cost = at_most(PRICES, shards=4, added_instances=2, longest=HOURS)
    assert (cost.load, cost.instances, cost.total) == (pytest.approx(0.4), pytest.approx(2.0), pytest.approx(2.4))
    assert at_most(PRICES, shards=4, added_instances=-2, longest=HOURS).instances == 0


def test_a_run_over_its_budget_is_refused_with_key_value_and_cure() -> None:
    cost = at_most(PRICES, shards=4, added_instances=2, longest=HOURS)
    assert refusal(Limits(), cost, None) is None
    assert refusal(Limits(per_run=2.4), cost, None) is None
    why = refusal(Limits(per_run=2.39), cost, None)
    assert why is not None
    assert why.startswith(
        "The run may cost up to 2.40 EUR, and budget.per_run of the service profile allows 2.39 EUR. Lower "
        "search.max_load, load.fleet.shards or prescale.instances, or raise it. The estimate: 4 load shards at 0.1 EUR"
    )


def test_a_run_over_the_months_budget_is_refused_with_what_was_spent() -> None:
    cost = at_most(PRICES, shards=4, added_instances=2, longest=HOURS)
    assert refusal(Limits(per_month=40.9), cost, SPENT) is None
    why = refusal(Limits(per_month=40.89), cost, SPENT)
    assert why is not None
    assert "In 2026-08, 7 runs cost 38.50 EUR already" in why
    assert "budget.per_month of the service profile allows 40.89 EUR" in why
    assert "wait for the next month" in why


def test_the_lines_for_the_log_tell_cost_and_budgets() -> None:
    cost = at_most(PRICES, shards=4, added_instances=2, longest=HOURS)
    assert [line.split(". ")[0] for line in told(Limits(5, 40), cost, SPENT)] == [
        "Cost: up to 2.40 EUR",
        "Budget of the run: 5.00 EUR.",
        "Budget of 2026-08: 40.00 EUR, of which 7 runs took 38.50 EUR",
    ]
    assert "The cost of 1 more is not known" in told(Limits(5, 40), cost, SPENT)[2]
    assert len(told(Limits(), cost, None)) == 1


@pytest.mark.parametrize(("amount", "text"), [(0, "0.00 EUR"), (0.0057, "0.0057 EUR"), (12.345, "12.35 EUR")])
def test_small_amounts_are_seen(amount: float, text: str) -> None:
    assert money(amount, "EUR") == text


amounts = st.floats(0, 10, allow_subnormal=False)


@given(
    st.floats(0.01, 100), amounts, amounts, st.integers(1, 20), st.integers(-3, 20),
    st.floats(0, 7200), st.floats(0, 7200), st.floats(0, 600),
)  # fmt: skip
def test_a_run_that_stops_when_no_seconds_are_left_keeps_its_budget(
    per_run: float,
    shard: float,
    instance: float,
    shards: int,
    added: int,
    fleet_s: float,
    more_s: float,
    restore_s: float,
) -> None:
    prices = Prices(currency="EUR", instance_hour=instance, shard_hour=shard)
    environment_s = fleet_s + more_s
    left = seconds_left(
        per_run, prices, shards=shards, added_instances=added, fleet_s=fleet_s, environment_s=environment_s,
        restore_s=restore_s,
    )  # fmt: skip

    def total(seconds: float) -> float:
        return run_cost(
            prices,
            shards=shards,
            fleet_s=fleet_s + seconds + FLEET_END_S,
            added_instances=added,
            environment_s=environment_s + seconds + FLEET_END_S + COLLECT_S + restore_s,
        ).total

    if math.isinf(left):
        assert total(1e6) == 0
    elif left >= 0:
        assert total(left) <= per_run * (1 + 1e-9) + 1e-9
        assert total(left + 120) > per_run - 1e-9 or total(left + 120) == total(0)
    else:
        assert total(0) > per_run - 1e-9


@given(st.floats(0, 600), st.floats(0, 600), st.floats(60, 7200), st.floats(60, 7200))
def test_the_longest_time_grows_with_each_of_its_limits(ready: float, warm: float, load: float, hard: float) -> None:
    base = longest(ready_within_s=ready, warm_up_s=warm, max_load_s=load, max_duration_s=hard)
    more = longest(ready_within_s=ready + 1, warm_up_s=warm + 1, max_load_s=load + 1, max_duration_s=hard + 1)
    assert base.fleet_s < base.environment_s < base.run_s
    assert more.run_s > base.run_s
    assert base.fleet_s <= hard + FLEET_END_S
