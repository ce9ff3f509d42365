"""Allow-lists of a profile and of an installation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from include.capacity.errors import ConfigError
from include.capacity.guard.allow import AllowList, Resource, Touched, violations
from include.capacity.guard.rails import load_rails

TOUCHED = Touched(
    account="123456789012",
    region="us-east-1",
    resources=(
        Resource("Auto Scaling group", "aws.autoscaling_group", "checkout-web", {"capacity-test": "allowed"}),
        Resource("load balancer", "aws.load_balancer", "checkout", {}),
    ),
    addresses={"shop.internal": ("10.0.0.1",), "10.0.0.9": ("10.0.0.9",)},
    max_rate_tps=800.0,
    max_duration_s=1800.0,
)
NOTHING = AllowList("the service profile", "guard.allow.")


def test_empty_lists_allow_everything_and_matching_ones_what_matches() -> None:
    assert violations(NOTHING, TOUCHED) == []
    wide = replace(
        NOTHING,
        accounts=("999999999999", "123456789012"),
        regions=("us-*",),
        resources=("checkout*",),
        hosts=("*.internal", "10.0.0.9"),
        addresses=("10.0.0.0/24",),
        max_rate_tps=800.0,
        max_duration_s=1800.0,
    )
    assert violations(wide, TOUCHED) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"accounts": ("999999999999",)},
            ["'123456789012' (aws.account) is not on guard.allow.accounts of the"],
        ),
        (
            {"regions": ("eu-*",)},
            ["'us-east-1' (aws.region) is not on guard.allow.regions of the service profile (eu-*)"],
        ),
        ({"resources": ("checkout",)}, ["'checkout-web' (aws.autoscaling_group) is not on guard.allow.resources"]),
        (
            {"tags": {"capacity-test": "allowed"}},
            ["The load balancer 'checkout' (aws.load_balancer) has no such tag, and guard.allow.tags of the service "],
        ),
        (
            {"tags": {"capacity-test": "denied"}},
            [
                "'checkout-web' (aws.autoscaling_group) has capacity-test=allowed",
                "'checkout' (aws.load_balancer) has no",
            ],
        ),
        ({"hosts": ("*.example.com",)}, ["'shop.internal' (the target or the plan)", "'10.0.0.9' (the target or the"]),
        ({"addresses": ("10.0.0.0/30",)}, ["10.0.0.9 has the address 10.0.0.9, which guard.allow.addresses of the"]),
        ({"max_rate_tps": 500.0}, ["guard.max_rate of the service profile is 800 tps, and guard.allow.max_rate of"]),
        ({"max_duration_s": 60.0}, ["guard.max_duration of the service profile is 1800 s"]),
    ],
)
def test_what_is_not_allowed_is_told_with_key_value_and_list(change: dict[str, object], told: list[str]) -> None:
    found = violations(replace(NOTHING, **change), TOUCHED)  # type: ignore[arg-type]
    assert len(found) == len(told)
    for sentence, part in zip(found, told, strict=True):
        assert part in sentence


def test_a_file_of_the_installation_is_read_with_units(tmp_path: Path) -> None:
    file = tmp_path / "rails.yaml"
    file.write_text(
        'schema: 1\naccounts: ["123456789012"]\nregions: [us-east-1]\nmax_rate: 6000 tpm\nmax_duration: 2 h\n'
        "tags: {capacity-test: allowed}\naddresses: [10.0.0.0/8]\nhosts: ['*.staging']\nresources: ['*-staging']\n"
    )
    assert load_rails(file) == AllowList(
        str(file), "", ("123456789012",), ("us-east-1",), ("*-staging",), {"capacity-test": "allowed"}, ("*.staging",),
        ("10.0.0.0/8",), 100.0, 7200.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[]", "holds no mapping"),
        ("schema: [", "cannot be read"),
        ("schema: 1\nacounts: [a]", "acounts: is no known key. Did you mean 'accounts'?"),
        (
            "schema: 1\naddresses: [10.0.0.1/8]",
            "addresses[0]: '10.0.0.1/8' is no network: 10.0.0.1/8 has host",
        ),
        ("schema: 1\nmax_rate: 5", "max_rate"),
    ],
)
def test_a_wrong_file_is_told_with_its_key(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "rails.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_rails(file)
    assert str(file) in str(caught.value)
    assert told in str(caught.value)


def test_a_file_that_is_named_and_missing_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="HEADROOM_GUARD_RAILS must name a readable YAML file"):
        load_rails(tmp_path / "nothing.yaml")
