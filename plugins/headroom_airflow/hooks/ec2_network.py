"""Hook that finds the network the load fleet runs in."""

from __future__ import annotations

from collections.abc import Sequence

from headroom_airflow.hooks.aws_errors import told
from headroom_airflow.hooks.base import ServiceHook
from include.capacity.errors import NotReady


class NetworkHook(ServiceHook):
    """Finds subnets and security groups by id or by Name tag.

    Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSubnets.html
    """

    service = "ec2"

    def subnet_ids(self, names: Sequence[str]) -> list[str]:
        """Ids are kept, other words are Name tags. Raises NotReady when one of them finds nothing."""
        return self._resolve(
            names, "subnet", "subnet-", "describe_subnets", "Subnets", "SubnetId", "load.fleet.subnets"
        )

    def security_group_ids(self, names: Sequence[str]) -> list[str]:
        return self._resolve(
            names,
            "security group",
            "sg-",
            "describe_security_groups",
            "SecurityGroups",
            "GroupId",
            "load.fleet.security_groups",
        )

    @told
    def _resolve(
        self, names: Sequence[str], kind: str, prefix: str, call: str, items: str, id_key: str, key: str
    ) -> list[str]:
        ids: list[str] = []
        for name in names:
            if name.startswith(prefix):
                ids.append(name)
                continue
            found = getattr(self.conn, call)(Filters=[{"Name": "tag:Name", "Values": [name]}])[items]
            if not found:
                raise NotReady(
                    f"There is no {kind} tagged Name={name!r}. "
                    f"Check {key}, aws.region and aws.connection of the service profile."
                )
            ids += sorted(item[id_key] for item in found)
        return ids
