"""Links from a task to what it works on in the AWS console."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from airflow.providers.amazon.aws.links.base_aws import BASE_AWS_CONSOLE_LINK, BaseAwsLink


class ConsoleLink(BaseAwsLink):
    """Names of resources may hold characters that mean something in an address."""

    name = "AWS console"
    key = "headroom_console"
    format_str = BASE_AWS_CONSOLE_LINK

    def format_link(self, **kwargs: Any) -> str:
        address: str = super().format_link(
            **{key: value if key == "aws_domain" else quote(str(value), safe="") for key, value in kwargs.items()}
        )
        return address


class AutoScalingGroupLink(ConsoleLink):
    name = "Auto Scaling group"
    key = "headroom_autoscaling_group"
    format_str = BASE_AWS_CONSOLE_LINK + (
        "/ec2/home?region={region_name}#AutoScalingGroupDetails:id={group_name};view=activity"
    )


class EcsServiceLink(ConsoleLink):
    name = "ECS service"
    key = "headroom_ecs_service"
    format_str = BASE_AWS_CONSOLE_LINK + (
        "/ecs/v2/clusters/{cluster}/services/{service}/deployments?region={region_name}"
    )


class AlarmsLink(ConsoleLink):
    name = "CloudWatch alarms"
    key = "headroom_alarms"
    format_str = BASE_AWS_CONSOLE_LINK + "/cloudwatch/home?region={region_name}#alarmsV2:?search={search}"


class AuroraClusterLink(ConsoleLink):
    name = "Aurora cluster"
    key = "headroom_aurora_cluster"
    format_str = BASE_AWS_CONSOLE_LINK + "/rds/home?region={region_name}#database:id={cluster};is-cluster=true"


class ScheduleLink(ConsoleLink):
    name = "EventBridge schedule"
    key = "headroom_schedule"
    format_str = BASE_AWS_CONSOLE_LINK + "/scheduler/home?region={region_name}#schedules/{group}/{schedule}"
