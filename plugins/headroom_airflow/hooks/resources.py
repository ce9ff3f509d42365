"""Hooks that find what belongs to a service: the resources of a CloudFormation stack, and everything with a tag."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headroom_airflow.hooks.aws_errors import told
from headroom_airflow.hooks.base import ServiceHook
from include.capacity.errors import NotReady


@dataclass(frozen=True, slots=True)
class StackResource:
    """`kind` is CloudFormation's type such as AWS::AutoScaling::AutoScalingGroup, `name` the physical id."""

    kind: str
    logical_id: str
    name: str
    status: str


class StackHook(ServiceHook):
    """Finds the resources of a CloudFormation stack; the provider's CloudFormationHook creates and deletes stacks.

    Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ListStackResources.html
    """

    service = "cloudformation"

    @told
    def resources(self, stack: str, kinds: Sequence[str] = ()) -> list[StackResource]:
        """Those of the given kinds, or all. Raises NotReady when there is no such stack."""
        try:
            found = self.items("list_stack_resources", "StackResourceSummaries", StackName=stack)
        except self.conn.exceptions.ClientError as error:
            answer = error.response["Error"]
            if answer["Code"] != "ValidationError" or "does not exist" not in answer["Message"]:
                raise
            raise NotReady(
                f"There is no CloudFormation stack {stack!r}. "
                "Check the names below aws, aws.region and aws.connection of the service profile."
            ) from error
        resources = [
            StackResource(
                entry["ResourceType"],
                entry["LogicalResourceId"],
                entry.get("PhysicalResourceId", ""),
                entry["ResourceStatus"],
            )
            for entry in found
        ]
        return [resource for resource in resources if not kinds or resource.kind in kinds]


class TaggedResourcesHook(ServiceHook):
    """Finds resources of any service by their tags.

    Source: https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/API_GetResources.html
    """

    service = "resourcegroupstaggingapi"

    @told
    def arns(self, tags: Mapping[str, str], kinds: Sequence[str] = ()) -> dict[str, dict[str, str]]:
        """ARN -> its tags, of all resources that carry every one of `tags`.

        Args:
            kinds: such as "ecs:service" or "elasticloadbalancing:targetgroup"; all kinds if empty. Auto Scaling groups
                are not among them: AutoScalingHook.groups_tagged finds those.
        """
        filters = [{"Key": key, "Values": [value]} for key, value in tags.items()]
        which = {"ResourceTypeFilters": list(kinds)} if kinds else {}
        found = self.items("get_resources", "ResourceTagMappingList", TagFilters=filters, **which)
        return {entry["ResourceARN"]: {tag["Key"]: tag["Value"] for tag in entry.get("Tags", [])} for entry in found}
