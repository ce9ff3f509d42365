"""Builds result.json from the facts of a run. Pure: same facts, same bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from include.capacity.baseline.comparison import Comparison, RunLevel
from include.capacity.judgement.conditions import allowed_share
from include.capacity.models import METRICS, ConditionResult, ProbeResult, Slo, SloCondition, Validity
from include.capacity.report.codec import to_json
from include.capacity.report.endings import ending_of
from include.capacity.report.facts import Environment, RunFacts, Sizes
from include.capacity.report.schema import SCHEMA_VERSION, check_result
from include.capacity.report.story import discarded, held_s, interval_basis

INTERVAL_LEVEL = 0.9  # that of `Answer`


def build_result(facts: RunFacts) -> dict[str, Any]:
    """Returns the content of result.json, checked against its schema.

    Raises:
        InvalidData: the facts do not make a result, such as a negative rate or a time that is no time.
    """
    answer = facts.answer
    reasons = (facts.failure or "The search did not come to an answer.",)
    validity = answer.validity if answer is not None else Validity("inconclusive", reasons)
    probes = sorted(facts.probes, key=lambda probe: probe.started_at)
    result: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "service": facts.service,
        "description": facts.description,
        "owner": facts.owner,
        "run_id": facts.run_id,
        "mode": facts.mode,
        "started_at": iso_time(facts.started_at),
        "ended_at": iso_time(facts.ended_at),
        "answer": {
            "tps": None if answer is None else _rounded(answer.tps),
            "interval": {
                "low": None if answer is None else _rounded(answer.low),
                "high": None if answer is None else _rounded(answer.high),
                "level": INTERVAL_LEVEL,
                "basis": interval_basis(answer),
            },
            "verified": answer is not None and answer.verified,
            "bound": "unknown" if answer is None else answer.bound,
            "why": [] if answer is None else list(answer.why),
        },
        "validity": to_json(validity),
        "slo": [_condition(condition) for condition in facts.slo.conditions],
        "transactions_per_arrival": _rounded(facts.transactions_per_arrival),
        "probes": [_probe(probe) for probe in probes],
        "discarded": discarded(probes),
        "method": {
            "search": to_json(facts.method.search),
            "limits": to_json(facts.method.limits),
            "arrivals": facts.method.arrivals,
            "shards": facts.method.shards,
            "threads_per_shard": facts.method.threads_per_shard,
        },
        "plan_path": facts.plan.path,
        "plan_hash": facts.plan.sha256,
        "plan_notes": list(facts.plan.notes),
        "versions": to_json(facts.versions),
        "environment": _environment(facts.environment),
        "restored": to_json(facts.restored),
        "comparison": None if facts.comparison is None else _comparison(facts.comparison),
        "cost": None if facts.cost is None else _all_rounded(to_json(facts.cost), 6),
        "data_quality": [to_json(outcome) for outcome in facts.data_quality],
        "artefacts": dict(sorted(facts.artefacts.items())),
    }
    if facts.sandbox_truth is not None:
        result["sandbox_truth"] = dict(facts.sandbox_truth)
    check_result(result)
    return result


def with_sandbox_truth(result: Mapping[str, Any], truth: Mapping[str, float | str | bool | None]) -> dict[str, Any]:
    """The result with the sandbox's own truth beside it; `truth` holds at least `max_tps`. Raises InvalidData."""
    together = {**result, "sandbox_truth": dict(truth)}
    check_result(together)
    return together


