"""A workshop that builds small JMX plans, so that each test shows only the element it is about."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest

from include.capacity.errors import PlanRefused
from include.loadgen.plan.findings import PlanRefusals
from include.loadgen.plan.jmx import Document, Node, load
from include.loadgen.plan.prepare import prepare_plan
from include.loadgen.plan.settings import PlanSettings, PreparedPlan

Value = str | bool | int


class Workshop:
    """Builds, prepares and reads plans in a folder of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "prepared" / "plan.jmx"

    def element(self, kind: str, name: str, *children: str, raw: str = "", **properties: Value) -> str:
        """Dots in property names are written as double underscores."""
        enabled = properties.pop("enabled", True)
        body = "".join(self._property(key.replace("__", "."), value) for key, value in properties.items())
        return (
            f'<{kind} guiclass="x" testclass="{kind}" testname="{escape(name)}" enabled="{str(enabled).lower()}">'
            f"{body}{raw}</{kind}><hashTree>{''.join(children)}</hashTree>"
        )

    def http(self, name: str, *children: str, host: str = "127.0.0.1", path: str = "/", **properties: Value) -> str:
        return self.element(
            "HTTPSamplerProxy",
            name,
            *children,
            **{"HTTPSampler__domain": host, "HTTPSampler__path": path, "HTTPSampler__response_timeout": "5000"}
            | properties,
        )

    def group(
        self, name: str, *children: str, threads: Value = 1, kind: str = "ThreadGroup", **properties: Value
    ) -> str:
        loops = properties.pop("loops", 1)
        loop = f'<stringProp name="LoopController.loops">{loops}</stringProp>'
        return self.element(
            kind,
            name,
            *children,
            raw=f'<elementProp name="ThreadGroup.main_controller" elementType="LoopController">{loop}</elementProp>',
            ThreadGroup__num_threads=threads,
            **properties,
        )

    def variables(self, **values: str) -> str:
        entries = "".join(
            f'<elementProp name="{name}" elementType="Argument"><stringProp name="Argument.name">{name}</stringProp>'
            f'<stringProp name="Argument.value">{escape(value)}</stringProp></elementProp>'
            for name, value in values.items()
        )
        return self.element(
            "Arguments", "variables", raw=f'<collectionProp name="Arguments.arguments">{entries}</collectionProp>'
        )

    def plan(self, *children: str) -> Path:
        text = (
            '<?xml version="1.0" encoding="UTF-8"?><jmeterTestPlan version="1.2" properties="5.0" jmeter="5.6.3">'
            f"<hashTree>{self.element('TestPlan', 'Plan', *children)}</hashTree></jmeterTestPlan>"
        )
        return self.file("plan.jmx", text)

    def file(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def install_class(self, name: str, *, home: str = "jmeter") -> Path:
        """A JMeter home with one plug-in that holds the class. Returns the home."""
        folder = self.folder / home / "lib" / "ext"
        folder.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(folder / "plugin.jar", "w") as jar:
            jar.writestr(name.replace(".", "/") + ".class", b"")
        (folder / "broken.jar").write_bytes(b"no archive")
        return self.folder / home

    def prepare(self, *children: str, **settings: Any) -> tuple[PreparedPlan, Document]:
        """Prepares a plan of these children, and reads what was written."""
        prepared = self.prepare_file(self.plan(*children), **settings)
        return prepared, load(prepared.path)

    def prepare_file(self, plan: Path, **settings: Any) -> PreparedPlan:
        defaults: dict[str, Any] = {
            "threads": 20,
            "dispatcher_script": self.folder / "arrivals.groovy",
            "allow_hosts": ("127.0.0.1",),
        }
        return prepare_plan(plan, self.out, settings=PlanSettings(**defaults | settings))

    def refusals(self, *children: str, **settings: Any) -> list[PlanRefused]:
        """What is refused in a plan of these children; a plan that is refused must not be written."""
        with pytest.raises(PlanRefused) as caught:
            self.prepare(*children, **settings)
        assert not self.out.exists()
        return list(caught.value.refusals) if isinstance(caught.value, PlanRefusals) else [caught.value]

    def refusal(self, *children: str, **settings: Any) -> PlanRefused:
        (only,) = self.refusals(*children, **settings)
        return only

    @staticmethod
    def find(document: Document, name: str) -> Node:
        (found,) = [node for node in document.plan.walk() if node.name == name]
        return found

    @staticmethod
    def _property(name: str, value: Value) -> str:
        tag = "boolProp" if isinstance(value, bool) else "intProp" if isinstance(value, int) else "stringProp"
        return f'<{tag} name="{name}">{escape(str(value).lower() if isinstance(value, bool) else str(value))}</{tag}>'
