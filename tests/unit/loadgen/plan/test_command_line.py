from __future__ import annotations

from pathlib import Path

import pytest

from include.loadgen.plan.__main__ import main
from include.loadgen.plan.jmx import load
from tests.unit.loadgen.plan.workshop import Workshop

ROOT = Path(__file__).resolve().parents[4]


def test_the_example_can_be_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(ROOT / "include/jmeter/checkout.jmx"), "--threads", "100"]) == 0
    out = capsys.readouterr().out
    assert "browse     60.0% of the arrivals, 60 threads" in out
    assert "search     30.0% of the arrivals, 30 threads" in out
    assert "checkout   10.0% of the arrivals, 10 threads" in out
    for name in ("products.csv", "words.csv", "carts.csv"):
        assert str(ROOT / "include/jmeter" / name) in out
    assert "Hosts that the plan addresses: 127.0.0.1\n" in out


def test_options_reach_the_plan(workshop: Workshop, capsys: pytest.CaptureFixture[str]) -> None:
    plan = workshop.plan(
        workshop.group("a", workshop.http("x", host="${__P(host)}")),
        workshop.group("b", workshop.http("y", host="${__P(other)}")),
    )
    options = ["--host", "shop.test", "--allow-host", "*.test", "--property", "other=side.test"]
    assert main(["check", str(plan), *options, "--weights", "a=3", "--weights", "b=1"]) == 0
    out = capsys.readouterr().out
    assert "Hosts that the plan addresses: shop.test, side.test" in out
    assert "a   75.0% of the arrivals" in out


def test_a_refused_plan_lists_every_refusal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(ROOT / "tests/data/plans/refused.jmx")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "cannot be used as it is. 22 to mend:" in captured.err
    assert captured.err.count("\n  - Refused / ") == 22


def test_a_file_that_is_no_plan_is_told(workshop: Workshop, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(workshop.file("plan.jmx", "x"))]) == 2
    assert "not well-formed XML" in capsys.readouterr().err


def test_prepare_writes_the_plan(workshop: Workshop, capsys: pytest.CaptureFixture[str]) -> None:
    plan = workshop.plan(workshop.group("load", workshop.http("a")))
    assert main(["prepare", str(plan), "--output", str(workshop.out)]) == 0
    assert f"Prepared plan: {workshop.out}" in capsys.readouterr().out
    assert workshop.find(load(workshop.out), "load").get("ThreadGroup.num_threads") == "200"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--weights", "a"], "'a' is not NAME=VALUE"),
        (["--weights", "a=many"], "'many' in 'a=many' is not a number"),
        (["--property", "=x"], "is not NAME=VALUE"),
    ],
)
def test_wrong_options_are_explained(options: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["check", "plan.jmx", *options])
    assert caught.value.code == 2
    assert problem in capsys.readouterr().err


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert "docs/jmeter-plans.md" in out
    assert "Examples:" in out
