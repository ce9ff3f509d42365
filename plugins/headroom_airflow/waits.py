"""A wait as data: which waiter, for what, how long, and how its end is told. Hooks wait in it, triggers as well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jmespath
from airflow.providers.amazon.aws.utils.waiter_with_logging import RETRIABLE_ERROR_CODES
from botocore.exceptions import WaiterError

from include.capacity.errors import NotReady

TERMINAL = "terminal failure"  # how botocore's waiter names a failure state
_TRANSIENT = frozenset(RETRIABLE_ERROR_CODES) | {"InternalError", "RequestLimitExceeded", "SlowDown", "Unavailable"}


@dataclass(frozen=True, slots=True)
class Wait:
    """
    Attributes:
        waiter: name in `waiters/<service>.json`, or one of botocore's.
        arguments: of the call that the waiter repeats.
        about: the resource as a sentence calls it, such as "The Auto Scaling group 'web'".
        wanted: the end of "… did not …", such as "come to rest".
        states: JMESPath -> value of the response that tells the state, by the word that it is told with.
        cure: one or more sentences: where to look, what to change.
        within_s, every_s: the longest wait, and the pause between two looks, in seconds.
    """

    waiter: str
    arguments: Mapping[str, Any]
    about: str
    wanted: str
    states: Mapping[str, str] = field(default_factory=dict)
    cure: str = ""
    within_s: float = 600.0
    every_s: float = 5.0

    def state_of(self, error: WaiterError) -> str:
        """The state in words if the wait may go on. Raises NotReady in a failure state or for a refused call."""
        reason, response = str(error), dict(error.last_response or {})
        if TERMINAL in reason:
            raise NotReady(f"{self.about} cannot {self.wanted}: {self._told(response)}. {self.cure}")
        answer: Any = response.get("Error")
        if isinstance(answer, Mapping) and answer.get("Code"):
            told = f"{answer['Code']}: {str(answer.get('Message') or 'no reason given').rstrip('.')}"
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            # 501 is an action that the other side does not have
            if answer["Code"] not in _TRANSIENT and (status < 500 or status == 501):
                raise NotReady(f"{self.about} cannot be watched: AWS answers {told}. {self.cure}")
            return told
        return self._told(response)

    def too_long(self, state: str) -> str:
        """The message at the end of the time."""
        return f"{self.about} did not {self.wanted} within {self.within_s:g} s: {state}. {self.cure}"

    def _told(self, response: Mapping[str, Any]) -> str:
        found = {word: jmespath.search(query, response) for word, query in self.states.items()}
        parts = [f"{word} {_plain(value)}" for word, value in found.items() if value not in (None, "", [], {})]
        return "; ".join(parts) or "AWS describes nothing of it"


def _plain(value: Any, between: str = ", ") -> str:
    """A list of lists reads "a b, c d"."""
    if isinstance(value, list):
        return between.join(_plain(item, " ") for item in value if item is not None)
    return str(value)
