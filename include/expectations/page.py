"""docs/expectations.md: every expectation with its meaning, as `python -m include.expectations.page` prints it."""

from __future__ import annotations

from include.capacity.models import ValidityLimits
from include.capacity.profile_models import ValidityRules
from include.expectations.results import RESULT_RULES
from include.expectations.rule import Table
from include.expectations.rules import rules

_TABLES: dict[Table, tuple[str, str]] = {
    "seconds": ("Seconds", "One row per second of load (`seconds.json`)."),
    "probes": ("Probes", "One row per probe."),
    "lines": ("Result lines", "What could not be read of JMeter's results, of each probe and of all together."),
    "shards": ("Shards", "One row per shard of the fleet."),
    "health": (
        "Load generators",
        "One row per shard and probe: CPU, memory, files and clocks. Invalid probes are left out.",
    ),
    "series": ("CloudWatch", "One row per series that is collected."),
    "results": (
        "Results",
        "What JMeter recorded against what was reported and judged live: one row per start of a shard, and per probe.",
    ),
}


_INTRODUCTION = """\
# Expectations about the collected data

After the load Great Expectations checks what was collected, before anybody believes it. `fail` makes the data unfit
for an answer: the task `validate` fails, and so does the run. `warn` is told in the document. The limits shown are the
defaults of the [service profile](service-profile.md). Every outcome is in `result.json` (`data_quality`) and in the
run's Data Docs.

<!-- printed by `python -m include.expectations.page`; a test holds the two equal -->
"""


def page() -> str:
    """With the limits that a profile has when it says nothing of them."""
    limits = ValidityLimits(**ValidityRules.model_validate({"max_lag_p99": "40 ms"}).model_dump())
    found = rules(limits) + RESULT_RULES
    parts = [_INTRODUCTION]
    for table, (title, what) in _TABLES.items():
        parts.append(f"\n## {title}\n\n{what}\n\n| name | severity | meaning |\n|---|---|---|\n")
        parts += [f"| `{rule.name}` | {rule.severity} | {rule.meaning} |\n" for rule in found if rule.table == table]
    return "".join(parts)


if __name__ == "__main__":
    print(page(), end="")
