"""Orders from outside that end a run."""

from __future__ import annotations

import pytest

from include.capacity.errors import InvalidData
from include.capacity.guard.stop import StopOrder, stop_for


def test_an_order_survives_its_form_and_reads_as_a_sentence() -> None:
    order = StopOrder("The shop is on fire.", "ann@desk", "2026-08-03T03:00:00+00:00")
    assert StopOrder.loads(order.dumps()) == order
    assert str(order) == "It was stopped by ann@desk at 2026-08-03T03:00:00+00:00: The shop is on fire."


@pytest.mark.parametrize("data", [b"", b"stop", b"[]", b"{}", b"\xff"])
def test_what_is_no_order_is_told(data: bytes) -> None:
    with pytest.raises(InvalidData, match="no stop order"):
        StopOrder.loads(data)


@pytest.mark.parametrize(
    ("value", "checkout", "search"),
    [
        (None, None, None),
        ("", None, None),
        (" \n", None, None),
        ("release freeze", "release freeze", "release freeze"),
        ('{"checkout": "incident 7"}', "incident 7", None),
        ('{"checkout": "", "*": "freeze"}', None, "freeze"),
        ('{"checkout": null, "*": "freeze"}', None, "freeze"),
        ('{"checkout": "incident', '{"checkout": "incident', '{"checkout": "incident'),  # meant as a stop
    ],
)
def test_the_variable_stops_all_or_one(value: str | None, checkout: str | None, search: str | None) -> None:
    assert (stop_for(value, "checkout"), stop_for(value, "search")) == (checkout, search)
