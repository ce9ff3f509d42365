"""Makes JTL files of any length from a seed: 12 labels, about 148 bytes a row, a load that rises, and some failures.

The same rows, seed and flags give the same bytes. A file is written in pieces, so that its length needs no memory.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

COLUMNS = (
    "timeStamp,elapsed,label,responseCode,responseMessage,threadName,dataType,success,failureMessage,bytes,sentBytes,"
    "grpThreads,allThreads,URL,Latency,IdleTime,Connect"
)
LABELS = tuple(
    f"{number:02d} {verb} {name}"
    for number, (verb, name) in enumerate(
        [
            *(("GET", "home page"), ("GET", "catalogue"), ("GET", "product"), ("POST", "basket item")),
            *(("GET", "basket"), ("POST", "login"), ("GET", "account"), ("POST", "address")),
            *(("POST", "payment"), ("GET", "order"), ("GET", "search"), ("POST", "review")),
        ],
        1,
    )
)
START_MS = 1_767_225_600_000
_FAILED = (
    ("500", "Internal Server Error"),
    ("503", "Service Unavailable"),
    ("Non HTTP response code: java.net.SocketTimeoutException", "Non HTTP response message: Read timed out"),
    ("Non HTTP response code: java.net.ConnectException", "Non HTTP response message: Connection refused"),
)
_PIECE = 100_000


def write(path: Path, rows: int, *, seed: int = 1, per_second: int = 2000, arrivals: bool = False) -> None:
    """Writes a file of `rows` rows; latency rises with time as under a rising load, 0.5 % of the rows fail."""
    generator = np.random.default_rng(seed)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        file.write((COLUMNS + (",headroom_arrival" if arrivals else "") + "\n").encode())
        for first in range(0, rows, _PIECE):
            file.write(_piece(generator, first, min(_PIECE, rows - first), rows, per_second, arrivals))
    partial.rename(path)


def _piece(generator: np.random.Generator, first: int, count: int, rows: int, per_second: int, arrivals: bool) -> bytes:
    number = np.arange(first, first + count)
    label = generator.integers(0, len(LABELS), count)
    scale = 20 * (1 + label) ** 0.7 * (1 + 4 * number / rows)
    elapsed = np.maximum(generator.lognormal(np.log(scale), 0.8), 1).astype(int)
    ended = START_MS + number * 1000 // per_second
    failed = np.where(generator.random(count) < 0.005, generator.integers(0, len(_FAILED), count), -1)
    size, thread = generator.integers(200, 90_000, count), generator.integers(1, 201, count)
    lag = generator.exponential(300, count).astype(int)
    lines = []
    columns = (number, ended, elapsed, label, failed, size, thread, lag)
    for n, end, took, lab, fail, octets, user, late in zip(*(column.tolist() for column in columns), strict=True):
        code, message = _FAILED[fail] if fail >= 0 else ("200", "OK")
        success = "false" if fail >= 0 else "true"
        arrival = f",{n}:{late}" if arrivals else ""
        url = f"https://shop.bench.headroom.example/api/v1/{LABELS[lab][-6:].strip()}/{n % 100_000}"
        lines.append(
            f"{end - took},{took},{LABELS[lab]},{code},{message},users 1-{user:03d},text,{success},,{octets},412,"
            f"200,200,{url},{max(took - 2, 0)},0,1{arrival}\n"
        )
    return "".join(lines).encode()
