"""What may end a run from outside: a stop order, a Variable, an alarm, a blackout, a lost lease of the environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Protocol

from headroom_airflow.hooks.cloudwatch_alarms import CloudWatchAlarmsHook
from include.capacity.errors import InvalidData
from include.capacity.guard.blackouts import windows
from include.capacity.guard.stop import StopOrder, stop_for
from include.capacity.profile import ServiceProfile
from include.loadgen.addresses import RESOLVE_EVERY_S
from include.pipeline.guards_target import addresses_stop
from include.pipeline.guards_watch import Look
from include.pipeline.run_plan import RunPlan
from include.store.artefacts import ArtefactStore

STOP_PATH = "stop.json"
STOP_VARIABLE = "headroom_stop"
_AGAIN = "The environment is restored by the run itself; trigger a new run once the cause is gone."


class MayBeLost(Protocol):
    @property
    def lost(self) -> str | None:
        """Why the run does not hold its environment any more."""


def order_stop(folder: ArtefactStore, reason: str, by: str, now: datetime) -> StopOrder:
    """Orders a run to stop; the newest order stands."""
    order = StopOrder(reason, by, now.astimezone(UTC).isoformat(timespec="seconds"))
    folder.write(STOP_PATH, order.dumps())
    return order


def ordered_stop(folder: ArtefactStore) -> str | None:
    """Why the run was ordered to stop; None when it was not. An object of any content is an order: who is in a hurry
    may write an empty one by hand."""
    data = folder.read_or_none(STOP_PATH)
    if data is None:
        return None
    try:
        order = str(StopOrder.loads(data))
    except InvalidData:
        order = "It was stopped by an object without a reason."
    return f"{order} The order is {folder.url}/{STOP_PATH}. {_AGAIN}"


def variable_stop(read: Callable[[], str | None], service: str) -> str | None:
    """Why the Variable stops the runs of a service; None while it does not."""
    reason = stop_for(read(), service)
    if reason is None:
        return None
    return (
        f"The Airflow Variable {STOP_VARIABLE} stops the runs of {service}: {reason.rstrip('.')}. Delete it, or empty "
        "it, to allow runs again."
    )


def alarm_stop(hook: CloudWatchAlarmsHook, names: Sequence[str]) -> str | None:
    """Which of guard.stop_alarms is on and why. Raises NotReady when CloudWatch does not say."""
    alarms = hook.in_alarm(names)
    if not alarms:
        return None
    told = "; ".join(f"{name} ({why.rstrip('.') or 'without a reason'})" for name, why in sorted(alarms.items()))
    return f"An alarm of guard.stop_alarms is in ALARM: {told}. See to its cause; the next run starts when it is OK."


def blackout_stop(profile: ServiceProfile, now: datetime) -> str | None:
    """Which blackout has begun; None while there is none."""
    met = windows(profile.black_times(), now, now + timedelta(seconds=1))
    if not met:
        return None
    return (
        f"The blackout {met[0]} has begun, and the run was not over: it took longer than its own limits say. {_AGAIN}"
    )


def lease_look(lease: MayBeLost) -> Look:
    return Look("the lease of the environment", lambda: lease.lost, 0.5)


def looks(
    plan: RunPlan,
    folder: ArtefactStore,
    variable: Callable[[], str | None],
    addresses: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> list[Look]:
    """What is to be watched while the run changes or loads its environment.

    `addresses`: host -> what it resolved to when the run was checked.
    """
    profile = plan.profile
    alarms = CloudWatchAlarmsHook(aws_conn_id=profile.aws.connection, region_name=profile.aws.region)
    found = [
        Look("the stop order", lambda: ordered_stop(folder), 2.0),
        Look(f"the Variable {STOP_VARIABLE}", lambda: variable_stop(variable, plan.service), 3.0),
    ]
    if profile.guard.stop_alarms:
        found.append(Look("guard.stop_alarms", lambda: alarm_stop(alarms, profile.guard.stop_alarms), 3.0))
    if profile.blackouts:
        found.append(Look("blackouts", lambda: blackout_stop(profile, datetime.now(UTC)), 1.0))
    if addresses:
        found.append(Look("the addresses of the target", lambda: addresses_stop(profile, addresses), RESOLVE_EVERY_S))
    return found
