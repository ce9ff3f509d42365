"""What the demonstration asks of the DAG for a plant file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.plantfile import DEFAULT_PLANT, Plant, parse_plant
from tools.demo.__main__ import USAGE, main
from tools.demo.request import (
    UsageError,
    check_plant_fits,
    parse_overrides,
    read_plant,
    read_profile,
    run_params,
    service_of,
)


def plant(**changes: Any) -> Plant:
    values = {**yaml.safe_load(DEFAULT_PLANT.read_text(encoding="utf-8")), **changes}
    return parse_plant({key: value for key, value in values.items() if value is not None})


def test_the_params_say_what_the_plant_says() -> None:
    asked = plant(
        slo={"latency_p99": "0.4 s", "error_ratio": "2 %"},
        search={"lower": "5 tps", "upper": "90 tps"},
        instances_under_test=3,
    )

    assert run_params(asked, "plant.yaml") == {
        "instances": 3,
        "slo_latency_percentile": "p99",
        "slo_latency_ms": 400,
        "slo_error_percent": 2,
        "lower_tps": 5,
        "upper_tps": 90,
    }


def test_what_the_plant_leaves_open_stays_the_profiles() -> None:
    assert run_params(plant(slo={"error_ratio": "1 %"}, search=None), "plant.yaml") == {
        "instances": 2,
        "slo_error_percent": 1,
    }


def test_two_latency_limits_do_not_fit_into_the_form() -> None:
    with pytest.raises(UsageError, match=r"plant\.yaml: slo: .* one latency percentile, and here are 2"):
        run_params(plant(slo={"latency_p50": "100 ms", "latency_p95": "250 ms"}), "plant.yaml")


def test_a_plant_of_another_name_is_refused_with_the_cure() -> None:
    profile = read_profile("checkout")
    check_plant_fits(plant(), "plant.yaml", profile)

    with pytest.raises(UsageError, match=r"plant\.yaml: name: .*narrow-web.*; write name: checkout"):
        check_plant_fits(plant(name="narrow"), "plant.yaml", profile)


def test_the_service_is_the_end_of_the_dags_name() -> None:
    assert service_of("capacity_weekly__checkout") == "checkout"
    for wrong in ("capacity_weekly", "__checkout", "capacity_weekly__"):
        with pytest.raises(UsageError, match="write the DAG of one service"):
            service_of(wrong)
    with pytest.raises(UsageError, match=r"There is no service profile .*nothing\.yaml; there are: .*checkout"):
        read_profile("nothing")


@pytest.mark.parametrize("text", ["soak_s=30", "[1]", "30"])
def test_params_by_hand_are_a_json_object(text: str) -> None:
    with pytest.raises(UsageError, match=r'\{"soak_s": 30\}'):
        parse_overrides(text)


def test_a_missing_plant_file_is_told_and_nothing_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def up(*arguments: object) -> None:
        raise AssertionError("the stack was started")

    monkeypatch.setattr("tools.demo.demonstration.up", up)

    assert main(["--plant", str(tmp_path / "missing.yaml")]) == USAGE
    assert "missing.yaml: the file does not exist" in capsys.readouterr().err
    with pytest.raises(UsageError):
        read_plant(tmp_path / "missing.yaml")


def test_the_help_names_each_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])

    text = capsys.readouterr().out
    assert ended.value.code == 0
    assert all(f"\n  {status}  " in text for status in (0, 1, 2, 130))
