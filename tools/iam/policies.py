"""Policies as files: placeholders such as <region> are filled in for one service, and requests are matched."""

from __future__ import annotations

import fnmatch
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from include.capacity.profile import ServiceProfile
from tools.errors import ToolError
from tools.stack.layout import ROOT

FOLDER = ROOT / "docs" / "iam"
# The first three are roles of their own; `operators` is for Airflow's role where DAGs use the operators beside the run.
NAMES = ("airflow", "load-task", "rollout", "operators")
_PLACEHOLDER = re.compile(r"<([a-z_]+)>")
FLEET_ROLES = ("headroom-load-task", "headroom-load-execution")
Values = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Need:
    """One permission that a request needs: the action, the ARN (or "*"), and what conditions may look at."""

    action: str
    resource: str = "*"
    context: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        told = ", ".join(f"{key} {value}" for key, value in self.context)
        return f"{self.action} on {self.resource}{f' ({told})' if told else ''}"


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of the effect Allow. Of the operators, those of our policies: equal, like."""

    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[tuple[str, str, tuple[str, ...]], ...]

    def allows(self, need: Need) -> bool:
        context = dict(need.context)
        return (
            need.action in self.actions
            and any(fnmatch.fnmatchcase(need.resource, pattern) for pattern in self.resources)
            and all(
                key in context and any(_meets(operator, context[key], value) for value in values)
                for operator, key, values in self.conditions
            )
        )


def _meets(operator: str, value: str, wanted: str) -> bool:
    if operator == "StringEquals":
        return value == wanted
    if operator in ("StringLike", "ArnEquals", "ArnLike"):
        return fnmatch.fnmatchcase(value, wanted)
    raise ToolError(f"The condition operator {operator} is not known to tools/iam/policies.py: add it there.")


@dataclass(frozen=True, slots=True)
class Policy:
    name: str
    statements: tuple[Statement, ...]

    @property
    def actions(self) -> frozenset[str]:
        return frozenset(action for statement in self.statements for action in statement.actions)

    def allows(self, need: Need) -> bool:
        return any(statement.allows(need) for statement in self.statements)


def document(name: str) -> dict[str, Any]:
    """A policy as the file has it, placeholders and all."""
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return content


def placeholders(content: object) -> set[str]:
    return set(_PLACEHOLDER.findall(json.dumps(content)))


def filled(content: Mapping[str, Any], values: Values) -> dict[str, Any]:
    """The document with every placeholder filled in.

    A placeholder of several values makes a list. A statement that has one without any value is left out: a service
    without ECS services needs no permission for them. Raises ToolError for a placeholder that `values` does not name.
    """
    if unknown := sorted(placeholders(content) - set(values)):
        raise ToolError(f"Nothing says what <{unknown[0]}> is: add it to values_of in tools/iam/policies.py.")
    kept = [
        {key: _fill(value, values) for key, value in statement.items()}
        for statement in content["Statement"]
        if all(values[name] for name in placeholders(statement))
    ]
    return {**content, "Statement": kept}


def _fill(value: Any, values: Values) -> Any:
    if isinstance(value, Mapping):
        return {key: _fill(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [text for item in value for text in _expanded(item, values)]
    expanded = _expanded(value, values)
    return expanded[0] if len(expanded) == 1 else expanded


def _expanded(text: str, values: Values) -> list[str]:
    names = list(dict.fromkeys(_PLACEHOLDER.findall(text)))
    made = []
    for chosen in itertools.product(*(values[name] for name in names)):
        filled_in = text
        for name, value in zip(names, chosen, strict=True):
            filled_in = filled_in.replace(f"<{name}>", value)
        made.append(filled_in)
    return list(dict.fromkeys(made))


def parsed(name: str, content: Mapping[str, Any]) -> Policy:
    """Raises ToolError for what this reader does not know, such as Deny or NotAction."""
    statements = []
    for entry in content["Statement"]:
        if entry["Effect"] != "Allow" or set(entry) - {"Sid", "Effect", "Action", "Resource", "Condition"}:
            raise ToolError(f"{name}.json: {entry['Sid']} is more than actions, resources and conditions allowed.")
        conditions = tuple(
            (operator, key, _tuple(wanted))
            for operator, keys in entry.get("Condition", {}).items()
            for key, wanted in keys.items()
        )
        statements.append(Statement(entry["Sid"], _tuple(entry["Action"]), _tuple(entry["Resource"]), conditions))
    return Policy(name, tuple(statements))


def _tuple(value: str | Iterable[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def values_of(profile: ServiceProfile, artefacts: str, more: Values | None = None) -> dict[str, Sequence[str]]:
    """What the placeholders stand for, of one service.

    Args:
        artefacts: the artefact store, `s3://bucket/prefix`; for any other one, no permission is needed.
        more: further placeholders, or other values for these.
    """
    fleet = profile.load.fleet
    bucket, _, prefix = artefacts.removeprefix("s3://").rstrip("/").partition("/")
    s3 = artefacts.startswith("s3://")
    values: dict[str, Sequence[str]] = {
        "account": [profile.aws.account],
        "region": [profile.aws.region],
        "service": [profile.service],
        "autoscaling_group": [profile.aws.autoscaling_group],
        "ecs_services": [f"{entry.cluster}/{entry.service}" for entry in profile.prescale.ecs_services],
        "service_clusters": sorted({entry.cluster for entry in profile.prescale.ecs_services}),
        "silence_alarms": list(profile.prescale.silence_alarms),
        "cluster": [fleet.cluster],
        "task_family": [fleet.task_definition.split(":")[0]],
        "log_group": [fleet.log_group],
        "fleet_roles": FLEET_ROLES,
        "bucket": [bucket] if s3 else [],
        "prefix": [f"{prefix}/" if prefix else ""] if s3 else [],
        "artefacts": [f"{bucket}/{prefix}" if prefix else bucket] if s3 else [],
        # for the operators: no profile names these
        "aurora_clusters": [],
        "rules": [],
        "schedules": [],
        "schedule_roles": [],
        "stacks": [],
    }
    return {**values, **(more or {})}
