"""The true capacity of a plant: the highest rate at which it meets an SLO in the long run, found by simulation.

It is what a measured maximum is compared with. So it shares no code with what measures: the numbers come from
sandbox.simulation alone. "Met" means: each latency percentile over all answered requests, and the ratio of refused
requests, stay within their limits over an unlimited time of Poisson arrivals at that rate. The answer never exceeds the
saturation rate (all slots always busy): above it a backlog grows until requests are refused, whatever the SLO allows.

A plant with memory (metastable) would leave its good state at any rate in an unlimited time. Its limits must be met by
many plants together that were each fresh, warmed gently, and then held for `period_s`.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from sandbox.plantfile import DEFAULT_PLANT, Plant, PlantFileError, Slo, load_plant, parse_slo
from sandbox.quantities import parse_duration_s
from sandbox.simulation import Effort, Floats, Outcome, System, simulate

DEFAULT_OVERHEAD_S = 0.001
POINT_FACTORS = (0.8, 0.9, 1.0, 1.05)  # of the maximum: where the latencies are told
EXIT_USAGE = 2

# How the search spends its time: a coarse grid, a narrow bracket, then a fit through rates close to the answer.
IDLE_LOAD = 0.001
COARSE_LOADS = (0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.86, 0.9, 0.93, 0.96, 0.98, 1.0)
COARSE_EFFORT = Effort(lanes=16, warm_up_steps=3000, steps=6000)
BRACKET_RATES = 8
BRACKET_WIDTH = 1.012
BRACKET_EFFORT = Effort(lanes=32, warm_up_steps=5000, steps=12_000)
FIT_RATES = 4
WARM_UP_STEPS_RANGE = (1000, 20_000)
BUCKET_WARM_UP_STEPS = 20_000  # for each instance: until a token bucket has forgotten where it began
FIT_LANES = 64
FIT_STEPS = 50_000
FIT_BATCHES = 16
FIT_SPAN = 0.25  # how far the fitted rates move the number of slow requests, to either side, as a part of the allowed
FIRST_FIT_HALF = 0.006  # of the logarithm of the rate, before it is known how steep the plant is
FIT_HALF_RANGE = (0.002, 0.05)
MOST_FITS = 4
TOLERANCE = 0.003
LEAST_ERROR_SCALE = 1e-4  # an SLO may allow no error at all
STUDENT_95 = 2.13  # for FIT_BATCHES - 1 degrees of freedom
POINT_LANES = 32
PERIOD_S = 900.0  # for which a plant with memory must hold a rate
GENTLE_WARM_UP_S = 40.0


@dataclass(frozen=True, slots=True)
class RatePoint:
    """What the plant does in the long run at one rate; latencies of answered requests in seconds, overhead included."""

    factor: float
    rate_tps: float
    latency_mean_s: float
    latency_p50_s: float
    latency_p90_s: float
    latency_p95_s: float
    latency_p99_s: float
    error_ratio: float


@dataclass(frozen=True, slots=True)
class Truth:
    """The answer. `low_tps` and `high_tps` bound `max_tps` with 95 % confidence as far as the simulation's own error
    goes. `simulated_s` is the plant's time behind it: of the `arrivals` at rates close to the answer.

    `period_s` is how long a plant with memory must hold the rate, and `shocked_tps` what one holds at most after its
    backlog has made work cost more: only below does that drain. Both are None for a plant without memory.

    `limited_by` is the SLO's key that breaks first (also when the SLO cannot be met at all: then max_tps is 0), or
    "saturation" if the SLO holds up to the saturation rate. `arrivals` is how many were simulated at the rates close to
    it.
    """

    plant: str
    instances: int
    slo: dict[str, float]
    overhead_s: float
    max_tps: float
    low_tps: float
    high_tps: float
    limited_by: str
    saturation_tps: float
    points: tuple[RatePoint, ...]
    arrivals: int
    simulated_s: float
    period_s: float | None
    shocked_tps: float | None
    seed: int


@dataclass(frozen=True, slots=True)
class _Condition:
    """One limit of the SLO. `excess` is, per batch, by how much more (as a part of the allowed ratio; negative: less)
    requests are slow or refused than the limit allows. Ratios, unlike percentiles, are unbiased in small batches."""

    key: str
    excess: Callable[[Outcome], Floats]


@dataclass(frozen=True, slots=True)
class _Crossing:
    """Where a condition breaks, with half the width of the 95 % interval, and d excess / d ln rate there."""

    key: str
    rate_tps: float
    half_width_tps: float
    steepness: float


def maximum_rate(
    plant: Plant,
    slo: Slo | None = None,
    instances: int | None = None,
    *,
    overhead_s: float = DEFAULT_OVERHEAD_S,
    period_s: float = PERIOD_S,
    seed: int = 1,
) -> Truth:
    """The highest rate in transactions per second at which `instances` warm instances meet the SLO in the long run.

    Left out, the SLO and the number of instances are the plant file's own. `overhead_s` is added to every latency: the
    network, the balancer and the client, which the simulation does not contain. `period_s` counts for a plant with
    memory only. The same arguments give the same answer.
    """
    slo = plant.slo if slo is None else slo
    instances = plant.instances_under_test if instances is None else instances
    return _Search(System.of(plant, instances), slo, overhead_s, period_s, seed).run(plant.name)


class _Search:
    def __init__(self, system: System, slo: Slo, overhead_s: float, period_s: float, seed: int) -> None:
        self._system = system
        self._saturation_tps = system.saturation_tps
        self._period_s = period_s
        self._slo = slo
        self._overhead_s = overhead_s
        self._seed = seed
        self._simulations = 0
        self._conditions = _conditions(slo, overhead_s)

    def run(self, plant_name: str) -> Truth:
        saturation = self._saturation_tps
        low, high, limited_by = self._bracket()
        answer, error = low, 0.0
        fitted: list[Outcome] = []
        if high is not None:
            crossing, fitted = self._fit(math.sqrt(low * high))
            answer, error, limited_by = crossing.rate_tps, crossing.half_width_tps, crossing.key
            if answer >= saturation:
                answer, limited_by = saturation, "saturation"
        return Truth(
            plant=plant_name,
            instances=self._system.instances,
            slo=self._slo.model_dump(exclude_none=True),
            overhead_s=self._overhead_s,
            max_tps=answer,
            low_tps=max(0.0, answer - error),
            high_tps=min(saturation, answer + error),
            limited_by=limited_by,
            saturation_tps=saturation,
            points=self._points(answer, fitted),
            arrivals=sum(outcome.arrivals for outcome in fitted),
            simulated_s=sum(outcome.arrivals / outcome.rate_tps for outcome in fitted),
            period_s=self._period_s if self._system.has_memory else None,
            shocked_tps=self._system.costly().saturation_tps if self._system.has_memory else None,
            seed=self._seed,
        )

    def _simulate(self, rates_tps: Sequence[float], effort: Effort, *, batches: int, common: bool) -> list[Outcome]:
        self._simulations += 1
        seed = self._seed * 1000 + self._simulations
        if not self._system.has_memory:
            return simulate(self._system, rates_tps, effort, seed=seed, batches=batches, common=common)
        outcomes = []
        for index, rate in enumerate(rates_tps):
            held = replace(
                effort,
                lanes=max(effort.lanes // 2, batches),
                warm_up_steps=math.ceil(rate * GENTLE_WARM_UP_S),
                steps=math.ceil(rate * self._period_s),
                gentle=True,
            )
            own_seed = seed if common else seed + 1_000_000 * (index + 1)
            outcomes += simulate(self._system, [rate], held, seed=own_seed, batches=batches)
        return outcomes

    def _bracket(self) -> tuple[float, float | None, str]:
        """Rates close together of which the lower meets the SLO and the higher does not, and what breaks there.

        The lower one is 0 when the SLO cannot be met at all, the higher one None when it holds up to saturation.
        """
        saturation = self._saturation_tps
        rates = [load * saturation for load in (IDLE_LOAD, *COARSE_LOADS)]
        effort = COARSE_EFFORT
        while True:
            broken = [self._first_broken(o) for o in self._simulate(rates, effort, batches=1, common=True)]
            first = next((index for index, key in enumerate(broken) if key), None)
            if first is None and rates[-1] >= saturation:
                return saturation, None, "saturation"
            if first is None:  # the bracket's upper end, judged with more effort, is within the SLO after all
                rates = [rate * (rates[-1] / rates[0]) for rate in rates]
                continue
            if first == 0 and effort is COARSE_EFFORT:
                return 0.0, None, broken[0]
            low, high = rates[max(first - 1, 0)], rates[max(first, 1)]
            if high / low <= BRACKET_WIDTH:
                return low, high, broken[first]
            rates = [float(rate) for rate in np.linspace(low, high, BRACKET_RATES)]
            effort = BRACKET_EFFORT

    def _first_broken(self, outcome: Outcome) -> str:
        """The key of the condition that is broken most, "" if all are met."""
        excess, key = max((float(condition.excess(outcome).mean()), condition.key) for condition in self._conditions)
        return key if excess > 0 else ""

    def _fit(self, centre: float) -> tuple[_Crossing, list[Outcome]]:
        """Where the SLO breaks close to `centre`: simulate rates around it until the answer is exact enough."""
        half = FIRST_FIT_HALF
        outcomes: list[Outcome] = []
        for _ in range(MOST_FITS):
            rates = [float(rate) for rate in centre * np.exp(np.linspace(-half, half, FIT_RATES))]
            effort = Effort(FIT_LANES, self._warm_up_steps(centre), FIT_STEPS)
            fresh = self._simulate(rates, effort, batches=FIT_BATCHES, common=False)
            crossing = self._crossing([*outcomes, *fresh])
            # Rates that are far from the answer bend the straight line: they are not used again.
            near = abs(math.log(crossing.rate_tps / centre)) < 1.5 * half
            outcomes = [*outcomes, *fresh] if near else []
            if near and crossing.half_width_tps <= TOLERANCE * crossing.rate_tps:
                break
            centre = crossing.rate_tps
            half = float(np.clip(FIT_SPAN / max(crossing.steepness, 1e-6), *FIT_HALF_RANGE))
        return crossing, outcomes or fresh

    def _crossing(self, outcomes: Sequence[Outcome]) -> _Crossing:
        """Where, on a straight line through the excess over ln rate, the first condition breaks."""
        logs = np.log([outcome.rate_tps for outcome in outcomes])
        middle = float(logs.mean())
        reach = 4 * float(logs.max() - logs.min())
        crossings: list[_Crossing] = []
        for condition in self._conditions:
            excess = np.array([condition.excess(outcome) for outcome in outcomes])  # (rates, batches)
            slope, level = np.polyfit(logs - middle, excess.mean(axis=1), 1)
            # A condition that the rate does not move is either met everywhere or nowhere.
            offset = -level / slope if slope > 0 else math.copysign(reach, -level)
            rate = math.exp(middle + float(np.clip(offset, -reach, reach)))
            error = STUDENT_95 * excess.mean(axis=0).std(ddof=1) / math.sqrt(excess.shape[1]) / max(abs(slope), 1e-6)
            crossings.append(_Crossing(condition.key, rate, float(error) * rate, float(slope)))
        return min(crossings, key=lambda crossing: crossing.rate_tps)

    def _warm_up_steps(self, rate_tps: float) -> int:
        """Several relaxation times of the queue: (1 + squared spread) / (1 - load)^2 arrivals each."""
        if self._system.rate_limit is not None:
            return BUCKET_WARM_UP_STEPS * self._system.instances
        spare = max(1 - rate_tps / self._saturation_tps, 0.02)
        return int(np.clip(5 * (1 + self._system.squared_spread) / spare**2, *WARM_UP_STEPS_RANGE))

    def _points(self, answer: float, fitted: Sequence[Outcome]) -> tuple[RatePoint, ...]:
        """The latencies at some parts of the answer (of an idle plant if the answer is 0)."""
        if answer == 0:
            outcomes = {0.0: self._simulate_points([self._saturation_tps * IDLE_LOAD])[0]}
        else:
            factors = [factor for factor in POINT_FACTORS if factor != 1 or not fitted]
            rates = [factor * answer for factor in factors]
            outcomes = dict(zip(factors, self._simulate_points(rates), strict=True))
            if fitted:
                outcomes[1.0] = _at_rate(answer, fitted)
        return tuple(self._point(factor, outcomes[factor]) for factor in sorted(outcomes))

    def _simulate_points(self, rates_tps: Sequence[float]) -> list[Outcome]:
        effort = Effort(POINT_LANES, self._warm_up_steps(max(rates_tps)), FIT_STEPS)
        return self._simulate(rates_tps, effort, batches=1, common=True)

    def _point(self, factor: float, outcome: Outcome) -> RatePoint:
        p50, p90, p95, p99 = (outcome.percentile_s(percentile) + self._overhead_s for percentile in (50, 90, 95, 99))
        mean = outcome.mean_s() + self._overhead_s
        return RatePoint(factor, outcome.rate_tps, mean, p50, p90, p95, p99, outcome.error_ratio())


def _conditions(slo: Slo, overhead_s: float) -> list[_Condition]:
    conditions = [
        _slow_condition(percentile, limit_s - overhead_s) for percentile, limit_s in slo.latency_limits_s().items()
    ]
    if slo.error_ratio is not None:
        conditions.append(_error_condition(slo.error_ratio))
    return conditions


def _slow_condition(percentile: int, limit_s: float) -> _Condition:
    allowed = 1 - percentile / 100
    return _Condition(f"latency_p{percentile}", lambda outcome: outcome.slow_ratios(limit_s) / allowed - 1)


def _error_condition(allowed: float) -> _Condition:
    scale = max(allowed, LEAST_ERROR_SCALE)
    return _Condition("error_ratio", lambda outcome: (outcome.error_ratios() - allowed) / scale)


def _at_rate(rate_tps: float, outcomes: Sequence[Outcome]) -> Outcome:
    """What a straight line through the outcomes (over ln rate) gives at a rate among theirs."""
    distances = np.log([outcome.rate_tps for outcome in outcomes])
    middle = distances.mean()
    distances -= middle
    weights = 1 / len(outcomes) + (math.log(rate_tps) - middle) * distances / (distances @ distances)
    return Outcome(
        rate_tps,
        np.einsum("r,rbl->bl", weights, np.array([outcome.histogram for outcome in outcomes])),
        np.einsum("r,rb->b", weights, np.array([outcome.refused for outcome in outcomes])),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m sandbox truth`: print the answer. Returns 0, or 2 when an argument or the plant file is wrong."""
    options = _parse(arguments)
    try:
        plant = load_plant(options.plant)
        slo = parse_slo(options.slo) if options.slo else None
    except PlantFileError as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    truth = maximum_rate(
        plant, slo, options.instances, overhead_s=options.overhead, period_s=options.period, seed=options.seed
    )
    print(json.dumps(asdict(truth), indent=2) if options.json else describe(truth))
    return 0


