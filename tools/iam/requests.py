"""What permission a request to AWS needs, from a line of the sandbox's record of calls.

Names of calls and of permissions are the same but for the services in SERVICES and the calls in OTHERS; the resource
is made from the names in the call. What is needed beside, such as tagging what is created, is added.
Source: https://docs.aws.amazon.com/service-authorization/latest/reference/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tools.iam.policies import FLEET_ROLES, Need

Call = Mapping[str, Any]
Resources = Mapping[str, Any]

# How requests are signed -> how IAM names the service.
SERVICES = {"monitoring": "cloudwatch", "tagging": "tag"}
# IAM cannot restrict who asks who he is.
FREE = frozenset({"sts:GetCallerIdentity"})


def role_of(call: Call) -> str | None:
    """The role that made a call: by its session, else by its client. None for tests and the sandbox itself."""
    if call.get("identity"):
        return str(call["identity"])
    return "airflow" if "Airflow/" in call["user_agent"] else None


def needs(call: Call, account: str) -> list[Need]:
    """The permissions that a call needs; empty for one that everybody may make."""
    region, given = call["region"], call.get("resources", {})
    service = SERVICES.get(call["service"], str(call["service"]))
    if service == "s3":
        return _s3(call)
    action = f"{service}:{call['action']}"
    if action in FREE:
        return []
    context = {"ec2:Region": region} if service == "ec2" else {}
    if service == "application-autoscaling":
        names = {"service-namespace": "ServiceNamespace", "scalable-dimension": "ScalableDimension"}
        context = {f"application-autoscaling:{key}": str(given[name]) for key, name in names.items() if name in given}
    if service == "ecs" and "cluster" in given:
        context = {"ecs:cluster": _arn("ecs", region, account, f"cluster/{_last(given['cluster'])}")}
    kept = tuple(sorted(context.items()))
    resources = [_arn(service, region, account, part) for part in _parts(action, given)]
    found = [Need(action, str(resource), kept) for resource in resources or ["*"]]
    return [*found, *_beside(call, action, given, region, account)]


def _parts(action: str, given: Resources) -> list[str]:
    make = ARNS.get(action)
    if make is None:
        return ["*"]
    try:
        return list(make(given))
    except KeyError as missing:  # no policy allows this one, so that it is told
        return [f"unknown: the record does not name {missing}"]


def _beside(call: Call, action: str, given: Resources, region: str, account: str) -> list[Need]:
    """What a request needs beside the permission of its own name."""
    tagged = "tags" in {str(name).lower() for name in call.get("parameters", ())}
    if action == "ecs:RunTask":
        roles = [
            Need("iam:PassRole", f"arn:aws:iam::{account}:role/{role}", (("iam:PassedToService", _ECS_TASKS),))
            for role in FLEET_ROLES
        ]
        task = _arn("ecs", region, account, f"task/{_last(given.get('cluster', 'default'))}/new")
        tags = [Need("ecs:TagResource", task, (("ecs:CreateAction", "RunTask"),))] if tagged else []
        return [*roles, *tags]
    if action == "rds:CreateDBInstance" and tagged:
        return [Need("rds:AddTagsToResource", _arn("rds", region, account, f"db:{given['db_instance_identifier']}"))]
    if action in ("cloudwatch:PutMetricAlarm", "cloudwatch:PutCompositeAlarm") and tagged:
        return [Need("cloudwatch:TagResource", _arn("cloudwatch", region, account, f"alarm:{given['AlarmName']}"))]
    if action == "scheduler:UpdateSchedule":
        context = (("iam:PassedToService", "scheduler.amazonaws.com"),)
        return [Need("iam:PassRole", f"arn:aws:iam::{account}:role/of-the-schedule", context)]
    return []


_ECS_TASKS = "ecs-tasks.amazonaws.com"


def _arn(service: str, region: str, account: str, part: str) -> str:
    return part if part.startswith("arn:") or part == "*" else f"arn:aws:{service}:{region}:{account}:{part}"


def _last(name: object) -> str:
    """The name in an ARN, or the name itself."""
    return str(name).rpartition("/")[2]


def _all(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def _group(given: Resources) -> list[str]:
    return [f"autoScalingGroup:any:autoScalingGroupName/{given['AutoScalingGroupName']}"]


def _alarms(given: Resources) -> list[str]:
    if "ResourceARN" in given:
        return _all(given["ResourceARN"])
    names = given.get("AlarmNames") or given.get("AlarmName")
    return [f"alarm:{name}" for name in _all(names)] if names else ["alarm:any"]  # a prefix may mean every alarm


def _services(given: Resources) -> list[str]:
    names = _all(given.get("services") or given.get("service") or [])
    return [f"service/{_last(given['cluster'])}/{_last(name)}" for name in names]


def _tasks(given: Resources) -> list[str]:
    names = _all(given.get("tasks") or given.get("task") or [])
    return [f"task/{_last(given['cluster'])}/{_last(name)}" for name in names]


def _task_definition(given: Resources) -> list[str]:
    name = _last(given["taskDefinition"])
    return [f"task-definition/{name if ':' in name else f'{name}:1'}"]


def _databases(given: Resources) -> list[str]:
    kinds = {"db_cluster_identifier": "cluster", "db_instance_identifier": "db"}  # as moto reads them
    return [f"{kind}:{given[key]}" for key, kind in kinds.items() if key in given] or ["db:any"]


def _schedule_group(given: Resources) -> str:
    """In the address when a schedule is read, in the body when it is put."""
    return str(given.get("group") or given.get("GroupName") or "default")


def _scalable_target(given: Resources) -> list[str]:
    return ["scalable-target/any"]  # its ARN holds an id that nobody knows beforehand


ARNS: Mapping[str, Callable[[Resources], Iterable[str]]] = {
    **{
        f"autoscaling:{action}": _group
        for action in (
            "CancelInstanceRefresh", "DeletePolicy", "DeleteScheduledAction", "PutScalingPolicy",
            "PutScheduledUpdateGroupAction", "ResumeProcesses", "SetInstanceProtection", "StartInstanceRefresh",
            "SuspendProcesses", "TerminateInstanceInAutoScalingGroup", "UpdateAutoScalingGroup",
        )
    },
    **{
        f"cloudwatch:{action}": _alarms
        for action in (
            "DeleteAlarms", "DescribeAlarmHistory", "DescribeAlarms", "DisableAlarmActions", "EnableAlarmActions",
            "ListTagsForResource", "PutCompositeAlarm", "PutMetricAlarm", "TagResource", "UntagResource",
        )
    },
    **{
        f"application-autoscaling:{action}": _scalable_target
        for action in (
            "DeleteScalingPolicy", "DeleteScheduledAction", "DeregisterScalableTarget", "PutScalingPolicy",
            "PutScheduledAction", "RegisterScalableTarget",
        )
    },
    **{f"rds:{action}": _databases for action in (
        "CreateDBInstance", "DeleteDBInstance", "DescribeDBClusters", "DescribeDBInstances", "ModifyDBInstance",
    )},
    "ecs:DescribeClusters": lambda given: [f"cluster/{_last(name)}" for name in _all(given.get("clusters", "default"))],
    "ecs:DescribeServices": _services,
    "ecs:UpdateService": _services,
    "ecs:DescribeTasks": _tasks,
    "ecs:StopTask": _tasks,
    "ecs:RunTask": _task_definition,
    "logs:GetLogEvents": lambda given: [f"log-group:{given['logGroupName']}:log-stream:{given['logStreamName']}"],
    "cloudformation:ListStackResources": lambda given: [f"stack/{given['StackName']}/any"],
    **{
        f"events:{action}": lambda given: [f"rule/{given.get('Name') or given.get('Rule')}"]
        for action in ("DescribeRule", "DisableRule", "EnableRule", "ListTargetsByRule")
    },
    **{
        f"scheduler:{action}": lambda given: [f"schedule/{_schedule_group(given)}/{_last(given['path'])}"]
        for action in ("GetSchedule", "UpdateSchedule")
    },
}  # fmt: skip

# Actions that IAM lets nobody restrict to a resource (conditions aside).
UNRESTRICTABLE = frozenset(
    {
        "application-autoscaling:DescribeScalableTargets", "application-autoscaling:DescribeScalingActivities",
        "application-autoscaling:DescribeScalingPolicies", "application-autoscaling:DescribeScheduledActions",
        "autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribeInstanceRefreshes",
        "autoscaling:DescribePolicies", "autoscaling:DescribeScalingActivities",
        "autoscaling:DescribeScheduledActions", "autoscaling:DescribeWarmPool",
        "cloudwatch:GetMetricData", "ec2:DescribeInstances", "ec2:DescribeLaunchTemplateVersions",
        "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ecs:DescribeTaskDefinition", "ecs:ListTasks",
        "elasticloadbalancing:DescribeListeners", "elasticloadbalancing:DescribeLoadBalancers",
        "elasticloadbalancing:DescribeTags", "elasticloadbalancing:DescribeTargetGroupAttributes",
        "elasticloadbalancing:DescribeTargetGroups", "elasticloadbalancing:DescribeTargetHealth",
        "events:ListRules", "pricing:GetProducts", "rds:DescribeEvents",
        "scheduler:ListSchedules", "tag:GetResources",
    }
)  # fmt: skip


def _s3(call: Call) -> list[Need]:
    """S3 is REST: method, address and query say what is done."""
    method = str(call["action"]).partition(" ")[0]
    bucket, _, key = str(call["resources"].get("path", "")).lstrip("/").partition("/")
    query = set(call.get("parameters", ()))
    if not key:
        if method in ("GET", "HEAD"):
            prefix = str(call["resources"].get("prefix", ""))
            return [Need("s3:ListBucket", f"arn:aws:s3:::{bucket}", (("s3:prefix", prefix),))]
        action = "DeleteObject" if "delete" in query else f"{method} of a bucket"
        return [Need(f"s3:{action}", f"arn:aws:s3:::{bucket}")]
    actions = {"GET": "GetObject", "HEAD": "GetObject", "PUT": "PutObject", "POST": "PutObject"}
    if method == "DELETE":
        actions[method] = "AbortMultipartUpload" if "uploadId" in query else "DeleteObject"
    return [Need(f"s3:{actions.get(method, method)}", f"arn:aws:s3:::{bucket}/{key}")]
