"""Shows log files, each line behind the name of its component."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import IO

POLL_S = 0.3


def show_logs(files: Sequence[Path], count: int, output: IO[str]) -> None:
    """Print the last `count` lines of each file."""
    width = _width(files)
    for path in files:
        try:
            with path.open(encoding="utf-8", errors="replace") as file:
                lines = deque(file, maxlen=max(count, 0))
        except FileNotFoundError:
            continue
        for line in lines:
            _print(path, line, width, output)
    output.flush()


def follow_logs(files: Sequence[Path], output: IO[str]) -> None:
    """Print what is appended to the files from now on; never returns. A replaced file is read from its start."""
    width = _width(files)
    places = {path: _size_and_inode(path) for path in files}
    while True:
        for path in files:
            size, inode = _size_and_inode(path)
            read_to, known_inode = places[path]
            if inode != known_inode or size < read_to:
                read_to = 0
            if size > read_to:
                with path.open("rb") as file:
                    file.seek(read_to)
                    text = file.read(size - read_to)
                whole = text[: text.rfind(b"\n") + 1]
                for line in whole.decode("utf-8", errors="replace").splitlines():
                    _print(path, line, width, output)
                read_to += len(whole)
            places[path] = (read_to, inode)
        output.flush()
        time.sleep(POLL_S)


def _size_and_inode(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_size, found.st_ino


def _width(files: Sequence[Path]) -> int:
    return max((len(path.stem) for path in files), default=0)


def _print(path: Path, line: str, width: int, output: IO[str]) -> None:
    output.write(f"{path.stem:<{width}} | {line.rstrip()}\n")
