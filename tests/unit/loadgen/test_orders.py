"""Commands, epochs and leases."""

from __future__ import annotations

import pytest

from include.loadgen.orders import Orders, ReceivedCommand
from tests.unit.loadgen.fakes import command


@pytest.fixture
def orders() -> Orders:
    return Orders(shards=2, max_rate_per_s=1000, started_at=100.0)


def receive(orders: Orders, data: bytes, at: float) -> str:
    return orders.receive(ReceivedCommand(data, at))


def test_without_a_command_the_rate_is_zero(orders: Orders) -> None:
    assert orders.rate_at(100.0) == 0
    assert orders.command is None


def test_a_shard_takes_its_equal_part(orders: Orders) -> None:
    assert receive(orders, command(1, 30), at=101.0) == "accepted"
    assert orders.rate_at(101.0) == 15


def test_the_lease_runs_from_receipt_and_ends_without_renewal(orders: Orders) -> None:
    receive(orders, command(1, 30), at=101.0)
    assert orders.rate_at(103.99) == 15
    assert orders.rate_at(104.0) == 0


def test_reading_the_same_command_again_does_not_renew_it(orders: Orders) -> None:
    receive(orders, command(1, 30), at=101.0)
    assert receive(orders, command(1, 30), at=103.5) == "known"
    assert orders.rate_at(104.0) == 0


def test_a_renewal_extends_the_lease(orders: Orders) -> None:
    receive(orders, command(1, 30), at=101.0)
    receive(orders, command(2, 30), at=103.0)
    assert orders.rate_at(105.9) == 15


def test_a_lower_epoch_is_stale_whatever_its_sequence_number(orders: Orders) -> None:
    receive(orders, command(1, 30, epoch=2002), at=101.0)
    assert receive(orders, command(99, 500, epoch=2001), at=101.1) == "stale"
    assert orders.rate_at(101.2) == 15


def test_a_higher_epoch_starts_its_own_sequence(orders: Orders) -> None:
    receive(orders, command(99, 30, epoch=2001), at=101.0)
    assert receive(orders, command(1, 50, epoch=2002), at=101.1) == "accepted"
    assert orders.rate_at(101.2) == 25


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b'{"epoch": 1}',
        command(5, 30).replace(b"30", b"-1"),
        command(5, 30).replace(b"30", b"NaN"),
        command(5, 30).replace(b"3.0", b"0"),
    ],
)
def test_an_unreadable_command_is_no_command(orders: Orders, data: bytes) -> None:
    receive(orders, command(1, 30), at=101.0)
    assert receive(orders, data, at=102.0) == "malformed"
    assert orders.rate_at(102.0) == 15
    assert orders.rate_at(104.0) == 0


def test_a_rate_above_the_limit_is_refused_and_renews_nothing(orders: Orders) -> None:
    receive(orders, command(1, 30), at=101.0)
    assert receive(orders, command(2, 1001), at=102.0) == "refused"
    assert "1001 arrivals/s, more than the limit of 1000" in orders.refusal
    assert orders.rate_at(102.0) == 15
    assert orders.rate_at(104.0) == 0


def test_a_command_that_was_there_before_the_shard_is_only_a_mark(orders: Orders) -> None:
    orders.ignore_leftover(command(7, 800))
    assert receive(orders, command(7, 800), at=100.5) == "known"
    assert orders.rate_at(100.5) == 0
    assert receive(orders, command(6, 30), at=100.6) == "stale"
    assert receive(orders, command(8, 30), at=101.0) == "accepted"
    assert orders.rate_at(101.0) == 15


def test_an_unreadable_leftover_does_no_harm(orders: Orders) -> None:
    orders.ignore_leftover(b"{")
    assert receive(orders, command(1, 30), at=101.0) == "accepted"


def test_silence_counts_from_the_last_accepted_command(orders: Orders) -> None:
    assert orders.silence_at(110.0) == 10
    receive(orders, command(1, 30), at=111.0)
    receive(orders, b"{", at=112.0)
    assert orders.silence_at(115.0) == 4
