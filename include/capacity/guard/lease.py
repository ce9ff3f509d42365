"""Who holds an environment, as a lease: it is renewed while its run lives, and lapses when nobody does.

Pure: times are seconds since 1970 and arguments. A lease that lapsed is not free by that alone: what its holder changed
may still be in force. The caller knows whether it is settled, that is restored or never changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

from include.capacity.errors import InvalidData

SCHEMA = 1
LEASE_S = 120.0
"""Longer than the pauses between two tasks of a run; shorter than anybody wants to wait for a run that is gone."""
CLOCK_SKEW_S = 30.0
"""By so much may the clocks of two machines differ before one could think the other's lease lapsed too early."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The lock of one environment.

    Attributes:
        epoch: grows with every change of the holder.
        run: names the holder (service, dag_id, run_id, installation); None when the environment is free.
        taken_at, renewed_at, expires_at: seconds since 1970, by the holder's clock.
        beat: counts every writing, so that no two have the same content.
    """

    environment: str
    epoch: int
    run: Mapping[str, str] | None
    taken_at: float
    renewed_at: float
    expires_at: float
    beat: int = 0

    def held_by(self, run: Mapping[str, str]) -> bool:
        return self.run is not None and dict(self.run) == dict(run)

    def lapsed(self, now: float) -> bool:
        return now > self.expires_at + CLOCK_SKEW_S

    def renewed(self, now: float, length_s: float = LEASE_S) -> Lease:
        return replace(self, renewed_at=now, expires_at=now + length_s, beat=self.beat + 1)

    def freed(self, now: float) -> Lease:
        return replace(self, run=None, renewed_at=now, expires_at=now, beat=self.beat + 1)

    def dumps(self) -> bytes:
        raw = {"schema": SCHEMA, **asdict(self), "run": None if self.run is None else dict(self.run)}
        return (json.dumps(raw, indent=1, sort_keys=True) + "\n").encode()

    @classmethod
    def loads(cls, data: bytes) -> Lease:
        """Raises InvalidData for anything but a complete lease."""
        try:
            raw = json.loads(data)
            if raw["schema"] != SCHEMA:
                raise ValueError(f"schema {raw['schema']!r} is unknown")
            run = raw["run"]
            return cls(
                environment=str(raw["environment"]),
                epoch=int(raw["epoch"]),
                run=None if run is None else {str(key): str(value) for key, value in run.items()},
                taken_at=float(raw["taken_at"]),
                renewed_at=float(raw["renewed_at"]),
                expires_at=float(raw["expires_at"]),
                beat=int(raw["beat"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidData(f"it is no lease: {error!r}") from None


def claimed(
    lease: Lease | None, environment: str, run: Mapping[str, str], now: float, length_s: float = LEASE_S
) -> Lease:
    """The lease once this run has taken it; a run that holds it already keeps its epoch."""
    if lease is not None and lease.held_by(run):
        return lease.renewed(now, length_s)
    epoch, beat = (1, 0) if lease is None else (lease.epoch + 1, lease.beat + 1)
    return Lease(environment, epoch, dict(run), now, now, now + length_s, beat)


def obstacle(lease: Lease | None, run: Mapping[str, str], now: float, *, settled: bool) -> str | None:
    """Why this run must not take the environment, as sentences with the cure; None when it may.

    Args:
        settled: whether the holder's changes are restored, or it never made any.
    """
    if lease is None or lease.run is None or lease.held_by(run):
        return None
    if lease.lapsed(now) and settled:
        return None
    holder = lease.run
    service, run_id = holder.get("service", "<service>"), holder.get("run_id", "<run id>")
    where = holder.get("installation", "")
    elsewhere = f" in the Airflow installation {where!r}" if where and where != run.get("installation", where) else ""
    held = (
        f"The environment {lease.environment} is held by run {run_id!r} of {holder.get('dag_id', 'unknown')}{elsewhere}"
        f" since {_time(lease.taken_at)}"
    )
    by_hand = f"`python -m include.pipeline.restore {service} {run_id!r}`"
    if not lease.lapsed(now):
        return (
            f"{held}, and its lease is renewed until {_time(lease.expires_at)}. Wait for its end, or let this run wait "
            "by guard.wait_for_environment of the service profile. Should that run be lost, its lease lapses by then, "
            f"and what it has not restored is restored by {by_hand}."
        )
    return (
        f"{held}. Its lease lapsed at {_time(lease.expires_at)}: no task of it is alive, but what it changed is not "
        f"restored. See what that is by {by_hand[:-1]} --dry-run`, and restore it by the same without --dry-run."
    )


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
