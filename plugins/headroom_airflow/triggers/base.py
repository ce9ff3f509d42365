"""The one trigger that all others are made from: it waits in a hook's wait and tells its end as the hook does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from airflow.providers.amazon.aws.triggers.base import AwsBaseWaiterTrigger
from airflow.triggers.base import TriggerEvent
from asgiref.sync import sync_to_async
from botocore.exceptions import BotoCoreError, ClientError, WaiterError

from headroom_airflow.hooks.aws_errors import explain
from headroom_airflow.hooks.base import ServiceHook
from headroom_airflow.waits import Wait
from include.capacity.errors import NotReady


class WaitTrigger(AwsBaseWaiterTrigger):
    """Waits until a resource is in the wanted state.

    The provider's trigger goes on for ever while AWS throttles, and forgets the last state when time is up. This one
    ends by the clock, after waiter_delay x waiter_max_attempts seconds, and names resource, last state and cure.

    Subclasses take what `fields` holds as arguments, beside waiter_delay, waiter_max_attempts, aws_conn_id,
    region_name, verify and botocore_config.
    """

    aws_hook_class: type[ServiceHook] = ServiceHook

    def __init__(
        self,
        wait: Wait,
        fields: Mapping[str, Any],
        *,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            serialized_fields=dict(fields),
            waiter_name=wait.waiter,
            waiter_args=dict(wait.arguments),
            failure_message=f"{wait.about} cannot {wait.wanted}",
            status_message=wait.about,
            status_queries=list(wait.states.values()),
            return_key="value",
            return_value=None,
            waiter_delay=wait.every_s,  # type: ignore[arg-type]  # it is slept for
            waiter_max_attempts=max(1, round(wait.within_s / wait.every_s)),
            aws_conn_id=aws_conn_id,
            region_name=region_name,
            verify=verify,
            botocore_config=botocore_config,
        )
        self._wait = wait

    async def run(self) -> AsyncIterator[TriggerEvent]:
        hook: Any = self.hook()
        try:
            async with await hook.get_async_conn() as client:
                await self._until_done(hook, client)
        except NotReady as error:
            yield TriggerEvent({"status": "error", "message": str(error)})
        except (BotoCoreError, ClientError) as error:  # no client could be made
            message = await sync_to_async(explain)(error, hook)
            yield TriggerEvent({"status": "error", "message": f"{self._wait.about} cannot be watched: {message}"})
        else:
            yield TriggerEvent({"status": "success"})

    async def _until_done(self, hook: Any, client: Any) -> None:
        wait, start = self._wait, time.monotonic()
        waiter = hook.get_waiter(self.waiter_name, deferrable=True, client=client)
        while True:
            try:
                await waiter.wait(**self.waiter_args, WaiterConfig={"MaxAttempts": 1, "Delay": 0})
                return
            except WaiterError as error:
                state = wait.state_of(error)
            except BotoCoreError as error:
                state = await sync_to_async(explain)(error, hook)
            if time.monotonic() - start + wait.every_s > wait.within_s:
                raise NotReady(wait.too_long(state))
            self.log.info("%s: %s", wait.about, state)
            await asyncio.sleep(wait.every_s)


def span(waiter_delay: float, waiter_max_attempts: int) -> dict[str, float]:
    """The provider's way to say how long to wait, as a `Wait` takes it."""
    return {"every_s": waiter_delay, "within_s": waiter_delay * waiter_max_attempts}
