"""Frozen dataclasses to JSON values and back, driven by their type hints. Strict: nothing is guessed or dropped.

Understands dataclasses, str, int, float, bool, None, Literal, `X | None`, tuple[X, ...] and Mapping[str, X].
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from include.capacity.errors import InvalidData

T = TypeVar("T")


def to_json(value: object) -> Any:
    """The JSON value of a dataclass instance (or of anything that one may hold)."""
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: to_json(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return [to_json(entry) for entry in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise TypeError(f"{type(value).__name__} has no JSON form: {value!r}")


def from_json(kind: type[T], raw: object, what: str = "") -> T:
    """Builds a `kind` from its JSON value. Raises InvalidData that names the place, such as `probes[3].step.kind`.

    Args:
        what: name of the whole in messages; the name of the type by default.
    """
    return cast(T, _build(kind, raw, what or getattr(kind, "__name__", str(kind))))


def _build(kind: Any, raw: object, place: str) -> Any:
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        if raw is None and NoneType in get_args(kind):
            return None
        (inner,) = (each for each in get_args(kind) if each is not NoneType)
        return _build(inner, raw, place)
    if origin is Literal:
        if raw in get_args(kind):
            return raw
        raise InvalidData(f"{place} is {raw!r}; expected one of {', '.join(map(repr, get_args(kind)))}.")
    if origin is tuple:
        if not isinstance(raw, list | tuple):
            raise _wrong(place, raw, "a list")
        return tuple(_build(get_args(kind)[0], entry, f"{place}[{index}]") for index, entry in enumerate(raw))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(raw, Mapping):
            raise _wrong(place, raw, "an object")
        return {str(key): _build(get_args(kind)[1], entry, f"{place}.{key}") for key, entry in raw.items()}
    if is_dataclass(kind):
        return _build_dataclass(cast(type, kind), raw, place)
    return _scalar(kind, raw, place)


def _build_dataclass(kind: type, raw: object, place: str) -> Any:
    if not isinstance(raw, Mapping):
        raise _wrong(place, raw, "an object")
    known = {each.name: each for each in fields(cast(Any, kind))}
    if unknown := sorted(set(raw) - set(known)):
        raise InvalidData(f"{place} holds the unknown key {unknown[0]!r}.")
    hints = get_type_hints(kind)
    values = {}
    for name, each in known.items():
        if name in raw:
            values[name] = _build(hints[name], raw[name], f"{place}.{name}")
        elif each.default is MISSING and each.default_factory is MISSING:
            raise InvalidData(f"{place}.{name} is missing.")
    return kind(**values)


def _scalar(kind: Any, raw: object, place: str) -> Any:
    if kind is Any or kind is object:
        return raw
    if kind is float:
        if isinstance(raw, int | float) and not isinstance(raw, bool) and math.isfinite(raw):
            return float(raw)
        raise _wrong(place, raw, "a finite number")
    if kind is int:
        if isinstance(raw, int) and not isinstance(raw, bool):
            return raw
        raise _wrong(place, raw, "a whole number")
    if kind in (str, bool):
        if isinstance(raw, kind):
            return raw
        raise _wrong(place, raw, "a text" if kind is str else "true or false")
    raise TypeError(f"{place}: no JSON form is known for {kind!r}")


def _wrong(place: str, raw: object, expected: str) -> InvalidData:
    return InvalidData(f"{place} is {raw!r}; expected {expected}.")
