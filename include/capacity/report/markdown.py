"""Text into Markdown without surprises: everything is escaped unless it is marked as Markdown already."""

from __future__ import annotations

import re

_SPECIAL = re.compile(r"([\\`*_\[\]|~])")
_BLOCK_START = re.compile(r"^(\d*)([#+>.)-])(?=\s|$)")  # a heading, a list, a quotation


class Markdown(str):
    """A text that is Markdown: `escaped` leaves it alone."""

    __slots__ = ()


def escaped(value: object) -> Markdown:
    """A value as Markdown that shows exactly it, on one line, also within a table cell or a list."""
    if isinstance(value, Markdown):
        return value
    text = " ".join(str(value).split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = _SPECIAL.sub(r"\\\1", text)
    text = re.sub(r"(https?):(?=//)", r"\1&#58;", text)  # an address in a user's text is shown, never linked
    return Markdown(_BLOCK_START.sub(lambda match: f"{match[1]}\\{match[2]}", text))


def code(value: object) -> Markdown:
    """A value as inline code, also within a table cell; text that holds a backtick or a pipe is escaped instead."""
    text = " ".join(str(value).split())
    if not text or "`" in text or "|" in text:
        return escaped(text)
    return Markdown(f"`{text}`")
