"""The rules of composite alarms."""

from __future__ import annotations

import pytest

from sandbox.aws.alarm_rules import RuleError, parse

STATES = {"hot": "ALARM", "slow": "OK", "new one": "INSUFFICIENT_DATA", "a:b": "ALARM"}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("ALARM(hot)", True),
        ('ALARM("slow")', False),
        ('INSUFFICIENT_DATA("new one")', True),
        ("NOT OK(slow)", False),
        ("OK(slow) AND ALARM(hot)", True),
        ("ALARM(slow) OR ALARM(hot) AND OK(hot)", False),
        ("(ALARM(slow) OR ALARM(hot)) AND NOT OK(hot)", True),
        ("NOT (ALARM(slow) OR FALSE)", True),
        ("TRUE", True),
        ("ALARM(arn:aws:cloudwatch:us-east-1:123456789012:alarm:hot)", True),
        ('  ALARM( "hot" )  ', True),
    ],
)
def test_a_rule_holds_or_not(text: str, holds: bool) -> None:
    assert parse(text).holds(STATES.__getitem__) is holds


def test_a_rule_tells_what_it_looks_at() -> None:
    assert parse('ALARM(hot) OR (OK("new one") AND NOT ALARM(hot))').names == ("hot", "new one")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "ends too early"),
        ("ALARM(hot", "ends too early"),
        ("ALARM hot", "'(' is missing before 'hot'"),
        ("LOUD(hot)", "'LOUD' is no function"),
        ("ALARM(hot) ALARM(slow)", "nothing may follow before 'ALARM'"),
        ("ALARM(hot) AND", "ends too early"),
        ('ALARM("hot)', "cannot be read from"),
    ],
)
def test_a_broken_rule_is_told(text: str, told: str) -> None:
    with pytest.raises(RuleError, match=told.replace("(", r"\(")):
        parse(text)
