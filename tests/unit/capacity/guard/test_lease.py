"""Leases: who may take an environment when, whatever happens in between."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.capacity.errors import InvalidData
from include.capacity.guard.lease import CLOCK_SKEW_S, LEASE_S, Lease, claimed, obstacle

ENVIRONMENT = "123456789012-us-east-1-checkout-web"
RUNS = [
    {"service": "checkout", "dag_id": "capacity_weekly__checkout", "run_id": f"manual__{number}", "installation": where}
    for number, where in ((1, "east"), (1, "west"), (2, "east"))
]


def held(run: int = 0, at: float = 1000.0) -> Lease:
    return claimed(None, ENVIRONMENT, RUNS[run], at)


def test_a_lease_survives_its_form() -> None:
    for lease in (held(), held().freed(1001.0), held().renewed(1010.0)):
        assert Lease.loads(lease.dumps()) == lease


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"schema": 9}', held().dumps()[:-20], b"\xff"])
def test_what_is_no_lease_is_told(data: bytes) -> None:
    with pytest.raises(InvalidData, match="no lease"):
        Lease.loads(data)


def test_a_live_holder_keeps_everybody_else_out_settled_or_not() -> None:
    for settled in (True, False):
        why = obstacle(held(), RUNS[2], 1000.0 + LEASE_S, settled=settled)
        assert why is not None
        assert "held by run 'manual__1' of capacity_weekly__checkout since 1970-01-01 00:16:40 UTC" in why
        assert "guard.wait_for_environment" in why
    assert obstacle(held(), RUNS[0], 1000.0, settled=False) is None


def test_a_lapsed_lease_is_taken_over_only_when_its_run_is_settled() -> None:
    later = 1000.0 + LEASE_S + CLOCK_SKEW_S + 1
    why = obstacle(held(), RUNS[2], later, settled=False)
    assert why is not None
    assert "lapsed at 1970-01-01 00:18:40 UTC" in why
    assert "`python -m include.pipeline.restore checkout 'manual__1' --dry-run`" in why
    assert obstacle(held(), RUNS[2], later, settled=True) is None


def test_equal_run_ids_of_two_installations_are_two_runs() -> None:
    why = obstacle(held(), RUNS[1], 1000.0, settled=False)
    assert why is not None
    assert "in the Airflow installation 'east'" in why


events = st.lists(
    st.tuples(
        st.sampled_from(["take", "renew", "free", "wait"]),
        st.integers(0, len(RUNS) - 1),
        st.floats(0, 2 * LEASE_S),
        st.booleans(),
    ),
    max_size=30,
)


@given(events)
def test_no_history_lets_two_runs_in(history: list[tuple[str, int, float, bool]]) -> None:
    lease: Lease | None = None
    now, beats = 1000.0, set()
    for event, run, seconds, settled in history:
        before = lease
        if event == "wait":
            now += seconds
            continue
        if event == "take" and obstacle(lease, RUNS[run], now, settled=settled) is None:
            lease = claimed(lease, ENVIRONMENT, RUNS[run], now)
        elif event == "renew" and lease is not None and lease.held_by(RUNS[run]):
            lease = lease.renewed(now)
        elif event == "free" and lease is not None and lease.held_by(RUNS[run]):
            lease = lease.freed(now)
        if lease is before:
            continue
        assert lease is not None
        assert lease.dumps() not in beats  # what two conditional writes could not tell apart
        beats.add(lease.dumps())
        changed = before is not None and before.run is not None and lease.run not in (None, before.run)
        if changed:
            assert before is not None
            assert settled
            assert now > before.expires_at
        if before is not None:
            assert lease.epoch == before.epoch + (lease.run is not None and lease.run != before.run)
        if lease.run is not None:
            assert lease.expires_at == now + LEASE_S


def test_an_epoch_never_falls() -> None:
    first = held()
    second = claimed(first.freed(1001.0), ENVIRONMENT, RUNS[2], 1002.0)
    assert (first.epoch, second.epoch) == (1, 2)
    assert claimed(second, ENVIRONMENT, RUNS[2], 1003.0).epoch == 2
    assert claimed(replace(second, run=RUNS[0]), ENVIRONMENT, RUNS[2], 1004.0).epoch == 3
