"""Airflow's SQLite database: whether it has to be migrated, and its journal mode."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from importlib import metadata
from pathlib import Path

from tools.errors import ToolError
from tools.stack.layout import StackOptions


def is_migrated(options: StackOptions) -> bool:
    """Whether the database is as the last migration by this very version of Airflow left it."""
    try:
        noted = json.loads(_note(options).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    revision = _revision(options.database)
    return revision is not None and noted == {"airflow": _version(), "revision": revision}


def note_migration(options: StackOptions) -> None:
    """Remember what a migration led to."""
    values = {"airflow": _version(), "revision": _revision(options.database)}
    _note(options).write_text(json.dumps(values) + "\n", encoding="utf-8")


def use_write_ahead_log(database: Path) -> None:
    """Readers and the one writer do not wait for each other in this mode; SQLite keeps it in the file.

    Raises ToolError if the file is no database.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    try:
        with contextlib.closing(sqlite3.connect(database, timeout=30)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.Error as error:
        raise ToolError(
            f"Airflow's database {database} cannot be opened ({error}): make down, remove {database.parent}, make up."
        ) from None


def _note(options: StackOptions) -> Path:
    return options.airflow_home / "migrated.json"


def _version() -> str:
    return metadata.version("apache-airflow-core")


def _revision(database: Path) -> str | None:
    if not database.is_file():
        return None
    try:
        with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error:
        return None
    return str(row[0]) if row else None
