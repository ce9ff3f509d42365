"""What a run may touch: lists of a profile and of a whole installation, compared with what it would touch. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from include.capacity.guard.addresses import is_address, outside


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource that the run changes or loads. `key` is the profile's key that names it, such as aws.load_balancer."""

    kind: str
    key: str
    name: str
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Touched:
    """What a run would touch. `addresses`: host -> its addresses."""

    account: str
    region: str
    resources: Sequence[Resource]
    addresses: Mapping[str, Sequence[str]]
    max_rate_tps: float
    max_duration_s: float


@dataclass(frozen=True, slots=True)
class AllowList:
    """Patterns with `*` and `?`; an empty list allows everything.

    Attributes:
        source: where it stands, for messages; `prefix` is what comes before its keys there, such as `guard.allow.`.
        tags: that every resource must carry; values may be patterns.
        addresses: networks that every address of every host must lie in.
        max_rate_tps, max_duration_s: that guard.max_rate and guard.max_duration must not exceed; None: no limit.
    """

    source: str
    prefix: str = ""
    accounts: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    max_rate_tps: float | None = None
    max_duration_s: float | None = None


def violations(allowed: AllowList, touched: Touched) -> list[str]:
    """A sentence with key, value and cure for everything that the list does not allow."""
    found = [
        *_unlisted(allowed, "accounts", allowed.accounts, "aws.account", touched.account),
        *_unlisted(allowed, "regions", allowed.regions, "aws.region", touched.region),
    ]
    for resource in touched.resources:
        found += _unlisted(allowed, "resources", allowed.resources, resource.key, resource.name)
    for resource in touched.resources:
        found += _untagged(allowed, resource)
    for host, addresses in touched.addresses.items():
        if not (is_address(host) and allowed.addresses):  # an address is judged as one
            found += _unlisted(allowed, "hosts", allowed.hosts, "the target or the plan", host)
        if allowed.addresses and (off := outside(addresses, allowed.addresses)):
            found.append(
                f"{host} has the address {', '.join(off)}, which {_place(allowed, 'addresses')} does not hold "
                f"({', '.join(allowed.addresses)}). Load another target, or have the list changed."
            )
    for key, limit, value, unit in (
        ("max_rate", allowed.max_rate_tps, touched.max_rate_tps, "tps"),
        ("max_duration", allowed.max_duration_s, touched.max_duration_s, "s"),
    ):
        if limit is not None and value > limit:
            found.append(
                f"guard.{key} of the service profile is {value:g} {unit}, and {_place(allowed, key)} allows "
                f"{limit:g} {unit}. Lower it."
            )
    return found


def _unlisted(allowed: AllowList, key: str, patterns: Sequence[str], where: str, value: str) -> list[str]:
    if not patterns or any(fnmatchcase(value, pattern) for pattern in patterns):
        return []
    return [
        f"{value!r} ({where}) is not on {_place(allowed, key)} ({', '.join(patterns)}). Correct the name, or have the "
        "list changed if this really is what is to be tested."
    ]


def _untagged(allowed: AllowList, resource: Resource) -> list[str]:
    found = []
    for tag, wanted in allowed.tags.items():
        value = resource.tags.get(tag)
        if value is None or not fnmatchcase(value, wanted):
            has = "has no such tag" if value is None else f"has {tag}={value}"
            found.append(
                f"The {resource.kind} {resource.name!r} ({resource.key}) {has}, and {_place(allowed, 'tags')} demands "
                f"{tag}={wanted}. Tag it if it may be tested; only its owner should."
            )
    return found


def _place(allowed: AllowList, key: str) -> str:
    return f"{allowed.prefix}{key} of {allowed.source}"
