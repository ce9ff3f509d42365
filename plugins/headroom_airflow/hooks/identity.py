"""Hook that tells which AWS account a connection belongs to."""

from __future__ import annotations

from headroom_airflow.hooks.aws_errors import told
from headroom_airflow.hooks.base import ServiceHook


class IdentityHook(ServiceHook):
    """Asks STS who the caller is.

    Source: https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
    """

    service = "sts"

    @told
    def account(self) -> str:
        """The 12 digits of the account."""
        return str(self.conn.get_caller_identity()["Account"])
