"""The guard rails' keys: what they mean, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from include.capacity.errors import ConfigError
from include.capacity.guard.blackouts import windows
from include.capacity.profile import ServiceProfile, parse_profile, with_overrides
from tests.unit.capacity.profile.test_documentation import ROOT

TEXT = (ROOT / "include" / "services" / "checkout.yaml").read_text()


def profile(**sections: Any) -> ServiceProfile:
    return parse_profile(yaml.safe_dump({**yaml.safe_load(TEXT), **sections}), "checkout.yaml")


def black(entry: dict[str, Any], day: str, hours: float = 24) -> list[tuple[str, str]]:
    """The windows of one entry, in UTC, that overlap some hours from a day on."""
    start = datetime.fromisoformat(day).replace(tzinfo=UTC)
    found = windows(profile(blackouts=[{"reason": "x", **entry}]).black_times(), start, start + timedelta(hours=hours))
    return [(f"{window.start:%d %H:%M}", f"{window.end:%d %H:%M}") for window in found]


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"weekly": "Fri 22:00 - Mon 06:00"}, [("07 22:00", "10 06:00")]),
        ({"weekly": "Fri 22:00 - Mon 06:00", "zone": "Europe/Berlin"}, [("07 20:00", "10 04:00")]),
        ({"daily": "08:00 - 18:00"}, [("08 08:00", "08 18:00")]),
        ({"daily": "22:00 - 02:00"}, [("07 22:00", "08 02:00"), ("08 22:00", "09 02:00")]),
        ({"daily": "08:00 - 18:00", "days": ["Mon"]}, []),
        ({"daily": "00:00 - 24:00", "days": ["Sat"]}, [("08 00:00", "09 00:00")]),
        ({"cron": "30 6 * * *", "lasts": "15 min"}, [("08 06:30", "08 06:45")]),
        ({"from": "2026-08-08 10:00", "until": "2026-08-08 12:30"}, [("08 10:00", "08 12:30")]),
        ({"from": datetime(2026, 8, 8).date(), "until": datetime(2026, 8, 9).date()}, [("08 00:00", "10 00:00")]),
    ],
)
def test_each_form_of_a_blackout(entry: dict[str, Any], told: list[tuple[str, str]]) -> None:
    assert black(entry, "2026-08-08") == told  # a Saturday


@pytest.mark.parametrize(
    ("entry", "key", "told"),
    [
        ({}, "blackouts[0]", "names no time"),
        ({"weekly": "Fri 22:00 - Mon 06:00", "cron": "* * * * *"}, "blackouts[0].cron", "stands beside weekly"),
        ({"weekly": "Friday 22:00 - Mon 06:00"}, "blackouts[0].weekly", "`Fri 22:00 - Mon 06:00`"),
        ({"daily": "8 - 18"}, "blackouts[0].daily", "`08:00 - 18:00`"),
        ({"daily": "08:00 - 24:30"}, "blackouts[0].daily", "24:30 is no time"),
        ({"cron": "0 8 1 * *"}, "blackouts[0].cron", "needs lasts"),
        ({"lasts": "1 h", "daily": "08:00 - 18:00"}, "blackouts[0].lasts", "needs cron"),
        ({"cron": "0 8 x * *", "lasts": "1 h"}, "blackouts[0].cron", "'x' is no day of month"),
        ({"cron": "0 8 1 * *", "lasts": "0 s"}, "blackouts[0].lasts", "out of range"),
        ({"from": "2026-11-27"}, "blackouts[0].from", "needs until"),
        ({"from": "2026-11-27", "until": "2026-11-26"}, "blackouts[0].until", "is not after from"),
        ({"from": "2026-13-27", "until": "2026-11-28"}, "blackouts[0].from", "is no date"),
        ({"from": "27.11.2026", "until": "2026-11-28"}, "blackouts[0].from", "2026-11-27 18:00"),
        ({"daily": "08:00 - 18:00", "zone": "Berlin"}, "blackouts[0].zone", "'Berlin' is no time zone"),
        ({"weekly": "Fri 22:00 - Mon 06:00", "days": ["Mon"]}, "blackouts[0].days", "needs daily"),
    ],
)
def test_a_wrong_blackout_is_told_with_its_key(entry: dict[str, Any], key: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        profile(blackouts=[{"reason": "x", **entry}])
    assert caught.value.key == key
    assert told in str(caught.value)


def test_an_empty_budget_and_a_scheduled_production_are_told() -> None:
    with pytest.raises(ConfigError, match=r"budget: is empty\..*per_run"):
        profile(budget={})
    with pytest.raises(ConfigError, match=r"schedule: '0 3 \* \* 1' would start runs by itself"):
        profile(production=True)
    assert profile(production=True, schedule=None).production


def test_the_guard_rails_survive_a_runs_overrides() -> None:
    guarded = profile(
        budget={"per_run": 5, "per_month": 40.5},
        blackouts=[
            {"reason": "a", "from": "2026-11-27", "until": "2026-11-30 12:00", "zone": "Europe/Berlin"},
            {"reason": "b", "cron": "0 8 1 * *", "lasts": "10 h"},
        ],
        guard={**yaml.safe_load(TEXT)["guard"], "wait_for_environment": "20 min", "allow": {"tags": {"a": "b"}}},
    )
    changed = with_overrides(guarded, {"instances": 3})
    assert changed.blackouts == guarded.blackouts
    assert changed.budget == guarded.budget
    assert changed.guard == guarded.guard


def test_the_longest_run_grows_with_its_limits_and_is_cut_by_the_hard_one() -> None:
    example = profile()
    longest = example.longest()
    assert example.search.max_load_s < longest.fleet_s < longest.environment_s < longest.run_s < 3600
    long = {**yaml.safe_load(TEXT)["search"], "max_load": "30 min"}
    assert profile(search=long).longest().fleet_s == example.guard.max_duration_s + 45
