"""Orders from outside that end a run: an object in its folder, or a Variable for all runs. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from include.capacity.errors import InvalidData

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class StopOrder:
    """Somebody wants a run to end. `at` is an ISO time."""

    reason: str
    by: str
    at: str

    def __str__(self) -> str:
        return f"It was stopped by {self.by} at {self.at}: {self.reason.rstrip('.')}."

    def dumps(self) -> bytes:
        return (json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1, sort_keys=True) + "\n").encode()

    @classmethod
    def loads(cls, data: bytes) -> StopOrder:
        """Raises InvalidData for what is no order of this form."""
        try:
            raw = json.loads(data)
            return cls(str(raw["reason"]), str(raw["by"]), str(raw["at"]))
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidData(f"it is no stop order: {error!r}") from None


def stop_for(value: str | None, service: str) -> str | None:
    """What the value of the Variable says to the runs of a service: the reason why they must stop, or None.

    Nothing and blanks say nothing. A JSON object maps services (or `*`) to reasons; any other text is the reason for
    all.
    """
    text = (value or "").strip()
    if not text:
        return None
    if text.startswith("{"):
        try:
            reasons = json.loads(text)
        except ValueError:
            return text  # somebody means to stop something: better all than none
        reason = reasons.get(service, reasons.get("*"))
        return str(reason).strip() or None if reason is not None else None
    return text
