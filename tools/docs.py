"""Writes docs/DAGs.md from the DAGs themselves: `python -m tools.docs`, or `make docs`.

With `--check` it writes nothing and ends with status 1 where the page is out of date.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.check import ROOT, airflow_settings
from tools.errors import ToolError

if TYPE_CHECKING:
    from airflow.sdk import DAG

PAGE = ROOT / "docs" / "DAGs.md"
CURE = "`make docs` writes it anew."
_HEAD = f"""# The DAGs

Generated from the DAG files: do not edit this page, {CURE}
"""


def load_dags() -> list[DAG]:
    """Read dags/ as Airflow does; return the DAGs by id. Raises ToolError if a file cannot be read."""
    # Airflow reads its settings once, at its first import, and tells of every step.
    os.environ.update({**airflow_settings(), "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"})
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(str(ROOT / "dags"))
    for path, error in bag.import_errors.items():
        raise ToolError(f"{path} cannot be read as a DAG file: {error.strip().splitlines()[-1]}")
    return [bag.dags[dag_id] for dag_id in sorted(bag.dags)]


def render(dags: Iterable[DAG]) -> str:
    """Return the whole page; the same DAGs give the same bytes."""
    return "\n".join([_HEAD, *(_section(dag) for dag in dags)])


def _section(dag: DAG) -> str:
    facts = [
        ("schedule", f"`{getattr(dag.timetable, 'expression', '')}` (UTC)" if dag.schedule else "by hand"),
        ("owner", dag.owner),
        ("tags", ", ".join(sorted(dag.tags))),
        ("runs at once", str(dag.max_active_runs)),
        ("tasks", ", ".join(f"`{task.task_id}`" for task in dag.topological_sort())),
    ]
    parts = [f"## `{dag.dag_id}`\n", *(f"- {name}: {value}" for name, value in facts), ""]
    if dag.doc_md:
        parts.append(_below_section(dag.doc_md))
    if dag.params:
        rows = [_param_row(name, dag.params.get_param(name)) for name in dag.params]
        parts += ["### Form\n", "| Param | title | values | meaning |", "| --- | --- | --- | --- |", *rows, ""]
    return "\n".join(parts)


def _below_section(doc: str) -> str:
    """Return a DAG's page without its title, which the section replaces."""
    return re.sub(r"\A# .*\n+", "", doc.strip() + "\n")


def _param_row(name: str, param: Any) -> str:
    schema = param.schema
    cells = [f"`{name}`", schema.get("title", ""), _values(schema), param.description or ""]
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _values(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join("empty" if value is None else f"{value}" for value in schema["enum"])
    types = schema.get("type", "any")
    words = ["empty" if one == "null" else one for one in ([types] if isinstance(types, str) else types)]
    limits = [
        f"{sign} {schema[key]:g}"
        for key, sign in (("exclusiveMinimum", ">"), ("minimum", ">="), ("exclusiveMaximum", "<"), ("maximum", "<="))
        if key in schema
    ]
    return ", ".join([" or ".join(words), *limits])


def main(arguments: Sequence[str] | None = None, page: Path = PAGE) -> int:
    """Write or check the page; return 0, 1 if it is out of date, or 2 if a DAG file cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m tools.docs", description="Write docs/DAGs.md from the DAGs.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where the page is out of date")
    check = parser.parse_args(arguments).check
    try:
        text = render(load_dags())
    except ToolError as error:
        print(error, file=sys.stderr)
        return 2
    if page.exists() and page.read_text(encoding="utf-8") == text:
        print(f"{page} is up to date.")
        return 0
    if check:
        print(f"{page} is out of date: {CURE}", file=sys.stderr)
        return 1
    page.write_text(text, encoding="utf-8")
    print(f"{page} was written.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
