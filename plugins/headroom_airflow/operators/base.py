"""What the operators share: waiting that a kill ends, deferring, and failures that carry AWS's last word."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from airflow.providers.amazon.aws.operators.base_aws import AwsBaseOperator
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from airflow.sdk.configuration import conf

from headroom_airflow.hooks.base import ServiceHook
from headroom_airflow.links.console import ConsoleLink
from headroom_airflow.triggers.base import WaitTrigger, span
from headroom_airflow.waits import Wait
from include.capacity.errors import NotReady

HookT = TypeVar("HookT", bound=ServiceHook)

TRIGGER_GRACE = timedelta(minutes=2)  # the trigger ends by itself; this is for a triggerer that died
LONGEST_NAP_S = 0.5


class ServiceOperator(AwsBaseOperator[HookT]):
    """Base of all operators: one hook, one console link."""

    aws_hook_class: type[HookT]
    template_fields: Sequence[str] = aws_template_fields()

    def link(self, context: Any, link: type[ConsoleLink], **names: str) -> None:
        """Makes the task's button in the UI lead to the resource."""
        link.persist(
            context=context,
            operator=self,
            region_name=self.hook.conn_region_name,
            aws_partition=self.hook.conn_partition,
            **names,
        )


class WaitingOperator(ServiceOperator[HookT]):
    """Base of the operators that wait for what they asked for.

    Args:
        wait_for_completion: wait until the change is done.
        waiter_delay, waiter_max_attempts: seconds between two looks, and how many of them.
        deferrable: wait in the triggerer, without a worker.

    A task that is killed stops waiting at once; what it asked AWS for goes on unless the operator says otherwise.
    """

    def __init__(
        self,
        *,
        wait_for_completion: bool = True,
        waiter_delay: float = 5,
        waiter_max_attempts: int = 120,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.wait_for_completion = wait_for_completion
        self.waiter_delay = waiter_delay
        self.waiter_max_attempts = waiter_max_attempts
        self.deferrable = deferrable
        self._killed = False

    @property
    def span(self) -> dict[str, float]:
        """How long to wait, as the hooks' waits take it."""
        return span(self.waiter_delay, self.waiter_max_attempts)

    @property
    def trigger_arguments(self) -> dict[str, Any]:
        """What every trigger takes, beside its own fields."""
        return {
            "waiter_delay": self.waiter_delay,
            "waiter_max_attempts": self.waiter_max_attempts,
            "aws_conn_id": self.aws_conn_id,
            "region_name": self.region_name,
            "verify": self.verify,
            "botocore_config": self.botocore_config,
        }

    def last_message(self) -> str:
        """What AWS says last about the resource, in a sentence: the end of a failure's message."""
        return ""

    def wait_here(self, wait: Wait, hook: ServiceHook | None = None) -> None:
        """Waits in this process. Raises NotReady with AWS's last word."""
        try:
            (hook or self.hook).wait_until(wait, sleep=self._sleep)
        except NotReady as error:
            raise self._failure(str(error)) from error

    def wait_there(self, trigger: WaitTrigger, method: Callable[..., Any], **kwargs: Any) -> None:
        """Waits in the triggerer; `method` then gets context, event and `kwargs`. Does not return."""
        longest = timedelta(seconds=self.waiter_delay * self.waiter_max_attempts)
        self.defer(trigger=trigger, method_name=method.__name__, kwargs=kwargs, timeout=longest + TRIGGER_GRACE)

    def need_success(self, event: Mapping[str, Any] | None) -> None:
        """Raises NotReady with what the trigger told, and AWS's last word."""
        if event is None or event.get("status") != "success":
            told = str((event or {}).get("message") or "The trigger ended without a word; look at the triggerer's log.")
            raise self._failure(told)

    def on_kill(self) -> None:
        self._killed = True

    def _failure(self, told: str) -> NotReady:
        try:
            last = self.last_message()
        except NotReady as error:  # AWS does not answer at all
            self.log.warning("%s", error)
            last = ""
        return NotReady(f"{told} {last}".rstrip())

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._killed and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, LONGEST_NAP_S))
        if self._killed:
            raise NotReady(f"The task {self.task_id} was killed while it waited.")
