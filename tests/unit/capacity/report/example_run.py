"""A realistic run for the tests of results and documents: 2 instances x 4 slots x 40 ms, simulated, always the same.

`python -m tests.unit.capacity.report.example_run` writes it to tests/data/results.
"""

from __future__ import annotations

import heapq
import json
import random
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from include.capacity.baseline.comparison import Comparison
from include.capacity.cost import run_cost
from include.capacity.histogram import Histogram
from include.capacity.judgement.conditions import allowed_share, bad_and_total
from include.capacity.judgement.sequential import blocks_of, estimate
from include.capacity.judgement.stops import BEYOND_DOUBT, stop
from include.capacity.models import (
    HOLD_COMPLETE,
    Answer,
    ConditionResult,
    FleetSecond,
    ProbeResult,
    SearchSettings,
    ShardSecond,
    Slo,
    SloCondition,
    Step,
    StepKind,
    Validity,
    ValidityLimits,
)
from include.capacity.profile import Prices
from include.capacity.protocol import GeneratorHealth
from include.capacity.report.codec import to_json
from include.capacity.report.endings import Ending
from include.capacity.report.facts import (
    Environment,
    ExpectationOutcome,
    Instance,
    Method,
    PlanFacts,
    Restored,
    RunFacts,
    Sizes,
    Versions,
)
from include.capacity.report.result import build_result, result_text
from include.capacity.report.tables import RunSecond, run_second
from include.capacity.search.answers import INTERVAL_HIGH, INTERVAL_LOW

FOLDER = Path(__file__).parents[3] / "data" / "results"
SEED = 43  # of the seeds, one whose probes come out as the answer tells
RUN_ID = "scheduled__2026-08-03T03:00:00+00:00"
START = 1_785_726_007  # 2026-08-03 03:00:07 UTC
SLO = Slo((SloCondition("latency_p95_ms", 250), SloCondition("error_ratio", 0.01)))
LIMITS = ValidityLimits(40, 0.9, 0.1, 1, 0.001, 0.02)
SLOTS, SERVICE_MEAN_S = 8, 0.040

# stage, kind, rate, planned hold, discard, why, held (shorter where a rule ended it), rule
PLAN: tuple[tuple[str, StepKind, float, float, float, str, int, Ending], ...] = (
    ("smoke", "smoke", 20, 10, 3, "is it the right target, and do its assertions hold?", 10, "held"),
    ("search", "ramp", 88.9, 5, 2, "ramp: the first step", 5, "held"),
    ("search", "ramp", 120, 5, 2, "ramp: 1.35 times the rate before", 5, "held"),
    ("search", "ramp", 162, 5, 2, "ramp: 1.35 times the rate before", 5, "held"),
    ("search", "ramp", 218.7, 6, 2, "ramp: 1.35 times the rate before", 5, "overload"),
    ("search", "rest", 48.6, 6, 3, "218.7 tps failed; rest until the service is well again.", 4, "well"),
    ("search", "probe", 188.2, 14, 3, "halves the bracket 162 to 218.7 TPS", 14, "held"),
    ("search", "probe", 188.2, 14, 3, "repeats an invalid probe", 12, "met"),
    ("search", "probe", 202.9, 20, 3, "halves the bracket 188.2 to 218.7 TPS", 14, "allowance"),
    ("search", "rest", 56.46, 6, 3, "202.9 tps failed; rest until the service is well again.", 5, "well"),
    ("search", "probe", 195.4, 14, 3, "halves the bracket 188.2 to 202.9 TPS", 14, "held"),
    ("search", "rest", 56.46, 6, 3, "195.4 tps failed; rest until the service is well again.", 4, "well"),
    ("search", "probe", 191.8, 14, 3, "halves the bracket 188.2 to 195.4 TPS", 14, "held"),
    ("search", "soak", 191.8, 90, 5, "verifies the highest sustainable rate", 60, "missed"),
    ("search", "rest", 57.54, 6, 3, "191.8 tps failed; rest until the service is well again.", 6, "held"),
    ("search", "soak", 188.2, 60, 5, "verifies the next lower rate", 60, "held"),
    ("confirm", "soak", 188.2, 60, 5, "a longer hold at the answer", 60, "held"),
)
INVALID = 6  # index in PLAN: the load generator was short of CPU


