"""The IAM policies as files: that they are narrow, complete for any profile, and what they refuse."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from include.capacity.profile import ServiceProfile, load_profile
from include.pipeline.installation import SERVICES
from tools.errors import ToolError
from tools.iam.__main__ import main
from tools.iam.coverage import beyond_the_run, coverage
from tools.iam.policies import FOLDER, NAMES, Need, Policy, document, filled, parsed, placeholders, values_of
from tools.iam.requests import ARNS, UNRESTRICTABLE, needs, role_of
from tools.stack.layout import ROOT

ACCOUNT, REGION = "123456789012", "us-east-1"
LARGEST_MANAGED_POLICY = 6144  # characters, white space not counted
SILENCE = {"silence_alarms": ["checkout-*"], "ecs_services": ["shop/web"]}


@pytest.fixture
def profile() -> ServiceProfile:
    return load_profile(SERVICES / "checkout.yaml")


@pytest.fixture
def airflow(profile: ServiceProfile) -> Policy:
    return parsed("airflow", filled(document("airflow"), values_of(profile, "s3://bucket/runs", SILENCE)))


def call(service: str, action: str, parameters: tuple[str, ...] = (), /, **resources: Any) -> dict[str, Any]:
    """A line of the sandbox's record."""
    return {
        "service": service,
        "action": action,
        "region": REGION,
        "status": 200,
        "user_agent": "Boto3/1 Airflow/3.3.2 AmPP/9.39.0",
        "identity": "",
        "parameters": list(parameters),
        "resources": resources,
    }


def allowed(policy: Policy, request: dict[str, Any]) -> bool:
    wanted = needs(request, ACCOUNT)
    assert wanted, "a request that needs nothing proves nothing"
    return all(policy.allows(need) for need in wanted)


@pytest.mark.parametrize("name", NAMES)
def test_a_policy_is_narrow(name: str) -> None:
    content = document(name)
    sids = [statement["Sid"] for statement in content["Statement"]]
    assert len(sids) == len(set(sids))
    for statement in parsed(name, content).statements:
        assert not [action for action in statement.actions if "*" in action], f"{statement.sid}: name each action"
        if "*" in statement.resources:
            restrictable = sorted(set(statement.actions) - UNRESTRICTABLE)
            assert restrictable == [], f"{statement.sid}: IAM can restrict these to resources"
        for resource in set(statement.resources) - {"*"}:
            assert resource.startswith("arn:aws:"), resource
            assert placeholders(resource), f"{statement.sid}: {resource} is every account's"


@pytest.mark.parametrize("name", NAMES)
def test_each_action_is_one_that_requests_are_known_for(name: str) -> None:
    """Else a request would be compared with the wrong resource."""
    beside = {"iam:PassRole", "ecs:TagResource", "rds:AddTagsToResource"}
    s3 = {"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"}
    assert parsed(name, document(name)).actions - set(ARNS) - UNRESTRICTABLE - beside - s3 == set()


@pytest.mark.parametrize("name", NAMES)
def test_a_policy_filled_in_fits_into_a_managed_policy(name: str, profile: ServiceProfile) -> None:
    example = {key: [f"example-{key}"] for key in placeholders(document(name))}
    text = json.dumps(filled(document(name), {**example, **values_of(profile, "s3://bucket/runs", SILENCE)}))
    assert placeholders(text) == set()
    assert len("".join(text.split())) <= LARGEST_MANAGED_POLICY


def test_a_service_without_parts_gets_no_permission_for_them(profile: ServiceProfile) -> None:
    bare = values_of(profile, "/var/headroom", {"silence_alarms": [], "ecs_services": []})
    actions = parsed("airflow", filled(document("airflow"), bare)).actions
    assert not [action for action in actions if action.startswith("s3:")]
    assert not actions & {"ecs:UpdateService", "cloudwatch:DisableAlarmActions"}
    assert "autoscaling:UpdateAutoScalingGroup" in actions


