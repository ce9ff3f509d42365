"""The environment under test: what it is like, how it is brought to the test size, and how it is restored.

Journal first, then change: the journal names for each setting the value before and the value that this run will set. So
restoring needs nothing but the journal, may be repeated, and sees what somebody else has changed meanwhile.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from headroom_airflow.hooks.autoscaling import AutoScalingHook
from headroom_airflow.hooks.elbv2 import Elbv2Hook
from headroom_airflow.hooks.identity import IdentityHook
from include.capacity.errors import ConfigError, GuardRefused, NotReady
from include.capacity.profile import ServiceProfile
from include.capacity.validity.environment import EnvironmentState
from include.pipeline.environment_lock import claim_of, held_message, release, take
from include.pipeline.run_plan import run_key
from include.store.artefacts import ArtefactStore
from include.store.documents import mapping_in

log = logging.getLogger(__name__)

JOURNAL_PATH = "journal.json"
RESTORED_PATH = "restored.json"
SIZES = ("MinSize", "MaxSize", "DesiredCapacity")
# Whatever could change the number of instances while a probe measures. Launch, Terminate and HealthCheck stay on: a
# dead instance is still replaced.
SUSPENDED = ("AlarmNotification", "AZRebalance", "InstanceRefresh", "ScheduledActions")


@dataclass(frozen=True, slots=True)
class Environment:
    """The AWS side of a service: its group, target group and load balancer."""

    profile: ServiceProfile
    groups: AutoScalingHook
    balancers: Elbv2Hook
    identity: IdentityHook

    @classmethod
    def of(cls, profile: ServiceProfile) -> Environment:
        keys = {"aws_conn_id": profile.aws.connection, "region_name": profile.aws.region}
        return cls(profile, AutoScalingHook(**keys), Elbv2Hook(**keys), IdentityHook(**keys))

    @property
    def name(self) -> str:
        """Identifies the environment among all runs."""
        aws = self.profile.aws
        return f"{aws.account}-{aws.region}-{aws.autoscaling_group}"

    def group(self) -> dict[str, Any]:
        return self.groups.group(self.profile.aws.autoscaling_group)

    def target(self) -> tuple[str, str, int]:
        """Scheme, host and port that the load is sent to: the load balancer's, unless the profile gives a URL."""
        target = self.profile.target
        if target.url is not None:
            return split_url(target.url)
        balancer = self.balancers.load_balancer(self.profile.aws.load_balancer)
        port = self.balancers.listener_port(balancer["LoadBalancerArn"], target.scheme)
        return target.scheme, str(balancer["DNSName"]), port

    def health(self) -> dict[str, str]:
        return self.balancers.target_health(self.balancers.target_group_arn(self.profile.aws.target_group))

    def observe(self) -> EnvironmentState:
        """What a probe records about the environment, and by what a change of it is seen."""
        group = self.group()
        in_service = [entry for entry in group["Instances"] if entry["LifecycleState"] == "InService"]
        return EnvironmentState(
            figures={
                "desired": float(group["DesiredCapacity"]),
                "in_service": float(len(in_service)),
                "healthy": float(sum(state == "healthy" for state in self.health().values())),
            },
            instances={entry["InstanceId"]: _kind_of(entry) for entry in in_service},
            settings={
                "The desired number of instances": str(group["DesiredCapacity"]),
                "The launch template of the group": _template_of(group),
            },
        )

    def facts(self) -> dict[str, Any]:
        """What the result says about the environment."""
        group = self.group()
        aws = self.profile.aws
        return {
            "account": aws.account,
            "region": aws.region,
            "autoscaling_group": aws.autoscaling_group,
            "load_balancer": aws.load_balancer,
            "target_group": aws.target_group,
            "instance_types": sorted({entry.get("InstanceType", "unknown") for entry in group["Instances"]}),
            "sizes": {name: group[name] for name in SIZES},
        }

    def wait_for_size(self, size: int, within_s: float, sleep: Callable[[float], None] = time.sleep) -> float:
        """Waits until exactly `size` instances are InService and healthy in the target group; returns the seconds.

        Raises NotReady with the last state of each instance when time is up.
        """
        start = time.monotonic()
        told = ""
        while True:
            group, health = self.group(), self.health()
            states = {
                entry["InstanceId"]: f"{entry['LifecycleState']}/{health.get(entry['InstanceId'], 'not registered')}"
                for entry in group["Instances"]
            }
            ready = sum(state == "InService/healthy" for state in states.values())
            leaving = sum(target not in states and state == "draining" for target, state in health.items())
            elapsed = time.monotonic() - start
            if ready == size and len(states) == size and not leaving:
                return elapsed
            each = ", ".join(f"{instance} {state}" for instance, state in sorted(states.items()))
            line = f"{ready} of {size} instances ready ({each})"
            if line != told:
                log.info(line)
                told = line
            if elapsed > within_s:
                suspended = sorted(process["ProcessName"] for process in group["SuspendedProcesses"])
                raise NotReady(
                    f"{self.profile.aws.autoscaling_group} did not reach {size} ready instances within {within_s:g} s: "
                    f"{line}; desired {group['DesiredCapacity']}, suspended processes: "
                    f"{', '.join(suspended) or 'none'}. "
                    "Look at the group's scaling activities and the target group's health check; "
                    "prescale.ready_within of the service profile sets the time."
                )
            sleep(0.5)