@dataclass
class Simulated:
    seconds: list[FleetSecond]
    latencies: list[Histogram]


def _simulate(rate: float, hold_s: int, start: int, rng: random.Random, lag_s: float) -> list[FleetSecond]:
    """A queue with 8 servers, log-normal service and Poisson arrivals, second by second."""
    free = [0.0] * SLOTS
    heapq.heapify(free)
    offered, completed = Counter[int](), Counter[int]()
    rows: dict[int, dict[tuple[str, Any], Histogram]] = {}
    lags: dict[int, Histogram] = {}
    arrived: list[tuple[float, float]] = []
    now = rng.expovariate(rate)
    while now < hold_s:
        lag = rng.expovariate(1 / 0.0008) + (rng.expovariate(1 / lag_s) if lag_s else 0)
        begun = max(now + lag, heapq.heappop(free))
        ended = begun + rng.lognormvariate(-0.125, 0.5) * SERVICE_MEAN_S
        heapq.heappush(free, ended)
        second = int(now)
        offered[second] += 1
        completed[int(ended)] += 1
        label = rng.choices(("browse", "search", "checkout"), (6, 3, 1))[0]
        outcome = "service_error" if rng.random() < 0.0004 else "ok"
        rows.setdefault(second, {}).setdefault((label, outcome), Histogram()).add(int((ended - now) * 1e6))
        lags.setdefault(second, Histogram()).add(int(lag * 1e6))
        arrived.append((now, ended))
        now += rng.expovariate(rate)
    health = GeneratorHealth(0.31, 0.03, 141, 384, 0.01, 88, 4096)
    shards = tuple(ShardSecond(shard, "20260803T030100-1", rate / 2, health, 150, 120) for shard in range(2))
    return [
        FleetSecond(
            second=start + second,
            offered=offered[second],
            completed=completed[second],
            rows=rows.get(second, {}),
            lag=lags.get(second, Histogram()),
            in_flight=sum(begin < second + 1 <= end for begin, end in arrived),
            shards=shards,
        )
        for second in range(hold_s)
    ]