def test_several_values_make_a_list(profile: ServiceProfile) -> None:
    content = filled(document("airflow"), values_of(profile, "s3://b", {"ecs_services": ["a/x", "b/y"]}))
    (services,) = [one for one in content["Statement"] if one["Sid"] == "BringEcsServicesToTheTestSizeAndBack"]
    assert services["Resource"] == [f"arn:aws:ecs:{REGION}:{ACCOUNT}:service/{name}" for name in ("a/x", "b/y")]
    (artefacts,) = [one for one in content["Statement"] if one["Sid"] == "KeepArtefacts"]
    assert artefacts["Resource"] == "arn:aws:s3:::b/*"


def test_an_unknown_placeholder_and_a_deny_are_told() -> None:
    with pytest.raises(ToolError, match="Nothing says what <nothing> is"):
        filled({"Statement": [{"Resource": "<nothing>"}]}, {})
    deny = {"Sid": "No", "Effect": "Deny", "Action": "a:B", "Resource": "*"}
    with pytest.raises(ToolError, match="No is more than actions"):
        parsed("x", {"Statement": [deny]})


@pytest.mark.parametrize(
    ("request_made", "well"),
    [
        (call("autoscaling", "UpdateAutoScalingGroup", AutoScalingGroupName="checkout-web"), True),
        (call("autoscaling", "UpdateAutoScalingGroup", AutoScalingGroupName="payments"), False),
        (call("autoscaling", "SuspendProcesses", AutoScalingGroupName="payments"), False),
        (call("autoscaling", "DescribeAutoScalingGroups", AutoScalingGroupNames=["payments"]), True),
        (call("autoscaling", "DeleteAutoScalingGroup", AutoScalingGroupName="checkout-web"), False),
        (call("monitoring", "DisableAlarmActions", AlarmNames=["checkout-hot", "checkout-slow"]), True),
        (call("monitoring", "DisableAlarmActions", AlarmNames=["checkout-hot", "billing"]), False),
        (call("monitoring", "DescribeAlarms", AlarmNamePrefix="x"), True),
        (call("ecs", "RunTask", ("tags",), cluster="headroom-load", taskDefinition="headroom-shard"), True),
        (call("ecs", "RunTask", cluster="production", taskDefinition="headroom-shard"), False),
        (call("ecs", "RunTask", cluster="headroom-load", taskDefinition="bitcoin:3"), False),
        (call("ecs", "StopTask", cluster="headroom-load", task=f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/x/1"), True),
        (call("ecs", "StopTask", cluster="production", task="1"), False),
        (call("ecs", "ListTasks", cluster=f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/headroom-load"), True),
        (call("ecs", "ListTasks", cluster="production"), False),
        (call("ecs", "UpdateService", cluster="shop", service="web"), True),
        (call("ecs", "UpdateService", cluster="shop", service="payments"), False),
        (
            call(
                "application-autoscaling",
                "RegisterScalableTarget",
                ServiceNamespace="ecs",
                ScalableDimension="ecs:service:DesiredCount",
            ),
            True,
        ),
        (
            call(
                "application-autoscaling",
                "RegisterScalableTarget",
                ServiceNamespace="rds",
                ScalableDimension="rds:cluster:ReadReplicaCount",
            ),
            False,
        ),
        (call("ec2", "DescribeSubnets"), True),
        ({**call("ec2", "DescribeSubnets"), "region": "eu-west-1"}, False),
        (call("logs", "GetLogEvents", logGroupName="/headroom/load", logStreamName="a"), True),
        (call("logs", "GetLogEvents", logGroupName="/payments", logStreamName="a"), False),
        (call("s3", "PUT /bucket/runs/checkout/x", path="/bucket/runs/checkout/x"), True),
        (call("s3", "PUT /bucket/others/x", path="/bucket/others/x"), False),
        (call("s3", "DELETE /bucket/runs/x", ("uploadId",), path="/bucket/runs/x"), False),
        (call("s3", "GET /bucket", ("prefix",), path="/bucket", prefix="runs/checkout"), True),
        (call("s3", "GET /bucket", ("prefix",), path="/bucket", prefix="others"), False),
        (call("s3", "DELETE /bucket", path="/bucket"), False),
    ],
    ids=lambda value: f"{value['service']}:{value['action'].split()[0]}" if isinstance(value, dict) else str(value),
)
def test_the_policy_of_airflow_allows_its_own_and_refuses_others(
    airflow: Policy, request_made: dict[str, Any], well: bool
) -> None:
    assert allowed(airflow, request_made) is well


def test_a_load_container_sees_its_own_service_only(profile: ServiceProfile) -> None:
    policy = parsed("load-task", filled(document("load-task"), values_of(profile, "s3://bucket/runs")))
    own, other = "/bucket/runs/checkout/run/report", "/bucket/runs/payments/run/report"
    for method, path, well in (("GET", own, True), ("PUT", own, True), ("PUT", other, False), ("DELETE", own, False)):
        assert allowed(policy, call("s3", f"{method} {path}", path=path)) is well, (method, path)


def test_who_is_asked_by_whom() -> None:
    assert role_of(call("sts", "GetCallerIdentity")) == "airflow"
    assert role_of({**call("s3", "GET /"), "identity": "load-task"}) == "load-task"
    assert role_of({**call("s3", "GET /"), "user_agent": "Boto3/1 headroom-sandbox"}) is None
    assert needs(call("sts", "GetCallerIdentity"), ACCOUNT) == []


def test_what_a_call_needs_beside_its_own_permission() -> None:
    run = call("ecs", "RunTask", ("tags",), cluster="headroom-load", taskDefinition="headroom-shard")
    assert {need.action for need in needs(run, ACCOUNT)} == {"ecs:RunTask", "ecs:TagResource", "iam:PassRole"}
    reader = call("rds", "CreateDBInstance", ("tags",), db_instance_identifier="a", db_cluster_identifier="b")
    assert {need.action for need in needs(reader, ACCOUNT)} == {"rds:CreateDBInstance", "rds:AddTagsToResource"}
    alarm = call("monitoring", "PutCompositeAlarm", ("Tags",), AlarmName="a")
    assert {need.action for need in needs(alarm, ACCOUNT)} == {"cloudwatch:PutCompositeAlarm", "cloudwatch:TagResource"}


def test_coverage_tells_what_is_refused_and_what_is_never_used(airflow: Policy) -> None:
    made = [
        call("autoscaling", "UpdateAutoScalingGroup", AutoScalingGroupName="checkout-web"),
        call("autoscaling", "DeletePolicy", AutoScalingGroupName="checkout-web"),
    ]
    found = coverage("airflow", [airflow], made, ACCOUNT)
    group = f"arn:aws:autoscaling:{REGION}:{ACCOUNT}:autoScalingGroup:any:autoScalingGroupName/checkout-web"
    assert found.refused == (Need("autoscaling:DeletePolicy", group),)
    assert "autoscaling:UpdateAutoScalingGroup" not in found.unused
    assert "ecs:RunTask" in found.unused


def test_what_is_allowed_beyond_the_run_has_a_test_and_a_reason() -> None:
    allowed_actions = parsed("airflow", document("airflow")).actions
    for action, entry in beyond_the_run().items():
        assert action in allowed_actions, f"{action}: nobody may do that; remove it"
        file, _, test = entry["test"].partition("::")
        names = [
            node.name for node in ast.walk(ast.parse((ROOT / file).read_text())) if isinstance(node, ast.FunctionDef)
        ]
        assert test in names, entry["test"]
        assert entry["reason"].endswith(".")


def test_the_command_prints_a_policy(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    profile = str(SERVICES / "checkout.yaml")
    assert main(["operators", profile, "--set", "aurora_clusters=shop,orders"]) == 0
    printed = json.loads(capsys.readouterr().out)
    (readers,) = [one for one in printed["Statement"] if one["Sid"] == "AddAndRemoveReaders"]
    assert f"arn:aws:rds:{REGION}:{ACCOUNT}:db:orders-*" in readers["Resource"]
    assert main(["airflow", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml" in capsys.readouterr().err


def test_every_policy_is_described() -> None:
    page = (ROOT / "docs" / "iam.md").read_text()
    assert {file.stem for file in FOLDER.glob("*.json")} == set(NAMES)
    assert [name for name in NAMES if f"iam/{name}.json" not in page] == []
