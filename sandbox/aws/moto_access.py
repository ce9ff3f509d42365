"""Where the sandbox touches moto: the lock around it, its backends, and how its classes are exchanged for ours."""

from __future__ import annotations

import importlib
import threading
from typing import Any

from moto.autoscaling.models import AutoScalingBackend, autoscaling_backends
from moto.cloudwatch.models import CloudWatchBackend, cloudwatch_backends
from moto.ec2.models import EC2Backend, ec2_backends
from moto.ecs.models import EC2ContainerServiceBackend, ecs_backends
from moto.elbv2.models import ELBv2Backend, elbv2_backends
from moto.logs.models import LogsBackend, logs_backends

ACCOUNT_ID = "123456789012"
REGION = "us-east-1"

# moto is not made for threads. Requests to the services below, and the plant's own reading and writing of their state,
# take turns. Whoever holds this lock must not call the endpoint over HTTP: the request would wait for the lock.
AWS_LOCK = threading.RLock()
LOCKED_SERVICES = frozenset(
    {"application-autoscaling", "autoscaling", "ec2", "ecs", "elasticloadbalancing", "logs", "monitoring", "rds"}
)


def autoscaling(account: str = ACCOUNT_ID, region: str = REGION) -> AutoScalingBackend:
    return autoscaling_backends[account][region]


def cloudwatch(account: str = ACCOUNT_ID, region: str = REGION) -> CloudWatchBackend:
    return cloudwatch_backends[account][region]


def ec2(account: str = ACCOUNT_ID, region: str = REGION) -> EC2Backend:
    return ec2_backends[account][region]


def ecs(account: str = ACCOUNT_ID, region: str = REGION) -> EC2ContainerServiceBackend:
    return ecs_backends[account][region]


def elbv2(account: str = ACCOUNT_ID, region: str = REGION) -> ELBv2Backend:
    return elbv2_backends[account][region]


def logs(account: str = ACCOUNT_ID, region: str = REGION) -> LogsBackend:
    return logs_backends[account][region]


class ExtendedBackend:
    """Mixed into a backend that lives outside moto: moto looks for a service's URLs beside the backend's module."""

    MOTO_SERVICE: str

    @property
    def _url_module(self) -> Any:
        return importlib.import_module(f"moto.{self.MOTO_SERVICE}.urls")


def route_to(service: str, response_class: Any) -> None:
    """Let the paths of a moto service be answered by `response_class`."""
    urls: Any = importlib.import_module(f"moto.{service}.urls")
    urls.url_paths = dict.fromkeys(urls.url_paths, response_class.dispatch)
