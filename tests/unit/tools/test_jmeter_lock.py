"""The lock file: what it says, and how a wrong one is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.errors import ToolError
from tools.jmeter.lock import LOCK_PATH, JMeterLock, parse_lock, read_lock, render_lock

SHA = "a" * 64
LAUNCHER = f"org/apache/jmeter/ApacheJMeter/5.6.3/ApacheJMeter-5.6.3.jar {SHA}"
CONFIG = f"org/apache/jmeter/ApacheJMeter_config/5.6.3/ApacheJMeter_config-5.6.3.jar {SHA}"
CORE = f"org/apache/jmeter/ApacheJMeter_core/5.6.3/ApacheJMeter_core-5.6.3.jar {SHA}"
SOURCE = Path("some.lock")


def parse(*lines: str) -> JMeterLock:
    return parse_lock("\n".join(lines), SOURCE)


def test_the_lock_of_the_repository_is_whole_and_written_as_the_tool_writes_it() -> None:
    lock = read_lock()
    assert lock.version == "5.6.3"
    assert len(lock.jars) == 161
    assert render_lock(lock.jars) == LOCK_PATH.read_text(encoding="utf-8")


def test_a_line_gives_all_maven_coordinates() -> None:
    lock = parse(LAUNCHER, CONFIG, CORE, f"org/xmlresolver/xmlresolver/5.2.1/xmlresolver-5.2.1-data.jar {SHA}")
    jar = next(jar for jar in lock.jars if jar.artifact == "xmlresolver")
    assert (jar.group, jar.version, jar.classifier) == ("org.xmlresolver", "5.2.1", "data")
    assert jar.path == "org/xmlresolver/xmlresolver/5.2.1/xmlresolver-5.2.1-data.jar"


def test_order_comments_and_blank_lines_do_not_change_the_digest() -> None:
    assert parse(LAUNCHER, CONFIG, CORE).digest == parse("# a comment", CORE, "", CONFIG, LAUNCHER).digest


def test_another_hash_changes_the_digest() -> None:
    assert parse(LAUNCHER, CONFIG, CORE).digest != parse(LAUNCHER, CONFIG, CORE.replace("a" * 64, "b" * 64)).digest


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("org/x/x/1/x-1.jar", "1 fields"),
        (f"org/x/x/1/x-1.jar {SHA} more", "3 fields"),
        (f"org/x/x/1/x-1.jar {SHA[:-1]}", "not a sha256"),
        (f"org/x/x/1/x-1.jar {SHA.upper()}", "not a sha256"),
        (f"x-1.jar {SHA}", "not of the form"),
        (f"/org/x/x/1/x-1.jar {SHA}", "not of the form"),
        (f"org/../../x/1/x-1.jar {SHA}", "not of the form"),
        (f"org/x/x/1/y-1.jar {SHA}", "not of the form"),
        (f"org/x/x/1/x-12.jar {SHA}", "not of the form"),
        (f"org/x/x/1/x-1.war {SHA}", "not of the form"),
        (CORE, "stands in line 3 already"),
    ],
)
def test_a_wrong_line_is_named_with_its_number(line: str, problem: str) -> None:
    with pytest.raises(ToolError, match=rf"some\.lock, line 4: .*{problem}.*make jmeter-lock"):
        parse(LAUNCHER, CONFIG, CORE, line)


@pytest.mark.parametrize("missing", [LAUNCHER, CONFIG, CORE])
def test_a_lock_without_a_vital_jar_is_refused(missing: str) -> None:
    with pytest.raises(ToolError, match=r"names no ApacheJMeter\w* jar"):
        parse(*[line for line in (LAUNCHER, CONFIG, CORE) if line != missing])


def test_a_lock_of_two_versions_is_refused() -> None:
    with pytest.raises(ToolError, match=r"5\.6\.2.*5\.6\.3"):
        parse(LAUNCHER, CONFIG, CORE.replace("5.6.3", "5.6.2"))


def test_a_missing_lock_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"gone\.lock is missing: restore it with git"):
        read_lock(tmp_path / "gone.lock")
