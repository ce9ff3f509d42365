"""The sandbox's real processes beside its simulation: each plant at some parts of its true maximum.

    python -m benchmarks.bench_plants --plants noisy-neighbour,pool --hold 60

For each plant a sandbox is started: the real HAProxy and the real instances. An open-loop generator warms them gently
and holds a rate. The same arrivals are simulated in many copies, each with service times and episodes of its own; a
figure is "as simulated" if it lies between the 1st and the 99th percentile of the copies (2 ms, 0.2 %, 0.5/s are let
pass). Health checks through the balancer, which cost no slot, tell what this machine adds to every latency: a row in
which that was much tells about the machine, not about the plant.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import numpy as np
from numpy.typing import NDArray

from benchmarks.open_loop import NO_ANSWER, OpenLoop
from sandbox.plantfile import Plant, load_plant
from sandbox.simulation import Effort, Lane, System
from sandbox.truth import DEFAULT_OVERHEAD_S, maximum_rate

Floats = NDArray[np.float64]

ROOT = Path(__file__).resolve().parents[1]
PLANTS = ROOT / "sandbox" / "plants"
FIVE = ("noisy-neighbour", "pool", "rate-limiter", "metastable", "uneven")
RAMP_S = 10.0
SETTLE_S = 5.0
SHOCK_S = 5.0
SHOCK_FACTOR = 1.6  # of the maximum
REST_S = 6.0
PATIENCE_S = 10.0
COPIES = 400
BAND = (1, 99)
PINGS_PER_S = 4.0
MOST_OVERHEAD_S = 0.006  # in the 95th percentile
UP_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Profile:
    """A gentle ramp from half the rate, perhaps a shock, a time to settle, and the hold that counts."""

    rate_tps: float
    hold_s: float
    shock_tps: float = 0.0

    @property
    def counted_from_s(self) -> float:
        return RAMP_S + (SHOCK_S if self.shock_tps else 0) + SETTLE_S

    @property
    def end_s(self) -> float:
        return self.counted_from_s + self.hold_s

    def arrivals(self, generator: np.random.Generator) -> Floats:
        """Poisson arrivals in seconds, thinned from the highest rate."""
        peak = max(self.rate_tps, self.shock_tps)
        times = np.cumsum(generator.exponential(size=int(peak * self.end_s * 1.2 + 200))) / peak
        times = times[times < self.end_s]
        rate = np.where(times < RAMP_S, self.rate_tps * (0.5 + 0.5 * times / RAMP_S), self.rate_tps)
        if self.shock_tps:
            rate[(times >= RAMP_S) & (times < RAMP_S + SHOCK_S)] = self.shock_tps
        kept: Floats = times[generator.random(len(times)) * peak < rate]
        return kept


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one hold: p95 in seconds over the good answers, errors as a part of all, good answers per second."""

    p95_s: float
    error_ratio: float
    goodput_tps: float

    @classmethod
    def of(cls, due_s: Floats, latencies_s: Floats, profile: Profile) -> Figures:
        """`latencies_s` is NaN for what was refused."""
        counted = latencies_s[due_s >= profile.counted_from_s]
        good = counted[~np.isnan(counted)]
        p95_s = float(np.percentile(good, 95)) if len(good) else math.inf
        return cls(p95_s, 1 - len(good) / max(len(counted), 1), len(good) / profile.hold_s)


def simulated(plant: Plant, profile: Profile, due_s: Floats, seed: int) -> list[Figures]:
    """The figures of many copies of the plant."""
    system = System.of(plant, plant.instances_under_test)
    figures = []
    for copy in range(COPIES):
        lane = Lane(system, profile.rate_tps, np.random.default_rng([seed, copy]), Effort(1, 0, 0, gentle=True))
        seen = lane.serve(due_s)
        figures.append(Figures.of(due_s, seen.latencies_s + DEFAULT_OVERHEAD_S, profile))
    return figures


def measured(
    plant: Plant, url: str, profile: Profile, due_s: Floats, generator: np.random.Generator
) -> tuple[Figures, float]:
    """The figures of the real plant, and the 95th percentile of what the machine adds to a latency in seconds."""
    address = urlsplit(url)
    pings_s = np.arange(0.1, profile.end_s, 1 / PINGS_PER_S)
    order = np.argsort(np.concatenate([due_s, pings_s]), kind="stable")
    all_due_s = np.concatenate([due_s, pings_s])[order]
    ping = f"GET /health HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode()
    requests = [*_requests(plant, len(due_s), generator, address.netloc), *[ping] * len(pings_s)]
    loop = OpenLoop(address.hostname or "", address.port or 80, all_due_s.tolist(), [requests[i] for i in order])
    everything = asyncio.run(loop.run(PATIENCE_S))
    sent = [one for one, index in zip(everything, order, strict=True) if index < len(due_s)]
    pings = [one for one, index in zip(everything, order, strict=True) if index >= len(due_s)]
    unanswered = sum(one.status == NO_ANSWER for one in sent)
    if unanswered:
        print(f"  {unanswered} requests had no answer within {PATIENCE_S:g} s", flush=True)
    latencies_s = np.array([one.latency_s if one.status == 200 else math.nan for one in sent])
    overhead_s = float(np.nanpercentile([one.latency_s for one in pings if one.due_s >= profile.counted_from_s], 95))
    return Figures.of(due_s, latencies_s, profile), overhead_s


