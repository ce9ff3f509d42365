"""Mutated JTL files: no crash, no wrong number, no silence. `python -m tests.fuzz.jtl --cases 10000 --seed 1`.

Each case is made from the seed and its number alone; `--only N` repeats one. It is read by both engines as a whole,
plain or gzip, and by the follower in pieces of random sizes; all three must agree with an oracle of its own.
"""

from __future__ import annotations

import argparse
import gzip
import io
import random
import sys
import zlib
from collections import Counter
from collections.abc import Sequence

from include.capacity.errors import InvalidData
from include.capacity.jtl import engines as engines_module
from include.capacity.jtl import reader
from include.capacity.jtl.bulk import aggregate_jtl
from include.capacity.jtl.bulk_result import JtlAggregate
from include.capacity.jtl.follow import JtlFollower
from include.capacity.jtl.layout import JtlOptions
from include.capacity.protocol import SecondRow
from tests.fuzz import oracle
from tests.fuzz.cases import make, mutate

FOLLOWER = "follower"


def compare(rows: Sequence[SecondRow], truth: oracle.Truth) -> None:
    found: Counter[tuple[int, str, bool, int]] = Counter()
    size: Counter[tuple[str, bool]] = Counter()
    for row in rows:
        size[row.label, row.outcome == "ok"] += row.bytes
        for bucket, count in row.latency.counts.items():
            found[row.second, row.label, row.outcome == "ok", bucket] += count
    assert found == truth.rows, f"rows: {found - truth.rows} too many, {truth.rows - found} too few"
    assert +size == +truth.bytes, "bytes differ"


def check(data: bytes, truth: oracle.Truth, engine: str, packed: bool, lateness_s: int) -> JtlAggregate | None:
    """Reads with one engine and compares all of it with the truth; None for a file that both refuse."""
    stream = io.BytesIO(gzip.compress(data, 1) if packed else data)
    result, refusal = None, ""
    options = JtlOptions(engine=engine, examples=10**6, lateness_s=lateness_s)
    try:
        result = aggregate_jtl(stream, options=options)
    except InvalidData as error:
        refusal = str(error)
    assert (result is None) == truth.refused, f"refused: {truth.refused}, but: {refusal or 'it was read'}"
    if result is None:
        assert len(refusal) > 60, "a refusal without a cure"
        return None
    assert result.table is not None
    compare(result.table.seconds().rows, truth)
    found = [(example.line, example.byte) for example in result.rejections.examples]
    assert found == truth.rejected, f"rejected {found}, not {truth.rejected}"
    assert (result.headers, result.foreign, result.excluded) == (truth.headers, truth.foreign, truth.excluded)
    counted = result.headers + result.foreign + result.excluded + result.counted + result.rejections.count
    assert result.records == counted, f"{result.records} records, but {counted} are accounted for"
    return result


def check_follower(data: bytes, truth: oracle.Truth, dice: random.Random) -> None:
    """Feeds the file as it would grow, drained now and then. What makes a whole file unreadable is a rejection here."""
    follower, at = JtlFollower("x"), 0
    rows: list[SecondRow] = []
    rejected = transactions = 0
    while at < len(data):
        size = dice.choice((1, 7, 100, 1000, 10_000))
        transactions += follower.feed(data[at : at + size]).transactions
        at += size
        if dice.random() < 0.1:
            rows += follower.drain().rows
            rejected += follower.drain_rejects().count
    transactions += follower.finish().transactions
    rows += follower.drain().rows
    rejected += follower.drain_rejects().count
    assert sum(row.count for row in rows) == transactions
    if truth.refused:
        assert rejected, "unreadable, and nothing is said"
        return
    compare(rows, truth)
    assert rejected == len(truth.rejected), f"{rejected} rejections, not {len(truth.rejected)}"


def check_damaged(data: bytes, dice: random.Random, engine: str) -> None:
    """A gzip file that was cut or spoiled: it is told, unless what was spoiled made no difference."""
    whole = gzip.compress(data, 1)
    at = dice.randrange(10, len(whole))
    flipped = bytes([whole[at] ^ 1 << dice.randrange(8)])
    spoiled = whole[:at] + (b"" if dice.random() < 0.5 else flipped + whole[at + 1 :])
    try:
        if gzip.decompress(spoiled) == data:
            return  # in a run of equal bytes many distances mean the same
    except (EOFError, gzip.BadGzipFile, zlib.error):
        pass
    try:
        result = aggregate_jtl(io.BytesIO(spoiled), options=JtlOptions(engine=engine))
    except InvalidData:
        return
    counted = result.headers + result.foreign + result.excluded + result.counted + result.rejections.count
    assert result.records == counted, f"{result.records} records, but {counted} are accounted for"
    assert result.rejections.by_kind.get("compression") == 1, "the damage is not told"


def run(cases: range, seed: int, engines: list[str]) -> Counter[str]:
    """Checks cases; raises AssertionError with the number of the first that fails."""
    counts: Counter[str] = Counter()
    for case in cases:
        dice = random.Random(f"{seed}:{case}")
        data, kinds = make(dice), set()
        for _ in range(dice.randrange(1, 6)):
            data, kind = mutate(data, dice)
            kinds.add(kind)
        packed = dice.random() < 0.1
        size, reader.BUFFER_BYTES = reader.BUFFER_BYTES, dice.choice((1 << 16, 1 << 20))
        room, engines_module.PYTHON_ROOM = engines_module.PYTHON_ROOM, dice.choice((10, 1 << 18))
        truth, lateness_s = oracle.read(data, reader.BUFFER_BYTES), dice.choice((0, 1, 120))
        try:
            results = [check(data, truth, engine, packed, lateness_s) for engine in engines]
            check_follower(data, truth, dice)
            if packed:
                check_damaged(data, dice, dice.choice(engines))
        except Exception as error:
            raise AssertionError(f"case {case} of seed {seed}: {error!r}\n{data!r}") from error
        finally:
            reader.BUFFER_BYTES, engines_module.PYTHON_ROOM = size, room
        counts["files"] += 1
        counts["files, gzip"] += packed
        counts.update(f"mutated: {kind}" for kind in kinds)
        result = results[0]
        if result is None:
            counts["files refused"] += 1
            continue
        counts["rows counted"] += result.counted
        counts["rows foreign"] += result.foreign
        counts["rows excluded"] += result.excluded
        counts["headers"] += result.headers
        for kind, count in result.rejections.by_kind.items():
            counts[f"rejected: {kind}"] += count
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first case, to run them in parts")
    parser.add_argument("--only", type=int, help="number of the one case to repeat")
    arguments = parser.parse_args()
    engines = ["python"]
    try:
        import numba  # noqa: F401

        engines.append("kernel")
    except ImportError:
        print("numba is not installed: the kernel is not tested")
    first, count = (arguments.first, arguments.cases) if arguments.only is None else (arguments.only, 1)
    cases = range(first, first + count)
    counts = run(cases, arguments.seed, engines)
    readers = ", ".join([*engines, FOLLOWER])
    print(f"readers: {readers}; seed {arguments.seed}; no crash, no wrong number, no silence")
    for name, count in sorted(counts.items()):
        print(f"{name:>30} {count:>9,}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
