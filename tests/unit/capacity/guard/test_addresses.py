"""Addresses that the load may go to: networks, pins, and what a name server might try."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.capacity.errors import GuardRefused
from include.capacity.guard.addresses import admitted, hosts_file, is_address, network_problem, outside, plain

addresses = st.lists(st.ip_addresses().map(str), min_size=1, max_size=6)
networks = st.lists(
    st.builds(
        lambda address, bits: str(ipaddress.ip_network(f"{address}/{min(bits, address.max_prefixlen)}", strict=False)),
        st.ip_addresses(),
        st.integers(0, 128),
    ),
    min_size=1,
    max_size=4,
)


@given(addresses, networks)
def test_with_networks_nothing_outside_of_them_is_admitted(found: list[str], allowed: list[str]) -> None:
    if off := outside([plain(address) for address in found], allowed):
        with pytest.raises(GuardRefused) as caught:
            admitted("shop", found, (), allowed)
        assert f"shop resolves to {', '.join(dict.fromkeys(off))}, and" in str(caught.value)
        return
    used = admitted("shop", found, (), allowed)
    assert set(used) == {plain(address) for address in found}
    for address in used:
        assert any(ipaddress.ip_address(address) in ipaddress.ip_network(network) for network in allowed)


@given(addresses, addresses)
def test_without_networks_nothing_but_the_pins_is_admitted(found: list[str], pinned: list[str]) -> None:
    try:
        used = admitted("shop", found, pinned, ())
    except GuardRefused:
        return
    assert used
    assert set(used) <= {plain(address) for address in pinned}
    assert set(used) <= {plain(address) for address in found}


def test_a_name_that_leads_elsewhere_is_refused_with_both_addresses_and_the_cure() -> None:
    assert admitted("shop", ["10.0.0.1", "10.0.0.2"], (), ()) == ("10.0.0.1", "10.0.0.2")
    assert admitted("shop", ["10.0.0.2", "10.0.0.3"], ["10.0.0.1", "10.0.0.2"], ()) == ("10.0.0.2",)
    with pytest.raises(GuardRefused, match=r"resolves to 10\.0\.0\.9 now, and resolved to 10\.0\.0\.1 when .* checked"):
        admitted("shop", ["10.0.0.9"], ["10.0.0.1"], ())
    with pytest.raises(GuardRefused, match=r"10\.0\.9\.9, and target\.allow_addresses .* allows only 10\.0\.0\.0/24"):
        admitted("shop", ["10.0.0.1", "10.0.9.9"], (), ["10.0.0.0/24"])


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "fe80::1%eth0", "0.0.0.0", "224.0.0.1", "::ffff:169.254.169.254"]
)
def test_what_is_no_address_of_a_service_needs_a_network(address: str) -> None:
    with pytest.raises(GuardRefused, match=r"no address of a service.*target\.allow_addresses"):
        admitted("shop", [address], (), ())
    assert admitted("shop", [address], (), [plain(address)]) == (plain(address),)


def test_an_ipv4_address_in_ipv6_dress_is_what_it_is() -> None:
    assert plain("::ffff:10.0.0.1") == "10.0.0.1"
    with pytest.raises(GuardRefused):
        admitted("shop", ["::ffff:10.9.0.1"], (), ["10.0.0.0/16", "::/0"])
    assert [is_address(text) for text in ("10.0.0.1", "[::1]", "shop", "10.0.0")] == [True, True, False, False]


def test_networks_are_told_from_typing_errors() -> None:
    assert network_problem("10.0.0.0/8") is None
    assert network_problem("10.0.0.7") is None
    assert network_problem("10.0.0.7/8") == "10.0.0.7/8 has host bits set"
    assert network_problem("shop") is not None


def test_the_hosts_file_knows_these_names_only_and_turns() -> None:
    known = {"shop": ("10.0.0.1", "10.0.0.2"), "pay": ("10.0.0.3",), "gone": ()}
    assert hosts_file(known, "box") == (
        "127.0.0.1 localhost\n127.0.0.1 box\n10.0.0.3 pay\n10.0.0.1 shop\n10.0.0.2 shop\n"
    )
    assert hosts_file(known, "shop", 1) == "127.0.0.1 localhost\n10.0.0.3 pay\n10.0.0.2 shop\n10.0.0.1 shop\n"
    assert hosts_file(known, "", 2) == hosts_file(known, "", 0)
