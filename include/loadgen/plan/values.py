"""Works out what a text of the plan with `${…}` in it will be when the plan runs, where that is certain.

Certain are literals, `${__P(…)}` and `${__property(…)}` of given properties, and user-defined variables that nothing in
the plan sets again (no extractor, CSV file, counter or script).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from include.loadgen.plan.jmx import Node

UNKNOWN = "\0"  # stands in an expanded text for each part that is not certain; XML cannot hold this character

_DEPTH_LIMIT = 10

# Element -> properties that name the variables it sets while the plan runs.
_SETTERS: Mapping[str, tuple[str, ...]] = {
    "CSVDataSet": ("variableNames",),
    "RegexExtractor": ("RegexExtractor.refname",),
    "BoundaryExtractor": ("BoundaryExtractor.refname",),
    "HtmlExtractor": ("HtmlExtractor.refname",),
    "JSONPostProcessor": ("JSONPostProcessor.referenceNames",),
    "JMESPathExtractor": ("JMESExtractor.referenceName",),
    "XPathExtractor": ("XPathExtractor.refname",),
    "XPath2Extractor": ("XPathExtractor2.refname",),
    "CounterConfig": ("CounterConfig.name",),
    "RandomVariableConfig": ("variableName",),
    "ForeachController": ("ForeachController.returnVal",),
    "JDBCSampler": ("variableNames", "resultVariable"),
    "JDBCPreProcessor": ("variableNames", "resultVariable"),
    "JDBCPostProcessor": ("variableNames", "resultVariable"),
}
_PROPERTY_PUT = re.compile(r"""(?:__setProperty\(\s*|props\s*\.\s*(?:put|setProperty)\s*\(\s*["'])([\w.\-]+)""")
_SCRIPT_PUT = re.compile(r"""vars\s*\.\s*put(?:Object)?\s*\(\s*["']([^"']+)["']|vars\s*\.\s*(\w+)\s*=[^=]""")


@dataclass(frozen=True, slots=True)
class Expansion:
    """The text as far as it is certain, with UNKNOWN for the other parts, and the reasons why they are not."""

    text: str
    reasons: tuple[str, ...] = ()

    @property
    def certain(self) -> bool:
        return not self.reasons


class Values:
    """The certain values of one plan.

    Args:
        plan: the Test Plan, without disabled elements.
        properties: the JMeter properties that the plan will get.
        folder: where the plan's data files lie; the first line of a CSV file may name variables.
    """

    def __init__(self, plan: Node, properties: Mapping[str, str], folder: Path) -> None:
        self._properties = dict(properties)
        self._variables = _defined(plan)
        self._set_again: dict[str, str] = {}
        self._properties_set_again = _properties_set_while_running(plan)
        for node in plan.walk():
            for variable in (*_names_set_by(node), *self._header(node, folder)):
                if variable.strip():
                    self._set_again.setdefault(variable.strip(), f"by `{node.name}`")

    def expand(self, text: str) -> Expansion:
        reasons: list[str] = []
        return Expansion(self._expand(text, reasons, 0), tuple(dict.fromkeys(reasons)))

    def value(self, text: str) -> str | None:
        """The text's value, or None if it is not certain."""
        expansion = self.expand(text)
        return expansion.text.strip() if expansion.certain else None

    def is_true(self, text: str) -> bool:
        return (self.value(text) or "").lower() == "true"

    def _header(self, node: Node, folder: Path) -> list[str]:
        """The variables that a CSV Data Set takes from its file's first line; none if the file cannot be read."""
        if node.short_kind != "CSVDataSet" or node.get("variableNames"):
            return []
        try:
            with (folder / (self.value(node.get("filename")) or "")).open(encoding="utf-8", errors="replace") as lines:
                return re.split(r"[,;\t|]", lines.readline().replace('"', ""))
        except (OSError, ValueError):
            return []

    def _expand(self, text: str, reasons: list[str], depth: int) -> str:
        if "${" not in text:
            return text
        if depth > _DEPTH_LIMIT:
            reasons.append(f"`{text}` is defined by itself")
            return UNKNOWN
        parts: list[str] = []
        position = 0
        while (start := text.find("${", position)) >= 0:
            parts.append(text[position:start])
            end = _closing_brace(text, start + 2)
            if end < 0:
                position = start
                break
            parts.append(self._reference(text[start + 2 : end], reasons, depth + 1))
            position = end + 1
        parts.append(text[position:])
        return "".join(parts)

    def _reference(self, inner: str, reasons: list[str], depth: int) -> str:
        inner = inner.strip()
        if inner.startswith("__"):
            return self._function(inner, reasons, depth)
        if inner in self._set_again:
            reasons.append(f"the variable `{inner}` is set while the plan runs ({self._set_again[inner]})")
            return UNKNOWN
        values = self._variables.get(inner)
        if values is None:
            reasons.append(f"nothing in the plan defines the variable `{inner}`")
            return UNKNOWN
        if len(values) > 1:
            reasons.append(f"the variable `{inner}` is defined {len(values)} times with different values")
            return UNKNOWN
        return self._expand(next(iter(values)), reasons, depth)

    def _function(self, inner: str, reasons: list[str], depth: int) -> str:
        name, bracket, rest = inner.partition("(")
        name = name.strip()
        if name not in ("__P", "__property") or not bracket:
            reasons.append(f"the function `{name}` has its value only while the plan runs")
            return UNKNOWN
        arguments = _arguments(rest.rpartition(")")[0])
        key = self._expand(arguments[0], reasons, depth).strip()
        if UNKNOWN in key:
            return UNKNOWN
        if key in self._properties_set_again:
            reasons.append(f"the property `{key}` is set while the plan runs ({self._properties_set_again[key]})")
            return UNKNOWN
        if key in self._properties:
            return self._properties[key]
        default = 1 if name == "__P" else 2  # __property(name, variable, default)
        if len(arguments) > default:
            return self._expand(arguments[default], reasons, depth)
        reasons.append(f"the property `{key}` is not given and has no default")
        return UNKNOWN


def _closing_brace(text: str, position: int) -> int:
    depth = 1
    while position < len(text):
        if text.startswith("${", position):
            depth, position = depth + 1, position + 2
            continue
        if text[position] == "\\":
            position += 2
            continue
        if text[position] == "}":
            depth -= 1
            if depth == 0:
                return position
        position += 1
    return -1


def _arguments(text: str) -> list[str]:
    """Splits a function's arguments at commas that are neither escaped nor inside a nested `${…}`."""
    arguments, current, position, depth = [], "", 0, 0
    while position < len(text):
        if text[position] == "\\" and text[position + 1 : position + 2] in (",", "\\", "$"):
            current += text[position + 1]
            position += 2
            continue
        if text.startswith("${", position):
            depth += 1
        elif text[position] == "}" and depth:
            depth -= 1
        if text[position] == "," and not depth:
            arguments.append(current)
            current = ""
        else:
            current += text[position]
        position += 1
    return [*arguments, current]


def _defined(plan: Node) -> dict[str, set[str]]:
    """Variable -> its values, from the Test Plan's own table and every User Defined Variables element."""
    defined: dict[str, set[str]] = {}
    for node in plan.walk():
        if node.short_kind in ("TestPlan", "Arguments"):
            for name, value in _table(node):
                defined.setdefault(name, set()).add(value)
    return defined


def _table(node: Node) -> Iterator[tuple[str, str]]:
    for entry in node.element.iter("elementProp"):
        if entry.get("elementType", "").endswith("Argument"):
            texts = {child.get("name", ""): (child.text or "").strip() for child in entry}
            name = texts.get("Argument.name") or entry.get("name")
            yield name or "", texts.get("Argument.value", "")


def _names_set_by(node: Node) -> Iterator[str]:
    for key in _SETTERS.get(node.short_kind, ()):
        yield from re.split(r"[,;\t]", node.get(key))
    if node.short_kind == "UserParameters":
        names = node.property("UserParameters.names")
        yield from ((element.text or "") for element in (names.iter("stringProp") if names is not None else ()))
    if node.short_kind.startswith(("JSR223", "BeanShell", "BSF")):
        for element in node.texts():
            yield from (name for pair in _SCRIPT_PUT.findall(element.text or "") for name in pair)


def _properties_set_while_running(plan: Node) -> dict[str, str]:
    """Property -> the element whose script or function sets it while the plan runs."""
    return {
        name.strip(): f"by `{node.name}`"
        for node in plan.walk()
        for element in node.texts()
        for name in _PROPERTY_PUT.findall(element.text or "")
    }
