"""The load fleet: what is made ready before the shards start, and how they are made to end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from headroom_airflow.hooks.ec2_network import NetworkHook
from headroom_airflow.hooks.load_fleet import LoadFleetHook
from include.capacity.errors import ConfigError, NotReady, StoreError
from include.capacity.profile import ServiceProfile
from include.capacity.protocol import DISMISSED_PATH, SPEC_PATH, FleetSpec
from include.loadgen.plan import prepare
from include.loadgen.plan.settings import PlanSettings, PreparedPlan
from include.pipeline.installation import REPOSITORY
from include.pipeline.run_plan import RunPlan
from include.store.artefacts import ArtefactStore

log = logging.getLogger(__name__)

RUN_TAG = "headroom-run"
SERVICE_TAG = "headroom-service"
PLAN_FOLDER = "plan"
DISPATCHER_SCRIPT = REPOSITORY / "include" / "jmeter" / "arrivals.groovy"
ORDERLY_END_S = 15.0
FORCED_END_S = 30.0

Target = tuple[str, str, int]


def plan_file(profile: ServiceProfile) -> Path:
    """The user's JMX; a relative path is meant from the repository's root."""
    path = Path(profile.load.plan)
    return path if path.is_absolute() else REPOSITORY / path


def plan_properties(profile: ServiceProfile, target: Target) -> dict[str, str]:
    scheme, host, port = target
    return {**profile.load.properties, "scheme": scheme, "host": host, "port": str(port)}


def check_plan(profile: ServiceProfile, target: Target) -> PreparedPlan:
    """Prepares the plan as the shards will, so that what cannot be kept is refused before anything is changed."""
    load = profile.load
    settings = PlanSettings(
        threads=load.fleet.threads_per_shard,
        weights=load.weights,
        properties=plan_properties(profile, target),
        allow_hosts=profile.target.allow_hosts,
        dispatcher_script=DISPATCHER_SCRIPT,
    )
    return prepare.check_plan(plan_file(profile), settings=settings)


def open_fleet(
    plan: RunPlan,
    store: ArtefactStore,
    target: Target,
    prepared: PreparedPlan,
    addresses: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
) -> list[dict[str, Any]]:
    """Puts plan and specification into the store and returns the arguments of each shard's container task.

    `addresses`: host -> the addresses that the load may go to; none at all: wherever names lead.
    """
    profile = plan.profile
    fleet, guard = profile.load.fleet, profile.guard
    source = plan_file(profile)
    store.upload(str(source), f"{PLAN_FOLDER}/{source.name}")
    for data_file in prepared.data_files:
        store.upload(str(data_file), f"{PLAN_FOLDER}/{_relative_to(data_file, source.parent)}")
    store.delete(DISMISSED_PATH)  # of an earlier try of the whole run
    scheme, host, port = target
    spec = FleetSpec(
        shards=fleet.shards,
        threads_per_shard=fleet.threads_per_shard,
        plan_path=f"{PLAN_FOLDER}/{source.name}",
        data_folder=PLAN_FOLDER,
        target_scheme=scheme,
        target_host=host,
        target_port=port,
        allow_hosts=profile.target.allow_hosts,
        properties=profile.load.properties,
        weights=profile.load.weights,
        arrivals=profile.load.arrivals,
        seed=plan.seed,
        max_rate_per_s=guard.max_rate_tps,
        max_error_ratio=guard.max_error_ratio,
        guard_window_s=guard.window_s,
        max_in_flight=guard.max_in_flight,
        idle_limit_s=guard.idle_limit_s,
        hard_limit_s=guard.max_duration_s,
        heap_mb=fleet.heap_mb,
        addresses=addresses,
        allow_addresses=profile.target.allow_addresses,
    )
    store.write(SPEC_PATH, spec.dumps())
    network = network_configuration(profile)
    return [
        {
            "overrides": {"containerOverrides": [_container_override(fleet.container, store.url, shard)]},
            "network_configuration": network,
        }
        for shard in range(fleet.shards)
    ]


def network_configuration(profile: ServiceProfile) -> dict[str, Any]:
    """Where the shards run. Raises NotReady when a Name tag finds nothing."""
    fleet = profile.load.fleet
    network = NetworkHook(aws_conn_id=profile.aws.connection, region_name=profile.aws.region)
    return {
        "awsvpcConfiguration": {
            "subnets": network.subnet_ids(fleet.subnets),
            "securityGroups": network.security_group_ids(fleet.security_groups),
            "assignPublicIp": "ENABLED" if fleet.assign_public_ip else "DISABLED",
        }
    }


def check_resources(profile: ServiceProfile) -> None:
    """What the shards need on AWS is there. Raises NotReady with the key of the profile that names what is not."""
    fleet = profile.load.fleet
    _hook(profile).check(fleet.cluster, fleet.task_definition, fleet.container)
    network_configuration(profile)


def _hook(profile: ServiceProfile) -> LoadFleetHook:
    return LoadFleetHook(aws_conn_id=profile.aws.connection, region_name=profile.aws.region)


def _container_override(container: str, store_url: str, shard: int) -> dict[str, Any]:
    environment = {"HEADROOM_STORE": store_url, "HEADROOM_SHARD": str(shard)}
    return {"name": container, "environment": [{"name": key, "value": value} for key, value in environment.items()]}


def _relative_to(path: Path, folder: Path) -> str:
    try:
        return path.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        raise ConfigError(
            str(path), "", f"lies outside the plan's folder {folder}.", "Put data files beside or below the JMX file."
        ) from None


def running_shards(profile: ServiceProfile, run_id: str | None = None) -> list[dict[str, Any]]:
    """ECS tasks that make load for this service and have not stopped; of one run if given."""
    fleet = profile.load.fleet
    wanted = {SERVICE_TAG: profile.service} | ({} if run_id is None else {RUN_TAG: run_id})
    tasks = _hook(profile).running(fleet.cluster, fleet.task_definition.split(":")[0])
    return [task for task in tasks if wanted.items() <= tags_of(task).items()]


def stop_shard(profile: ServiceProfile, task_arn: str) -> None:
    """Ends one container task of a run that is over."""
    _hook(profile).stop(profile.load.fleet.cluster, task_arn, "left behind; stopped by Headroom's sweeper")


def shard_tags(service: str, run_id: str) -> dict[str, str]:
    """What marks a container task as part of a run's fleet."""
    return {SERVICE_TAG: service, RUN_TAG: run_id}


