"""Hook that tells which AWS account a connection belongs to."""

from __future__ import annotations

from typing import Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

from headroom_airflow.hooks.aws_errors import told


class IdentityHook(AwsBaseHook):
    """Asks STS who the caller is.

    Source: https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["client_type"] = "sts"
        super().__init__(*args, **kwargs)

    @told
    def account(self) -> str:
        """The 12 digits of the account."""
        return str(self.conn.get_caller_identity()["Account"])
