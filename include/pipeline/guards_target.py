"""The target of the load: its host is allowed, its addresses are, and it answers by itself. Looked at before any
change, before the load, and while it runs."""

from __future__ import annotations

import fnmatch
import logging
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urljoin, urlsplit

from include.capacity.errors import GuardRefused, NotReady
from include.capacity.guard.addresses import admitted, is_address, plain
from include.capacity.profile import ServiceProfile
from include.loadgen.addresses import resolved
from include.loadgen.plan.settings import PreparedPlan

log = logging.getLogger(__name__)

ANSWER_WITHIN_S = 5.0
ADDRESSES = "addresses"  # in the run's notes: host -> its addresses when the run was checked

Target = tuple[str, str, int]
Resolve = Callable[[str], Sequence[str]]
Pins = dict[str, tuple[str, ...]]


def check_host(profile: ServiceProfile, host: str) -> None:
    """Raises GuardRefused for a host off the allow-list."""
    if not is_allowed(host, profile):
        raise GuardRefused(
            f"The target {host} is not on target.allow_hosts ({', '.join(profile.target.allow_hosts)}). "
            "Add it there if this really is the system to be loaded."
        )


def is_allowed(host: str, profile: ServiceProfile) -> bool:
    return any(fnmatch.fnmatch(host, pattern) for pattern in profile.target.allow_hosts)


def hosts_of(profile: ServiceProfile, target: Target, prepared: PreparedPlan) -> tuple[str, ...]:
    """Every host that the load may address: the target, those that the plan names, and those that the allow-list names
    without a wildcard (a redirect may lead there). The target alone when every host is allowed."""
    patterns = profile.target.allow_hosts
    named = () if "*" in patterns else (pattern for pattern in patterns if not set(pattern) & set("*?["))
    planned = () if "*" in patterns else prepared.targets
    return tuple(dict.fromkeys(host.lower().strip("[]") for host in (target[1], *planned, *named)))


def pin(
    profile: ServiceProfile,
    hosts: Sequence[str],
    pinned: Mapping[str, Sequence[str]] | None = None,
    resolve: Resolve = resolved,
    tell: Callable[[str], None] = log.warning,
) -> Pins:
    """Host -> the addresses that the load may go to; none for a host that does not resolve here, but for the first, the
    target itself.

    Args:
        pinned: of an earlier look; the load keeps to it where target.allow_addresses gives no networks.

    Raises:
        GuardRefused: a host leads off the list. NotReady: the target does not resolve.
    """
    pins: Pins = {}
    for number, host in enumerate(hosts):
        before, networks = (pinned or {}).get(host, ()), profile.target.allow_addresses
        if is_address(host):
            pins[host] = admitted(host, [host], (), networks or (f"{plain(host)}",))
            continue
        try:
            found = resolve(host)
        except (OSError, UnicodeError) as error:
            if number == 0 and not before:
                raise NotReady(
                    f"The target {host} does not resolve: {error}. Is it spelt right (target.url or aws.load_balancer "
                    "of the service profile), and does this machine use the right name servers?"
                ) from error
            tell(f"{host} does not resolve here: {error}. It is left to the load containers.")
            pins[host] = tuple(before)
            continue
        pins[host] = admitted(host, found, before, networks)
    return pins


def named_pins(profile: ServiceProfile, pins: Mapping[str, Sequence[str]]) -> Pins:
    """What the shards need to know: of names, and nothing when every host is allowed."""
    if "*" in profile.target.allow_hosts:
        return {}
    return {host: tuple(addresses) for host, addresses in pins.items() if not is_address(host)}


def addresses_stop(
    profile: ServiceProfile, pins: Mapping[str, Sequence[str]], resolve: Resolve = resolved
) -> str | None:
    """Why the load must end because a host leads off the list by now; None while none does."""
    try:
        pin(profile, list(pins), pins, resolve, tell=lambda text: None)
    except GuardRefused as refused:
        return f"{refused} The run was stopped."
    return None


def check_target(profile: ServiceProfile, target: Target, addresses: Sequence[str]) -> None:
    """One request to the health path, on the way that the load will take: to a pinned address, no proxy, no redirect.

    Raises GuardRefused for a host off the allow-list or a redirect to one, NotReady without a good answer.
    """
    scheme, host, port = target
    check_host(profile, host)
    url = f"{scheme}://{host}:{port}{profile.target.health_path}"
    try:
        status, location = _ask(target, profile.target.health_path, addresses)
    except (OSError, HTTPException) as error:
        keys = "target.url" if profile.target.url else "aws.load_balancer and target.scheme"
        raise NotReady(
            f"The target does not answer at {url}: {error or type(error).__name__}. Is the service up, is its port "
            f"open to this machine, and is it the one you mean ({keys} of the service profile)?"
        ) from error
    if not 200 <= status < 300:
        raise _bad_answer(profile, url, status, location)


def _ask(target: Target, path: str, addresses: Sequence[str]) -> tuple[int, str | None]:
    """Status and Location of the answer of the first address that takes a connection."""
    scheme, host, port = target
    connection = HTTPConnection(host, port, timeout=ANSWER_WITHIN_S)
    if scheme == "https":
        connection = HTTPSConnection(host, port, timeout=ANSWER_WITHIN_S)
    try:
        plain_socket = _connected(addresses, port)
        if scheme == "https":
            context = ssl.create_default_context()
            connection.sock = context.wrap_socket(plain_socket, server_hostname=host)
        else:
            connection.sock = plain_socket
        connection.request("GET", path, headers={"Connection": "close"})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.getheader("Location")
    finally:
        connection.close()


def _connected(addresses: Sequence[str], port: int) -> socket.socket:
    failure = OSError("it has no address")
    for address in addresses:
        try:
            return socket.create_connection((address, port), timeout=ANSWER_WITHIN_S)
        except OSError as error:
            failure = error
    raise failure


def _bad_answer(profile: ServiceProfile, url: str, status: int, location: str | None) -> NotReady | GuardRefused:
    if location and 300 <= status < 400:
        leads_to = urljoin(url, location)
        told = f"The target's {url} redirects (status {status}) to {leads_to}"
        host = urlsplit(leads_to).hostname or ""
        if not is_allowed(host, profile):
            return GuardRefused(
                f"{told}, and {host} is not on target.allow_hosts ({', '.join(profile.target.allow_hosts)}). Set "
                "target.health_path to a path that the service answers by itself, or target.url to the right service."
            )
        return NotReady(f"{told}. Set target.health_path to a path that the service answers by itself.")
    if status >= 500:
        cure = "The service, or the load balancer without a healthy instance behind it, fails: look at its logs."
    else:
        cure = "Check target.health_path of the service profile."
    return NotReady(f"The target's {url} answers with status {status}. {cure}")
