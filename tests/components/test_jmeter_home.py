"""The installed JMeter home really runs, with the Java that the set-up links."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tools.jmeter.home import LAUNCHER, check_runs, damaged_files, is_complete
from tools.jmeter.lock import read_lock
from tools.toolchain.layout import Layout

LAYOUT = Layout()
LOCK = read_lock()
HOME = LAYOUT.jmeter_home(LOCK)

pytestmark = pytest.mark.skipif(
    not (is_complete(HOME, LOCK) and LAYOUT.java.exists()), reason="JMeter is not installed: run `make setup`"
)

PLAN = """<?xml version="1.0" encoding="UTF-8"?>
<jmeterTestPlan version="1.2" properties="5.0" jmeter="5.6.3"><hashTree>
  <TestPlan guiclass="TestPlanGui" testclass="TestPlan" testname="plan"/>
  <hashTree>
    <ThreadGroup guiclass="ThreadGroupGui" testclass="ThreadGroup" testname="group">
      <elementProp name="ThreadGroup.main_controller" elementType="LoopController">
        <boolProp name="LoopController.continue_forever">false</boolProp>
        <stringProp name="LoopController.loops">3</stringProp>
      </elementProp>
      <stringProp name="ThreadGroup.num_threads">1</stringProp>
    </ThreadGroup>
    <hashTree>
      <JSR223Sampler guiclass="TestBeanGUI" testclass="JSR223Sampler" testname="groovy">
        <stringProp name="scriptLanguage">groovy</stringProp>
        <stringProp name="cacheKey">true</stringProp>
        <stringProp name="script">SampleResult.setResponseData("sum " + [1, 2, 3].sum(), "UTF-8")</stringProp>
      </JSR223Sampler>
      <hashTree/>
    </hashTree>
  </hashTree>
</hashTree></jmeterTestPlan>
"""


def test_it_says_its_version() -> None:
    check_runs(HOME, str(LAYOUT.java), LOCK.version)


def test_every_jar_is_as_the_lock_says() -> None:
    assert damaged_files(HOME, LOCK) == []


def test_a_plan_with_groovy_runs(tmp_path: Path) -> None:
    """Groovy is what breaks first with another Java version or a missing jar."""
    (tmp_path / "plan.jmx").write_text(PLAN, encoding="utf-8")
    command = [str(LAYOUT.java), "-Djava.awt.headless=true", "-jar", str(HOME / LAUNCHER)]
    command += ["-n", "-t", "plan.jmx", "-l", "out.jtl", "-j", "jmeter.log"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    # JMeter prints a stack trace where a folder of its home is missing.
    assert "Throwable" not in done.stderr
    header, *rows = (tmp_path / "out.jtl").read_text(encoding="utf-8").splitlines()
    success = header.split(",").index("success")
    assert [row.split(",")[success] for row in rows] == ["true", "true", "true"]
