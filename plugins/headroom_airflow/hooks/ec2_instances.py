"""Hook for the instances behind a group: what they are, and which ones carry a tag."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headroom_airflow.hooks.aws_errors import told
from headroom_airflow.hooks.base import ServiceHook, chunks
from include.capacity.errors import NotReady

DESCRIBED_AT_ONCE = 100
ALIVE = ("pending", "running", "stopping", "stopped")


class InstancesHook(ServiceHook):
    """Describes EC2 instances and launch templates.

    Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstances.html
    """

    service = "ec2"

    @told
    def instances(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Id -> description (image, type, launch time, tags …). Ids that are gone are left out."""
        found: dict[str, dict[str, Any]] = {}
        for part in chunks(ids, DESCRIBED_AT_ONCE):
            found |= self._described([{"Name": "instance-id", "Values": part}])
        return found

    @told
    def tagged(self, tags: Mapping[str, str], states: Sequence[str] = ALIVE) -> dict[str, dict[str, Any]]:
        """Id -> description of the instances that carry every one of the tags and are in one of the states."""
        filters = [{"Name": f"tag:{key}", "Values": [value]} for key, value in tags.items()]
        return self._described([*filters, {"Name": "instance-state-name", "Values": list(states)}])

    def _described(self, filters: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        reservations = self.items("describe_instances", "Reservations", Filters=filters)
        return {
            instance["InstanceId"]: dict(instance)
            for reservation in reservations
            for instance in reservation["Instances"]
        }

    @told
    def launch_template(self, template: str, version: str = "$Default") -> dict[str, Any]:
        """The data of a launch template's version (image, type …); `template` is an id (lt-…) or a name."""
        key = "LaunchTemplateId" if template.startswith("lt-") else "LaunchTemplateName"
        found = self.conn.describe_launch_template_versions(**{key: template}, Versions=[version])
        versions = found["LaunchTemplateVersions"]
        if not versions:
            raise NotReady(f"The launch template {template!r} has no version {version}. Check the group's template.")
        return {"version": versions[0]["VersionNumber"], **versions[0]["LaunchTemplateData"]}
