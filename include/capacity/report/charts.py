"""What the charts show, as data. Pure; `include.pipeline.drawing` draws it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from include.capacity.report.endings import ENDINGS, Ending, ending_of
from include.capacity.report.result import epoch_of

Mark = Literal["sustainable", "not sustainable", "invalid"]

_PERCENTILE = {"latency_p50_ms": "p50", "latency_p90_ms": "p90", "latency_p95_ms": "p95", "latency_p99_ms": "p99"}


@dataclass(frozen=True, slots=True)
class LatencyLimit:
    """The SLO's limit that the charts draw: a percentile such as `p95`, and milliseconds (None: no limit)."""

    percentile: str
    limit_ms: float | None


@dataclass(frozen=True, slots=True)
class Band:
    """Answer and interval in TPS."""

    tps: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class ProbePoint:
    """One probe. `number` is its place in the document's table."""

    number: int
    offered_tps: float
    achieved_tps: float
    latency_ms: float | None
    mark: Mark
    soak: bool


@dataclass(frozen=True, slots=True)
class ProbesChart:
    """Chart 1: every probe that measured something; rests, in which the service recovers, are left out."""

    title: str
    points: tuple[ProbePoint, ...]
    limit: LatencyLimit
    band: Band


@dataclass(frozen=True, slots=True)
class StoryProbe:
    """One probe in its order. `label` names it below its column; `counts` is false when another test overruled it."""

    number: int
    label: str
    offered_tps: float
    achieved_tps: float
    latency_ms: float | None
    mark: Mark
    rest: bool
    soak: bool
    counts: bool


@dataclass(frozen=True, slots=True)
class StoryChart:
    """Chart 4: every probe in its order, rests included: what was offered, what came of it, and what ended it."""

    title: str
    probes: tuple[StoryProbe, ...]
    limit: LatencyLimit
    band: Band


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the run in seconds since its first second: a probe."""

    start_s: float
    end_s: float
    number: int
    mark: Mark
    soak: bool


@dataclass(frozen=True, slots=True)
class RunChart:
    """Chart 2: the run by second; every series is as long as `times_s` (seconds since the first). NaN breaks a line."""

    title: str
    times_s: tuple[float, ...]
    commanded_tps: tuple[float, ...]
    offered_tps: tuple[float, ...]
    completed_tps: tuple[float, ...]
    latency_ms: tuple[float | None, ...]
    in_flight: tuple[float, ...]
    errors: tuple[int, ...]
    spans: tuple[Span, ...]
    stages: tuple[tuple[str, float, float], ...]
    limit: LatencyLimit


@dataclass(frozen=True, slots=True)
class HistoryPoint:
    """One run's answer at the time of its end (epoch seconds)."""

    ended_at: float
    tps: float
    low: float | None
    high: float | None
    accepted: bool
    verified: bool
    verdict: str
    current: bool


@dataclass(frozen=True, slots=True)
class HistoryChart:
    """Chart 3: the answers of the runs, oldest first."""

    title: str
    points: tuple[HistoryPoint, ...]


def latency_limit(result: Mapping[str, Any]) -> LatencyLimit:
    """The first latency condition for all transactions, else the first one at all, else p95 without a limit."""
    latencies = [condition for condition in result["slo"] if condition["metric"] in _PERCENTILE]
    for condition in sorted(latencies, key=lambda each: each["label"] != "all"):
        limit = condition["limit"] if condition["label"] == "all" else None
        return LatencyLimit(_PERCENTILE[condition["metric"]], limit)
    return LatencyLimit("p95", None)


def probes_chart(result: Mapping[str, Any]) -> ProbesChart | None:
    """None when no probe measured anything."""
    limit = latency_limit(result)
    points = tuple(
        ProbePoint(
            number=number,
            offered_tps=probe["offered_tps"],
            achieved_tps=probe["achieved_tps"],
            latency_ms=probe["latency_ms"].get(limit.percentile),
            mark=_mark(probe),
            soak=probe["kind"] == "soak",
        )
        for number, probe in enumerate(result["probes"], 1)
        if probe["measured_s"] > 0 and probe["offered_tps"] > 0 and probe["kind"] != "rest"
    )
    if not points:
        return None
    interval = result["answer"]["interval"]
    band = Band(result["answer"]["tps"], interval["low"], interval["high"])
    return ProbesChart(f"{result['service']}: rate and latency by offered rate", points, limit, band)


def story_chart(result: Mapping[str, Any]) -> StoryChart | None:
    """None without probes."""
    if not result["probes"]:
        return None
    limit, answer = latency_limit(result), result["answer"]
    overruled = {each["probe"] for each in result.get("discarded", {}).get("overruled", [])}
    probes = tuple(
        StoryProbe(
            number=number,
            label=_story_label(number, probe),
            offered_tps=probe["offered_tps"],
            achieved_tps=probe["achieved_tps"],
            latency_ms=probe["latency_ms"].get(limit.percentile),
            mark=_mark(probe),
            rest=probe["kind"] == "rest",
            soak=probe["kind"] == "soak",
            counts=number not in overruled,
        )
        for number, probe in enumerate(result["probes"], 1)
    )
    band = Band(answer["tps"], answer["interval"]["low"], answer["interval"]["high"])
    return StoryChart(
        f"{result['service']}: the probes of {result['ended_at'][:10]} in their order", probes, limit, band
    )


