"""Domain results <-> JSON-ready dicts, without loss: what is read back equals what was written.

The stored form names every field. Unknown fields are ignored, so that an older program can read a newer file; missing
ones that have a default take it, so that a newer program can read an older file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal, cast, get_args

from include.capacity.errors import InvalidData
from include.capacity.histogram import Histogram
from include.capacity.models import (
    Answer,
    ConditionResult,
    FleetSecond,
    Metric,
    ProbeResult,
    ShardSecond,
    SloCondition,
    Step,
    StepKind,
    Validity,
    ValidityStatus,
)
from include.capacity.protocol import OUTCOMES, GeneratorHealth, Outcome

Bound = Literal["exact", "at_least", "at_most", "unknown"]


def probe_to_json(result: ProbeResult) -> dict[str, Any]:
    return asdict(result) | {
        "latency_ms": dict(result.latency_ms),
        "errors": dict(result.errors),
        "environment": dict(result.environment),
        "conditions": [asdict(condition) for condition in result.conditions],
        "validity": validity_to_json(result.validity),
        "misses": list(result.misses),
        "changes": list(result.changes),
    }


def probe_from_json(raw: Mapping[str, Any]) -> ProbeResult:
    """Raises InvalidData when the object is not a probe result."""
    try:
        return ProbeResult(
            stage=str(raw["stage"]),
            number=int(raw["number"]),
            step=_step(raw["step"]),
            started_at=_number(raw["started_at"]),
            ended_at=_number(raw["ended_at"]),
            measured_s=int(raw["measured_s"]),
            offered_tps=_number(raw["offered_tps"]),
            achieved_tps=_number(raw["achieved_tps"]),
            transactions_per_arrival=_number(raw["transactions_per_arrival"]),
            latency_ms={str(name): _number(value) for name, value in raw["latency_ms"].items()},
            error_ratio=_number(raw["error_ratio"]),
            errors={str(outcome): int(count) for outcome, count in raw["errors"].items()},
            conditions=tuple(_condition_result(condition) for condition in raw["conditions"]),
            lag_p99_ms=_optional(raw["lag_p99_ms"]),
            in_flight_start=int(raw["in_flight_start"]),
            in_flight_end=int(raw["in_flight_end"]),
            validity=_validity(raw["validity"]),
            sustainable=None if raw["sustainable"] is None else bool(raw["sustainable"]),
            misses=_texts(raw["misses"]),
            stop=str(raw["stop"]),
            environment={str(name): _number(value) for name, value in raw.get("environment", {}).items()},
            overloaded=bool(raw.get("overloaded", False)),
            in_flight_mean=_number(raw.get("in_flight_mean", 0.0)),
            changes=_texts(raw.get("changes", ())),
            tail_goodput_tps=_number(raw.get("tail_goodput_tps", 0.0)),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidData(f"not a probe result: {error!r}.") from None


def answer_to_json(answer: Answer) -> dict[str, Any]:
    return asdict(answer) | {"validity": validity_to_json(answer.validity), "why": list(answer.why)}


def answer_from_json(raw: Mapping[str, Any]) -> Answer:
    """Raises InvalidData when the object is not an answer."""
    try:
        return Answer(
            tps=_optional(raw["tps"]),
            low=_optional(raw["low"]),
            high=_optional(raw["high"]),
            verified=bool(raw["verified"]),
            bound=cast(Bound, _one_of(raw["bound"], get_args(Bound))),
            validity=_validity(raw["validity"]),
            why=_texts(raw["why"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidData(f"not an answer: {error!r}.") from None


def second_to_json(second: FleetSecond) -> dict[str, Any]:
    return {
        "second": second.second,
        "offered": second.offered,
        "completed": second.completed,
        "rows": [
            {"label": label, "outcome": outcome, "latency": latency.to_json()}
            for (label, outcome), latency in sorted(second.rows.items())
        ],
        "lag": second.lag.to_json(),
        "in_flight": second.in_flight,
        "shards": [asdict(shard) for shard in second.shards],
        "missing": list(second.missing),
        "restarted": list(second.restarted),
        "rejected": second.rejected,
        "guard": second.guard,
        "sizes": {label: sizes.to_json() for label, sizes in sorted(second.sizes.items())},
        "own_errors": dict(sorted(second.own_errors.items())),
    }


def second_from_json(raw: Mapping[str, Any]) -> FleetSecond:
    """Raises InvalidData when the object is not a second of the fleet."""
    try:
        return FleetSecond(
            second=int(raw["second"]),
            offered=int(raw["offered"]),
            completed=int(raw["completed"]),
            rows={
                (str(row["label"]), cast(Outcome, _one_of(row["outcome"], OUTCOMES))): Histogram.from_json(
                    row["latency"]
                )
                for row in raw["rows"]
            },
            lag=Histogram.from_json(raw["lag"]),
            in_flight=int(raw["in_flight"]),
            shards=tuple(
                ShardSecond(**{**shard, "generator": GeneratorHealth(**shard["generator"])}) for shard in raw["shards"]
            ),
            missing=tuple(int(shard) for shard in raw["missing"]),
            restarted=tuple(int(shard) for shard in raw["restarted"]),
            rejected=int(raw["rejected"]),
            guard=str(raw["guard"]),
            sizes={str(label): Histogram.from_json(sizes) for label, sizes in raw.get("sizes", {}).items()},
            own_errors={str(cause): int(count) for cause, count in raw.get("own_errors", {}).items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidData(f"not a second of the fleet: {error!r}.") from None


def validity_to_json(validity: Validity) -> dict[str, Any]:
    return {"status": validity.status, "reasons": list(validity.reasons)}


def _validity(raw: Mapping[str, Any]) -> Validity:
    return Validity(cast(ValidityStatus, _one_of(raw["status"], get_args(ValidityStatus))), _texts(raw["reasons"]))


def _step(raw: Mapping[str, Any]) -> Step:
    return Step(
        kind=cast(StepKind, _one_of(raw["kind"], get_args(StepKind))),
        rate_tps=_number(raw["rate_tps"]),
        hold_s=_number(raw["hold_s"]),
        discard_s=_number(raw["discard_s"]),
        why=str(raw["why"]),
        well_p50_ms=_optional(raw.get("well_p50_ms")),
        replace_first=bool(raw.get("replace_first", False)),
        least_s=_optional(raw.get("least_s")),
        rise_from_tps=_number(raw.get("rise_from_tps", 0.0)),
        rise_s=_number(raw.get("rise_s", 0.0)),
    )


def _condition_result(raw: Mapping[str, Any]) -> ConditionResult:
    condition = raw["condition"]
    return ConditionResult(
        condition=SloCondition(
            metric=cast(Metric, _one_of(condition["metric"], get_args(Metric))),
            limit=_number(condition["limit"]),
            label=str(condition["label"]),
            window_s=_optional(condition["window_s"]),
            may_fail_ratio=_number(condition["may_fail_ratio"]),
            target_ms=_optional(condition.get("target_ms")),
        ),
        value=_optional(raw["value"]),
        met=bool(raw["met"]),
        windows=int(raw["windows"]),
        windows_missed=int(raw["windows_missed"]),
        share=_optional(raw.get("share")),
        share_error=_optional(raw.get("share_error")),
    )


def _one_of(value: object, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError(f"{value!r} is none of {', '.join(known)}")
    return str(value)


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is not a finite number")
    return number


def _optional(value: Any) -> float | None:
    return None if value is None else _number(value)


def _texts(values: Any) -> tuple[str, ...]:
    if isinstance(values, str):
        raise TypeError("a list of texts is needed, not one text")
    return tuple(str(value) for value in values)
