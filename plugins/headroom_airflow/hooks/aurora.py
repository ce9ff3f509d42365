"""Hook for Aurora clusters (and what is asked of single RDS instances)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headroom_airflow.hooks.aws_errors import told
from headroom_airflow.hooks.base import ServiceHook
from headroom_airflow.waits import Wait
from include.capacity.errors import NotReady

EVENTS_MINUTES = 60


@dataclass(frozen=True, slots=True)
class Member:
    """One instance of a cluster. `status` is AWS's word, such as "available"; `instance_class` such as db.r6g.large."""

    name: str
    writer: bool
    status: str
    instance_class: str
    promotion_tier: int


class AuroraHook(ServiceHook):
    """Looks at clusters, and adds and removes readers.

    Source: https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/
    """

    service = "rds"

    @told
    def cluster(self, name: str) -> dict[str, Any]:
        """The cluster's description. Raises NotReady when there is none."""
        try:
            return dict(self.conn.describe_db_clusters(DBClusterIdentifier=name)["DBClusters"][0])
        except (self.conn.exceptions.DBClusterNotFoundFault, IndexError) as error:
            raise NotReady(f"There is no Aurora cluster {name!r}. {_CURE}") from error

    @told
    def instance(self, name: str) -> dict[str, Any]:
        """An instance's description. Raises NotReady when there is none."""
        try:
            return dict(self.conn.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0])
        except (self.conn.exceptions.DBInstanceNotFoundFault, IndexError) as error:
            raise NotReady(f"There is no RDS instance {name!r}. {_CURE}") from error

    @told
    def members(self, cluster: str) -> list[Member]:
        """The cluster's instances, the writer first, then the readers by name."""
        described = {
            entry["DBInstanceIdentifier"]: entry
            for entry in self.items("describe_db_instances", "DBInstances", Filters=_of_cluster(cluster))
        }
        members = [
            Member(
                name=entry["DBInstanceIdentifier"],
                writer=bool(entry["IsClusterWriter"]),
                status=str(described.get(entry["DBInstanceIdentifier"], {}).get("DBInstanceStatus", "unknown")),
                instance_class=str(described.get(entry["DBInstanceIdentifier"], {}).get("DBInstanceClass", "unknown")),
                promotion_tier=int(entry.get("PromotionTier", 1)),
            )
            for entry in self.cluster(cluster)["DBClusterMembers"]
        ]
        return sorted(members, key=lambda member: (not member.writer, member.name))

    def readers(self, cluster: str) -> list[Member]:
        """The replicas: every member but the writer."""
        return [member for member in self.members(cluster) if not member.writer]

    @told
    def add_reader(
        self, name: str, *, cluster: str, instance_class: str, tags: Mapping[str, str], promotion_tier: int = 15
    ) -> None:
        """Adds a reader; one of that name that is in the cluster already is adopted.

        Tier 15 is the last to be promoted: a reader that a test added should not become the writer.
        """
        engine = self.cluster(cluster)["Engine"]
        try:
            self.conn.create_db_instance(
                DBInstanceIdentifier=name,
                DBClusterIdentifier=cluster,
                DBInstanceClass=instance_class,
                Engine=engine,
                PromotionTier=promotion_tier,
                Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
            )
        except self.conn.exceptions.DBInstanceAlreadyExistsFault as error:
            owner = self.instance(name).get("DBClusterIdentifier")
            if owner != cluster:
                raise NotReady(
                    f"An RDS instance {name!r} exists and belongs to {owner or 'no cluster'}, not to {cluster!r}. "
                    "Delete or rename it."
                ) from error

    @told
    def remove_reader(self, name: str, *, cluster: str) -> None:
        """Deletes a reader; no harm when it is gone or going. Raises NotReady when it has become the writer."""
        found = {member.name: member for member in self.members(cluster)}.get(name)
        if found is None or found.status == "deleting":
            return
        if found.writer:
            raise NotReady(
                f"{name!r} is the writer of {cluster!r} by now and is not deleted. Fail over to another member "
                f"(`aws rds failover-db-cluster --db-cluster-identifier {cluster}`), then restore again."
            )
        self.conn.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True)

    @told
    def set_class(self, name: str, instance_class: str) -> None:
        """Changes the class of an instance at once, which restarts it."""
        self.conn.modify_db_instance(DBInstanceIdentifier=name, DBInstanceClass=instance_class, ApplyImmediately=True)

    @told
    def last_message(self, name: str) -> str:
        """What RDS says last about an instance (it keeps events for 14 days), in a sentence; empty without an event."""
        window = {"SourceIdentifier": name, "SourceType": "db-instance", "Duration": EVENTS_MINUTES}
        events = self.items("describe_events", "Events", **window)
        return f"RDS says last: {events[-1]['Message']}" if events else ""

    @staticmethod
    def available(cluster: str, *, within_s: float, every_s: float = 15.0) -> Wait:
        """Waits until every instance of the cluster is available; one that failed fails at once."""
        return Wait(
            waiter="members_available",
            arguments={"Filters": _of_cluster(cluster)},
            about=f"The Aurora cluster {cluster!r}",
            wanted="have all its instances available",
            states={"instances": "DBInstances[].[DBInstanceIdentifier, DBInstanceStatus]"},
            cure="Look at the events of its instances.",
            within_s=within_s,
            every_s=every_s,
        )

    @staticmethod
    def gone(name: str, *, within_s: float, every_s: float = 15.0) -> Wait:
        """Waits until an instance is deleted; one that fails to be deleted fails at once."""
        return Wait(
            waiter="instance_gone",
            arguments={"DBInstanceIdentifier": name},
            about=f"The RDS instance {name!r}",
            wanted="be deleted",
            states={"status": "DBInstances[0].DBInstanceStatus"},
            cure="Look at the instance's events; deletion protection keeps an instance, too.",
            within_s=within_s,
            every_s=every_s,
        )


def _of_cluster(name: str) -> list[dict[str, Any]]:
    return [{"Name": "db-cluster-id", "Values": [name]}]


_CURE = "Check the names below aws, aws.region and aws.connection of the service profile."