def _story_label(number: int, probe: Mapping[str, Any]) -> str:
    ending = rule_of(probe)
    held = held_of(probe)
    if ending == "held":
        return f"{number}  {probe['kind']}, {held:.0f} s"
    return f"{number}  {probe['kind']}, {held:.0f} of {probe['hold_s']:.0f} s: {ENDINGS[ending].short}"


def rule_of(probe: Mapping[str, Any]) -> Ending:
    """The rule that ended a probe of a result; results of the first versions hold its words only."""
    rule: Ending = probe.get("stop_rule") or ending_of(probe["stop"])
    return rule


def held_of(probe: Mapping[str, Any]) -> float:
    """Seconds for which the rate was held."""
    took = epoch_of(probe["ended_at"]) - epoch_of(probe["started_at"])
    return float(probe.get("held_s", min(took, probe["hold_s"])))


def run_chart(result: Mapping[str, Any], seconds: Sequence[Mapping[str, Any]]) -> RunChart | None:
    """None without seconds. Gaps between stages stay gaps: a second without a value breaks the line."""
    rows = sorted(seconds, key=lambda row: row["second"])
    if not rows:
        return None
    first, limit = rows[0]["second"], latency_limit(result)
    places = {(probe["stage"], probe["number"]): place for place, probe in enumerate(result["probes"])}
    spans, stages = [], []
    for key in dict.fromkeys((row["stage"], row["probe"]) for row in rows):
        if key in places:
            probe = result["probes"][places[key]]
            own = [row["second"] for row in rows if (row["stage"], row["probe"]) == key]
            spans.append(
                Span(own[0] - first, own[-1] + 1 - first, places[key] + 1, _mark(probe), probe["kind"] == "soak")
            )
    for stage in dict.fromkeys(row["stage"] for row in rows):
        own = [row["second"] for row in rows if row["stage"] == stage]
        stages.append((stage, float(own[0] - first), float(own[-1] + 1 - first)))
    full = _with_gaps(rows)
    return RunChart(
        title=f"{result['service']}: the run of {result['ended_at'][:10]}, second by second",
        times_s=tuple(float(row["second"] - first) for row in full),
        commanded_tps=_series(full, "commanded_tps"),
        offered_tps=_series(full, "offered_tps"),
        completed_tps=_series(full, "completed_tps"),
        latency_ms=tuple(row.get(f"{limit.percentile}_ms") for row in full),
        in_flight=_series(full, "in_flight"),
        errors=tuple(row.get("errors", 0) for row in full),
        spans=tuple(spans),
        stages=tuple(stages),
        limit=limit,
    )


def history_chart(result: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> HistoryChart | None:
    """None when there are fewer than two runs with an answer. The run itself counts, whether `history` holds it or not;
    later runs do not."""
    answer, comparison = result["answer"], result["comparison"]
    current = {
        "run_id": result["run_id"],
        "ended_at": result["ended_at"],
        "tps": answer["tps"],
        "low": answer["interval"]["low"],
        "high": answer["interval"]["high"],
        "verified": answer["verified"],
        "validity": result["validity"]["status"],
        "verdict": None if comparison is None else comparison["verdict"],
        "accepted": next((run["accepted"] for run in history if run["run_id"] == result["run_id"]), False),
    }
    others = [run for run in history if run["run_id"] != result["run_id"] and run["ended_at"] < result["ended_at"]]
    runs = sorted([*others, current], key=lambda run: run["ended_at"])
    points = tuple(
        HistoryPoint(
            ended_at=epoch_of(run["ended_at"]),
            tps=run["tps"],
            low=run["low"],
            high=run["high"],
            accepted=run["accepted"],
            verified=run["verified"],
            verdict=run["verdict"] or "",
            current=run is current,
        )
        for run in runs
        if run["tps"] is not None and run["validity"] == "valid"
    )
    if len(points) < 2:
        return None
    return HistoryChart(f"{result['service']}: maximum sustainable TPS by run", points)


def _mark(probe: Mapping[str, Any]) -> Mark:
    if probe["validity"]["status"] != "valid":
        return "invalid"
    return "sustainable" if probe["sustainable"] else "not sustainable"


def _with_gaps(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Puts one row without values into each gap, so that no line runs across it."""
    full: list[Mapping[str, Any]] = []
    for row in rows:
        if full and row["second"] > full[-1]["second"] + 1:
            full.append({"second": full[-1]["second"] + 1})
        full.append(row)
    return full


def _series(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[float, ...]:
    return tuple(float(row.get(name, "nan")) for row in rows)
