"""The task check refuses whatever is wrong before anything is changed, and says which file, key and cure."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from include.capacity.errors import HeadroomError, NotReady
from include.environment.journal import JOURNAL
from include.pipeline import environment_lock, tasks
from include.pipeline.environment import Environment
from include.pipeline.environment_lock import lock_path, take
from include.pipeline.fleet import running_shards, shard_tags
from include.pipeline.installation import SERVICES
from include.pipeline.run_folder import RunFolder
from include.pipeline.run_plan import RunPlan
from include.store.artefacts import ArtefactStore
from tests.integration.pipeline.conftest import OTHER_RUN, instance_processes, plan_with, settings_of
from tests.integration.sandbox.conftest import GROUP, RunningSandbox, free_port, wait_for

pytestmark = [pytest.mark.timeout(120)]

Start = Callable[[RunPlan], RunFolder]


def refusal(started: Start, plan: RunPlan) -> str:
    """What the task check says; it must fail, and leave no trace in the environment."""
    folder = started(plan)
    with pytest.raises((AirflowFailException, HeadroomError)) as caught:
        tasks.check(plan.service)
    assert folder.store.names(JOURNAL) == []
    text = str(caught.value)
    print(text)
    return text


def test_a_good_profile_passes(sandbox: RunningSandbox, started: Start) -> None:
    plan = plan_with({})
    before = settings_of(Environment.of(plan.profile))
    folder = started(plan)
    assert tasks.check("checkout")["target"] == sandbox.state["load_balancer_url"]
    assert folder.notes()["before"]["sizes"]["DesiredCapacity"] == 1
    assert settings_of(Environment.of(plan.profile)) == before


MISSING = [
    ("aws.autoscaling_group", "nope", "Auto Scaling group 'nope'"),
    ("aws.load_balancer", "nope", "load balancer 'nope'"),
    ("aws.target_group", "nope", "target group 'nope'"),
    ("load.fleet.subnets", ["nope"], "subnet tagged Name='nope'"),
    ("load.fleet.security_groups", ["nope"], "security group tagged Name='nope'"),
    ("load.fleet.cluster", "nope", "ECS cluster 'nope'"),
    ("load.fleet.task_definition", "nope", "task definition 'nope'"),
    ("load.fleet.container", "nope", "no container 'nope', only shard"),
]


@pytest.mark.parametrize(("key", "value", "told"), MISSING, ids=[key for key, _, _ in MISSING])
def test_a_missing_part_is_named_with_its_key(
    sandbox: RunningSandbox, started: Start, key: str, value: Any, told: str
) -> None:
    text = refusal(started, plan_with({key: value}))
    assert told in text
    assert f"Check {key}" in text


def test_a_connection_to_another_account_is_refused(sandbox: RunningSandbox, started: Start) -> None:
    text = refusal(started, plan_with({"aws.account": "999999999999"}))
    assert "leads to account 123456789012" in text
    assert "aws.account of the service profile allows only 999999999999" in text


@pytest.mark.parametrize("word", ["connection", "endpoint"])
def test_aws_that_does_not_answer_is_named(no_aws: str, started: Start, word: str, monkeypatch: Any) -> None:
    monkeypatch.setenv("AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT", "40")
    text = refusal(started, plan_with({}))
    assert no_aws in text
    assert "does not answer" in text
    assert word in text


# -- profile ----------------------------------------------------------------------------------------------------------

PROFILE = (SERVICES / "checkout.yaml").read_text(encoding="utf-8")
BAD_PROFILES = [
    ("wrong key", "  probe: 14 s", "  prob: 14 s", ("search.prob: is no known key.", "Did you mean 'probe'?")),
    ("unknown unit", "  probe: 14 s", "  probe: 14 fortnights", ("search.probe", "14 fortnights", "min")),
    ("no YAML", "search:\n", "search: [\n", ("is not YAML", "line ")),
    ("contradiction", "  max_rate: 800 tps", "  max_rate: 80 tps", ("search.upper", "guard.max_rate", "80 tps")),
]


@pytest.mark.parametrize(
    ("text", "wrong", "told"), [entry[1:] for entry in BAD_PROFILES], ids=[entry[0] for entry in BAD_PROFILES]
)
def test_a_wrong_profile_is_told_with_file_key_and_cure(
    root: ArtefactStore, started: Start, tmp_path: Path, text: str, wrong: str, told: tuple[str, ...]
) -> None:
    file = tmp_path / "shop.yaml"
    assert text in PROFILE
    file.write_text(PROFILE.replace(text, wrong), encoding="utf-8")
    started(plan_with({}))
    with pytest.raises(AirflowFailException) as caught:
        tasks.resolve_plan(str(file), "weekly")
    print(caught.value)
    for part in (str(file), *told):
        assert part in str(caught.value)


def test_a_profile_that_is_gone_is_told(root: ArtefactStore, started: Start) -> None:
    started(plan_with({}))
    with pytest.raises(AirflowFailException, match=r"include/services/nope\.yaml.*cannot be read"):
        tasks.resolve_plan("include/services/nope.yaml", "weekly")


# -- plan and target --------------------------------------------------------------------------------------------------

PLAN = Path("include/jmeter/checkout.jmx").read_text(encoding="utf-8")
BAD_PLANS = [
    ("not XML", "this is no plan", "XML"),
    ("cut", PLAN[: len(PLAN) // 2], "XML"),
    (
        "unknown element",
        PLAN.replace("<CSVDataSet ", "<NoSuchThing ").replace("</CSVDataSet>", "</NoSuchThing>"),
        "NoSuchThing",
    ),
    ("missing CSV", PLAN.replace("words.csv", "no-words.csv"), "no-words.csv"),
]


@pytest.mark.parametrize(("text", "told"), [entry[1:] for entry in BAD_PLANS], ids=[entry[0] for entry in BAD_PLANS])
def test_a_plan_that_does_not_load_is_named_with_the_place(
    sandbox: RunningSandbox, started: Start, tmp_path: Path, text: str, told: str
) -> None:
    file = tmp_path / "shop.jmx"
    file.write_text(text, encoding="utf-8")
    for name in ("products.csv", "words.csv", "carts.csv"):
        (tmp_path / name).write_bytes((Path("include/jmeter") / name).read_bytes())
    said = refusal(started, plan_with({"load.plan": str(file)}))
    assert str(file) in said
    assert told in said


def test_a_missing_plan_is_named(sandbox: RunningSandbox, started: Start) -> None:
    assert "include/jmeter/nope.jmx" in refusal(started, plan_with({"load.plan": "include/jmeter/nope.jmx"}))


def test_a_target_off_the_allow_list_is_refused(sandbox: RunningSandbox, started: Start) -> None:
    text = refusal(started, plan_with({"target.allow_hosts": ["shop.example.com"]}))
    assert "127.0.0.1" in text
    assert "allow_hosts" in text


def test_a_target_that_is_down_is_named(sandbox: RunningSandbox, started: Start) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    text = refusal(started, plan_with({"target.url": url}))
    assert f"{url}/health" in text
    assert "target.url" in text
    assert "refused" in text


def test_a_wrong_health_path_is_named(sandbox: RunningSandbox, started: Start) -> None:
    text = refusal(started, plan_with({"target.health_path": "/nope"}))
    assert "/nope answers with status 404" in text
    assert "target.health_path" in text


@pytest.fixture
def redirecting() -> Iterator[str]:
    class Redirect(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", "http://login.example.com/sign-in")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Nothing to read in there."""

    server = HTTPServer(("127.0.0.1", 0), Redirect)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_redirect_to_a_foreign_host_is_refused(sandbox: RunningSandbox, started: Start, redirecting: str) -> None:
    text = refusal(started, plan_with({"target.url": redirecting}))
    assert "redirects (status 302) to http://login.example.com/sign-in" in text
    assert "login.example.com is not on target.allow_hosts" in text
    assert "target.health_path" in text


