"""Hook for CloudWatch metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from headroom_airflow.hooks.aws_errors import told
from headroom_airflow.hooks.base import ServiceHook


@dataclass(frozen=True, slots=True)
class MetricQuery:
    """One series: `statistic` of `metric` over `period_s`; `name` is what the caller calls it."""

    name: str
    namespace: str
    metric: str
    dimensions: Mapping[str, str]
    statistic: str
    period_s: int


class CloudWatchHook(ServiceHook):
    """Interact with CloudWatch metrics.

    Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html
    """

    service = "cloudwatch"

    @told
    def series(
        self, queries: Sequence[MetricQuery], start: datetime, end: datetime
    ) -> dict[str, list[tuple[datetime, float]]]:
        """Query name -> (timestamp, value) pairs, oldest first; an empty list when CloudWatch has no data.

        GetMetricData takes at most 500 queries a call.
        """
        found: dict[str, list[tuple[datetime, float]]] = {query.name: [] for query in queries}
        for offset in range(0, len(queries), 500):
            part = queries[offset : offset + 500]
            request = [_metric_data_query(f"q{index}", query) for index, query in enumerate(part)]
            pages = self.conn.get_paginator("get_metric_data").paginate(
                MetricDataQueries=request, StartTime=start, EndTime=end, ScanBy="TimestampAscending"
            )
            for page in pages:
                for result in page["MetricDataResults"]:
                    name = part[int(result["Id"][1:])].name
                    found[name] += list(zip(result["Timestamps"], result["Values"], strict=True))
        return {name: sorted(points) for name, points in found.items()}


def _metric_data_query(identifier: str, query: MetricQuery) -> dict[str, Any]:
    dimensions = [{"Name": name, "Value": value} for name, value in query.dimensions.items()]
    return {
        "Id": identifier,
        "MetricStat": {
            "Metric": {"Namespace": query.namespace, "MetricName": query.metric, "Dimensions": dimensions},
            "Period": query.period_s,
            "Stat": query.statistic,
        },
    }
