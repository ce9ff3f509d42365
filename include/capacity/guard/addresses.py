"""Which addresses a run may load: those that its hosts had when it was checked, or those of given networks. Pure.

A name that answers for an allowed host today may lead elsewhere tomorrow, or to somebody else's machine a second later
(DNS rebinding). So names are resolved once, and from then on a run keeps to what was found:

- With networks (`target.allow_addresses`), every address that a host ever resolves to must lie in one of them; the load
  follows the name within them, as it must for a load balancer, whose addresses change while it scales.
- Without, the addresses that were found first are pinned. Of those the load uses what the name still has.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

from include.capacity.errors import GuardRefused

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def plain(address: str) -> str:
    """An address in its one form: without a scope, and an IPv4 address that is mapped into IPv6 as what it is. Raises
    ValueError for anything else."""
    return str(_parsed(address))


def is_address(host: str) -> bool:
    try:
        _parsed(host)
    except ValueError:
        return False
    return True


def network_problem(text: str) -> str | None:
    """Why a text is no network; None if it is one. A single address is a network of one."""
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        return str(error)
    return None


def outside(addresses: Sequence[str], networks: Sequence[str]) -> list[str]:
    """The addresses that lie in none of the networks."""
    known = [ipaddress.ip_network(network) for network in networks]
    return [address for address in addresses if not any(_parsed(address) in network for network in known)]


def admitted(host: str, found: Sequence[str], pinned: Sequence[str], networks: Sequence[str]) -> tuple[str, ...]:
    """The addresses that the load for a host may go to now.

    Args:
        found: what the name resolves to now, at least one address.
        pinned: what it resolved to when the run was checked; empty for the first time.
        networks: of target.allow_addresses; empty: none are given.

    Raises:
        GuardRefused: the name leads off the list.
    """
    addresses = tuple(dict.fromkeys(plain(address) for address in found))
    if networks:
        if off := outside(addresses, networks):
            raise GuardRefused(
                f"{host} resolves to {', '.join(off)}, and target.allow_addresses of the service profile allows only "
                f"{', '.join(networks)}. Add the network if this really is the system to be loaded."
            )
        return addresses
    if strange := [address for address in addresses if _is_strange(address)]:
        raise GuardRefused(
            f"{host} resolves to {', '.join(strange)}, which is no address of a service (link-local, multicast or "
            "unspecified). Mend the name, or list the address in target.allow_addresses of the service profile."
        )
    if not pinned:
        return addresses
    kept = tuple(address for address in (plain(pin) for pin in pinned) if address in addresses)
    if not kept:
        raise GuardRefused(
            f"{host} resolves to {', '.join(addresses)} now, and resolved to {', '.join(pinned)} when the run was "
            "checked. The load keeps to what was checked. If the service may change its addresses, as a load balancer "
            "does while it scales, list their networks in target.allow_addresses of the service profile."
        )
    return kept


def hosts_file(addresses: Mapping[str, Sequence[str]], own_name: str, turn: int = 0) -> str:
    """A hosts file of the names that may be resolved, and of no others.

    Args:
        own_name: of the machine, which programs look up for themselves.
        turn: programs take the first address of a name; each turn puts another one first.
    """
    lines = ["127.0.0.1 localhost"]
    if own_name and own_name not in addresses and own_name != "localhost":
        lines.append(f"127.0.0.1 {own_name}")
    for host, known in sorted(addresses.items()):
        start = turn % len(known) if known else 0
        lines += [f"{address} {host}" for address in (*known[start:], *known[:start])]
    return "\n".join(lines) + "\n"


def _parsed(text: str) -> Address:
    address = ipaddress.ip_address(text.strip("[]").partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _is_strange(address: str) -> bool:
    parsed = _parsed(address)
    return parsed.is_link_local or parsed.is_multicast or parsed.is_unspecified
