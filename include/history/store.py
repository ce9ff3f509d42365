"""The history of runs in SQL: SQLite in a file by default, PostgreSQL for anything shared.

Rows are keyed by service and run; recording a run twice changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, delete, event, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError, ProgrammingError, SQLAlchemyError

from include.capacity.baseline.comparison import RunLevel
from include.capacity.errors import HeadroomError, StoreError
from include.capacity.report.result import acceptable, conditions_of, iso_time, level_of
from include.capacity.report.schema import check_result
from include.history.tables import ProbeRow, RunRow

_BUSY_TIMEOUT_S = 30.0
_MIGRATION_LOCK = 0x48656164  # any number; the same in every process that migrates
_MIGRATIONS = Path(__file__).parent / "migrations"


class UnknownRun(HeadroomError):
    """The history holds no such run."""


@dataclass(frozen=True, slots=True)
class HistoryRun:
    """A run as the history knows it; `result` is its result.json. Times are ISO 8601 in UTC."""

    service: str
    run_id: str
    mode: str
    started_at: str
    ended_at: str
    tps: float | None
    low: float | None
    high: float | None
    verified: bool
    bound: str
    validity: str
    verdict: str | None
    change_ratio: float | None
    restored: bool
    cost: float | None
    currency: str | None
    accepted: bool
    decided_by: str | None
    decided_because: str | None
    decided_at: str | None
    result: Mapping[str, Any]

    @property
    def level(self) -> RunLevel:
        """What a comparison needs."""
        return level_of(self.result, accepted=self.accepted)

    def summary(self) -> dict[str, Any]:
        """The row without its result, as the history chart reads it."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "result"}


@dataclass(frozen=True, slots=True)
class RunCost:
    """Cost of a run in `currency`; both None when it is not known."""

    run_id: str
    cost: float | None
    currency: str | None


