"""The part of CloudWatch's metric math that a capacity measurement uses: arithmetic and a few functions.

A series is a dictionary from time (seconds since 1970) to value. Two series meet at the times that both have.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

Series = dict[float, float]
OPERATORS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
EACH: Mapping[str, Callable[[float], float]] = {"ABS": abs, "CEIL": math.ceil, "FLOOR": math.floor}
ACROSS: Mapping[str, Callable[[list[float]], float]] = {
    "SUM": math.fsum,
    "MIN": min,
    "MAX": max,
    "AVG": lambda values: math.fsum(values) / len(values),
}
FUNCTIONS = (*sorted(EACH), *sorted(ACROSS), "FILL", "RATE", "METRICS")


class MathError(ValueError):
    """An expression that is wrong, or that needs more than the sandbox has."""


def evaluate(expression: str, series: Mapping[str, Series]) -> Series:
    """The series that an expression over other series gives. Raises MathError."""
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
    except SyntaxError as error:
        raise MathError(f"{expression!r} cannot be read") from error
    value = _value(tree, series)
    if isinstance(value, dict):
        return value
    raise MathError(f"{expression!r} does not give a time series")


def _value(node: ast.expr, series: Mapping[str, Series]) -> Any:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return float(number)
        case ast.Name(id=name):
            if name not in series:
                raise MathError(f"there is no query with the id {name}")
            return series[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _combine(operator.mul, -1.0, _value(operand, series))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            return _combine(OPERATORS[type(op)], _value(left, series), _value(right, series))
        case ast.List(elts=elements):
            return [_value(element, series) for element in elements]
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            return _call(name.upper(), [_value(argument, series) for argument in arguments], series)
    raise MathError(f"{ast.unparse(node)} is not supported; the sandbox has + - * / and {', '.join(FUNCTIONS)}")


def _call(name: str, arguments: list[Any], series: Mapping[str, Series]) -> Any:
    if name == "METRICS" and not arguments:
        return list(series.values())
    if name in EACH and len(arguments) == 1 and isinstance(arguments[0], dict):
        return {t: float(EACH[name](v)) for t, v in arguments[0].items()}
    if name in ACROSS and len(arguments) == 1 and isinstance(arguments[0], list) and arguments[0]:
        times = sorted({t for one in arguments[0] for t in one})
        return {t: float(ACROSS[name]([one[t] for one in arguments[0] if t in one])) for t in times}
    if name == "FILL" and len(arguments) == 2 and isinstance(arguments[0], dict) and isinstance(arguments[1], float):
        times = sorted({t for one in series.values() for t in one})
        return {t: arguments[0].get(t, arguments[1]) for t in times}
    if name == "RATE" and len(arguments) == 1 and isinstance(arguments[0], dict):
        points = sorted(arguments[0].items())
        return {t2: (v2 - v1) / (t2 - t1) for (t1, v1), (t2, v2) in pairwise(points)}
    raise MathError(f"{name} cannot be used like this; the sandbox has {', '.join(FUNCTIONS)}")


def _combine(function: Callable[[float, float], float], left: Any, right: Any) -> Any:
    try:
        if isinstance(left, float) and isinstance(right, float):
            return function(left, right)
        if isinstance(left, dict) and isinstance(right, float):
            return {t: function(v, right) for t, v in left.items() if not _divides_by_zero(function, right)}
        if isinstance(left, float) and isinstance(right, dict):
            return {t: function(left, v) for t, v in right.items() if not _divides_by_zero(function, v)}
        if isinstance(left, dict) and isinstance(right, dict):
            both = sorted(left.keys() & right.keys())
            return {t: function(left[t], right[t]) for t in both if not _divides_by_zero(function, right[t])}
    except ZeroDivisionError as error:
        raise MathError("division by zero") from error
    raise MathError("a list can only be given to SUM, AVG, MIN or MAX")


def _divides_by_zero(function: Callable[[float, float], float], divisor: float) -> bool:
    """CloudWatch leaves such a point out."""
    return function is operator.truediv and divisor == 0
