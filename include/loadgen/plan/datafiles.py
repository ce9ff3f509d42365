"""Finds the data files of a plan, makes their paths absolute, and refuses what cannot last through a long run."""

from __future__ import annotations

import os
import re
from pathlib import Path
from xml.etree import ElementTree

from include.loadgen.plan.findings import Findings
from include.loadgen.plan.jmx import Node
from include.loadgen.plan.values import Values

_FILE_KEYS = ("filename", "BeanShellSampler.filename", "BSFSampler.filename", "xmlschema_assertion_filename")
# Functions whose first argument is the path of a file.
_FILE_FUNCTION = re.compile(r"(\$\{__(?:FileToString|StringFromFile|CSVRead)\(\s*)((?:\\.|\$\{[^{}]*\}|[^,()$\\])+)")


def find_file(node: Node, text: str, values: Values, folder: Path, findings: Findings, what: str) -> Path | None:
    """The absolute path of a file that the node names, or None after a refusal."""
    expansion = values.expand(text)
    if not expansion.certain:
        findings.refuse(
            node,
            f"names {what} by `{text}`, and {expansion.reasons[0]}.",
            "Write the path itself, or give the property in load.properties of the profile.",
        )
        return None
    if not expansion.text.strip():
        findings.refuse(node, f"does not name {what}.", "Enter a path relative to the plan, or disable the element.")
        return None
    # The names decide, not where symbolic links lead: a linked file travels with its content.
    path = Path(os.path.abspath(folder / expansion.text.strip()))
    if not path.is_relative_to(folder):
        findings.refuse(
            node,
            f"names {what} `{expansion.text}`, which lies outside of the plan's folder.",
            "Put the file beside the plan: only the plan's folder travels to the load generators.",
        )
        return None
    if not path.is_file():
        findings.refuse(
            node,
            f"names {what} `{expansion.text}`, which does not exist (looked for {path}).",
            "Put the file there, or correct the path; it is relative to the plan.",
        )
        return None
    return path


def use_absolute_paths(plan: Node, values: Values, folder: Path, findings: Findings) -> tuple[Path, ...]:
    """Checks every data file of the plan and rewrites its path. Returns the files, each once."""
    files: list[Path] = []
    for node in plan.walk():
        kind = node.short_kind
        if kind == "CSVDataSet":
            files.extend(_check_csv(node, values, folder, findings))
        else:
            for key in _FILE_KEYS:
                if node.get(key):
                    files.extend(_make_absolute(node, key, values, folder, findings, "the file"))
        if kind == "TestPlan" and node.get("TestPlan.user_define_classpath"):
            files.extend(_class_path(node, values, folder, findings))
        for entry in node.element.iter("elementProp"):
            if entry.get("elementType", "").endswith("HTTPFileArg"):
                files.extend(_uploaded(node, entry, values, folder, findings))
        for element in node.texts():
            files.extend(_function_files(node, element, values, folder, findings))
    return tuple(dict.fromkeys(files))


def _make_absolute(node: Node, key: str, values: Values, folder: Path, findings: Findings, what: str) -> list[Path]:
    path = find_file(node, node.get(key), values, folder, findings, what)
    if path is None:
        return []
    node.set(key, str(path))
    return [path]


def _check_csv(node: Node, values: Values, folder: Path, findings: Findings) -> list[Path]:
    recycle = values.value(node.get("recycle", "true"))
    if recycle != "true":
        findings.refuse(
            node,
            "does not recycle its file: at the file's end the variables become <EOF> or the threads stop.",
            "Set 'Recycle on EOF' to True.",
        )
    elif values.is_true(node.get("stopThread", "false")):
        node.set("stopThread", False)
        findings.note("'Stop thread on EOF' was switched off; the file is recycled, so that its end never comes.", node)
    files = _make_absolute(node, "filename", values, folder, findings, "the data file")
    if files and not _has_rows(
        files[0], header=not node.get("variableNames") or values.is_true(node.get("ignoreFirstLine"))
    ):
        findings.refuse(node, f"reads `{files[0].name}`, which holds no row of data.", "Fill the file.")
    if files:
        share = node.get("shareMode", "shareMode.all")
        note = "each shard reads the whole file from its start, so that shards use the same rows."
        if share == "shareMode.thread":
            note = "each thread of each shard reads the whole file from its start (sharing mode 'Current thread')."
        findings.note(note, node)
    return files


def _has_rows(path: Path, *, header: bool) -> bool:
    needed = 2 if header else 1
    with path.open("rb") as lines:
        for line in lines:
            needed -= bool(line.strip())
            if needed == 0:
                return True
    return False


def _class_path(node: Node, values: Values, folder: Path, findings: Findings) -> list[Path]:
    entries = [entry.strip() for entry in node.get("TestPlan.user_define_classpath").split(",") if entry.strip()]
    found = [find_file(node, entry, values, folder, findings, "the library") for entry in entries]
    files = [path for path in found if path is not None]
    node.set("TestPlan.user_define_classpath", ",".join(str(path) for path in files))
    return files


def _uploaded(node: Node, entry: ElementTree.Element, values: Values, folder: Path, findings: Findings) -> list[Path]:
    for child in entry:
        if child.get("name") == "File.path" and (child.text or "").strip():
            path = find_file(node, (child.text or "").strip(), values, folder, findings, "the file to upload")
            if path is not None:
                child.text = str(path)
                return [path]
    return []


def _function_files(
    node: Node, element: ElementTree.Element, values: Values, folder: Path, findings: Findings
) -> list[Path]:
    """Files of functions such as `${__FileToString(body.json)}`; JMeter would look for them where it was started."""
    files: list[Path] = []

    def absolute(match: re.Match[str]) -> str:
        argument = match[2].strip()
        if argument.startswith("*"):  # __CSVRead: an alias of a file that another call opened
            return match[0]
        path = find_file(node, argument.replace("\\,", ","), values, folder, findings, "the file")
        if path is None:
            return match[0]
        files.append(path)
        return match[1] + str(path).replace("\\", "\\\\").replace(",", "\\,")

    element.text = _FILE_FUNCTION.sub(absolute, element.text or "")
    return files
