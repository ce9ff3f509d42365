"""Numbers and times as the document writes them."""

from __future__ import annotations


def plain(value: float | None) -> str:
    """A setting without needless zeros."""
    return "unknown" if value is None else f"{value:g}"


def pretty(text: str) -> str:
    """A condition with the sign of print."""
    return text.replace("<=", "≤")


def number(value: float | None, unknown: str = "unknown") -> str:
    """A rate with at most one decimal."""
    return unknown if value is None else f"{value:.1f}".removesuffix(".0")


def milliseconds(value: float | None) -> str:
    """A latency; a dash when there is none."""
    return "–" if value is None else f"{value:.0f}"


def duration(seconds: float) -> str:
    """Seconds up to two minutes, then minutes and seconds."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


def date(iso: str) -> str:
    """The day of an ISO time."""
    return iso[:10]


def minute(iso: str) -> str:
    """Day and minute of an ISO time."""
    return f"{iso[:10]} {iso[11:16]}"
