"""Prints what happens: lines that stay, and in a terminal one line below them that changes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from typing import TextIO

CLEAR_LINE = "\r\x1b[K"


class Terminal:
    """Lines, with the seconds since the start in front of events.

    Without a terminal there is no live line, and no control code.
    """

    def __init__(self, output: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._output = output
        self._clock = clock
        self._began = clock()
        self._is_terminal = output.isatty()
        self._live = ""

    @property
    def elapsed_s(self) -> float:
        return self._clock() - self._began

    def event(self, text: str) -> None:
        """A line with the time."""
        self.line(f"{self.elapsed_s:6.1f} s  {text}")

    def line(self, text: str = "") -> None:
        """A line without the time."""
        shown = CLEAR_LINE if self._live else ""
        self._output.write(f"{shown}{text}\n")
        if self._live:
            self._output.write(self._fitting(self._live))
        self._output.flush()

    def live(self, text: str) -> None:
        """Replace the live line; an empty text removes it."""
        if not self._is_terminal or text == self._live:
            return
        self._live = text
        self._output.write(CLEAR_LINE + self._fitting(text))
        self._output.flush()

    def _fitting(self, text: str) -> str:
        # A line that wraps could not be removed again.
        return text[: shutil.get_terminal_size().columns - 1]
