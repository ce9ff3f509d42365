"""The tables of the history: one row per run, one per probe. Times are UTC; rates are in transactions per second."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, Double, ForeignKeyConstraint, Index, String, Text, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class UtcTime(TypeDecorator[datetime]):
    """An aware time in UTC on every database; SQLite keeps no zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    type_annotation_map = {datetime: UtcTime(), float: Double()}  # noqa: RUF012 - SQLAlchemy's own form


class RunRow(Base):
    """One run. `accepted`: later runs are compared with it; a person's decision about that has name and reason."""

    __tablename__ = "runs"
    __table_args__ = (Index("runs_by_end", "service", "ended_at"),)

    service: Mapped[str] = mapped_column(String(40), primary_key=True)
    run_id: Mapped[str] = mapped_column(String(250), primary_key=True)
    mode: Mapped[str] = mapped_column(String(20))
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime]
    tps: Mapped[float | None]
    low_tps: Mapped[float | None]
    high_tps: Mapped[float | None]
    verified: Mapped[bool]
    bound: Mapped[str] = mapped_column(String(20))
    validity: Mapped[str] = mapped_column(String(20))
    verdict: Mapped[str | None] = mapped_column(String(20))
    change_ratio: Mapped[float | None]
    restored: Mapped[bool]
    cost: Mapped[float | None]
    currency: Mapped[str | None] = mapped_column(String(3))
    accepted: Mapped[bool]
    decided_by: Mapped[str | None] = mapped_column(String(200))
    decided_because: Mapped[str | None] = mapped_column(Text)
    decided_at: Mapped[datetime | None]
    conditions: Mapped[dict[str, str]] = mapped_column(JSON)
    result: Mapped[dict[str, Any]] = mapped_column(JSON)


class ProbeRow(Base):
    """One probe of a run."""

    __tablename__ = "probes"
    __table_args__ = (ForeignKeyConstraint(["service", "run_id"], ["runs.service", "runs.run_id"], ondelete="CASCADE"),)

    service: Mapped[str] = mapped_column(String(40), primary_key=True)
    run_id: Mapped[str] = mapped_column(String(250), primary_key=True)
    stage: Mapped[str] = mapped_column(String(60), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(20))
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime]
    measured_s: Mapped[int]
    commanded_tps: Mapped[float]
    offered_tps: Mapped[float]
    achieved_tps: Mapped[float]
    p50_ms: Mapped[float | None]
    p90_ms: Mapped[float | None]
    p95_ms: Mapped[float | None]
    p99_ms: Mapped[float | None]
    max_ms: Mapped[float | None]
    error_ratio: Mapped[float]
    lag_p99_ms: Mapped[float | None]
    validity: Mapped[str] = mapped_column(String(20))
    sustainable: Mapped[bool | None]
    stop: Mapped[str] = mapped_column(Text)
