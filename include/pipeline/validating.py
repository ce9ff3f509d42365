"""Validates the collected data of a run with Great Expectations, and writes its Data Docs."""

from __future__ import annotations

import logging
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any

from include.capacity.errors import StoreError
from include.capacity.models import ValidityLimits
from include.capacity.report.facts import ExpectationOutcome
from include.expectations.columns import IDENTITIES, RunTables, tables
from include.expectations.results import RESULT_RULES, result_rows
from include.expectations.rule import Rule, Table
from include.expectations.rules import rules
from include.pipeline.reconciling import Reconciliation

log = logging.getLogger(__name__)

_SEVERITIES: Mapping[str, Any] = {"fail": "critical", "warn": "warning"}
_SHOWN = 3  # failing values told in an outcome


def validate_run(
    run: RunTables,
    limits: ValidityLimits,
    docs_folder: Path | None,
    *,
    results: Reconciliation | None = None,
) -> list[ExpectationOutcome]:
    """Checks the tables of a run against every rule. Data of any form gets an outcome; none stops the validation.

    Args:
        limits: of the profile; the rules speak of them.
        docs_folder: where the Data Docs go (`index.html`), made if missing; None writes none. The same run overwrites
            its own pages.
        results: how what JMeter recorded compares with what was reported and judged; None: was not compared.

    Raises StoreError when the Data Docs cannot be written.
    """
    columns, all_rules = tables(run), rules(limits)
    if results is not None:
        columns["results"] = result_rows(results.shards, results.probes)
        all_rules += RESULT_RULES
    by_table: dict[Table, list[Rule]] = {name: [] for name in columns}
    for rule in all_rules:
        by_table[rule.table].append(rule)
    try:
        if docs_folder is not None:
            docs_folder.mkdir(parents=True, exist_ok=True)
        return _run(columns, by_table, docs_folder, _time_of(run.seconds))
    except OSError as error:
        raise StoreError(f"The Data Docs cannot be written to {docs_folder}: {error.strerror or error}.") from error


def _run(
    columns: Mapping[Table, list[dict[str, Any]]],
    by_table: Mapping[Table, list[Rule]],
    docs_folder: Path | None,
    run_time: datetime,
) -> list[ExpectationOutcome]:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read while the package is imported; nothing leaves this machine
    import great_expectations as gx  # takes seconds
    import pandas as pd
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.types.base import ProgressBarsConfig
    from great_expectations.expectations.registry import get_expectation_impl

    context = gx.get_context(mode="ephemeral")
    context.enable_analytics(False)
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    for name, site in list(context.list_data_docs_sites().items()):  # its own site, in a folder that it leaves behind
        context.delete_data_docs_site(name)
        shutil.rmtree(site["store_backend"]["base_directory"], ignore_errors=True)
    source = context.data_sources.add_pandas("run")

    identifier = RunIdentifier(run_name="run", run_time=run_time)
    outcomes: list[ExpectationOutcome] = []
    for table, table_rules in by_table.items():
        names = list(columns[table][0]) if columns[table] else [*_columns_of(table_rules)]
        frame = pd.DataFrame(columns[table], columns=names)
        suite = context.suites.add(gx.ExpectationSuite(name=table))
        for rule in table_rules:
            suite.add_expectation(
                get_expectation_impl(rule.kind)(
                    **rule.arguments,
                    severity=_SEVERITIES[rule.severity],
                    description=rule.meaning,
                    meta={"name": rule.name},
                )
            )
        data = source.add_dataframe_asset(table).add_batch_definition_whole_dataframe("all")
        definition = context.validation_definitions.add(gx.ValidationDefinition(name=table, data=data, suite=suite))
        located = {"result_format": "SUMMARY", "unexpected_index_column_names": [IDENTITIES[table]]}
        checkpoint = gx.Checkpoint(name=table, validation_definitions=[definition], result_format=located)
        result = context.checkpoints.add(checkpoint).run({"dataframe": frame}, run_id=identifier)
        for validation in result.run_results.values():
            found = {_name_of(each): each for each in validation.results}
            outcomes += [_outcome(rule, found[rule.name], IDENTITIES[table]) for rule in table_rules]
    if docs_folder is not None:
        context.add_data_docs_site("run", _site(docs_folder))
        context.build_data_docs(site_names=["run"])
    for outcome in outcomes:
        if not outcome.success:
            log.warning("%s: %s Seen: %s.", outcome.name, outcome.meaning, outcome.observed)
    return outcomes


def _site(folder: Path) -> Any:
    return {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder.resolve())},
    }


def _columns_of(table_rules: Sequence[Rule]) -> dict[str, None]:
    """The columns that an empty table must still have."""
    return dict.fromkeys(rule.arguments["column"] for rule in table_rules if "column" in rule.arguments)


def _name_of(found: Any) -> str:
    return str(found.expectation_config.meta["name"])


def _outcome(rule: Rule, found: Any, identity: str) -> ExpectationOutcome:
    return ExpectationOutcome(rule.name, rule.meaning, rule.severity, bool(found.success), _observed(found, identity))


def _observed(found: Any, identity: str) -> str:
    """What was seen, with the rows in which it was, by the column that identifies them."""
    raised = found.exception_info or {}
    if raised.get("raised_exception") or any(
        isinstance(each, Mapping) and each.get("raised_exception") for each in raised.values()
    ):
        return "could not be checked; the log tells why"
    result = found.result
    if "observed_value" in result:
        return f"{result['observed_value']} rows"
    checked = result.get("element_count", 0) - result.get("missing_count", 0)
    wrong = result.get("unexpected_count", 0)
    if not wrong:
        return f"all {checked} values hold"
    values = [_short(value) for value in result.get("partial_unexpected_list", [])[:_SHOWN]]
    places = [_short(row[identity]) for row in result.get("partial_unexpected_index_list", []) if identity in row]
    shown = (
        value if place in ("", value) else f"{value} ({place})"
        for value, place in zip_longest(values, places[: len(values)], fillvalue="")
    )
    return f"{wrong} of {checked} values do not hold, such as {', '.join(shown)}"


def _short(value: object) -> str:
    if isinstance(value, float) and math.isfinite(value):  # numpy's are floats, too
        return f"{value:.6g}" if abs(value) < 1e6 else f"{value:.0f}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _time_of(seconds_table: Sequence[Mapping[str, Any]]) -> datetime:
    """The time of the data, so that the same run always has the same pages."""
    times = [row["second"] for row in seconds_table if isinstance(row.get("second"), int)]
    return datetime.fromtimestamp(max(times, default=0), UTC)
