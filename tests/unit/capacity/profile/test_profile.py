"""Reading profiles: what a right one gives, and what each kind of mistake is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from include.capacity.errors import ConfigError
from include.capacity.models import SloCondition
from include.capacity.profile import load_profile, parse_profile, validate_profile, with_overrides

CHECKOUT = Path(__file__).parents[4] / "include" / "services" / "checkout.yaml"


@pytest.fixture
def raw() -> dict[str, Any]:
    profile: dict[str, Any] = yaml.safe_load(CHECKOUT.read_text())
    return profile


def test_the_example_profile() -> None:
    profile = load_profile(CHECKOUT)
    assert profile.slo_conditions().conditions == (
        SloCondition("latency_p95_ms", 250.0),
        SloCondition("error_ratio", 0.01),
    )
    settings = profile.search_settings(prior_tps=180.0)
    assert (settings.lower_tps, settings.upper_tps, settings.resolution, settings.max_load_s) == (20, 600, 0.03, 600)
    assert settings.prior_tps == 180.0
    assert profile.validity_limits().max_rejected_ratio == pytest.approx(0.001)
    assert profile.prescale.ready_within_s == 120


def _set(path: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(raw: dict[str, Any]) -> None:
        *sections, key = path.split(".")
        for section in sections:
            raw = raw[section]
        raw[key] = value

    return change


def _misspell(raw: dict[str, Any]) -> None:
    raw["search"]["resolutoin"] = raw["search"].pop("upper")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        # unknown keys, the misspelling first
        (
            _misspell,
            "shop.yaml: search.resolutoin: is no known key. Did you mean 'resolution'? (1 more mistake in",
        ),
        (_set("guard.colour", "red"), "guard.colour: is no known key. Known keys here: max_rate, max_errors, window,"),
        (_set("load.fleet.shard", 3), "load.fleet.shard: is no known key. Did you mean 'shards'?"),
        (lambda raw: raw["slo"][1].update(lable="x"), "slo[1].lable: is no known key. Did you mean 'label'?"),
        (_set("search.lower_tps", "20 tps"), "search.lower_tps: is no known key. Did you mean 'lower'?"),
        # units
        (
            _set("slo", [{"latency_p95": "250 mss"}]),
            "slo[0].latency_p95: unknown unit 'mss' in '250 mss'; use one of",
        ),
        (_set("slo", [{"latency_p95": 250}]), "slo[0].latency_p95: 250 has no unit; write it with one of us, ms, s,"),
        (_set("slo", [{"error_ratio": 0.01}]), "slo[0].error_ratio: 0.01 has no unit; write it with one of %"),
        (_set("search.probe", "14 tps"), "search.probe: unknown unit 'tps' in '14 tps'"),
        (_set("search.lower", "many"), "search.lower: 'many' is not a quantity"),
        (_set("search.probe", "4 s"), "search.probe: '4 s' is out of range. It must be at least 5 s."),
        (_set("guard.max_errors", "150 %"), "guard.max_errors: '150 %' is out of range. It must be at most 100 %."),
        # types and forms
        (_set("aws.account", 123456789012), 'aws.account: 123456789012 is no text. Put it in quotes: "1234'),
        (_set("aws.account", "12345"), "aws.account: '12345' has the wrong form. Write the 12 digits of the account"),
        (_set("aws.region", ""), "aws.region: is empty. Write a text."),
        (_set("load.fleet.shards", "2"), "load.fleet.shards: '2' is not a whole number. Write digits only"),
        (_set("load.fleet.shards", True), "load.fleet.shards: True is not a whole number."),
        (_set("load.fleet.shards", 0), "load.fleet.shards: 0 is out of range. It must be above 0."),
        (_set("search.ramp_factor", "1.3"), "search.ramp_factor: '1.3' is not a number. Write a plain number"),
        (_set("prices.shard_hour", float("nan")), "prices.shard_hour: nan is not a finite number."),
        (_set("target.allow_hosts", "localhost"), "target.allow_hosts: 'localhost' is not a list. Write a list"),
        (_set("target.allow_hosts", []), "target.allow_hosts: is empty. Write at least one entry."),
        (_set("load.arrivals", "random"), "load.arrivals: 'random' is not possible. Use 'poisson' or 'even'."),
        (_set("schema", 2), "schema: 2 is not possible. Use 1."),
        (_set("search", "fast"), "search: 'fast' is no mapping. Its keys are lower, upper, resolution"),
        (_set("search", None), "search: nothing is no mapping."),
        (_set("service", "My Shop"), "service: 'My Shop' has the wrong form. Write lower-case letters"),
        (_set("schedule", "weekly"), "schedule: 'weekly' has the wrong form. Write a cron expression of five fields"),
        (_set("load.plan", "shop.yaml"), "load.plan: 'shop.yaml' has the wrong form. Write the path of a .jmx file"),
        (_set("load.properties", {"users": 5}), 'load.properties.users: 5 is no text. Put it in quotes: "5".'),
        # missing
        (lambda raw: raw["guard"].pop("max_rate"), "guard.max_rate: is missing. Add it; see docs/service-profile.md"),
        (lambda raw: raw.pop("slo"), "slo: is missing."),
        # contradictions
        (_set("search.upper", "10 tps"), "search.upper: 10 tps is not above lower, which is 20 tps."),
        (_set("search.upper", "900 tps"), "search.upper: 900 tps is above guard.max_rate, which is 800 tps."),
        (_set("search.probe_discard", "13 s"), "search.probe_discard: 13 s of 14 s leave less than 2 s to judge."),
        (_set("guard.max_duration", "5 min"), "guard.max_duration: 300 s end the fleet before search.max_load (600 s)"),
        (_set("validity.min_idle_threads", 150), "validity.min_idle_threads: 150 threads cannot be idle of 150."),
        (
            _set("validity.max_lag_p99", "250 ms"),
            "validity.max_lag_p99: a lag of 250 ms hides a latency limit of",
        ),
        (
            _set("slo", [{"latency_p95": "250 ms", "error_ratio": "1 %"}]),
            "slo[0].error_ratio: stands beside latency_p95. Write one metric a condition.",
        ),
        (_set("slo", [{"label": "all"}]), "slo[0]: names no metric. Write one of latency_p50, latency_p90,"),
        (_set("slo", []), "slo: is empty. Write at least one entry."),
        (
            _set("slo", [{"latency_p95": "250 ms"}, {"latency_p95": "0.3 s"}]),
            "slo[1]: limits latency_p95 of all again. Keep it or slo[0].",
        ),
        (_set("slo", [{"error_ratio": "1 %", "may_fail": "5 %"}]), "slo[0].may_fail: needs a window. Add one"),
        (
            _set("slo", [{"error_ratio": "1 %", "window": "20 s"}]),
            "slo[0].window: 20 s does not fit into the 11 s that a probe is judged.",
        ),
        (_set("slo", [{"apdex": 0.9}]), "slo[0].apdex: needs a target. Add the wait that satisfies, such as"),
        (
            _set("slo", [{"error_ratio": "1 %", "apdex_target": "200 ms"}]),
            "slo[0].apdex_target: belongs to apdex. Add one, such as `apdex: 0.9`.",
        ),
        (_set("slo", [{"apdex": "90 %", "apdex_target": "200 ms"}]), "slo[0].apdex: '90 %' is not"),
        (_set("slo", [{"apdex": 1.2, "apdex_target": "200 ms"}]), "slo[0].apdex: 1.2 is out of range."),
        (
            _set("slo", [{"apdex": 0.9, "apdex_target": "20 ms"}]),
            "validity.max_lag_p99: a lag of 40 ms hides a latency limit of 20 ms (slo[0]).",
        ),
        (
            _set("slo", [{"throughput": "20 tps"}]),
            "slo[0].throughput: 20 tps is not below search.lower, which is 20 tps. No more can complete than is",
        ),
    ],
)
def test_a_mistake_is_told_with_file_key_and_cure(
    raw: dict[str, Any], spoil: Callable[[dict[str, Any]], object], message: str
) -> None:
    spoil(raw)
    with pytest.raises(ConfigError) as caught:
        validate_profile(raw, "shop.yaml")
    assert message in str(caught.value)
    assert str(caught.value).startswith("shop.yaml: ")


def test_all_mistakes_are_counted(raw: dict[str, Any]) -> None:
    raw["aws"]["account"] = "1"
    raw["search"]["lower"] = 5
    raw["prices"]["shard_hour"] = -1
    with pytest.raises(ConfigError, match=r"\(2 more mistakes in this file\.\)$"):
        validate_profile(raw, "shop.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("service: [a\n", "shop.yaml: line 2, column 1: is not YAML: "),
        ("a: 1\nb: 2\na: 3\n", "shop.yaml: line 3, column 1: is not YAML: the key 'a' stands twice."),
        ("guard:\n  window: 1 s\n  window: 2 s\n", "shop.yaml: line 3, column 3: is not YAML: the key 'window' stands"),
        ("? [a]\n: 1\n", "shop.yaml: line 1, column 3: is not YAML: a key is a list or a mapping."),
        ("", "shop.yaml: holds no mapping. Start from include/services/checkout.yaml."),
        ("- a\n", "shop.yaml: holds no mapping."),
        ("on: 1\n", "the key True is no text. Put it in quotes."),
    ],
)
def test_text_that_is_no_profile(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_profile(text, "shop.yaml")
    assert message in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read: No such file or directory\."):
        load_profile(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ConfigError, match=r"bad\.yaml: cannot be read: it is not UTF-8\."):
        load_profile(tmp_path / "bad.yaml")


# -- Params ----------------------------------------------------------------------------------------------------------


def test_params_replace_values_and_none_keeps_them() -> None:
    profile = load_profile(CHECKOUT)
    none = dict.fromkeys(("slo_latency_percentile", "slo_latency_ms", "slo_error_percent", "lower_tps", "instances"))
    assert with_overrides(profile, none) == profile
    changed = with_overrides(
        profile,
        {
            "lower_tps": 50,
            "upper_tps": 300.5,
            "instances": 4,
            "shards": 3,
            "probe_s": 20,
            "soak_s": 90,
            "slo_latency_ms": None,
        },
    )
    assert (changed.search.lower_tps, changed.search.upper_tps) == (50, 300.5)
    assert (changed.search.probe_s, changed.search.soak_s) == (20, 90)
    assert (changed.prescale.instances, changed.load.fleet.shards) == (4, 3)
    assert changed.slo == profile.slo
    assert changed.model_dump(exclude={"search", "prescale", "load"}) == profile.model_dump(
        exclude={"search", "prescale", "load"}
    )


def test_scores_and_throughputs_have_conditions_of_their_own(raw: dict[str, Any]) -> None:
    raw["slo"] = [
        {"apdex": 0.85, "apdex_target": "0.2 s", "label": "checkout"},
        {"throughput": "600 tpm", "window": "5 s", "may_fail": "5 %"},
    ]
    profile = validate_profile(raw, "shop.yaml")
    assert profile.slo_conditions().conditions == (
        SloCondition("apdex", 0.85, "checkout", target_ms=200.0),
        SloCondition("throughput_tps", 10.0, window_s=5.0, may_fail_ratio=0.05),
    )
    changed = with_overrides(profile, {"slo_latency_percentile": "p95", "slo_latency_ms": 400})
    assert changed.slo_conditions().conditions[1:] == profile.slo_conditions().conditions


def test_slo_params_replace_the_conditions_of_their_kind() -> None:
    profile = load_profile(CHECKOUT)
    changed = with_overrides(
        profile, {"slo_latency_percentile": "p99", "slo_latency_ms": 400, "slo_error_percent": 0.5}
    )
    assert changed.slo_conditions().conditions == (
        SloCondition("latency_p99_ms", 400.0),
        SloCondition("error_ratio", 0.005),
    )


def test_a_profile_without_a_schedule_takes_params(raw: dict[str, Any]) -> None:
    raw["schedule"] = None
    raw["slo"][0] |= {"window": "5 s", "may_fail": "10 %", "label": "checkout"}
    profile = validate_profile(raw, "shop.yaml")
    changed = with_overrides(profile, {"instances": 3})
    assert changed.schedule is None
    assert changed.slo == profile.slo


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"upper_tps": 900}, "Params: upper_tps: 900 tps is above guard.max_rate, which is 800 tps."),
        (
            {"lower_tps": 700},
            "Params: lower_tps: 700 contradicts search.upper of the profile: 600 tps is not above",
        ),
        ({"probe_s": 4}, "Params: probe_s: 4 is out of range. It must be at least 5 s."),
        ({"soak_s": 10, "probe_s": 5, "lower_tps": 0}, "Params: lower_tps: 0 is out of range. It must be above 0 tps."),
        ({"instances": 0}, "Params: instances: 0 is out of range."),
        ({"shards": 1.5}, "Params: shards: 1.5 is not a whole number."),
        ({"instances": "two"}, "Params: instances: 'two' is no number. Give a number, or leave it empty."),
        ({"slo_latency_ms": 300}, "Params: slo_latency_percentile: is empty, but its partner is not."),
        ({"slo_latency_percentile": "p95"}, "Params: slo_latency_ms: is empty, but its partner is not."),
        ({"slo_latency_percentile": "p42", "slo_latency_ms": 1}, "Params: slo_latency_percentile: 'p42' is unknown."),
        ({"slo_latency_percentile": "p95", "slo_latency_ms": -1}, "Params: slo_latency_ms: -1 is out of range."),
        (
            {"slo_latency_percentile": "p95", "slo_latency_ms": 30},
            "Params: slo_latency_ms: a lag of 40 ms hides",
        ),
        ({"slo_error_percent": 101}, "Params: slo_error_percent: 101 is out of range. It must be from 0 to 100."),
        ({"tps": 5}, "Params: tps: is no known Param. Known: instances, lower_tps,"),
    ],
)
def test_a_wrong_param_is_named(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        with_overrides(load_profile(CHECKOUT), params)
    assert message in str(caught.value)
