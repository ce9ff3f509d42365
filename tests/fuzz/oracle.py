"""A small strict reader of JTL files, written from the rules alone: slow, and independent of the program's readers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

NEEDED = {"timeStamp", "elapsed", "label", "success"}
YEARS_MS = (946_684_800_000, 4_102_444_800_000)
LONGEST_US = 2**40


@dataclass
class Truth:
    """What a file holds. `rows` counts (second, label, succeeded, bucket); `bytes` adds by (label, succeeded)."""

    rows: Counter[tuple[int, str, bool, int]] = field(default_factory=Counter)
    bytes: Counter[tuple[str, bool]] = field(default_factory=Counter)
    headers: int = 0
    foreign: int = 0
    excluded: int = 0
    rejected: list[tuple[int, int]] = field(default_factory=list)  # their lines and bytes
    refused: bool = False


def read(data: bytes, longest: int, delimiters: str = ",;\t|") -> Truth:
    """What a file holds, whose delimiter is one of these, and whose records have at most `longest` bytes."""
    truth = Truth()
    start = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or start.startswith((b"<?xml", b"<testResults")):
        truth.refused = True  # UTF-16 and XML
        return truth
    pieces = data.split(b"\n")
    *lines, rest = (piece.decode("utf-8", "replace") for piece in pieces)
    begins = [0]
    for piece in pieces:
        begins.append(begins[-1] + len(piece) + 1)
    columns: list[str] | None = None
    delimiter = ","
    seen: set[int] = set()
    threads: dict[str, tuple[int, int]] = {}
    at = 0
    while at < len(lines) or (at == len(lines) and rest):
        count, text = _record(lines, at, begins, longest)
        if at < len(lines) and begins[at + 1] - begins[at] > longest:
            truth.rejected.append((at + 1, begins[at]))
            at += 1
            continue
        text = text.removeprefix("\ufeff")
        if at == len(lines):  # a line that was cut off
            truth.rejected.append((at + 1, begins[at]))
            return truth
        fields = _fields(text, delimiter)
        if columns is not None and fields and _add(truth, columns, fields, seen, threads):
            at += count
            continue
        names = None
        for candidate in delimiters:
            named = _fields(text, candidate)
            if named and set(named) >= NEEDED and _each_once(named):
                names, delimiter = named, candidate
                break
        if names is not None:
            columns, truth.headers = names, truth.headers + 1
        elif columns is None:
            truth.refused = True
            return truth
        else:
            truth.rejected.append((at + 1, begins[at]))
        at += count
    return truth


def _record(lines: list[str], at: int, begins: list[int], longest: int) -> tuple[int, str]:
    if at >= len(lines):
        return 1, ""
    for count in range(1, 65):
        part = lines[at : at + count]
        if len(part) < count or begins[at + count] - begins[at] > longest:
            break
        if "".join(part).count('"') % 2 == 0:
            return count, "\n".join(line.rstrip("\r") for line in part)
    return 1, lines[at].rstrip("\r")


def _fields(text: str, delimiter: str) -> list[str] | None:
    """Fields by the rules of RFC 4180; None where the quotes are wrong."""
    if '"' not in text:
        return text.split(delimiter)
    fields, at = [], 0
    while True:
        if text[at : at + 1] == '"':
            value, at = "", at + 1
            while True:
                close = text.find('"', at)
                if close < 0:
                    return None
                value += text[at:close]
                at = close + 1
                if text[at : at + 1] != '"':
                    break
                value, at = value + '"', at + 1
            if at < len(text) and text[at] != delimiter:
                return None
        else:
            end = text.find(delimiter, at)
            value = text[at:] if end < 0 else text[at:end]
            if "\r" in value or "\n" in value:
                return None
            at = len(text) if end < 0 else end
        fields.append(value)
        if at >= len(text):
            return fields
        at += 1


def _each_once(fields: list[str]) -> bool:
    wanted = NEEDED | {"responseCode", "responseMessage", "bytes", "headroom_arrival", "threadName"}
    return all(fields.count(name) <= 1 for name in wanted)


def _add(
    truth: Truth,
    columns: list[str],
    fields: list[str],
    seen: set[int],
    threads: dict[str, tuple[int, int]],
) -> bool:
    row = dict(zip(columns, fields, strict=False))
    if len(fields) != len(columns) or row["success"] not in ("true", "false"):
        return False
    started, elapsed = _whole(row["timeStamp"], *YEARS_MS), _whole(row["elapsed"], 0, LONGEST_US // 1000)
    size, lag, first = _whole(row.get("bytes", "0"), 0, 2**40), 0, False
    if started is None or elapsed is None or size is None:
        return False
    arrival = row.get("headroom_arrival")
    known = late_us = None
    if arrival is not None and arrival not in ("", "null"):
        number, _, late = arrival.partition(":")
        known, late_us = _whole(number, 0, 10**15 - 1), _whole(late, 0, LONGEST_US // 1000 * 1000)
        if known is None or late_us is None:
            return False
    if "threadName" in row:
        before, threads[row["threadName"]] = threads.get(row["threadName"]), (started, started + elapsed)
        is_controller = row.get("responseMessage", "").startswith("Number of samples in transaction : ")
        if is_controller and before is not None and before[0] >= started and before[1] > started:
            truth.excluded += 1
            return True
    if known is not None and late_us is not None:
        first = known not in seen
        seen.add(known)
        lag = late_us if first else 0
    elif arrival is not None:
        truth.foreign += 1
        return True
    value, exponent = min(elapsed * 1000 + lag, LONGEST_US), 0
    while value >= 256:
        value, exponent = value // 2, exponent + 1
    succeeded = row["success"] == "true"
    second = (started * 1000 - lag) // 10**6
    truth.rows[second, row["label"], succeeded, exponent * 128 + value] += 1
    truth.bytes[row["label"], succeeded] += size
    return True


def _whole(text: str, low: int, high: int) -> int | None:
    if not text or len(text) > 18 or set(text) - set("0123456789"):
        return None
    return int(text) if low <= int(text) <= high else None
