"""What must hold for every operator, trigger, waiter, hook and link of the library, also for those to come."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import botocore.session
import jmespath
import pytest
from airflow.providers.amazon.aws.operators.base_aws import AwsBaseOperator
from airflow.providers.amazon.aws.triggers.base import AwsBaseWaiterTrigger
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization
from botocore.waiter import WaiterModel

from headroom_airflow.hooks.base import WAITERS, ServiceHook
from headroom_airflow.links.console import ConsoleLink
from headroom_airflow.operators.base import WaitingOperator
from headroom_airflow.triggers.base import WaitTrigger
from tests.unit.headroom_airflow.library import classes

OPERATORS, TRIGGERS = classes(AwsBaseOperator), classes(AwsBaseWaiterTrigger)
HOOKS, LINKS = classes(ServiceHook), classes(ConsoleLink)
WAITER_FILES = sorted(WAITERS.glob("*.json"))
# One value for each name of an argument, whatever class takes it.
VALUES: dict[str, Any] = {
    "before": {"hot": True},
    "desired_capacity": 2,
    "desired_count": 2,
    "processes": ["AlarmNotification"],
    "alarm_names": ["hot"],
    "targets": ["i-1", "i-2"],
}


def by_name(kind: type) -> str:
    return kind.__name__


def required(kind: type) -> dict[str, Any]:
    """Values for the arguments that a class cannot do without."""
    parameters = [
        parameter
        for base in kind.__mro__
        if base.__module__.startswith("headroom_airflow.") and "__init__" in vars(base)
        for parameter in inspect.signature(vars(base)["__init__"]).parameters.values()
    ]
    return {
        parameter.name: VALUES.get(parameter.name, f"the-{parameter.name}")
        for parameter in parameters
        if parameter.default is inspect.Parameter.empty
        and parameter.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        and parameter.name not in ("self", "wait", "fields")
    }


@pytest.mark.parametrize("kind", OPERATORS, ids=by_name)
def test_an_operator_has_its_template_fields_and_takes_keywords_only(kind: Any) -> None:
    operator = kind(task_id="it", **required(kind))
    assert [field for field in kind.template_fields if not hasattr(operator, field)] == []
    assert {"aws_conn_id", "region_name", "verify"} <= set(kind.template_fields)
    positional = [
        parameter.name
        for parameter in inspect.signature(kind.__init__).parameters.values()
        if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD and parameter.name != "self"
    ]
    assert positional == []
    assert set(required(kind)) <= set(kind.template_fields), "what must be given may come from another task"


@pytest.mark.parametrize("kind", OPERATORS, ids=by_name)
def test_an_operator_survives_the_dags_serialisation(kind: Any) -> None:
    with DAG("d", schedule=None) as dag:
        kind(task_id="it", **required(kind))
    task = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag)))).task_dict["it"]
    assert task.task_type == kind.__name__
    assert {link.name for link in kind.operator_extra_links} == set(task.extra_links)


@pytest.mark.parametrize("kind", [kind for kind in OPERATORS if issubclass(kind, WaitingOperator)], ids=by_name)
def test_a_waiting_operator_ends_waits_and_can_be_killed(kind: Any) -> None:
    operator = kind(task_id="it", waiter_delay=7, waiter_max_attempts=3, **required(kind))
    assert operator.span == {"every_s": 7, "within_s": 21}
    operator._killed = True
    with pytest.raises(Exception, match="was killed while it waited"):
        operator._sleep(60)


@pytest.mark.parametrize("kind", TRIGGERS, ids=by_name)
def test_a_trigger_serialises_and_is_rebuilt_the_same(kind: Any) -> None:
    hook_arguments = {
        "aws_conn_id": "a",
        "region_name": "eu-west-1",
        "verify": False,
        "botocore_config": {"retries": {}},
    }
    trigger = kind(**required(kind), waiter_delay=7, waiter_max_attempts=3, **hook_arguments)
    path, arguments = trigger.serialize()
    module, _, name = path.rpartition(".")
    rebuilt = getattr(importlib.import_module(module), name)(**json.loads(json.dumps(arguments)))
    assert rebuilt.serialize() == (path, arguments)
    assert (rebuilt.waiter_delay, rebuilt.attempts, rebuilt._wait) == (7, 3, trigger._wait)
    assert rebuilt._wait.within_s == 21
    hook = rebuilt.hook()
    assert isinstance(hook, ServiceHook)
    assert (hook.aws_conn_id, hook._region_name, hook._verify) == ("a", "eu-west-1", False)
    assert rebuilt.waiter_name in json.loads(Path(str(hook.waiter_path)).read_text())["waiters"]


def test_every_trigger_is_made_from_ours() -> None:
    assert len(TRIGGERS) >= 5
    assert [kind for kind in TRIGGERS if not issubclass(kind, WaitTrigger)] == []


@pytest.mark.parametrize("file", WAITER_FILES, ids=lambda file: file.stem)
def test_waiters_succeed_fail_and_end(file: Path) -> None:
    content = json.loads(file.read_text())
    service = botocore.session.get_session().get_service_model(file.stem)
    model = WaiterModel(content)
    assert model.waiter_names
    for name in model.waiter_names:
        waiter = model.get_waiter(name)
        states = [acceptor.state for acceptor in waiter.acceptors]
        assert "success" in states, name
        assert "failure" in states, name
        assert 0 < waiter.delay * waiter.max_attempts <= 3600, name
        output = service.operation_model(waiter.operation).output_shape
        for acceptor in content["waiters"][name]["acceptors"]:
            if acceptor["matcher"] != "error":
                first = jmespath.compile(acceptor["argument"])
                assert field_names(first.parsed)[0] in output.members, f"{name}: {acceptor['argument']}"


def field_names(node: dict[str, Any]) -> list[str]:
    """The names in a JMESPath expression, in the order of reading."""
    own = [node["value"]] if node["type"] == "field" else []
    children = [name for child in node.get("children", []) for name in field_names(child)]
    return own + children


def test_each_waiter_is_waited_in_by_a_hook() -> None:
    """A waiter that nobody uses is not known to work."""
    sources = "".join(Path(inspect.getfile(kind)).read_text() for kind in HOOKS)
    names = [name for file in WAITER_FILES for name in json.loads(file.read_text())["waiters"]]
    assert [name for name in names if f'waiter="{name}"' not in sources] == []


@pytest.mark.parametrize("kind", HOOKS, ids=by_name)
def test_a_hook_names_a_service_that_botocore_knows(kind: type[ServiceHook]) -> None:
    assert kind.service in botocore.session.get_session().get_available_services()
    assert (kind.__doc__ or "").count("https://docs.aws.amazon.com/") == 1, "the source of what it does"


@pytest.mark.parametrize("kind", LINKS, ids=by_name)
def test_a_link_leads_to_the_console(kind: type[ConsoleLink]) -> None:
    fields = fields_of(kind.format_str)
    address = kind().format_link(**{**dict.fromkeys(fields, "a/b c"), "aws_domain": "aws.amazon.com"})
    assert address.startswith("https://console.aws.amazon.com/")
    assert "{" not in address
    assert "a%2Fb%20c" in address
    assert kind().format_link(aws_domain="aws.amazon.com") == "", "without its names it leads nowhere"


def fields_of(format_str: str) -> Sequence[str]:
    import string

    return [field for _, field, _, _ in string.Formatter().parse(format_str) if field]


def test_links_have_names_and_keys_of_their_own() -> None:
    assert len({kind.key for kind in LINKS}) == len({kind.name for kind in LINKS}) == len(LINKS)
