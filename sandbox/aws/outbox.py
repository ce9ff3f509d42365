"""Messages to SNS topics, sent outside of the lock around moto: a subscriber may well call the endpoint itself."""

from __future__ import annotations

import json
import logging
import queue
import threading
from collections.abc import Mapping
from typing import Any

from moto.sns.models import sns_backends

log = logging.getLogger(__name__)


class Outbox:
    """Publishes in the order of the calls, from a thread of its own."""

    def __init__(self) -> None:
        self._queue: queue.Queue[tuple[str, str, str] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="sns-outbox", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def publish(self, topic_arn: str, subject: str, message: Mapping[str, Any]) -> None:
        """Queue a message for a topic. Times in it are written in ISO form."""
        self._queue.put((topic_arn, subject[:100], json.dumps(message, default=str)))

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            topic_arn, subject, message = item
            try:
                _, _, _, region, account, _ = topic_arn.split(":", 5)
                sns_backends[account][region].publish(message, subject=subject, arn=topic_arn)
            except Exception:
                log.exception("no message could be published to %s", topic_arn)


OUTBOX = Outbox()
