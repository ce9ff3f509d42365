"""Least privilege: the calls of whole runs against the policy of Airflow's role, and what that allows beside."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.capacity.profile import load_profile
from include.pipeline.installation import SERVICES
from tests.system.conftest import Stack
from tools.iam.coverage import beyond_the_run, calls_in, coverage
from tools.iam.policies import document, filled, parsed, values_of

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]
# What the example does not have, so that all statements of the policy are looked at.
MORE = {"silence_alarms": ["checkout-*"], "ecs_services": ["checkout/web"]}


@pytest.fixture
def calls_of_runs(stack: Stack) -> Path:
    """The record of all calls since the sandbox is up. The tests of runs are among them; alone, this makes one."""
    log = stack.options.sandbox / "logs" / "aws-calls.jsonl"
    if not any(call["action"] == "RunTask" for call in calls_in(log)):
        stack.wait(stack.trigger())
    return log


def test_a_run_may_do_what_it_does_and_no_more(calls_of_runs: Path) -> None:
    profile = load_profile(SERVICES / "checkout.yaml")
    values = values_of(profile, "s3://headroom-artefacts/runs")
    values |= {name: example for name, example in MORE.items() if not values[name]}
    policy = parsed("airflow", filled(document("airflow"), values))
    calls = calls_in(calls_of_runs)
    found = coverage("airflow", [policy], calls, profile.aws.account)
    elsewhere = sorted(set(found.unused) & set(beyond_the_run()))
    print(
        f"airflow.json: {len(found.allowed)} actions allowed, {len(found.used & found.allowed)} used by runs "
        f"({sum(1 for call in calls if 'Airflow/' in call['user_agent'])} calls), {len(elsewhere)} used beyond them."
    )
    assert list(map(str, found.refused)) == [], "a run does this: allow it in docs/iam/airflow.json"
    unknown = sorted(set(found.unused) - set(elsewhere))
    assert unknown == [], "no run does this: remove it from docs/iam/airflow.json, or tell why (beyond-the-run.yaml)"
