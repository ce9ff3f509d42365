"""What is wrong with a plant file, said so that a person can cure it: file, dotted key, value, what to write."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Sequence
from typing import Any, Union

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

LONGEST_SHOWN_VALUE = 60


class PlantFileError(Exception):
    """A plant file (or an SLO given by hand) that cannot be used. Whoever wrote it must act; a repeat does not help."""

    def __init__(self, source: str, problems: Sequence[tuple[str, str]]) -> None:
        """`source` names the file; a problem is a dotted key ("" for the whole file) and a sentence with the cure."""
        self.source = source
        self.problems = tuple(problems)
        super().__init__(
            "\n".join(f"{source}: {key}: {text}" if key else f"{source}: {text}" for key, text in problems)
        )

    def __reduce__(self) -> tuple[type[PlantFileError], tuple[str, tuple[tuple[str, str], ...]]]:
        return type(self), (self.source, self.problems)


def describe_errors(error: ValidationError, root: type[BaseModel]) -> list[tuple[str, str]]:
    """(dotted key, sentence) for each error that pydantic found while it validated `root`."""
    details = error.errors(include_url=False)
    # A list whose items are wrong is reported as too short as well: the items are what must be cured.
    return [
        _describe(dict(detail), root)
        for detail in details
        if detail["type"] != "too_short" or not any(_is_below(other["loc"], detail["loc"]) for other in details)
    ]


def _is_below(loc: tuple[int | str, ...], above: tuple[int | str, ...]) -> bool:
    return len(loc) > len(above) and loc[: len(above)] == above


def _describe(detail: dict[str, Any], root: type[BaseModel]) -> tuple[str, str]:
    keys, parent, field = _walk(detail["loc"], root)
    dotted = ".".join(keys)
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    shown = _show(value)
    example = f"; write, for example, {keys[-1]}: {field.examples[0]}" if keys and field and field.examples else ""
    if kind == "extra_forbidden":
        return dotted, _unknown_key(keys[-1], parent)
    if kind == "missing":
        return dotted, "the key is missing" + (example or "; add it (docs/plant-file.md explains it)")
    if kind == "value_error":
        # A rule over several keys speaks for itself; a wrong single value is shown.
        text = str(context["error"])
        return dotted, text if isinstance(value, dict | BaseModel) else f"{shown}: {text}"
    if kind == "literal_error":
        return dotted, f"{shown} is not allowed; write one of {context['expected'].replace(' or ', ', ')}"
    if kind in {"union_tag_invalid", "union_tag_not_found"}:
        allowed = context.get("expected_tags", "'target_tracking', 'step'")
        return f"{dotted}.type", f"{_show(context.get('tag'))} is not allowed; write one of {allowed}"
    if kind == "string_pattern_mismatch":
        return dotted, f"{shown} is not allowed here{example}"
    if kind in {"model_type", "model_attributes_type", "dict_type"}:
        return dotted, f"{shown} is not a mapping; write the keys below it (docs/plant-file.md explains them)"
    if kind in {"tuple_type", "list_type"}:
        return dotted, f"{shown} is not a list; write [] or one item per line"
    return dotted, f"{shown}: {_plain(detail['msg'])}{example}"


def _walk(
    loc: Sequence[str | int], root: type[BaseModel]
) -> tuple[list[str], type[BaseModel] | None, FieldInfo | None]:
    """The keys of a location as the file spells them, the model that holds the last one, and that field (if known)."""
    keys: list[str] = []
    model: type[BaseModel] | None = root
    parent: type[BaseModel] | None = None
    field: FieldInfo | None = None
    candidates: list[type[BaseModel]] = []
    for part in loc:
        if isinstance(part, int):
            keys[-1] += f"[{part}]"
            continue
        tagged = _by_tag(candidates, part) if model is None else None
        if tagged is not None:  # pydantic names the chosen kind of policy in the location; the file does not
            model, parent, candidates = tagged, tagged, []
            continue
        keys.append(part)
        parent = model
        field = _fields(model).get(part) if model is not None else None
        candidates = _models_in(field.annotation) if field is not None else []
        model = candidates[0] if len(candidates) == 1 else None
    return keys, parent, field


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """A model's fields by the key that the file uses."""
    return {info.alias or name: info for name, info in model.model_fields.items()}


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models that an annotation such as `tuple[A | B, ...]` or `A | None` holds."""
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, BaseModel) else []
    if typing.get_origin(annotation) in {Union, types.UnionType, tuple, typing.Annotated}:
        return [model for argument in typing.get_args(annotation) for model in _models_in(argument)]
    return []


def _by_tag(candidates: Sequence[type[BaseModel]], tag: str) -> type[BaseModel] | None:
    for model in candidates:
        if tag in typing.get_args(model.model_fields["type"].annotation):
            return model
    return None


def _unknown_key(key: str, parent: type[BaseModel] | None) -> str:
    allowed = sorted(_fields(parent)) if parent is not None else []
    close = difflib.get_close_matches(key, allowed, n=1, cutoff=0.6)
    if close:
        return f'the key is unknown; did you mean "{close[0]}"?'
    return f"the key is unknown; the keys allowed here are {', '.join(allowed)}"


def _show(value: object) -> str:
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= LONGEST_SHOWN_VALUE else text[: LONGEST_SHOWN_VALUE - 3] + "..."


def _plain(message: str) -> str:
    return (
        message.replace("Input should be", "this must be")
        .replace("a valid integer", "a whole number")
        .replace("a valid ", "a ")
    )