def test_unhealthy_instances_are_named(sandbox: RunningSandbox, started: Start, group_at_rest: Any) -> None:
    group_at_rest.suspend_processes(AutoScalingGroupName=GROUP, ScalingProcesses=["HealthCheck", "ReplaceUnhealthy"])
    ((instance, pid),) = instance_processes(sandbox).items()
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_for("an unhealthy target", lambda: sandbox.target_states() == ["unhealthy"])
        text = refusal(started, plan_with({}))
    finally:
        os.kill(pid, signal.SIGCONT)
    assert f"{instance} is unhealthy" in text
    assert "aws.target_group" in text
    wait_for("a healthy target", lambda: sandbox.target_states() == ["healthy"])


# -- guard rails ------------------------------------------------------------------------------------------------------


def test_a_run_that_would_meet_a_blackout_is_refused_with_the_next_free_time(
    sandbox: RunningSandbox, started: Start
) -> None:
    soon = (datetime.now(UTC) + timedelta(minutes=2)).strftime("%H:%M")
    until = (datetime.now(UTC) + timedelta(minutes=62)).strftime("%H:%M")
    text = refusal(started, plan_with({"blackouts": [{"reason": "the sale", "daily": f"{soon} - {until}"}]}))
    assert "would meet the blackout 'the sale' (blackouts[0]: " in text
    assert f"{until} UTC on (" in text