def _judged(index: int, number: int, start: int, seconds: list[FleetSecond]) -> ProbeResult:
    stage, kind, rate, hold_s, discard_s, why, held, ending = PLAN[index]
    measured = seconds[int(discard_s) :]
    latency = Histogram.merged(histogram for second in measured for histogram in second.rows.values())
    errors = Counter[str]()
    for second in measured:
        for (_, outcome), histogram in second.rows.items():
            errors[outcome] += histogram.total
    values = {
        name: latency.quantile_ms(q) or 0.0 for name, q in (("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99))
    }
    values["max"] = latency.quantile_ms(1) or 0.0
    ratio = errors["service_error"] / latency.total
    offered = sum(second.offered for second in measured) / len(measured)
    achieved = sum(second.completed for second in measured) / len(measured)
    misses: list[str] = []
    conditions = tuple(
        _condition(condition, value, measured)
        for condition, value in zip(SLO.conditions, (values["p95"], ratio), strict=True)
    )
    if values["p95"] > 250:
        misses.append(f"p95 latency {values['p95']:.0f} ms exceeds 250 ms.")
    if achieved < 0.97 * offered:
        misses.append(f"Only {achieved / offered * 100:.1f} % of the offered rate completed (99 % needed).")
    lag = Histogram.merged(second.lag for second in measured).quantile_ms(0.99)
    valid = index != INVALID
    reasons = () if valid else (f"The load generator lagged behind its schedule: p99 {lag:.0f} ms, allowed 40 ms.",)
    return ProbeResult(
        stage=stage,
        number=number,
        step=Step(kind, rate, hold_s, discard_s, why),
        started_at=start + 0.2,
        ended_at=start + held + (2.4 if held == hold_s else 0.2),
        measured_s=len(measured),
        offered_tps=offered,
        achieved_tps=achieved,
        transactions_per_arrival=1.0,
        latency_ms=values,
        error_ratio=ratio,
        errors=dict(errors),
        conditions=conditions,
        lag_p99_ms=lag,
        in_flight_start=seconds[int(discard_s) - 1].in_flight,
        in_flight_end=seconds[-1].in_flight,
        validity=Validity("valid" if valid else "invalid", reasons),
        sustainable=not misses if valid else None,
        misses=tuple(misses) if valid else (),
        stop=_stop(ending, values, len(measured), int(hold_s - discard_s)),
        environment={"instances_in_service": 2},
    )


def _condition(condition: SloCondition, value: float, measured: list[FleetSecond]) -> ConditionResult:
    allowed = allowed_share(condition)
    assert allowed is not None
    found = estimate(blocks_of([bad_and_total(condition, (second,)) for second in measured]), allowed)
    assert found is not None or len(measured) < 4
    return ConditionResult(
        condition,
        value,
        value <= condition.limit,
        share=None if found is None else found.share,
        share_error=None if found is None else found.error,
    )


def _stop(ending: Ending, values: dict[str, float], measured_s: int, planned_s: int) -> str:
    slow = f"The p95 latency was {values['p95']:.0f} ms, beyond the limit of 250 ms."
    return {
        "held": HOLD_COMPLETE,
        "overload": stop("overload", "97% of the transactions were slower than 250 ms for 3 s."),
        "well": stop("well", f"the median latency is {values['p50']:.0f} ms again after {measured_s} s."),
        "met": stop("met", f"every condition is met beyond doubt after {measured_s} of {planned_s} s."),
        "allowance": stop("slo", f"{slow} Its budget for the hold is used up."),
        "missed": stop("slo", f"{slow} {BEYOND_DOUBT}"),
    }[ending]


def example_facts(seed: int = SEED) -> tuple[RunFacts, list[RunSecond]]:
    """The facts of the run and its seconds."""
    rng = random.Random(seed)
    clock, probes, rows = START + 95, [], list[RunSecond]()
    numbers = Counter[str]()
    for index, (stage, kind, rate, _, discard_s, _, held, _) in enumerate(PLAN):
        seconds = _simulate(rate, held, clock, rng, 0.03 if index == INVALID else 0.0)
        number = numbers[stage]
        numbers[stage] += 1
        probes.append(_judged(index, number, clock, seconds))
        rows += [
            run_second(
                second,
                stage=stage,
                probe=number,
                kind=kind,
                judged=second.second - clock >= discard_s,
                commanded_tps=rate,
                transactions_per_arrival=1.0,
            )
            for second in seconds
        ]
        clock += held + 5
    answer = Answer(
        tps=188.2,
        low=float(f"{INTERVAL_LOW * 188.2:.4g}"),
        high=float(f"{INTERVAL_HIGH * 188.2:.4g}"),
        verified=True,
        bound="exact",
        validity=Validity("valid"),
        why=(
            "The ramp broke the SLO at 218.7 TPS; the bracket was narrowed to 191.8 to 195.4 TPS (1.9 %).",
            "A soak of 60 s at 191.8 TPS missed the SLO; one at 188.2 TPS met every condition of it.",
        ),
    )
    facts = RunFacts(
        service="checkout",
        description="The shop's front end (browse, search, checkout) behind its load balancer.",
        owner="team-shop",
        run_id=RUN_ID,
        mode="weekly",
        started_at=START,
        ended_at=clock + 38,
        slo=SLO,
        answer=answer,
        transactions_per_arrival=1.0,
        probes=tuple(probes),
        method=Method(SearchSettings(20, 600, 0.03, 1.35, 5, 14, 3, 60, 5, 3, 600, 3), LIMITS, "poisson", 2, 150),
        plan=PlanFacts(
            "include/jmeter/checkout.jmx",
            "7d1a54127b222502f5b79b5fb0803061152a44f92b37e23c6527baf665d4da9a",
            (
                "Thread group 'shoppers' (25 threads, endless loop): its load model was replaced by steered arrivals.",
                "Listener 'View Results Tree' was switched off.",
            ),
        ),
        versions=Versions("0.1.0", "3.3.2", "5.6.3", "3.11.2", "21.0.8"),
        environment=Environment(
            region="us-east-1",
            account="123456789012",
            autoscaling_group="checkout-web",
            instance_type="t3.medium",
            load_balancer="checkout",
            target="http://checkout.local:8080",
            before=Sizes(1, 1, 4),
            during=Sizes(2, 2, 4),
            instances=(
                Instance("i-0a1b2c3d4e5f60718", "t3.medium", "us-east-1a"),
                Instance("i-0f9e8d7c6b5a43210", "t3.medium", "us-east-1b"),
            ),
        ),
        restored=Restored(True),
        comparison=Comparison(
            "no_change",
            ("2.1 % less than 192.2 TPS: within what chance explains.",),
            against_run_id="scheduled__2026-07-27T03:00:00+00:00",
            against_ended_at="2026-07-27T03:11:40.000Z",
            against_tps=192.2,
            against_low=188.9,
            against_high=196.0,
            change=188.2 / 192.2 - 1,
            intervals_overlap=True,
            smallest_change=0.098,
            noise=0.0182,
            noise_runs=6,
        ),
        cost=run_cost(
            Prices(instance_hour=0.0416, shard_hour=0.0494), shards=2, fleet_s=420, added_instances=1, environment_s=510
        ),
        data_quality=(
            ExpectationOutcome(
                "seconds_unique", "No second of the run is recorded twice.", "fail", True, "all rows hold"
            ),
            ExpectationOutcome(
                "lag_within_limit",
                "In seconds of valid probes the load generator keeps to its schedule.",
                "warn",
                False,
                "2 of 206 values: 41.3, 44.9",
            ),
        ),
        artefacts={
            "result": "result.json",
            "seconds": "tables/seconds.json",
            "probes": "tables/probes.json",
            "fleet": "fleet",
            "data docs": "data-docs/index.html",
        },
        sandbox_truth={"max_tps": 189.4},
    )
    return facts, rows


def example_history() -> list[dict[str, Any]]:
    """Six accepted weeks before the example run, newest first, as the history store gives them."""
    levels = ((27, 192.2), (20, 190.1), (13, 194.9), (6, 191.0))
    july = [(f"2026-07-{day:02d}", tps) for day, tps in levels]
    return [
        {
            "run_id": f"scheduled__{day}T03:00:00+00:00",
            "ended_at": f"{day}T03:11:40.000Z",
            "tps": tps,
            "low": round(tps * 0.983, 1),
            "high": round(tps * 1.02, 1),
            "verified": True,
            "validity": "valid",
            "verdict": "no_change",
            "accepted": True,
        }
        for day, tps in [*july, ("2026-06-29", 176.4), ("2026-06-22", 191.7)]
    ]


def regressed(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The week of 176.4 TPS as what it was: a regression that nobody accepted."""
    return [
        entry | {"verdict": "regression", "accepted": False} if entry["tps"] == 176.4 else entry for entry in history
    ]


def main() -> None:
    facts, seconds = example_facts()
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "result.json").write_text(result_text(build_result(facts)))
    (FOLDER / "seconds.json").write_text("[\n" + ",\n".join(json.dumps(to_json(row)) for row in seconds) + "\n]\n")
    (FOLDER / "history.json").write_text(json.dumps(regressed(example_history()), indent=1) + "\n")
    first = replace(facts, comparison=Comparison("insufficient", ("There is no accepted run to compare with.",)))
    (FOLDER / "first-result.json").write_text(result_text(build_result(first)))


if __name__ == "__main__":
    main()
