"""One expectation as data, and short ways to write the common kinds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Table = Literal["seconds", "probes", "lines", "shards", "health", "series", "results"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One expectation.

    Attributes:
        kind: Great Expectations' name of it; `arguments` are its arguments.
        meaning: what it says and why it matters, for a reader who does not know the code.
    """

    name: str
    table: Table
    meaning: str
    severity: Literal["warn", "fail"]
    kind: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


BETWEEN = "expect_column_values_to_be_between"
IN_SET = "expect_column_values_to_be_in_set"
ROWS = "expect_table_row_count_to_be_between"
UNIQUE = "expect_column_values_to_be_unique"


def true(name: str, table: Table, meaning: str, severity: Literal["warn", "fail"] = "fail") -> Rule:
    """A rule that `columns` decided by row: its column bears the rule's name."""
    return Rule(name, table, meaning, severity, IN_SET, {"column": name, "value_set": [True]})


def most(name: str, table: Table, meaning: str, severity: Literal["warn", "fail"], column: str, most: float) -> Rule:
    return Rule(name, table, meaning, severity, BETWEEN, {"column": column, "max_value": most})
