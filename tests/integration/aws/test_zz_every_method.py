"""The last of this folder: the tests before it have called every method of every hook, and were allowed to."""

from __future__ import annotations

from typing import Any

import pytest

from include.capacity.profile import load_profile
from include.pipeline.installation import SERVICES
from tests.integration.aws.conftest import FOLDER, hook_classes, public_methods
from tests.integration.sandbox.conftest import GROUP, RunningSandbox
from tools.iam.coverage import beyond_the_run, calls_in, coverage
from tools.iam.policies import Policy, document, filled, parsed, values_of

pytestmark = pytest.mark.system
ACCOUNT = "123456789012"
# What the tests of this folder work on.
MORE = {
    "ecs_services": ["headroom-load/web"],
    "service_clusters": ["headroom-load"],
    "silence_alarms": ["headroom-checkout-*"],
    "aurora_clusters": ["shop"],
    "rules": ["nightly"],
    "schedules": ["default/nightly", "default/batch"],
    "schedule_roles": ["of-the-schedule"],
    "stacks": ["shop"],
}


@pytest.fixture(autouse=True)
def whole_folder(request: pytest.FixtureRequest) -> None:
    if not set(FOLDER.glob("test_*.py")) <= {item.path for item in request.session.items}:
        pytest.skip("says something only after all tests of its folder")


@pytest.fixture
def policies() -> dict[str, Policy]:
    profile = load_profile(SERVICES / "checkout.yaml")
    assert profile.aws.autoscaling_group == GROUP
    values = values_of(profile, "s3://headroom-artefacts/runs", MORE)
    names = ("airflow", "load-task", "rollout", "operators")
    return {name: parsed(name, filled(document(name), values)) for name in names}


@pytest.fixture
def calls(sandbox: RunningSandbox) -> list[dict[str, Any]]:
    """All but those about "other" things, as the tests call what does not exist."""
    made = calls_in(sandbox.folder / "logs" / "aws-calls.jsonl")
    return [call for call in made if "other" not in str(call["resources"])]


def test_every_public_method_of_every_hook_has_run(called: set[tuple[str, str]]) -> None:
    missing = {
        (kind.__name__, name)
        for kind in hook_classes()
        for name in public_methods(kind) & set(vars(kind))
        if (kind.__name__, name) not in called
    }
    assert missing == set()


@pytest.mark.parametrize(
    ("role", "names"),
    [("load-task", ["load-task"]), ("rollout", ["rollout"]), ("operators", ["operators", "airflow"])],
    ids=["load task", "rollout", "operators"],
)
def test_a_role_may_do_what_it_does_and_nothing_else(
    role: str, names: list[str], policies: dict[str, Policy], calls: list[dict[str, Any]]
) -> None:
    found = coverage(role, [policies[name] for name in names], calls, ACCOUNT)
    assert list(map(str, found.refused)) == [], f"add it to docs/iam/{names[0]}.json"
    unused = sorted(policies[names[0]].actions - found.used)
    print(f"{names[0]}.json: {len(policies[names[0]].actions)} actions allowed, {len(unused)} of them never used")
    assert unused == [], f"no test here does it: remove it from docs/iam/{names[0]}.json"


def test_what_is_named_beyond_the_run_is_done_here(policies: dict[str, Policy], calls: list[dict[str, Any]]) -> None:
    done = coverage("airflow", [policies["airflow"]], calls, ACCOUNT)
    assert list(map(str, done.refused)) == []
    by_operators = coverage("operators", [policies["airflow"]], calls, ACCOUNT)
    named = {action for action, entry in beyond_the_run().items() if entry["test"].startswith("tests/integration/aws/")}
    assert named - done.used - by_operators.used == set()