def _kind_of(instance: Mapping[str, Any]) -> str:
    """Everything about an instance that stays while it lives, as one text."""
    return ", ".join(
        [instance.get("InstanceType", "unknown type"), instance.get("AvailabilityZone", ""), _template_of(instance)]
    )


def _template_of(entry: Mapping[str, Any]) -> str:
    """The launch template (or configuration) of a group or an instance, with its version."""
    mixed = entry.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {}).get("LaunchTemplateSpecification")
    template = entry.get("LaunchTemplate") or mixed
    if template:
        name = template.get("LaunchTemplateName") or template.get("LaunchTemplateId")
        return f"{name} version {template.get('Version', 'default')}"
    return str(entry.get("LaunchConfigurationName", "none"))


def split_url(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError("service profile", "target.url", f"{url!r} is no address.", "Write http://host:port.")
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


# -- journal ----------------------------------------------------------------------------------------------------------


def open_journal(
    environment: Environment, root: ArtefactStore, folder: ArtefactStore, run: Mapping[str, str]
) -> dict[str, Any]:
    """Takes the environment for this run and writes the undo record, both before any change.

    A journal that was not restored yet (the task is repeated) stays as it is: it knows the state before the first
    change. The lock comes first, so that the snapshot shows no other run's work; should this end in between, the lease
    lapses, and without a journal there is nothing to restore.

    Raises GuardRefused when another run holds the environment.
    """
    take(environment, root, run, is_settled)
    journal = read_journal(folder)
    if journal is None or folder.exists(RESTORED_PATH):
        journal = _undo_record(environment, run)
        folder.write_json(JOURNAL_PATH, journal)
        folder.delete(RESTORED_PATH)
    return journal


def is_settled(root: ArtefactStore, run: Mapping[str, str]) -> bool:
    """Whether nothing of what a run changed is left for it to restore: so its lapsed lease may be taken over."""
    folder = root.below(f"{run['service']}/{run_key(run['run_id'])}")
    if read_journal(folder) is None:
        return True
    restored = folder.read_or_none(RESTORED_PATH)
    if restored is None:
        return False
    outcome = mapping_in(restored, f"{folder.url}/{RESTORED_PATH}", "Delete this object to restore once more.")
    return len(outcome["differences"]) == len(outcome["conflicts"])  # what is left is somebody else's decision


def _undo_record(environment: Environment, run: Mapping[str, str]) -> dict[str, Any]:
    group = environment.group()
    size = environment.profile.prescale.instances
    before = {name: group[name] for name in SIZES}
    ours = {"MinSize": min(before["MinSize"], size), "MaxSize": max(before["MaxSize"], size), "DesiredCapacity": size}
    suspended = sorted(process["ProcessName"] for process in group["SuspendedProcesses"])
    return {
        "schema": 1,
        "run": dict(run),
        "autoscaling_group": environment.profile.aws.autoscaling_group,
        "sizes": {name: {"before": before[name], "ours": ours[name]} for name in SIZES},
        "suspended": {"before": suspended, "ours": sorted(set(suspended) | set(SUSPENDED))},
    }


def prescale(
    environment: Environment, journal: Mapping[str, Any], sleep: Callable[[float], None] = time.sleep
) -> float:
    """Suspends scaling and brings the group to the test size; waits until it is InService and healthy. Idempotent."""
    profile = environment.profile
    name = profile.aws.autoscaling_group
    environment.groups.suspend(name, journal["suspended"]["ours"])
    ours = {field: value["ours"] for field, value in journal["sizes"].items()}
    environment.groups.set_sizes(
        name, minimum=ours["MinSize"], maximum=ours["MaxSize"], desired=ours["DesiredCapacity"]
    )
    waited = environment.wait_for_size(ours["DesiredCapacity"], profile.prescale.ready_within_s, sleep)
    sleep(profile.prescale.warm_up_s)
    return waited


def restore(
    environment: Environment, root: ArtefactStore, folder: ArtefactStore, sleep: Callable[[float], None] = time.sleep
) -> dict[str, Any]:
    """Plays the journal back, verifies field by field and frees the environment. Restoring twice does no harm.

    Returns {"equal", "differences", "conflicts"}. A setting that somebody else changed meanwhile is not touched: it
    is a conflict. Raises NotReady when the group does not settle, GuardRefused when another run holds the environment.
    """
    journal = read_journal(folder)
    if journal is None:
        return {"equal": True, "differences": [], "conflicts": []}
    holder = claim_of(environment, root)
    if holder is not None and holder != journal["run"]:
        raise GuardRefused(held_message(environment, root))
    if holder is None and (restored := folder.read_or_none(RESTORED_PATH)) is not None:
        # done before, and freed: what differs now is not this run's
        outcome = mapping_in(restored, f"{folder.url}/{RESTORED_PATH}", "Delete this object to restore once more.")
        if not outcome["equal"] and not differences_to(environment, journal):  # somebody has settled the conflicts
            outcome = {"equal": True, "differences": [], "conflicts": []}
            folder.write_json(RESTORED_PATH, outcome)
        return outcome
    name = journal["autoscaling_group"]
    group = environment.group()
    conflicts: list[str] = []
    wanted = {}
    for field, values in journal["sizes"].items():
        current = group[field]
        wanted[field] = values["before"] if current in (values["before"], values["ours"]) else current
        if current not in (values["before"], values["ours"]):
            conflicts.append(
                f"{field} is {current}; it was {values['before']} before the run, which set {values['ours']}. "
                "Left as it is."
            )
    suspended = {process["ProcessName"] for process in group["SuspendedProcesses"]}
    before = set(journal["suspended"]["before"])
    ours_only = set(journal["suspended"]["ours"]) - before
    for process in sorted((suspended - ours_only) ^ before):
        conflicts.append(
            f"{process} was {'resumed' if process in before else 'suspended'} by somebody else during the run. "
            "Left as it is."
        )
    if any(wanted[field] != group[field] for field in SIZES):
        environment.groups.set_sizes(
            name, minimum=wanted["MinSize"], maximum=wanted["MaxSize"], desired=wanted["DesiredCapacity"]
        )
    if resume := sorted(ours_only & suspended):
        environment.groups.resume(name, resume)
    environment.wait_for_size(wanted["DesiredCapacity"], environment.profile.prescale.ready_within_s, sleep)
    differences = differences_to(environment, journal)
    outcome = {"equal": not differences, "differences": differences, "conflicts": conflicts}
    folder.write_json(RESTORED_PATH, outcome)
    if len(differences) == len(conflicts):  # what is left is somebody else's decision
        release(environment, root, journal["run"])
    return outcome


def read_journal(folder: ArtefactStore) -> dict[str, Any] | None:
    """None when the run never wrote one, which means that it changed nothing. Raises InvalidData for a broken one."""
    data = folder.read_or_none(JOURNAL_PATH)
    cure = "Restore the group's sizes and suspended processes by hand; the log of the task journal shows them."
    return None if data is None else mapping_in(data, f"{folder.url}/{JOURNAL_PATH}", cure)


def differences_to(environment: Environment, journal: Mapping[str, Any]) -> list[str]:
    """What is not as the journal found it, as phrases."""
    group = environment.group()
    differences = [
        f"{field} is {group[field]} and was {values['before']}"
        for field, values in journal["sizes"].items()
        if group[field] != values["before"]
    ]
    before = set(journal["suspended"]["before"])
    suspended = {process["ProcessName"] for process in group["SuspendedProcesses"]}
    for process in sorted(suspended ^ before):
        differences.append(
            f"{process} is {'active and was suspended' if process in before else 'suspended and was not'}"
        )
    return differences