def test_a_run_that_may_cost_too_much_is_refused_with_the_estimate(sandbox: RunningSandbox, started: Start) -> None:
    text = refusal(started, plan_with({"budget": {"per_run": 0.01}}))
    assert "budget.per_run of the service profile allows 0.01 USD" in text
    assert "2 load shards at 0.0494 USD an hour and 1 added instance at 0.0416" in text
    assert started(plan_with({"budget": {"per_run": 5}}))
    assert tasks.check("checkout")["cost"][1] == "Budget of the run: 5.00 USD."


def test_an_address_off_the_list_is_refused(sandbox: RunningSandbox, started: Start) -> None:
    text = refusal(started, plan_with({"target.allow_addresses": ["10.0.0.0/8"]}))
    assert "127.0.0.1 resolves to 127.0.0.1, and target.allow_addresses of the service profile allows only" in text


def test_what_the_lists_of_profile_and_installation_do_not_allow_is_refused(
    sandbox: RunningSandbox, started: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = refusal(started, plan_with({"guard.allow": {"resources": ["*-web"], "tags": {"capacity-test": "allowed"}}}))
    assert "'checkout' (aws.load_balancer) is not on guard.allow.resources of the service profile (*-web)" in text
    assert "The target group 'checkout' (aws.target_group) has no such tag, and guard.allow.tags" in text
    assert "The Auto Scaling group 'checkout-web' (aws.autoscaling_group) has no such tag" in text
    rails = tmp_path / "rails.yaml"
    monkeypatch.setenv("HEADROOM_GUARD_RAILS", str(rails))
    assert f"{rails}: cannot be read" in refusal(started, plan_with({}))
    rails.write_text("schema: 1\nregions: [eu-*]\nhosts: [shop.staging]\nmax_rate: 500 tps\n")
    text = refusal(started, plan_with({}))
    assert f"'us-east-1' (aws.region) is not on regions of {rails} (eu-*)" in text
    assert f"guard.max_rate of the service profile is 800 tps, and max_rate of {rails} allows 500" in text
    assert f"'127.0.0.1' (the target or the plan) is not on hosts of {rails} (shop.staging)" in text


def test_tagged_resources_pass(sandbox: RunningSandbox, started: Start) -> None:
    groups, balancers = sandbox.client("autoscaling"), sandbox.client("elbv2")
    arns = [
        balancers.describe_load_balancers(Names=["checkout"])["LoadBalancers"][0]["LoadBalancerArn"],
        balancers.describe_target_groups(Names=["checkout"])["TargetGroups"][0]["TargetGroupArn"],
    ]
    tag = {"Key": "capacity-test", "Value": "allowed"}
    of_group = {"ResourceId": GROUP, "ResourceType": "auto-scaling-group", "PropagateAtLaunch": False, **tag}
    groups.create_or_update_tags(Tags=[of_group])
    balancers.add_tags(ResourceArns=arns, Tags=[tag])
    started(plan_with({"guard.allow": {"tags": {"capacity-test": "allow*"}}}))
    assert tasks.check("checkout")
    groups.delete_tags(Tags=[of_group])
    balancers.remove_tags(ResourceArns=arns, TagKeys=["capacity-test"])


# -- somebody else ----------------------------------------------------------------------------------------------------


def test_another_runs_lock_is_told_with_the_way_out(
    sandbox: RunningSandbox, started: Start, root: ArtefactStore
) -> None:
    plan = plan_with({})
    take(Environment.of(plan.profile), root, OTHER_RUN)
    text = refusal(started, plan)
    assert "held by run 'manual__other'" in text
    assert "python -m include.pipeline.restore checkout 'manual__other'" in text


def test_a_run_waits_for_another_one_and_goes_on_when_it_is_over(
    sandbox: RunningSandbox, started: Start, root: ArtefactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment_lock, "LOOK_S", 0.2)
    plan = plan_with({"guard.wait_for_environment": "1 min"})
    environment = Environment.of(plan.profile)
    take(environment, root, OTHER_RUN)
    freed_at: list[float] = []

    def free() -> None:
        freed_at.append(time.monotonic())
        environment_lock.release(environment, root, OTHER_RUN)

    timer = threading.Timer(2.0, free)
    timer.start()
    started(plan)
    assert tasks.check("checkout")
    assert freed_at
    timer.join()
    take(environment, root, OTHER_RUN)
    text = refusal(started, plan_with({"guard.wait_for_environment": "1 s"}))
    assert "held by run 'manual__other'" in text
    assert "(Waited for 1 s.)" in text
    with pytest.raises(AirflowFailException, match="held by run 'manual__other'"):
        tasks.journal("checkout")
    assert environment_lock.claim_of(environment, root) == OTHER_RUN


def test_an_unreadable_lock_is_told_with_its_place(
    sandbox: RunningSandbox, started: Start, root: ArtefactStore
) -> None:
    plan = plan_with({})
    path = lock_path(Environment.of(plan.profile))
    root.create(path, b'{"run_id": "man')
    text = refusal(started, plan)
    assert f"{root.url}/{path}" in text
    assert "delete this object" in text


def test_another_runs_shards_are_named(sandbox: RunningSandbox, started: Start) -> None:
    ecs, resources = sandbox.client("ecs"), sandbox.state["resources"]
    task = ecs.run_task(
        cluster="headroom-load",
        taskDefinition="headroom-shard",
        launchType="FARGATE",
        networkConfiguration={
            "awsvpcConfiguration": {"subnets": resources["subnets"], "securityGroups": [resources["security_group"]]}
        },
        overrides={"containerOverrides": [{"name": "shard", "command": ["sleep", "60"]}]},
        tags=[{"key": key, "value": value} for key, value in shard_tags("checkout", "manual__other").items()],
    )["tasks"][0]["taskArn"]
    plan = plan_with({})
    try:
        text = refusal(started, plan)
    finally:
        ecs.stop_task(cluster="headroom-load", task=task)
    assert f"{task} (run 'manual__other')" in text
    assert "aws ecs stop-task" in text
    wait_for("the end of the task", lambda: not running_shards(plan.profile))


def test_a_group_in_transition_is_refused(sandbox: RunningSandbox, started: Start, group_at_rest: Any) -> None:
    group_at_rest.suspend_processes(AutoScalingGroupName=GROUP, ScalingProcesses=["Launch"])
    group_at_rest.set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=2)
    text = refusal(started, plan_with({}))
    assert "checkout-web is changing its size right now: 1 instances, desired 2" in text


