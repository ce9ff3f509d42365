"""JMeter as a child process, with a small program in its place."""

from __future__ import annotations

import gzip
import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from include.loadgen.engine import DispatcherOrder
from include.loadgen.jmeter import LOG, RESULTS, JMeter, JMeterStart
from include.loadgen.results import ResultParts

SCRIPT = """#!/bin/sh
printf '%s\\n' "$@" > arguments
sleep 60
"""


@pytest.fixture
def start(tmp_path: Path) -> JMeterStart:
    java = tmp_path / "java"
    java.write_text(SCRIPT)
    java.chmod(java.stat().st_mode | stat.S_IXUSR)
    work, plans = tmp_path / "work", tmp_path / "plans"
    work.mkdir()
    plans.mkdir()
    return JMeterStart(
        java=str(java),
        home=tmp_path / "home",
        plan=work / "prepared.jmx",
        plan_folder=plans,
        work=work,
        heap_mb=256,
        quick_compiler=True,
        properties={"user": "ü = 1:2\\", "sample_variables": "mine"},
        dispatcher={"seed": "7"},
        arguments=("-H", "127.0.0.1"),
    )


@pytest.fixture
def engine(start: JMeterStart) -> Iterator[JMeter]:
    engine = JMeter(start, ResultParts(start.work / "parts"))
    yield engine
    engine.kill()
    engine.close()


def properties(start: JMeterStart) -> dict[str, str]:
    """As Java reads them: escapes resolved, the last of equal keys."""
    pairs = [line.split("=", 1) for line in (start.work / "headroom.properties").read_text().splitlines()]
    return {key: re.sub(r"\\u(....)", lambda match: chr(int(match[1], 16)), value) for key, value in pairs}


def test_properties_are_escaped_and_ours_win(engine: JMeter, start: JMeterStart) -> None:
    found = properties(start)
    assert found["user"] == "ü = 1:2\\"
    assert found["sample_variables"] == "headroom_arrival"
    assert found["jmeter.save.saveservice.autoflush"] == "true"
    assert found["jmeter.save.saveservice.timestamp_format"] == "ms"
    assert found["jmeter.save.saveservice.url"] == "false"
    assert found["headroom.seed"] == "7"


def test_jmeter_runs_in_the_plans_folder_in_a_session_of_its_own(engine: JMeter, start: JMeterStart) -> None:
    deadline = time.monotonic() + 30
    arguments = start.plan_folder / "arguments"
    while not (arguments.exists() and "-H" in arguments.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    words = arguments.read_text().splitlines()
    assert words[words.index("-t") + 1] == str(start.plan)
    assert words[-2:] == ["-H", "127.0.0.1"]
    assert "-Xmx256m" in words
    assert "-XX:TieredStopAtLevel=1" in words
    assert os.getsid(engine.pid) == engine.pid


def test_each_order_is_a_new_line_even_when_it_repeats(engine: JMeter, start: JMeterStart) -> None:
    lines = []
    for _ in range(2):
        engine.tell(DispatcherOrder((1001, 7), 12.5))
        lines.append((start.work / "control").read_text())
    assert [line.split()[1:] for line in lines] == [["1001", "7", "12.500000000", "run"]] * 2
    assert lines[0] != lines[1]
    engine.tell(DispatcherOrder((1001, 7), 0.0, end=True))
    assert (start.work / "control").read_text().endswith(" end\n")


def test_results_are_read_as_they_grow_and_kept_compressed(engine: JMeter, start: JMeterStart) -> None:
    assert engine.results() == b""
    with open(start.work / RESULTS, "ab", buffering=0) as file:
        file.write(b"one\ntw")
        assert engine.results() == b"one\ntw"
        assert engine.results() == b""
        file.write(b"o\n")
        assert engine.results() == b"o\n"
    engine.close()
    assert gzip.decompress((start.work / "parts" / "000000.jtl.gz").read_bytes()) == b"one\ntwo\n"


def test_a_status_that_is_no_status_is_none(engine: JMeter, start: JMeterStart) -> None:
    assert engine.status() is None
    (start.work / "status").write_text('{"at_ms": 1')
    assert engine.status() is None


def test_kill_ends_it_and_says_how(engine: JMeter) -> None:
    assert engine.exit_code() is None
    assert not engine.wait(0)
    engine.kill()
    assert engine.exit_code() == -9


def test_its_last_words_are_the_errors_of_its_log(engine: JMeter, start: JMeterStart) -> None:
    (start.work / LOG).write_text("1 INFO a: fine\n2 ERROR o.a.j.JMeter: no plan\n3 INFO b: bye\n")
    assert engine.last_words() == "2 ERROR o.a.j.JMeter: no plan"
    assert engine.free_bytes() > 0
