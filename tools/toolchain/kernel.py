"""The machine code of the JTL reader: compiled here once, so that no run has to (docs/adr/0010)."""

from __future__ import annotations

import os
from pathlib import Path

from tools.toolchain.layout import Layout, digest_of
from tools.toolchain.programs import Programs

NONE = "-"  # in place of the file, where there can be none
_CODE = "from include.capacity.jtl.bulk_compiled import kernel; print(kernel().path)"


class JtlKernel:
    """Compiles it, and notes which file keeps it: `make clean` removes that with all other bytecode."""

    def __init__(self, layout: Layout, programs: Programs) -> None:
        self._layout = layout
        self._programs = programs
        self._stamp = layout.toolchain / ".jtl-kernel"

    def is_done(self) -> bool:
        """Say whether the code of these sources was compiled and is still there."""
        try:
            digest, _, path = self._stamp.read_text(encoding="utf-8").strip().partition(" ")
        except (OSError, UnicodeDecodeError):
            return False
        return digest == self._digest() and (path == NONE or Path(path).exists())

    def install(self) -> str:
        """Compile it; return a few words about the result. Without it the reader is slow, but right: no ToolError."""
        environment = {**os.environ, "PYTHONPATH": str(self._layout.root)}
        done = self._programs.call([str(self._layout.venv_python), "-c", _CODE], environment)
        path = done.last_line if done.status == 0 and Path(done.last_line).exists() else NONE
        self._layout.toolchain.mkdir(parents=True, exist_ok=True)
        self._stamp.write_text(f"{self._digest()} {path}\n", encoding="utf-8")
        return "compiled" if path != NONE else f"not possible here, files are read slowly: {done.last_line}"

    def _digest(self) -> str:
        sources = sorted((self._layout.root / "include" / "capacity" / "jtl").glob("*.py"))
        return digest_of(path.read_bytes() for path in [self._layout.requirements, *sources])
