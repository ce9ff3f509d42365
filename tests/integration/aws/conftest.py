"""The hooks, operators and triggers against one sandbox; every public method of a hook that is called is noted."""

from __future__ import annotations

import functools
import importlib
import json
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import headroom_airflow.hooks
from headroom_airflow.hooks.base import ServiceHook
from tests.integration.pipeline.conftest import connection_to
from tests.integration.sandbox.conftest import GROUP, RunningSandbox

FOLDER = Path(__file__).parent
CLUSTER = "headroom-load"
ROLLOUT = "aws_rollout"  # the connection that changes scaling for good; the record of calls tells its role
# What a container of the tests' own services and tasks does: nothing, until it is stopped.
IDLE = ["sleep", "120"]


def hook_classes() -> list[type[ServiceHook]]:
    """Every hook of the library."""
    for module in pkgutil.iter_modules(headroom_airflow.hooks.__path__):
        importlib.import_module(f"headroom_airflow.hooks.{module.name}")
    return sorted(ServiceHook.__subclasses__(), key=lambda kind: kind.__name__)


def public_methods(kind: type[ServiceHook]) -> set[str]:
    """What a hook adds to the provider's base class."""
    own = {name for name, value in vars(kind).items() if callable(value) and not name.startswith("_")}
    return own | {name for name in ("wait_until", "items") if hasattr(kind, name)}


@pytest.fixture(scope="session", autouse=True)
def called() -> Iterator[set[tuple[str, str]]]:
    """(class, method) of every call to a hook from now on."""
    noted: set[tuple[str, str]] = set()

    def noting(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def wrapper(self: ServiceHook, *args: Any, **kwargs: Any) -> Any:
            result = method(self, *args, **kwargs)
            noted.add((type(self).__name__, method.__name__))  # not for a call that raised
            return result

        return wrapper

    def noted_wait(kind: type[ServiceHook], make: Callable[..., Any]) -> Any:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            noted.add((kind.__name__, make.__name__))
            return make(*args, **kwargs)

        return staticmethod(wrapper)

    with pytest.MonkeyPatch.context() as patch:
        for kind in [*hook_classes(), ServiceHook]:
            for name in public_methods(kind) & set(vars(kind)):
                own = vars(kind)[name]
                static = isinstance(own, staticmethod)
                patch.setattr(kind, name, noted_wait(kind, own.__func__) if static else noting(own))
        yield noted


@pytest.fixture
def sandbox(shared_sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> RunningSandbox:
    """The Airflow connections lead to it: `aws_default` as the role that operators work with, and ROLLOUT."""
    for name, role in (("aws_default", "operators"), (ROLLOUT, "rollout")):
        connection = json.loads(connection_to(shared_sandbox.state["endpoint_url"]))
        connection["extra"]["aws_session_token"] = role
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))
    return shared_sandbox


@pytest.fixture
def group(sandbox: RunningSandbox) -> Iterator[str]:
    """The plant's group; brought back to one instance with everything resumed and nothing protected."""
    yield GROUP
    client = sandbox.client("autoscaling")
    client.resume_processes(AutoScalingGroupName=GROUP)
    instances = [entry["InstanceId"] for entry in sandbox.group()["Instances"]]
    client.set_instance_protection(AutoScalingGroupName=GROUP, InstanceIds=instances, ProtectedFromScaleIn=False)
    client.update_auto_scaling_group(AutoScalingGroupName=GROUP, MinSize=1, MaxSize=4)
    sandbox.scale_to(1)


@pytest.fixture
def ecs_service(sandbox: RunningSandbox) -> Iterator[str]:
    """A service of one idle task; gone after the test."""
    ecs = sandbox.client("ecs")
    ecs.register_task_definition(
        family="idle",
        requiresCompatibilities=["FARGATE"],
        cpu="256",
        memory="512",
        networkMode="awsvpc",
        containerDefinitions=[
            {"name": "idle", "image": "idle", "memory": 512, "essential": True, "command": IDLE, "stopTimeout": 2}
        ],
    )
    ecs.create_service(
        cluster=CLUSTER,
        serviceName="web",
        taskDefinition="idle",
        desiredCount=1,
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": {"subnets": sandbox.state["resources"]["subnets"][:1]}},
        deploymentConfiguration={"deploymentCircuitBreaker": {"enable": True, "rollback": False}},
        tags=[{"key": "service", "value": "checkout"}],
    )
    yield "web"
    ecs.delete_service(cluster=CLUSTER, service="web", force=True)


@pytest.fixture(scope="session")
def shared_cluster(shared_sandbox: RunningSandbox) -> str:
    rds = shared_sandbox.client("rds")
    rds.create_db_cluster(
        DBClusterIdentifier="shop", Engine="aurora-postgresql", MasterUsername="shop", MasterUserPassword="only-here"
    )
    for name in ("shop-1", "shop-2"):
        rds.create_db_instance(
            DBInstanceIdentifier=name,
            DBClusterIdentifier="shop",
            DBInstanceClass="db.r6g.large",
            Engine="aurora-postgresql",
        )
    return "shop"


@pytest.fixture
def cluster(sandbox: RunningSandbox, shared_cluster: str) -> str:
    """An Aurora cluster with a writer and a reader."""
    return shared_cluster
