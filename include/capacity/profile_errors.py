"""Says what is wrong with a service profile: the key as in the YAML, the problem, and what to type instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError

_GUIDE = "See docs/service-profile.md."
_UNITS = {"_s": ("s", 1.0), "_ms": ("ms", 1.0), "_tps": ("tps", 1.0), "_ratio": ("%", 100.0)}
_BOUNDS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}
_KINDS = {
    "int_type": ("a whole number", "Write digits only, without quotes."),
    "float_type": ("a number", "Write a plain number, without quotes."),
    "bool_type": ("true or false", "Write true or false, without quotes."),
    "tuple_type": ("a list", "Write a list, such as [one, two]."),
    "dict_type": ("a mapping", "Write one `name: value` a line, indented."),
    "finite_number": ("a finite number", "Write an ordinary number."),
}


def contradiction(problem: str, cure: str, *keys: str) -> PydanticCustomError:
    """For a model's validator: keys, as seen from the model, that do not go together; the first bears the mistake."""
    return PydanticCustomError("contradiction", "{problem}", {"problem": problem, "cure": cure, "keys": keys})


def first_mistake(error: ValidationError, model: type[BaseModel]) -> tuple[str, str, str, tuple[str, ...]]:
    """(key, problem, cure, all keys involved) of the mistake to tell first.

    A misspelt key is also a missing one: the misspelling is told. Keys are written as in `slo[0].latency_p95`.
    """
    entries = error.errors(include_url=False)
    entry = min(entries, key=lambda each: each["type"] not in ("extra_forbidden", "invalid_key"))
    place = tuple(entry["loc"])
    if entry["type"] == "contradiction":
        context = entry["ctx"]
        keys = tuple(key_path((*place, *key.split("."))) for key in context["keys"])
        return keys[0], context["problem"], context["cure"], keys
    problem, cure = _explained(entry, model)
    return key_path(place), problem, cure, (key_path(place),)


def key_path(place: Sequence[int | str]) -> str:
    """`("slo", 0, "latency_p95")` as `slo[0].latency_p95`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).strip(".")


def _explained(entry: Any, model: type[BaseModel]) -> tuple[str, str]:
    kind, given, place, context = entry["type"], entry["input"], entry["loc"], entry.get("ctx", {})
    if kind == "extra_forbidden":
        known = _known_keys(model, place[:-1])
        close = difflib.get_close_matches(str(place[-1]), known, 1)
        return "is no known key.", f"Did you mean {close[0]!r}?" if close else f"Known keys here: {', '.join(known)}."
    if kind == "invalid_key":
        return f"the key {given!r} is no text.", "Put it in quotes."
    if kind == "missing":
        return "is missing.", f"Add it; {_GUIDE[0].lower()}{_GUIDE[1:]}"
    if kind in ("model_type", "model_attributes_type"):
        return f"{_shown(given)} is no mapping.", f"Its keys are {', '.join(_known_keys(model, place))}."
    if kind == "string_type":
        cure = f'Put it in quotes: "{given}".' if isinstance(given, int | float) else "Write a text."
        return f"{_shown(given)} is no text.", cure
    if kind in _KINDS:
        what, cure = _KINDS[kind]
        return f"{_shown(given)} is not {what}.", cure
    if kind == "literal_error":
        return f"{_shown(given)} is not possible.", f"Use {context['expected']}."
    if kind in _BOUNDS:
        name, word = _BOUNDS[kind]
        return f"{_shown(given)} is out of range.", f"It must be {word} {_with_unit(context[name], model, place)}."
    if kind == "too_short":
        return "is empty.", "Write at least one entry."
    if kind == "string_too_short":
        return "is empty.", "Write a text."
    if kind == "string_pattern_mismatch":
        field = _field(model, place)
        return f"{_shown(given)} has the wrong form.", f"Write {field.description}." if field else _GUIDE
    message = re.sub(r"^Value error, ", "", entry["msg"])
    return (message if message.endswith(".") else f"{message}."), _GUIDE


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _with_unit(limit: float, model: type[BaseModel], place: Sequence[int | str]) -> str:
    name = next((name for name, info in _fields_at(model, place[:-1]) if (info.alias or name) == place[-1]), "")
    for suffix, (unit, factor) in _UNITS.items():
        if name.endswith(suffix):
            return f"{limit * factor:g} {unit}"
    return f"{limit:g}"


def _field(model: type[BaseModel], place: Sequence[int | str]) -> Any:
    return next((info for name, info in _fields_at(model, place[:-1]) if (info.alias or name) == place[-1]), None)


def _known_keys(model: type[BaseModel], place: Sequence[int | str]) -> list[str]:
    return [info.alias or name for name, info in _fields_at(model, place)]


def _fields_at(model: type[BaseModel], place: Sequence[int | str]) -> list[tuple[str, Any]]:
    """Fields of the model that stands at a place of the profile; none where there is no model."""
    here: type[BaseModel] | None = model
    for part in place:
        if isinstance(part, int) or here is None:
            continue
        fields: Mapping[str, Any] = here.model_fields
        annotation = next((info.annotation for name, info in fields.items() if (info.alias or name) == part), None)
        here = next(_models_in(annotation), None)
    return [] if here is None else list(here.model_fields.items())


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