def _requests(plant: Plant, count: int, generator: np.random.Generator, host: str) -> list[bytes]:
    endpoints = plant.endpoints.by_name()
    texts = []
    for name, endpoint in endpoints.items():
        body = '{"total": 9.5}' if name == "checkout" else ""
        query = "?q=lamp" if name == "search" else ""
        head = f"{endpoint.method} {endpoint.path}{query} HTTP/1.1\r\nHost: {host}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        texts.append(f"{head}\r\n{body}".encode())
    kinds = generator.choice(len(texts), size=count, p=[endpoint.share for endpoint in endpoints.values()])
    return [texts[kind] for kind in kinds]


@contextmanager
def running(plant_file: Path, plant: Plant) -> Iterator[str]:
    """A sandbox at test size; gives the address of its load balancer."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "sandbox"]
        subprocess.run(
            [*command, "up", "--state", folder, "--plant", str(plant_file)],
            cwd=ROOT,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        try:
            state: dict[str, Any] = json.loads((Path(folder) / "state.json").read_text(encoding="utf-8"))
            _scale(state, plant)
            yield state["load_balancer_url"]
        finally:
            subprocess.run([*command, "down", "--state", folder], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def _scale(state: dict[str, Any], plant: Plant) -> None:
    """Bring the group to its size under test, and wait until all of it is healthy and warm."""
    access = {"region_name": "us-east-1", "aws_access_key_id": "123456789012", "aws_secret_access_key": "sandbox"}
    autoscaling, balancing = (
        boto3.client(name, endpoint_url=state["endpoint_url"], **access) for name in ("autoscaling", "elbv2")
    )
    wanted = plant.instances_under_test
    autoscaling.set_desired_capacity(AutoScalingGroupName=plant.group_name, DesiredCapacity=wanted)
    end = time.monotonic() + UP_LIMIT_S
    while True:
        targets = balancing.describe_target_health(TargetGroupArn=state["resources"]["target_group_arn"])
        healthy = [t for t in targets["TargetHealthDescriptions"] if t["TargetHealth"]["State"] == "healthy"]
        if len(healthy) == wanted:
            break
        if time.monotonic() > end:
            raise SystemExit(f"{wanted} instances were not healthy within {UP_LIMIT_S:g} s")
        time.sleep(0.2)
    time.sleep(plant.instances.warm_up_s + 1)


def row(name: str, part: str, profile: Profile, real: Figures, overhead_s: float, copies: Sequence[Figures]) -> str:
    """One line of the table."""
    cells, inside = [], True
    for key, factor, width, grace in (
        ("p95_s", 1e3, 7, 2.0),
        ("error_ratio", 100, 6, 0.2),
        ("goodput_tps", 1, 7, 0.5),
    ):
        values = np.array([getattr(one, key) for one in copies]) * factor
        low, middle, high = np.percentile(values, [BAND[0], 50, BAND[1]])
        value = getattr(real, key) * factor
        inside = inside and bool(low - grace <= value <= high + grace)
        cells.append(f"{value:{width}.1f} {middle:{width}.1f} ({low:.1f} to {high:.1f})".ljust(2 * width + 20))
    said = "yes" if inside else "NO" if overhead_s <= MOST_OVERHEAD_S else "no: busy machine"
    said = f"{1e3 * overhead_s:5.1f}  {said}"
    return f"{name:<16} {part:>6} {profile.rate_tps:7.1f}  {'  '.join(cells)}  {said}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plants", default=",".join(FIVE), help="names in sandbox/plants (default %(default)s)")
    parser.add_argument("--factors", default="0.85,0.97,1.05", help="parts of the true maximum (default %(default)s)")
    parser.add_argument("--hold", type=float, default=60.0, help="seconds at each rate (default %(default)g)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    head = "plant              part    rate  p95 ms: real, simulated            errors %: real, simulated"
    print(f"{head}         good/s: real, simulated             machine p95 ms, as simulated", flush=True)
    for name in options.plants.split(","):
        plant_file = PLANTS / f"{name}.yaml"
        plant = load_plant(plant_file)
        best_tps = maximum_rate(plant).max_tps
        factors = [float(factor) for factor in options.factors.split(",")]
        profiles = [(f"{factor:g}", Profile(factor * best_tps, options.hold)) for factor in factors]
        if plant.metastable is not None:  # what a shock leaves behind
            shocked = Profile(factors[0] * best_tps, options.hold, SHOCK_FACTOR * best_tps)
            profiles.append(("shock", shocked))
        with running(plant_file, plant) as url:
            for number, (part, profile) in enumerate(profiles):
                generator = np.random.default_rng([options.seed, number])
                due_s = profile.arrivals(generator)
                real, overhead_s = measured(plant, url, profile, due_s, generator)
                copies = simulated(plant, profile, due_s, options.seed + number)
                print(row(name, part, profile, real, overhead_s, copies), flush=True)
                time.sleep(REST_S)


if __name__ == "__main__":
    main()
