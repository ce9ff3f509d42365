"""A few hundred of the mutated files that `make fuzz-jtl` reads by the thousand."""

from __future__ import annotations

import pytest

from tests.fuzz.jtl import run


def test_mutated_files_are_read_as_the_oracle_reads_them() -> None:
    engines = ["python"]
    try:
        import numba  # noqa: F401

        engines.append("kernel")
    except ImportError:
        pass
    counts = run(range(300), 20, engines)
    assert counts["files"] == 300
    assert counts["rows counted"] > 3000
    assert counts["files refused"] < 90
    kinds = {name.removeprefix("rejected: ") for name in counts if name.startswith("rejected: ")}
    assert kinds >= {"fields", "number", "range", "success", "quotes", "cut"}


def test_the_oracle_notices_a_reader_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("include.capacity.jtl.row_reader.MAX_BYTES", 1000)
    with pytest.raises(AssertionError, match="of seed 20"):
        run(range(20, 30), 20, ["python"])
