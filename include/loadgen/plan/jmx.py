"""Reads and writes JMX, JMeter's plan format, as a tree of nodes.

In the file, each element is followed by a `hashTree` that holds its children; here an element and its children are one
node. Reading is safe for files of unknown origin: no document type, no entities, limits on size and depth.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

from include.capacity.errors import PlanRefused

MAX_BYTES = 32 * 1024 * 1024
MAX_DEPTH = 250

OPEN_IN_JMETER = "Open the file in JMeter's GUI and save it again."


@dataclass(slots=True, eq=False)
class Node:
    """One element of the plan with its children.

    Attributes:
        element: the XML element without its `hashTree`; its direct children are the element's properties.
        parent: None for the root (the Test Plan).
    """

    element: ElementTree.Element
    children: list[Node] = field(default_factory=list)
    parent: Node | None = None

    @property
    def kind(self) -> str:
        """The class that JMeter makes of the element: an alias (`ThreadGroup`) or a full Java class name."""
        return self.element.get("testclass") or self.element.tag

    @property
    def short_kind(self) -> str:
        return self.kind.rpartition(".")[2]

    @property
    def name(self) -> str:
        return self.element.get("testname") or self.short_kind

    @property
    def enabled(self) -> bool:
        return self.element.get("enabled", "true").strip().lower() != "false"

    @property
    def path(self) -> str:
        """Where a person finds the element in JMeter's tree: `Test Plan / Buyers / Loop Controller`."""
        return " / ".join([*[node.name for node in self.ancestors()][::-1], self.name])

    def ancestors(self) -> Iterator[Node]:
        """The parent, its parent, … up to the Test Plan."""
        node = self.parent
        while node is not None:
            yield node
            node = node.parent

    def walk(self) -> Iterator[Node]:
        """This node and all below, in the order of the plan. The children may be changed while walking."""
        yield self
        for child in tuple(self.children):
            yield from child.walk()

    def property(self, name: str) -> ElementTree.Element | None:
        for child in self.element:
            if child.get("name") == name:
                return child
        return None

    def get(self, name: str, default: str = "") -> str:
        """The text of a property, stripped; `default` if it is absent or empty."""
        found = self.property(name)
        return ((found.text or "").strip() if found is not None else "") or default

    def set(self, name: str, value: str | bool | int) -> None:
        """Sets a property, with the type that JMeter writes for the value."""
        found = self.property(name)
        if found is not None:
            position = list(self.element).index(found)
            self.element.remove(found)
        else:
            position = len(self.element)
        self.element.insert(position, make_property(name, value))

    def insert(self, index: int, child: Node) -> None:
        child.parent = self
        self.children.insert(index, child)

    def append(self, child: Node) -> None:
        self.insert(len(self.children), child)

    def remove(self, child: Node) -> None:
        self.children.remove(child)
        child.parent = None

    def replace(self, child: Node, other: Node) -> None:
        index = self.children.index(child)
        self.remove(child)
        self.insert(index, other)

    def copy(self) -> Node:
        """A deep copy without a parent."""
        twin = Node(copy.deepcopy(self.element))
        for child in self.children:
            twin.append(child.copy())
        return twin

    def texts(self) -> Iterator[ElementTree.Element]:
        """Every XML element of this node (not of its children) that carries text."""
        for element in self.element.iter():
            if element.text and element.text.strip():
                yield element


@dataclass(slots=True)
class Document:
    """A plan: the Test Plan node, and the attributes of the file's root element."""

    plan: Node
    attributes: dict[str, str]


def make_property(name: str, value: str | bool | int) -> ElementTree.Element:
    if isinstance(value, bool):
        tag, text = "boolProp", str(value).lower()
    elif isinstance(value, int):
        tag, text = "intProp", str(value)
    else:
        tag, text = "stringProp", value
    element = ElementTree.Element(tag, {"name": name})
    element.text = text
    return element


def make_node(kind: str, gui: str, name: str, properties: dict[str, str | bool | int]) -> Node:
    """A new enabled element as JMeter's GUI would save it."""
    element = ElementTree.Element(kind, {"guiclass": gui, "testclass": kind, "testname": name, "enabled": "true"})
    node = Node(element)
    for key, value in properties.items():
        node.set(key, value)
    return node


def load(path: Path) -> Document:
    """Reads a plan. Raises PlanRefused if the file is absent, not a JMeter plan, or malformed."""
    source = str(path)
    root = _parse(_read(path), source)
    if root.tag != "jmeterTestPlan":
        raise PlanRefused(
            source, "", f"is XML, but no JMeter plan (its root is `{root.tag}`).", "Name a .jmx file saved by JMeter."
        )
    trees = [child for child in root if child.tag == "hashTree"]
    nodes = _nodes(trees[0], source) if trees else []
    plans = [node for node in nodes if node.kind == "TestPlan"]
    if len(plans) != 1:
        raise PlanRefused(source, "", f"holds {len(plans)} Test Plan elements instead of one.", OPEN_IN_JMETER)
    return Document(plans[0], dict(root.attrib))


def dump(document: Document, path: Path) -> None:
    """Writes the plan in one step: a reader sees the old file or the whole new one."""
    root = ElementTree.Element("jmeterTestPlan", document.attributes)
    tree = ElementTree.SubElement(root, "hashTree")
    _write(document.plan, tree)
    ElementTree.indent(root)
    data = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    # A carriage return in a request body would become a line feed when JMeter reads the file: write it as a reference.
    data = data.replace(b"\r", b"&#13;")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    unfinished.write_bytes(data)
    unfinished.replace(path)


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise PlanRefused(
                str(path), "", f"is larger than {MAX_BYTES >> 20} MiB.", "Move large bodies into data files."
            )
        data = path.read_bytes()
    except OSError as error:
        raise PlanRefused(str(path), "", f"cannot be read ({error.strerror}).", "Check the path of the plan.") from None
    if not data.strip():
        raise PlanRefused(str(path), "", "is empty.", "Save the plan in JMeter's GUI again.")
    return data


def _parse(data: bytes, source: str) -> ElementTree.Element:
    """Parses with bare expat: a document type, the only way to entities, ends the reading at once."""
    builder = ElementTree.TreeBuilder()
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise PlanRefused(source, "", f"is nested deeper than {MAX_DEPTH} levels.", "Make the tree flatter.")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def doctype(*_: Any) -> None:
        raise PlanRefused(
            source, "", "has a document type (DOCTYPE).", "Remove it: JMeter never writes one, and entities are unsafe."
        )

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise PlanRefused(
            source,
            f"line {error.lineno}, column {error.offset + 1}",
            f"is not well-formed XML ({expat.ErrorString(error.code)}).",
            OPEN_IN_JMETER,
        ) from None
    except (LookupError, ValueError) as error:
        raise PlanRefused(source, "", f"has an encoding that cannot be read ({error}).", "Save it as UTF-8.") from None
    return builder.close()


def _nodes(tree: ElementTree.Element, source: str) -> list[Node]:
    """The nodes of one hashTree, in which elements and their own hashTrees take turns."""
    nodes: list[Node] = []
    last: Node | None = None
    for child in tree:
        if child.tag != "hashTree":
            last = Node(child)
            nodes.append(last)
        elif last is not None:
            for grandchild in _nodes(child, source):
                last.append(grandchild)
            last = None
        else:
            raise PlanRefused(source, "", "has a hashTree that belongs to no element.", OPEN_IN_JMETER)
    return nodes


def _write(node: Node, tree: ElementTree.Element) -> None:
    tree.append(node.element)
    below = ElementTree.SubElement(tree, "hashTree")
    for child in node.children:
        _write(child, below)
