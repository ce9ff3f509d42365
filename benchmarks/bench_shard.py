"""What one load shard can do on this machine: CPU and schedule lag by rate, and how exactly two shards keep a rate.

    python -m benchmarks.bench_shard --rates 1000,2000,3000,4000

One shard is pinned to one core and its target to another. Two shards then share the machine with the target. Needs what
`make setup` installs, and a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.shard_fleet import Commander, LocalFleet, fleet_spec
from include.capacity.histogram import Histogram
from include.capacity.protocol import ShardReport
from include.loadgen.settings import REPOSITORY

_PORT = 18_977
_WARM_RATE = 400.0
_TRANSIENT_S = 3  # after a change of the rate, left out of the figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", default="1000,2000,3000,4000", help="arrivals per second of the one shard")
    parser.add_argument("--hold", type=int, default=8, help="seconds at each rate (default %(default)s)")
    parser.add_argument("--warm", type=int, default=20, help=f"seconds at {_WARM_RATE:g}/s before")
    parser.add_argument("--threads", type=int, default=200, help="of each shard (default %(default)s)")
    parser.add_argument("--pair-rate", type=float, default=200.0, help="arrivals/s of two shards; 0: none")
    parser.add_argument("--pair-hold", type=int, default=20, help="seconds at that rate (default %(default)s)")
    options = parser.parse_args()
    rates = [float(rate) for rate in options.rates.split(",") if rate]
    target = subprocess.Popen(
        ["taskset", "-c", "1", sys.executable, "-m", "benchmarks.loopback_target", str(_PORT)], cwd=REPOSITORY
    )
    try:
        if rates:
            one_shard(rates, options.warm, options.hold, options.threads, target.pid)
        if options.pair_rate:
            two_shards(options.pair_rate, options.pair_hold, options.threads)
    finally:
        target.kill()
        target.wait()


def one_shard(rates: Sequence[float], warm_s: int, hold_s: int, threads: int, target_pid: int) -> None:
    print(
        f"one shard on core 0, its target on core 1, {threads} threads, {hold_s} s per rate after {warm_s} s at 400/s"
    )
    print(
        "  rate/s  offered  done/s  JMeter CPU  shard CPU  lag p50 ms  p99 ms  latency p50  p99 ms  in flight  others"
    )
    with _fleet(1, threads, {0: ("taskset", "-c", "0")}) as fleet:
        fleet.start()
        commander = Commander(fleet.store).start()
        fleet.wait_ready()
        commander.command(_WARM_RATE)
        time.sleep(warm_s)
        windows = []
        for rate in rates:
            commander.command(rate)
            start = math.ceil(time.time()) + _TRANSIENT_S
            time.sleep(start - time.time())
            machine, server = _machine_cpu_s(), _process_cpu_s(target_pid)
            time.sleep(start + hold_s - time.time())
            others = _machine_cpu_s() - machine - (_process_cpu_s(target_pid) - server)
            windows.append((rate, start, start + hold_s, others / hold_s))
        time.sleep(1.5)
        commander.fall_silent()
        fleet.dismiss()
        fleet.processes[0].wait(20)
        reports = fleet.reports()
    for rate, start, end, others in windows:
        _print_window(rate, start, end, reports, others)
    print("  CPU in cores; others: what neither JMeter, the shard program nor the target used (0 on a quiet machine)")


def _print_window(rate: float, start: int, end: int, reports: Sequence[ShardReport], others: float) -> None:
    span = range(start, end)
    offered = sum(report.offered.get(second, 0) for report in reports for second in span)
    done = sum(report.completed.get(second, 0) for report in reports for second in span)
    lag = Histogram.merged(report.lag[second] for report in reports for second in span if second in report.lag)
    latency = Histogram.merged(row.latency for report in reports for row in report.rows if row.second in span)
    inside = [report for report in reports if start + 1 < report.published_at <= end + 1]
    jmeter = _mean([report.generator.jmeter_cpu_cores for report in inside])
    shard = _mean([report.generator.shard_cpu_cores for report in inside])
    in_flight = max(report.counters.in_flight + report.counters.backlog for report in inside)
    seconds = end - start
    print(
        f"  {rate:6.0f}  {offered / seconds:7.1f}  {done / seconds:6.0f}  {jmeter:10.2f}  {shard:9.3f}"
        f"  {lag.quantile_ms(0.5) or 0:10.2f}  {lag.quantile_ms(0.99) or 0:6.2f}"
        f"  {latency.quantile_ms(0.5) or 0:11.2f}  {latency.quantile_ms(0.99) or 0:6.2f}"
        f"  {in_flight:9d}  {max(others - jmeter - shard, 0):6.2f}"
    )


def two_shards(rate: float, hold_s: int, threads: int) -> None:
    with _fleet(2, threads, {}) as fleet:
        for shard in (0, 1):
            fleet.start(shard)
        commander = Commander(fleet.store).start()
        fleet.wait_ready()
        delays = []
        for warm_rate in (rate / 4, rate / 2, rate / 3, rate):
            issued = commander.command(warm_rate)
            time.sleep(2.5)
            delays += [report.in_force_at - issued for report in _newest(fleet) if report.in_force_at is not None]
        start = math.ceil(time.time())
        time.sleep(start + hold_s + 1.5 - time.time())
        commander.fall_silent()
        fleet.dismiss()
        for process in fleet.processes.values():
            process.wait(20)
        reports = [report for shard in (0, 1) for report in fleet.reports(shard)]
    offered = sum(report.offered.get(second, 0) for report in reports for second in range(start, start + hold_s))
    lag = Histogram.merged(
        report.lag[second] for report in reports for second in range(start, start + hold_s) if second in report.lag
    )
    expected = rate * hold_s
    print(
        f"two shards, {rate:g}/s commanded for {hold_s} s: {offered} arrivals offered, {expected:.0f} expected, "
        f"z = {(offered - expected) / math.sqrt(expected):+.2f} of Poisson; "
        f"lag p50 {lag.quantile_ms(0.5) or 0:.2f} ms, p99 {lag.quantile_ms(0.99) or 0:.2f} ms"
    )
    shown = ", ".join(f"{delay * 1e3:.0f}" for delay in sorted(delays))
    print(f"command written until in force in JMeter, ms, each shard and change: {shown}")


def _newest(fleet: LocalFleet) -> list[ShardReport]:
    return [report for shard in (0, 1) if (report := fleet.last_report(shard)) is not None]


@contextmanager
def _fleet(shards: int, threads: int, prefixes: Mapping[int, Sequence[str]]) -> Iterator[LocalFleet]:
    with tempfile.TemporaryDirectory(prefix="bench-shard-") as folder:
        spec = fleet_spec(_PORT, shards=shards, threads_per_shard=threads)
        with LocalFleet(Path(folder) / "run", spec, prefixes=prefixes) as fleet:
            yield fleet


def _machine_cpu_s() -> float:
    """CPU time that all processes have used since the machine started, the kernel's included."""
    words = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    user, nice, system, _idle, _waiting, interrupts, soft_interrupts = map(int, words[1:8])
    return (user + nice + system + interrupts + soft_interrupts) / os.sysconf("SC_CLK_TCK")


def _process_cpu_s(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


if __name__ == "__main__":
    main()