def test_a_group_that_cannot_grow_is_refused(sandbox: RunningSandbox, started: Start, group_at_rest: Any) -> None:
    group_at_rest.suspend_processes(AutoScalingGroupName=GROUP, ScalingProcesses=["Launch"])
    text = refusal(started, plan_with({}))
    assert "Launch of checkout-web is suspended" in text
    assert "aws autoscaling resume-processes --auto-scaling-group-name checkout-web" in text
    started(plan_with({"prescale.instances": 1}))
    assert tasks.check("checkout")  # the present size needs no launch


# -- Airflow ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("AIRFLOW__CORE__PARALLELISM", "3", ("[core] parallelism: is 3", "2 shards need 4 slots", "load.fleet.shards")),
        (
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT",
            "300",
            ("[scheduler] task_instance_heartbeat_timeout: is 300 s", "guard.idle_limit"),
        ),
    ],
)
def test_settings_of_airflow_that_cannot_carry_the_run_are_named(
    sandbox: RunningSandbox, started: Start, monkeypatch: Any, variable: str, value: str, told: tuple[str, ...]
) -> None:
    monkeypatch.setenv(variable, value)
    text = refusal(started, plan_with({}))
    for part in told:
        assert part in text


def test_a_run_without_a_plan_says_so(root: ArtefactStore, started: Start) -> None:
    folder = started(plan_with({}))
    folder.store.delete("plan.json")
    with pytest.raises(AirflowFailException, match=r"plan\.json.*Did resolve_plan succeed"):
        tasks.check("checkout")


def test_what_a_retry_may_cure_stays_retryable(no_aws: str, started: Start, monkeypatch: Any) -> None:
    monkeypatch.setenv("AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT", "40")
    started(plan_with({}))
    with pytest.raises(NotReady):
        tasks.check("checkout")


def test_a_production_target_needs_permission_and_an_approval(sandbox: RunningSandbox, started: Start) -> None:
    changes = {"production": True, "schedule": None}
    assert "the Param allow_production of this run is not" in refusal(started, plan_with(changes))
    permitted = replace(plan_with(changes), allow_production=True)
    assert "this DAG has no task approve" in refusal(started, permitted)
    folder = started(permitted)
    context = tasks.get_current_context()
    context["dag"].task_ids.append("approve")
    assert tasks.check("checkout")
    for answer in (None, {"chosen_options": ["Reject"]}):
        context["ti"].xcom_pull = lambda task_ids, answer=answer: answer
        with pytest.raises(AirflowFailException, match="nobody has answered the task approve with 'Approve'"):
            tasks.journal("checkout")
        assert folder.store.names(JOURNAL) == []
    context["ti"].xcom_pull = lambda task_ids: {"chosen_options": ["Approve"], "responded_by_user": {"name": "anna"}}
    tasks.journal("checkout")
    assert folder.notes()["approved_by"] == "anna"
    assert tasks.restore("checkout")["equal"]
