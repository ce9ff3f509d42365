"""The rules of composite alarms, as pure functions: ALARM("a") OR (NOT OK(b) AND TRUE).

Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutCompositeAlarm.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

STATES = ("ALARM", "OK", "INSUFFICIENT_DATA")
StateOf = Callable[[str], str]
_TOKEN = re.compile(r'\s*(?:(?P<sign>[()])|"(?P<quoted>[^"]*)"|(?P<word>[^\s()"]+))')


class RuleError(ValueError):
    """The rule cannot be read; the text says where."""


@dataclass(frozen=True, slots=True)
class Rule:
    """`names` are the alarms that it looks at; `holds` tells whether the composite alarm is in ALARM."""

    names: tuple[str, ...]
    holds: Callable[[StateOf], bool]


def parse(text: str) -> Rule:
    """Raises RuleError."""
    reader = _Reader(list(_tokens(text)))
    holds = reader.either()
    if reader.next is not None:
        raise RuleError(f"AlarmRule: nothing may follow before {reader.next!r}")
    return Rule(tuple(dict.fromkeys(reader.names)), holds)


def _tokens(text: str) -> Iterator[str]:
    place = 0
    while place < len(text.rstrip()):
        found = _TOKEN.match(text, place)
        if found is None:
            raise RuleError(f"AlarmRule cannot be read from {text[place:]!r} on")
        yield found["sign"] or found["word"] or f'"{found["quoted"]}'
        place = found.end()


class _Reader:
    """Reads by descent: OR binds least, then AND, then NOT."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self.names: list[str] = []

    @property
    def next(self) -> str | None:
        return self._tokens[0] if self._tokens else None

    def either(self) -> Callable[[StateOf], bool]:
        parts = [self._all()]
        while self._takes("OR"):
            parts.append(self._all())
        return lambda state_of: any(part(state_of) for part in parts)

    def _all(self) -> Callable[[StateOf], bool]:
        parts = [self._one()]
        while self._takes("AND"):
            parts.append(self._one())
        return lambda state_of: all(part(state_of) for part in parts)

    def _one(self) -> Callable[[StateOf], bool]:
        word = self._take()
        if word == "NOT":
            inner = self._one()
            return lambda state_of: not inner(state_of)
        if word == "(":
            inside = self.either()
            self._need(")")
            return inside
        if word in ("TRUE", "FALSE"):
            return lambda state_of: word == "TRUE"
        if word not in STATES:
            raise RuleError(f"AlarmRule: {word!r} is no function; {', '.join(STATES)}, TRUE and FALSE are")
        self._need("(")
        name = self._take().removeprefix('"')
        name = name.rpartition(":alarm:")[2]  # an ARN is taken as well
        self._need(")")
        self.names.append(name)
        return lambda state_of: state_of(name) == word

    def _takes(self, word: str) -> bool:
        if self.next == word:
            self._take()
            return True
        return False

    def _take(self) -> str:
        if not self._tokens:
            raise RuleError("AlarmRule ends too early")
        return self._tokens.pop(0)

    def _need(self, word: str) -> None:
        if (found := self._take()) != word:
            raise RuleError(f"AlarmRule: {word!r} is missing before {found!r}")
