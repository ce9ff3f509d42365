"""docs/expectations.md says what is expected."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from include.capacity.models import ValidityLimits
from include.expectations.page import page
from include.expectations.rules import rules

PAGE = Path(__file__).parents[3] / "docs" / "expectations.md"


def test_the_page_is_what_the_rules_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m include.expectations.page > docs/expectations.md"


def test_every_expectation_has_a_name_of_its_own_and_a_meaning_in_words() -> None:
    found = rules(ValidityLimits(40.0, 0.9, 0.1, 1, 0.001, 0.02))
    assert max(Counter(rule.name for rule in found).values()) == 1
    for rule in found:
        assert rule.meaning.endswith((".", "on.")), rule.name
        assert len(rule.meaning.split()) > 4, rule.name
        assert rule.name in page()