class HistoryStore:
    """The runs of all services.

    Args:
        url: an SQLAlchemy URL such as `sqlite:////var/lib/headroom/history.db` or `postgresql+psycopg://…`.

    Call `migrate` once before anything else. Raises StoreError for anything that the database refuses.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = make_url(url)
            options = {"connect_args": {"timeout": _BUSY_TIMEOUT_S}} if parsed.get_backend_name() == "sqlite" else {}
            self._engine = create_engine(parsed, **options)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise StoreError(
                f"The history {url!r} cannot be opened: {error}. Write a URL such as sqlite:////folder/history.db."
            ) from error
        self._name = parsed.render_as_string(hide_password=True)
        self._file = Path(parsed.database) if _is_sqlite(self._engine) and parsed.database else None
        if _is_sqlite(self._engine):
            event.listen(self._engine, "connect", _configure_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)

    def close(self) -> None:
        self._engine.dispose()

    def migrate(self) -> None:
        """Brings the tables to the newest form. Safe when several processes call it at once."""
        if self._file is not None and str(self._file) != ":memory:":
            try:
                self._file.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(f"The folder of the history {self._name} cannot be made: {error}.") from error
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        if _is_sqlite(self._engine):
            self._use_write_ahead_log()
        with self._writing() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def record(self, result: Mapping[str, Any]) -> None:
        """Stores a run with its probes, in place of what was known of it. A person's decision about it is kept.

        Raises InvalidData when `result` does not follow the schema of result.json.
        """
        check_result(dict(result))
        key = {"service": result["service"], "run_id": result["run_id"]}
        values = _run_values(result)
        with self._writing() as connection:
            insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
            fresh = insert(RunRow).values(**key, **values, accepted=acceptable(result))
            connection.execute(fresh.on_conflict_do_update(index_elements=list(key), set_=values))
            connection.execute(
                update(RunRow)
                .where(RunRow.service == key["service"], RunRow.run_id == key["run_id"], RunRow.decided_by.is_(None))
                .values(accepted=acceptable(result))
            )
            connection.execute(
                delete(ProbeRow).where(ProbeRow.service == key["service"], ProbeRow.run_id == key["run_id"])
            )
            if rows := [{**key, **_probe_values(probe)} for probe in result["probes"]]:
                connection.execute(insert(ProbeRow), rows)

    def decide(self, service: str, run_id: str, *, accepted: bool, by: str, because: str, at: datetime) -> None:
        """A person's word on whether later runs are compared with this one. Raises UnknownRun."""
        with self._writing() as connection:
            done = connection.execute(
                update(RunRow)
                .where(RunRow.service == service, RunRow.run_id == run_id)
                .values(accepted=accepted, decided_by=by, decided_because=because, decided_at=at)
            )
            if done.rowcount == 0:
                raise UnknownRun(f"The history {self._name} holds no run {run_id!r} of the service {service!r}.")

    def runs(self, service: str, limit: int = 52) -> list[HistoryRun]:
        """The newest runs of a service, newest first."""
        query = select(RunRow.__table__).where(RunRow.service == service)
        query = query.order_by(RunRow.ended_at.desc(), RunRow.run_id.desc()).limit(limit)
        with self._reading() as connection:
            return [_history_run(row._asdict()) for row in connection.execute(query)]

    def costs(self, service: str, since: datetime) -> list[RunCost]:
        """What the runs of a service that ended at or after a time cost, oldest first."""
        query = select(RunRow.run_id, RunRow.cost, RunRow.currency)
        query = query.where(RunRow.service == service, RunRow.ended_at >= since).order_by(RunRow.ended_at)
        with self._reading() as connection:
            return [RunCost(*row) for row in connection.execute(query)]

    def last_accepted(self, service: str) -> HistoryRun | None:
        """The newest accepted run of a service."""
        query = select(RunRow.__table__).where(RunRow.service == service, RunRow.accepted.is_(True))
        query = query.order_by(RunRow.ended_at.desc(), RunRow.run_id.desc()).limit(1)
        with self._reading() as connection:
            row = connection.execute(query).first()
            return None if row is None else _history_run(row._asdict())

    def levels(self, service: str, limit: int = 52) -> Sequence[RunLevel]:
        """The newest runs of a service as `compare` takes them."""
        return [run.level for run in self.runs(service, limit)]

    def _use_write_ahead_log(self) -> None:
        """Readers and the one writer do not wait for each other. SQLite does not wait for its lock here, so we do."""
        deadline = time.monotonic() + _BUSY_TIMEOUT_S
        while True:
            try:
                with self._translated(), self._engine.connect() as connection:
                    connection.connection.cursor().execute("PRAGMA journal_mode=WAL")
                return
            except StoreError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._translated(), self._engine.connect() as connection:
            connection = connection.execution_options(headroom_writes=True)
            with connection.begin():
                yield connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._translated(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (OperationalError, ProgrammingError) as error:
            missing = "no such table" in str(error.orig) or "does not exist" in str(error.orig)
            cure = " Call HistoryStore.migrate first." if missing else " Is the place writable, and the database up?"
            raise StoreError(f"The history {self._name} refused: {error.orig}.{cure}") from error
        except SQLAlchemyError as error:
            raise StoreError(f"The history {self._name} refused: {error}.") from error
        except _driver_errors(self._engine) as error:
            raise StoreError(f"The history {self._name} refused: {error}.") from error


def _is_sqlite(engine: Engine) -> bool:
    return engine.dialect.name == "sqlite"


def _driver_errors(engine: Engine) -> type[Exception]:
    """What the driver raises where SQLAlchemy does not stand between."""
    error: type[Exception] = engine.dialect.loaded_dbapi.Error
    return error


def _configure_sqlite(connection: Any, _record: object) -> None:
    # The driver's own handling of transactions leaves DDL outside of them; SQLAlchemy begins them instead.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={int(_BUSY_TIMEOUT_S * 1000)}")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later would fail instead of waiting for another writer.
    writes = connection.get_execution_options().get("headroom_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _run_values(result: Mapping[str, Any]) -> dict[str, Any]:
    answer, comparison, cost = result["answer"], result["comparison"] or {}, result["cost"] or {}
    return {
        "mode": result["mode"],
        "started_at": datetime.fromisoformat(result["started_at"]),
        "ended_at": datetime.fromisoformat(result["ended_at"]),
        "tps": answer["tps"],
        "low_tps": answer["interval"]["low"],
        "high_tps": answer["interval"]["high"],
        "verified": answer["verified"],
        "bound": answer["bound"],
        "validity": result["validity"]["status"],
        "verdict": comparison.get("verdict"),
        "change_ratio": comparison.get("change_ratio"),
        "restored": result["restored"]["equal"],
        "cost": cost.get("total"),
        "currency": cost.get("currency"),
        "conditions": conditions_of(result),
        "result": dict(result),
    }


def _probe_values(probe: Mapping[str, Any]) -> dict[str, Any]:
    same = (
        "stage",
        "number",
        "kind",
        "measured_s",
        "commanded_tps",
        "offered_tps",
        "achieved_tps",
        "error_ratio",
        "lag_p99_ms",
        "sustainable",
        "stop",
    )
    return {
        **{name: probe[name] for name in same},
        **{f"{name}_ms": probe["latency_ms"].get(name) for name in ("p50", "p90", "p95", "p99", "max")},
        "started_at": datetime.fromisoformat(probe["started_at"]),
        "ended_at": datetime.fromisoformat(probe["ended_at"]),
        "validity": probe["validity"]["status"],
    }


def _history_run(row: Mapping[str, Any]) -> HistoryRun:
    decided_at: datetime | None = row["decided_at"]
    same = set(HistoryRun.__slots__) - {"started_at", "ended_at", "low", "high", "decided_at"}
    return HistoryRun(
        **{name: row[name] for name in same},
        started_at=iso_time(row["started_at"].timestamp()),
        ended_at=iso_time(row["ended_at"].timestamp()),
        low=row["low_tps"],
        high=row["high_tps"],
        decided_at=None if decided_at is None else iso_time(decided_at.timestamp()),
    )
