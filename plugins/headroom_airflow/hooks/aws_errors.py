"""Tells errors of AWS as sentences: which service refused what, why, and what to look at."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
)

from include.capacity.errors import NotReady

P = ParamSpec("P")
T = TypeVar("T")
Hook = TypeVar("Hook", bound=AwsBaseHook)

_CREDENTIALS = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_PERMISSION = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
_BUSY = frozenset(
    {
        "ConcurrentModification",
        "ConcurrentUpdateException",
        "InvalidDBInstanceState",
        "ResourceContention",
        "ResourceContentionFault",
        "ScalingActivityInProgress",
        "ScalingActivityInProgressFault",
    }
)
_THROTTLED = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)


def told(method: Callable[Concatenate[Hook, P], T]) -> Callable[Concatenate[Hook, P], T]:
    """For a hook's method: an error of AWS becomes NotReady that names service, call, resource, reason and cure.

    The resource is the method's first argument, if that is a name.
    """

    @functools.wraps(method)
    def wrapper(self: Hook, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(self, *args, **kwargs)
        except (BotoCoreError, ClientError) as error:
            first: object = args[0] if args else next(iter(kwargs.values()), None)
            raise NotReady(explain(error, self, first if isinstance(first, str) else None)) from error

    return wrapper


def answer_tries(error: ClientError) -> int:
    """How often a call was made before its error was raised."""
    metadata: Any = error.response.get("ResponseMetadata", {})
    return int(metadata.get("RetryAttempts", 0)) + 1


def explain(error: BotoCoreError | ClientError, hook: AwsBaseHook, resource: str | None = None) -> str:
    """One or two sentences about what AWS (or the way to it) answered to a hook that asked about a resource."""
    asked = f"AWS ({hook.client_type}{f' in {hook.region_name}' if hook.region_name else ''})"
    connection = f"the Airflow connection {hook.aws_conn_id!r} (aws.connection of the service profile)"
    if isinstance(error, ClientError):
        answer: Any = error.response.get("Error", {})
        code = answer.get("Code", "unknown")
        reason = f"{code}: {str(answer.get('Message') or 'no reason given').rstrip('.')}"
        if code in _CREDENTIALS:
            cure = f"Renew the credentials of {connection}."
        elif code in _PERMISSION:
            cure = f"Allow this action in the IAM policy of the identity behind {connection} (docs/iam.md)."
        elif code in _THROTTLED:
            tries = answer_tries(error)
            cure = f"It was asked {tries} times. Try again later; who else calls this account so often?"
        elif code in _BUSY:
            cure = "Something else changes it at this moment: try again when that is done."
        else:
            cure = f"Check the names below aws and load.fleet of the service profile, aws.region and {connection}."
        of = f" of {resource!r}" if resource else ""
        return f"{asked} refused {error.operation_name}{of}: {reason}. {cure}"
    reason = str(error).rstrip(".")
    if isinstance(error, NoCredentialsError | PartialCredentialsError | CredentialRetrievalError):
        return f"{asked} cannot be asked: {reason}. Give {connection} an access key, or this machine a role."
    return f"{asked} does not answer: {reason}. Is it up, and does {connection} name the right endpoint and region?"