def result_text(result: Mapping[str, Any]) -> str:
    """The bytes of result.json as text: same result, same text."""
    return json.dumps(result, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def level_of(result: Mapping[str, Any], *, accepted: bool = False) -> RunLevel:
    """What a later comparison needs of a result."""
    answer = result["answer"]
    return RunLevel(
        run_id=result["run_id"],
        ended_at=result["ended_at"],
        tps=answer["tps"],
        low=answer["interval"]["low"],
        high=answer["interval"]["high"],
        verified=answer["verified"],
        bound=answer["bound"],
        validity=result["validity"]["status"],
        accepted=accepted,
        conditions=conditions_of(result),
    )


def conditions_of(result: Mapping[str, Any]) -> dict[str, str]:
    """What must be equal for two runs to be comparable, by name."""
    environment = result["environment"]
    during = environment["sizes_during"]
    return {
        "SLO": _joined(condition["text"] for condition in result["slo"]),
        "JMeter plan": result["plan_hash"][:12],
        "instances": "unknown" if during is None else str(during["desired"]),
        "instance type": environment["instance_type"],
    }


def acceptable(result: Mapping[str, Any]) -> bool:
    """Whether a run becomes the level to compare with, unless a person decides otherwise: it is valid, verified, not
    worse than the level before and not under suspicion of it."""
    verdict = None if result["comparison"] is None else result["comparison"]["verdict"]
    return (
        result["validity"]["status"] == "valid"
        and result["answer"]["verified"]
        and result["answer"]["tps"] is not None
        and verdict not in ("regression", "rerun")
    )


def slo_text(slo: Slo) -> str:
    """An SLO in words, as in `conditions_of`."""
    return _joined(condition_text(condition) for condition in slo.conditions)


def _joined(conditions: Iterable[str]) -> str:
    return "; ".join(conditions)


def condition_text(condition: SloCondition) -> str:
    """A condition in words, such as `p95 latency <= 250 ms`."""
    facts = METRICS[condition.metric]
    limit = {
        "ratio": f"{condition.limit * 100:g} %",
        "score": f"{condition.limit:g} (target {condition.target_ms or 0:g} ms)",
    }.get(facts.unit, f"{condition.limit:g} {facts.unit}")
    name = "share of errors" if condition.metric == "error_ratio" else facts.name
    text = f"{name} {'>=' if condition.higher_is_better else '<='} {limit}"
    if condition.label != "all":
        text += f" for {condition.label}"
    if condition.window_s is not None:
        text += f" in each {condition.window_s:g} s"
        if condition.may_fail_ratio:
            text += f" ({condition.may_fail_ratio * 100:g} % of them may miss it)"
    return text


def iso_time(epoch_s: float) -> str:
    """Epoch seconds as ISO 8601 in UTC with milliseconds."""
    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def epoch_of(text: str) -> float:
    """The inverse of `iso_time`."""
    return datetime.fromisoformat(text).timestamp()


def _condition(condition: SloCondition) -> dict[str, Any]:
    return {
        **to_json(condition),
        "unit": METRICS[condition.metric].unit,
        "better": METRICS[condition.metric].better,
        "text": condition_text(condition),
    }


def _probe(probe: ProbeResult) -> dict[str, Any]:
    return {
        "stage": probe.stage,
        "number": probe.number,
        "kind": probe.step.kind,
        "why": probe.step.why,
        "started_at": iso_time(probe.started_at),
        "ended_at": iso_time(probe.ended_at),
        "hold_s": _rounded(probe.step.hold_s),
        "discard_s": _rounded(probe.step.discard_s),
        "held_s": round(held_s(probe), 1),
        "measured_s": probe.measured_s,
        "commanded_tps": _rounded(probe.step.rate_tps),
        "offered_tps": _rounded(probe.offered_tps),
        "achieved_tps": _rounded(probe.achieved_tps),
        "latency_ms": {name: _rounded(value) for name, value in sorted(probe.latency_ms.items())},
        "errors": dict(sorted(probe.errors.items())),
        "error_ratio": _rounded(probe.error_ratio, 6),
        "lag_p99_ms": _rounded(probe.lag_p99_ms),
        "in_flight_start": probe.in_flight_start,
        "in_flight_end": probe.in_flight_end,
        "conditions": [_condition_result(result) for result in probe.conditions],
        "validity": to_json(probe.validity),
        "sustainable": probe.sustainable,
        "misses": list(probe.misses),
        "stop": probe.stop,
        "stop_rule": ending_of(probe.stop),
        "environment": {name: _rounded(value) for name, value in sorted(probe.environment.items())},
    }


def _condition_result(result: ConditionResult) -> dict[str, Any]:
    return {
        "text": condition_text(result.condition),
        "value": _rounded(result.value, 6),
        "met": result.met,
        "windows": result.windows,
        "windows_missed": result.windows_missed,
        "share": _rounded(result.share, 6),
        "share_error": _rounded(result.share_error, 6),
        "allowed_share": _rounded(allowed_share(result.condition), 6),
    }


def _environment(environment: Environment) -> dict[str, Any]:
    return {
        "region": environment.region,
        "account": environment.account,
        "autoscaling_group": environment.autoscaling_group,
        "instance_type": environment.instance_type,
        "load_balancer": environment.load_balancer,
        "target": environment.target,
        "sizes_before": _sizes(environment.before),
        "sizes_during": _sizes(environment.during),
        "instances": [to_json(instance) for instance in sorted(environment.instances, key=lambda each: each.id)],
    }


def _sizes(sizes: Sizes | None) -> dict[str, int] | None:
    return None if sizes is None else {"min": sizes.minimum, "desired": sizes.desired, "max": sizes.maximum}


def _comparison(comparison: Comparison) -> dict[str, Any]:
    against = None
    if comparison.against_run_id is not None:
        against = {
            "run_id": comparison.against_run_id,
            "ended_at": comparison.against_ended_at,
            "tps": comparison.against_tps,
            "interval": {
                "low": comparison.against_low,
                "high": comparison.against_high,
                "level": INTERVAL_LEVEL,
            },
        }
    return {
        "verdict": comparison.verdict,
        "reasons": list(comparison.reasons),
        "against": against,
        "change_ratio": _rounded(comparison.change, 6),
        "intervals_overlap": comparison.intervals_overlap,
        "smallest_change_ratio": _rounded(comparison.smallest_change, 6),
        "noise_ratio": _rounded(comparison.noise, 6),
        "noise_runs": comparison.noise_runs,
    }


def _rounded(value: float | None, digits: int = 3) -> float | None:
    return None if value is None else round(value, digits)


def _all_rounded(values: Mapping[str, Any], digits: int) -> dict[str, Any]:
    return {name: round(value, digits) if isinstance(value, float) else value for name, value in values.items()}
