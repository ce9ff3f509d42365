"""How a change gets through where AWS throttles, fails for a moment or loses its answer: without being made twice.

A changing call is sent once. When it fails, nobody knows whether AWS has carried it out; so the state is read before
it is sent again, and a change that has arrived is never repeated.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError, HTTPClientError

from include.capacity.errors import NotReady
from include.environment.resource import Fields, Resource, Sleep, Value

log = logging.getLogger(__name__)

PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0, 8.0)
SHOWN_LATE_S = (0.5, 1.0, 2.0)  # a description may show a change a little later than it was made

# What AWS answers when the same request may well succeed a moment later, besides every status of 500 and above. Source:
# https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html and the API references' "Common errors"
PASSING = frozenset(
    {
        "ConcurrentModification",
        "ConcurrentUpdateException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestTimeout",
        "RequestTimeoutException",
        "ResourceContention",
        "ResourceContentionFault",
        "ScalingActivityInProgress",
        "ScalingActivityInProgressFault",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
    }
)
NOT_IMPLEMENTED = 501

T = TypeVar("T")
Hook = TypeVar("Hook", bound=AwsBaseHook)


def sent_once(hook: type[Hook], **keys: Any) -> Hook:
    """A hook whose client does not repeat calls by itself; all else is as the connection says."""
    config: Config = hook(**keys).config
    return hook(**keys, config=config.merge(Config(retries={"total_max_attempts": 1})))


def patiently(look: Callable[[], T], sleep: Sleep) -> T:
    """The answer of something that may be repeated, over failures that pass by themselves. Raises the last NotReady."""
    pauses = iter(PAUSES_S)
    while True:
        try:
            return look()
        except NotReady as error:  # a client repeats reading by itself where nothing answers
            _pause(error, pauses, sleep, is_passing(error))


def bring(resource: Resource, decide: Callable[[dict[str, Value]], Fields], sleep: Sleep) -> None:
    """Reads, asks `decide` what to set, sets it, and reads back, until nothing is left to set.

    `decide` gets the fields as they are directly before the change. Raises NotReady when AWS refuses for good, fails
    for longer than patience lasts, or accepts a change that never shows.
    """
    pauses, late = iter(PAUSES_S), iter(SHOWN_LATE_S)
    arrived: Fields = {}
    while todo := decide(patiently(resource.read, sleep)):
        if todo == arrived:
            if (pause := next(late, None)) is None:
                wanted = ", ".join(f"{name} to {value}" for name, value in todo.items())
                raise NotReady(
                    f"{resource.title}: AWS accepted to set {wanted}, but does not show it. Look at it there."
                )
            sleep(pause)
            continue
        try:
            resource.set(todo)
            arrived = dict(todo)
        except NotReady as error:
            _pause(error, pauses, sleep, is_passing(error) or is_unreachable(error))


def is_passing(error: BaseException) -> bool:
    """Whether a hook's error will probably pass by itself: throttling, a failure inside AWS, an answer that was
    lost."""
    cause = error.__cause__
    if isinstance(cause, ClientError):
        status: Any = cause.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = cause.response.get("Error", {}).get("Code", "")
        return code in PASSING or (status >= 500 and status != NOT_IMPLEMENTED)
    return isinstance(cause, HTTPClientError)


def is_unreachable(error: BaseException) -> bool:
    """Whether a hook's request never reached AWS, because nothing answers at the endpoint."""
    return isinstance(error.__cause__, ConnectTimeoutError | EndpointConnectionError)


def _pause(error: NotReady, pauses: Iterator[float], sleep: Sleep, passing: bool) -> None:
    """Waits before the next attempt. Raises the error when it does not pass by itself, or patience is at its end."""
    pause = next(pauses, None) if passing else None
    if pause is None:
        raise error
    log.warning("%s Tried again in %g s.", error, pause)
    sleep(pause)
