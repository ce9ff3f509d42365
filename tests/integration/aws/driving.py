"""Runs an operator as Airflow does: its waits in a rebuilt trigger, what it remembers kept from try to try."""

from __future__ import annotations

import asyncio
import importlib
import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from airflow.sdk.exceptions import TaskDeferred
from airflow.triggers.base import BaseTrigger


@dataclass
class Memory:
    """Stands for Airflow's store of a task's state: JSON in, JSON out."""

    kept: dict[str, str] = field(default_factory=dict)

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(self.kept[key]) if key in self.kept else default

    def set(self, key: str, value: Any) -> None:
        self.kept[key] = json.dumps(value)


@dataclass
class Task:
    """One task instance and its tries."""

    memory: Memory = field(default_factory=Memory)
    pushed: dict[str, Any] = field(default_factory=dict)
    deferrals: list[str] = field(default_factory=list)

    @property
    def context(self) -> dict[str, Any]:
        ti = SimpleNamespace(xcom_push=lambda key, value: self.pushed.__setitem__(key, value))
        return {"ti": ti, "task_state_store": self.memory}

    def run(self, operator: Any) -> Any:
        """`operator.execute` and what follows each trigger; the operator is not the same object after a deferral."""
        step, arguments = operator.execute, {}
        while True:
            try:
                return step(self.context, **arguments)
            except TaskDeferred as deferred:
                self.deferrals.append(type(deferred.trigger).__name__)
                event = fire(rebuilt(deferred.trigger))
                kwargs = json.loads(json.dumps(deferred.kwargs or {}))
                step, arguments = getattr(operator, deferred.method_name), {"event": event, **kwargs}


def rebuilt(trigger: BaseTrigger) -> BaseTrigger:
    """As the triggerer gets it: from its path and arguments."""
    path, arguments = trigger.serialize()
    module, _, name = path.rpartition(".")
    made: BaseTrigger = getattr(importlib.import_module(module), name)(**json.loads(json.dumps(arguments)))
    return made


def fire(trigger: BaseTrigger) -> dict[str, Any]:
    """The payload of the trigger's one event."""

    async def first() -> dict[str, Any]:
        async for event in trigger.run():
            payload: dict[str, Any] = event.payload
            return payload
        raise AssertionError("no event")

    return asyncio.run(first())
