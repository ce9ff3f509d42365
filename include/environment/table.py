"""What restoring finds, as a table for a person: each field before, as the run set it, now, and what happens to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from include.environment.record import Row
from include.environment.resource import shown

HEAD = ("field", "before", "ours", "now", "action")


def table(rows: Iterable[Row]) -> str:
    """One block for each resource; fields that nobody touched are counted and not listed."""
    blocks: dict[str, list[Row]] = {}
    for row in rows:
        blocks.setdefault(row.title, []).append(row)
    return "\n\n".join(_block(title, found) for title, found in blocks.items())


def action(row: Row) -> str:
    """What restoring does about a field."""
    if not row.differs:
        return "none: as before"
    if row.finding == "foreign":
        return "left: somebody else has changed it"
    if row.target == row.now:
        return f"left: {row.reason}"
    return f"set to {shown(row.target)}" + (f": {row.reason}" if row.reason else "")


def _block(title: str, rows: Sequence[Row]) -> str:
    listed = [row for row in rows if row.differs or row.ours is not None]
    lines = [HEAD, *((row.field, shown(row.before), shown(row.ours), shown(row.now), action(row)) for row in listed)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD) - 1)]
    text = [
        f"  {'  '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=False))}  {line[-1]}"
        for line in lines
    ]
    rest = len(rows) - len(listed)
    more = [f"  ({rest} more {'field is' if rest == 1 else 'fields are'} as before and untouched)"] if rest else []
    return "\n".join([title, *(text if listed else []), *more])
