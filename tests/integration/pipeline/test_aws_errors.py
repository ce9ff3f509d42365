"""What a person reads when AWS refuses a call as the sandbox never does: credentials, permissions, anything else."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError, NoCredentialsError

from headroom_airflow.hooks.autoscaling import AutoScalingHook
from include.capacity.errors import NotReady


class RefusedHook(AutoScalingHook):
    """A hook whose client answers every call with an error."""

    def __init__(self, error: Exception) -> None:
        super().__init__(aws_conn_id="aws_production", region_name="eu-west-1")
        self._error = error

    @property
    def conn(self) -> object:  # type: ignore[override]
        raise self._error


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "No."}}, "DescribeAutoScalingGroups")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (refused("ExpiredToken"), ("DescribeAutoScalingGroups of 'web': ExpiredToken: No. Renew the credentials",)),
        (refused("AccessDenied"), ("AccessDenied: No. Allow this action in the IAM policy",)),
        (refused("ValidationError"), ("ValidationError: No. Check the names", "load.fleet", "aws.region")),
        (NoCredentialsError(), ("cannot be asked", "an access key, or this machine a role")),
    ],
    ids=["credentials", "permission", "name", "no key"],
)
def test_a_refusal_names_service_call_reason_and_cure(error: Exception, told: tuple[str, ...]) -> None:
    with pytest.raises(NotReady) as caught:
        RefusedHook(error).group("web")
    text = str(caught.value)
    print(text)
    for part in ("AWS (autoscaling in eu-west-1)", "'aws_production'", *told):
        assert part in text
