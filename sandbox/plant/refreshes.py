"""Carries out instance refreshes: takes instances out a few at a time; the reconciler launches new ones for them."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

from sandbox.aws.autoscaling import SandboxAutoScalingBackend
from sandbox.aws.autoscaling_group import SandboxGroup, SandboxInstanceState
from sandbox.aws.scaling_activities import as_text, now

log = logging.getLogger(__name__)


def advance(
    backend: SandboxAutoScalingBackend, group: SandboxGroup, is_warm: Callable[[SandboxInstanceState, float], bool]
) -> None:
    """One step of the group's refresh, if one is under way. Needs the lock around moto.

    At most as many instances leave at once as keep the minimum healthy percentage, and always one: AWS replaces one by
    one at 100 %. `is_warm(state, seconds)` says whether an instance has been in service for so many AWS seconds.
    """
    refresh = backend.refreshes.active(group.name)
    if refresh is None:
        return
    present = {state.instance_id: state for state in group.states()}
    refresh.leaving = [instance for instance in refresh.leaving if instance in present]
    refresh.waiting = [instance for instance in refresh.waiting if instance in present]
    warm_up_aws_s = float(refresh.preferences.get("InstanceWarmup", group.default_instance_warmup or 0))
    counted = group.counted()
    settled = len(counted) == group.desired_capacity and all(is_warm(state, warm_up_aws_s) for state in counted)
    if refresh.status == "Cancelling":
        if not refresh.leaving and settled:
            refresh.finish("Cancelled", refresh.reason)
        return
    if group.is_suspended("InstanceRefresh"):
        refresh.reason = "The process InstanceRefresh of the group is suspended."
        return
    refresh.status, refresh.reason = "InProgress", "Waiting for instances to warm up." if not settled else ""
    if refresh.leaving or not settled:
        return
    if not refresh.waiting:
        refresh.finish("Successful")
        log.info("instance refresh %s of %s: done", refresh.id, group.name)
        return
    if group.is_suspended("Terminate") or group.is_suspended("Launch"):
        refresh.reason = "The process Terminate or Launch of the group is suspended."
        return
    desired = group.desired_capacity or 0
    at_once = max(1, desired - math.ceil(desired * refresh.min_healthy_ratio))
    free = [i for i in refresh.waiting if not present[i].protected_from_scale_in or _may_refresh(refresh.preferences)]
    if not free:
        refresh.reason = "Waiting for instances that are protected from scale-in."
    for instance in free[:at_once]:
        refresh.waiting.remove(instance)
        refresh.leaving.append(instance)
        present[instance].begin_termination(
            f"At {as_text(now())} an instance was taken out of service in response to an instance refresh {refresh.id}."
        )


def _may_refresh(preferences: dict[str, str]) -> bool:
    return preferences.get("ScaleInProtectedInstances") == "Refresh"