def tags_of(task: Mapping[str, Any]) -> dict[str, str]:
    """The tags of a described ECS task, by key."""
    return {tag["key"]: tag["value"] for tag in task.get("tags", [])}


def dismiss_fleet(plan: RunPlan, store: ArtefactStore, sleep: Callable[[float], None] = time.sleep) -> float:
    """Tells the shards to end, stops those that do not, and waits until all have ended. Returns the seconds it took.

    Raises NotReady when one still runs after being stopped, and StoreError, once all have ended, when they could only
    be stopped: without the dismissal in the store a retried container task would start its shard again.
    """
    failure: StoreError | None = None
    try:
        store.create(DISMISSED_PATH, b"{}")
    except StoreError as error:
        log.warning("The shards cannot be dismissed and are stopped instead: %s", error)
        failure = error
    start = time.monotonic()
    cluster, hook = plan.profile.load.fleet.cluster, _hook(plan.profile)
    stopped: set[str] = set()
    while tasks := running_shards(plan.profile, plan.run_id):
        elapsed = time.monotonic() - start
        if elapsed > FORCED_END_S:
            raise NotReady(
                f"Shards still run in {cluster} {elapsed:.0f} s after their dismissal: "
                f"{', '.join(task['taskArn'] for task in tasks)}. Their load is at zero; stop them "
                "(`aws ecs stop-task`)."
            )
        if failure is not None or elapsed > ORDERLY_END_S:
            for task in tasks:
                if task["taskArn"] not in stopped:
                    log.warning("%s has not ended by itself and is stopped.", task["taskArn"])
                    hook.stop(cluster, task["taskArn"], "dismissed by Headroom")
                    stopped.add(task["taskArn"])
        sleep(0.5)
    if failure is not None:
        raise failure
    return time.monotonic() - start
