"""What all hooks of Headroom share: how often a call is repeated, where their waiters are, and waiting that ends."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from botocore.config import Config
from botocore.exceptions import BotoCoreError, WaiterError

from headroom_airflow.hooks.aws_errors import explain
from headroom_airflow.waits import Wait
from include.capacity.errors import NotReady

T = TypeVar("T")

WAITERS = Path(__file__).resolve().parents[1] / "waiters"
# botocore's standard mode: exponential backoff with jitter, at most 20 s, for throttling, 5xx and lost connections, and
# a budget that stops retries once nothing gets through. Eight attempts get through 30 % of throttled calls in all but
# one of 15,000 cases.
RETRIES: dict[str, Any] = {"mode": "standard", "total_max_attempts": 8}
# AWS's own settings for a whole machine go before ours; a connection's config_kwargs go before both.
_SET_BY_ENVIRONMENT = {"mode": "AWS_RETRY_MODE", "total_max_attempts": "AWS_MAX_ATTEMPTS"}
CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 5, 30


class ServiceHook(AwsBaseHook):
    """A hook for the service that its class names.

    Arguments (`aws_conn_id`, `region_name`, `verify`, `config`) are AwsBaseHook's; endpoint and credentials come from
    the connection.
    """

    service: ClassVar[str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["client_type"] = self.service
        super().__init__(*args, **kwargs)

    @property
    def config(self) -> Config:
        retries = {key: value for key, value in RETRIES.items() if _SET_BY_ENVIRONMENT[key] not in os.environ}
        ours = Config(retries=retries, connect_timeout=CONNECT_TIMEOUT_S, read_timeout=READ_TIMEOUT_S)
        given = self.conn_config.botocore_config
        return ours if given is None else ours.merge(given)

    @cached_property
    def waiter_path(self) -> os.PathLike[str] | None:
        """The base class looks into the provider's own folder only."""
        path = WAITERS / f"{self.client_type}.json"
        return path if path.is_file() else None

    def wait_until(
        self,
        wait: Wait,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> float:
        """Waits, and returns the seconds it took. Raises NotReady in a state that cannot become good, or at the end.

        What AWS refuses for a moment (throttling, 5xx, no connection) costs time and nothing else.
        """
        waiter, start = self.get_waiter(wait.waiter), clock()
        while True:
            try:
                waiter.wait(**wait.arguments, WaiterConfig={"MaxAttempts": 1, "Delay": 0})
                return clock() - start
            except WaiterError as error:
                state = wait.state_of(error)
            except BotoCoreError as error:
                state = explain(error, self)
            if clock() - start + wait.every_s > wait.within_s:
                raise NotReady(wait.too_long(state))
            self.log.info("%s: %s", wait.about, state)
            sleep(wait.every_s)

    def items(self, call: str, key: str, **arguments: Any) -> list[dict[str, Any]]:
        """What a call lists under `key`, of all its pages."""
        if self.conn.can_paginate(call):
            return [dict(item) for page in self.conn.get_paginator(call).paginate(**arguments) for item in page[key]]
        found: list[dict[str, Any]] = []  # botocore knows no paginator for some calls that have pages
        while True:
            page = getattr(self.conn, call)(**arguments)
            found += [dict(item) for item in page[key]]
            if not page.get("NextToken"):
                return found
            arguments["NextToken"] = page["NextToken"]


def chunks(items: Sequence[T], size: int) -> Iterator[list[T]]:
    """Parts of at most `size`, as a call takes them at once."""
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
