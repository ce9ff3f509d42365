"""Mutated JTL files: no crash, no wrong number, no silence. `python -m tests.fuzz.jtl --cases 10000 --seed 1`.

Each case is made from the seed and its number alone; `--only N` repeats one.
"""

from __future__ import annotations

import argparse
import gzip
import io
import random
import sys
from collections import Counter

from include.capacity.errors import InvalidData
from include.capacity.jtl import bulk
from include.capacity.jtl.bulk import aggregate_jtl
from include.capacity.jtl.bulk_layout import JtlOptions
from include.capacity.jtl.bulk_result import JtlAggregate
from tests.fuzz import oracle

COLUMNS = ["timeStamp", "elapsed", "label", "responseCode", "responseMessage", "success", "bytes", "headroom_arrival"]
LABELS = ("home", "search", '"a, b"', '"say ""hi"""', '"two\nlines"', "größe", "", '"plain"')
JUNK = (b'"', b"\n", b",", b"\r\n", b"\r", b'""', b",,", b"\xef\xbb\xbf", b"\x00", b"\xff\xfe\xe9", b"-", b"9" * 30)
JUNK += (b"1e9", b" 7", b"\xd9\xa3", b"null", b";", b"\n\n", b'\n"', b"true", b"1_000")


def make(dice: random.Random) -> bytes:
    """A sound file with columns in some order."""
    columns = COLUMNS[: dice.choice((6, 7, 8, 8))]
    if dice.random() < 0.3:
        dice.shuffle(columns)
    end = dice.choice(("\n", "\n", "\r\n"))
    lines = [",".join(columns)]
    for number in range(dice.randrange(1, 60)):
        code, message, success = dice.choice((("200", "OK", "true"), ("503", "busy", "false"), ("200", "", "false")))
        arrival = dice.choice(("", "null", f"{number // 2}:{dice.randrange(5000)}", f"{number}:{dice.randrange(9**7)}"))
        values = (1_766_000_000_000 + number * dice.randrange(400), dice.randrange(3000), dice.choice(LABELS), code)
        row = dict(zip(COLUMNS, (*values, message, success, dice.randrange(10**5), arrival), strict=True))
        lines.append(",".join(str(row[name]) for name in columns))
    return (end.join(lines) + end).encode()


def mutate(data: bytes, dice: random.Random) -> bytes:
    """One change of a random kind."""
    at, kind = dice.randrange(len(data) + 1), dice.randrange(9)
    if kind == 0 and data:
        at = min(at, len(data) - 1)
        return data[:at] + bytes([data[at] ^ 1 << dice.randrange(8)]) + data[at + 1 :]
    if kind == 1:
        return data[:at] + data[at + dice.randrange(1, 40) :]
    if kind == 2:
        return data[:at] if dice.random() < 0.3 else data[:at] + dice.choice(JUNK) + data[at:]
    lines = data.split(b"\n")
    line = dice.randrange(len(lines))
    if kind == 3:
        lines.insert(line, lines[0])
    elif kind == 4:
        middle = lines[1:-1]
        dice.shuffle(middle)
        lines[1:-1] = middle
    elif kind == 5:
        fields = lines[line].split(b",")
        fields[dice.randrange(len(fields))] = dice.choice((*JUNK, b"-1", b"0", b"1" * 18, b"999999999999", b"a:b"))
        lines[line] = b",".join(fields)
    elif kind == 6:
        lines[line] = lines[line].rstrip(b"\r") if lines[line].endswith(b"\r") else lines[line] + b"\r"
    elif kind == 7:
        lines += [b"", b",".join(name.encode() for name in dice.sample(COLUMNS, len(COLUMNS))), *lines[1:]]
    else:
        return data[:at] + dice.choice(JUNK) + data[at:]
    return b"\n".join(lines)


def check(data: bytes, engine: str, packed: bool) -> JtlAggregate | None:
    """Reads with one engine and compares all of it with the oracle; None for a file that both refuse."""
    truth = oracle.read(data)
    stream = io.BytesIO(gzip.compress(data, 1) if packed else data)
    try:
        result = aggregate_jtl(stream, options=JtlOptions(engine=engine, delimiter=",", examples=10**6))
    except InvalidData:
        assert truth.refused, "refused, but it can be read"
        return None
    assert not truth.refused, "read, but it should be refused"
    assert result.table is not None
    rows: Counter[tuple[int, str, bool, int]] = Counter()
    size: Counter[tuple[str, bool]] = Counter()
    for row in result.table.seconds().rows:
        size[row.label, row.outcome == "ok"] += row.bytes
        for bucket, count in row.latency.counts.items():
            rows[row.second, row.label, row.outcome == "ok", bucket] += count
    assert rows == truth.rows, f"rows: {rows - truth.rows} too many, {truth.rows - rows} too few"
    assert +size == +truth.bytes, "bytes differ"
    assert [example.line for example in result.rejections.examples] == truth.rejected, "other lines are rejected"
    assert (result.headers, result.foreign) == (truth.headers, truth.foreign)
    counted = result.headers + result.foreign + result.counted + result.rejections.count
    assert result.records == counted, f"{result.records} records, but {counted} are accounted for"
    return result


def run(cases: range, seed: int, engines: list[str]) -> Counter[str]:
    """Checks cases; raises AssertionError with the number of the first that fails."""
    counts: Counter[str] = Counter()
    for case in cases:
        dice = random.Random(f"{seed}:{case}")
        data = make(dice)
        for _ in range(dice.randrange(1, 6)):
            data = mutate(data, dice)
        packed = dice.random() < 0.1
        buffer, bulk.BUFFER_BYTES = bulk.BUFFER_BYTES, dice.choice((1 << 16, 1 << 20))
        try:
            results = [check(data, engine, packed) for engine in engines]
        except Exception as error:
            raise AssertionError(f"case {case} of seed {seed} ({engines}): {error!r}\n{data!r}") from error
        finally:
            bulk.BUFFER_BYTES = buffer
        counts["files"] += 1
        if results[0] is None:
            counts["refused"] += 1
            continue
        counts["rows counted"] += results[0].counted
        counts["rows foreign"] += results[0].foreign
        counts["headers"] += results[0].headers
        for kind, count in results[0].rejections.by_kind.items():
            counts[f"rejected: {kind}"] += count
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="number of the one case to repeat")
    arguments = parser.parse_args()
    engines = ["python"]
    try:
        import numba  # noqa: F401

        engines.append("kernel")
    except ImportError:
        print("numba is not installed: the kernel is not tested")
    cases = range(arguments.cases) if arguments.only is None else range(arguments.only, arguments.only + 1)
    counts = run(cases, arguments.seed, engines)
    print(f"engines: {', '.join(engines)}; seed {arguments.seed}; no crash, no wrong number, no silence")
    for name, count in sorted(counts.items()):
        print(f"{name:>24} {count:>9,}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
