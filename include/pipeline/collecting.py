"""What AWS knows about the run's windows: scaling activities and CloudWatch series, stored as they came."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from headroom_airflow.hooks.cloudwatch import CloudWatchHook, MetricQuery
from include.capacity.profile import ServiceProfile
from include.capacity.validity.series import Presence
from include.pipeline.environment import Environment
from include.pipeline.run_folder import COLLECTED_PATH, RunFolder
from include.pipeline.run_plan import RunPlan

SERIES: Mapping[str, Presence] = {
    "cpu_percent": "always",
    "requests": "under load",
    "response_time_s": "under load",
    "errors_5xx": "when it happens",
    "healthy_hosts": "always",
}
"""Names of the series, and when CloudWatch has points of them."""


def collect(plan: RunPlan, folder: RunFolder, environment: Environment, now: datetime | None = None) -> dict[str, int]:
    """Stores activities and series from the run's start until now; returns how many points each series has."""
    period = timedelta(seconds=plan.profile.aws.metric_period_s)
    start = datetime.fromisoformat(plan.started_at) - period
    end = (now or datetime.now(UTC)) + period
    activities = environment.groups.activities(plan.profile.aws.autoscaling_group, start)
    queries = metric_queries(plan.profile, environment)
    hook = CloudWatchHook(aws_conn_id=plan.profile.aws.connection, region_name=plan.profile.aws.region)
    series = hook.series(queries, start, end)
    folder.store.write_json(
        COLLECTED_PATH,
        {
            "activities": [_plain(activity) for activity in activities],
            "series": {name: [[at.isoformat(), value] for at, value in points] for name, points in series.items()},
        },
    )
    return {"activities": len(activities)} | {name: len(points) for name, points in series.items()}


def metric_queries(profile: ServiceProfile, environment: Environment) -> list[MetricQuery]:
    """The series that tell how the service fared: CPU, requests, latency, errors, healthy hosts.

    Source: https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html
    """
    aws, period_s = profile.aws, round(profile.aws.metric_period_s)
    target_group = environment.balancers.target_group_arn(aws.target_group).rsplit(":", 1)[1]
    balancer_arn = environment.balancers.load_balancer(aws.load_balancer)["LoadBalancerArn"]
    balancer = {"TargetGroup": target_group, "LoadBalancer": balancer_arn.split("loadbalancer/", 1)[1]}
    group = {"AutoScalingGroupName": aws.autoscaling_group}
    alb = "AWS/ApplicationELB"
    return [
        MetricQuery("cpu_percent", "AWS/EC2", "CPUUtilization", group, "Average", period_s),
        MetricQuery("requests", alb, "RequestCount", balancer, "Sum", period_s),
        MetricQuery("response_time_s", alb, "TargetResponseTime", balancer, "Average", period_s),
        MetricQuery("errors_5xx", alb, "HTTPCode_Target_5XX_Count", balancer, "Sum", period_s),
        MetricQuery("healthy_hosts", alb, "HealthyHostCount", balancer, "Average", period_s),
    ]


def _plain(activity: dict[str, Any]) -> dict[str, Any]:
    return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in activity.items()}