def describe(truth: Truth) -> str:
    """The answer as text for a person."""
    limits = [
        f"errors <= {100 * value:g} %"
        if key == "error_ratio"
        else f"{key[:-2].replace('_', ' ')} <= {1e3 * value:g} ms"
        for key, value in truth.slo.items()
    ]
    lines = [
        f"plant {truth.plant}, {truth.instances} instances, saturated at {truth.saturation_tps:.1f} tps",
        f"SLO: {', '.join(limits)} (every latency includes {1e3 * truth.overhead_s:g} ms for network and balancer)",
    ]
    if truth.max_tps == 0:
        lines.append(f"No rate meets the SLO: {truth.limited_by} is too high even when the plant is idle.")
    elif truth.limited_by == "saturation":
        lines.append(f"Maximum: {truth.max_tps:.1f} tps; the SLO holds until all slots are always busy.")
    else:
        lines.append(
            f"Maximum: {truth.max_tps:.1f} tps, limited by {truth.limited_by} "
            f"({truth.low_tps:.1f} to {truth.high_tps:.1f} with 95 % confidence; {truth.arrivals:,} arrivals simulated)"
        )
    if truth.max_tps > 0:
        lines.append(f"Behind it are {truth.simulated_s / 3600:.1f} hours of the plant's time.")
    if truth.period_s is not None and truth.shocked_tps is not None:
        lines.append(
            f"The plant has memory: held for {truth.period_s / 60:g} min each, fresh and gently warmed. After a shock "
            f"it recovers only below {truth.shocked_tps:.1f} tps."
        )
    lines.append("  of max   rate/s   mean ms    p50    p90    p95    p99   errors")
    for p in truth.points:
        lines.append(
            f"  {p.factor:6.2f} {p.rate_tps:8.1f} {1e3 * p.latency_mean_s:9.1f} {1e3 * p.latency_p50_s:6.1f} "
            f"{1e3 * p.latency_p90_s:6.1f} {1e3 * p.latency_p95_s:6.1f} {1e3 * p.latency_p99_s:6.1f} "
            f"{100 * p.error_ratio:6.2f} %"
        )
    return "\n".join(lines)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox truth",
        description="Compute the maximum rate at which a plant meets an SLO, by simulation.",
    )
    parser.add_argument("--plant", default=str(DEFAULT_PLANT), help="the plant file (default: %(default)s)")
    parser.add_argument("--instances", type=_instances, help="how many (default: the plant's instances_under_test)")
    parser.add_argument(
        "--slo", help='limits such as "latency_p95=250 ms,error_ratio=1 %%" (default: the plant\'s slo)'
    )
    parser.add_argument(
        "--period", type=_duration, default=PERIOD_S, help='that a plant with memory must hold (default: "15 min")'
    )
    parser.add_argument("--overhead", type=_duration, default=DEFAULT_OVERHEAD_S, help='added to latencies, as "1 ms"')
    parser.add_argument("--seed", type=int, default=1, help="of the random numbers (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON: rates in tps, times in seconds")
    return parser.parse_args(arguments)


def _instances(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not a number of instances; choose 1 to 100")
    return int(text)


def _duration(text: str) -> float:
    try:
        return parse_duration_s(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from None
