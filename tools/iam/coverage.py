"""Compares calls that were made with what the roles that made them may do."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tools.iam.policies import FOLDER, Need, Policy
from tools.iam.requests import needs, role_of

EXCEPTIONS_FILE = FOLDER / "beyond-the-run.yaml"


@dataclass(frozen=True, slots=True)
class Coverage:
    """Of one role: what it may do, what it did, and what it did without being allowed to."""

    role: str
    allowed: frozenset[str]
    used: frozenset[str]
    refused: tuple[Need, ...]

    @property
    def unused(self) -> list[str]:
        return sorted(self.allowed - self.used)


def calls_in(log: Path) -> list[dict[str, Any]]:
    """The calls of a record that AWS would have got to see: a line that is still being written is left out."""
    found = []
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def coverage(role: str, policies: Sequence[Policy], calls: Iterable[Mapping[str, Any]], account: str) -> Coverage:
    """`policies` are all that the role has."""
    wanted = {need for call in calls if role_of(call) == role for need in needs(call, account)}
    refused = sorted((need for need in wanted if not any(policy.allows(need) for policy in policies)), key=str)
    return Coverage(
        role,
        frozenset(action for policy in policies for action in policy.actions),
        frozenset(need.action for need in wanted),
        tuple(refused),
    )


def beyond_the_run() -> dict[str, dict[str, str]]:
    """Action -> {"test", "reason"}: what the policies allow and an ordinary run does not do."""
    content: dict[str, dict[str, str]] = yaml.safe_load(EXCEPTIONS_FILE.read_text(encoding="utf-8"))
    return content
