"""The JSON Schema of result.json (draft 2020-12), version 1, and the check against it.

The published file `result.schema.json` beside this module is what `python -m include.capacity.report.schema` prints; a
test holds the two equal. Every key is always written; what is unknown is null. Files of earlier versions may lack
`LATER_KEYS`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from jsonschema import Draft202012Validator

from include.capacity.errors import InvalidData
from include.capacity.models import METRICS
from include.capacity.report.endings import ENDINGS
from include.capacity.report.story import BASES

SCHEMA_VERSION = 1
TIME_PATTERN = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$"
SHA256_PATTERN = r"^([0-9a-f]{64})?$"
STAGE_KINDS = ("smoke", "warm", "ramp", "probe", "soak", "rest")

_Schema = dict[str, Any]


def _of(kind: str, description: str, **rules: Any) -> _Schema:
    return {"type": kind, "description": description, **rules}


def _text(description: str, **rules: Any) -> _Schema:
    return _of("string", description, **rules)


def _number(description: str, **rules: Any) -> _Schema:
    return _of("number", description, **({"minimum": 0} | rules))


def _count(description: str, **rules: Any) -> _Schema:
    return _of("integer", description, **({"minimum": 0} | rules))


def _flag(description: str) -> _Schema:
    return _of("boolean", description)


def _time(description: str) -> _Schema:
    return _text(f"{description} ISO 8601, UTC, milliseconds.", pattern=TIME_PATTERN)


def _choice(description: str, *values: str) -> _Schema:
    return {"description": description, "enum": list(values)}


def _sentences(description: str) -> _Schema:
    return _list(description, {"type": "string", "minLength": 1})


def _list(description: str, items: _Schema) -> _Schema:
    return _of("array", description, items=items)


def _object(description: str, properties: Mapping[str, _Schema], optional: Iterable[str] = ()) -> _Schema:
    later = set(optional)
    required = [name for name in properties if name not in later]
    return _of("object", description, properties=dict(properties), required=required, additionalProperties=False)


def _map(description: str, values: _Schema, **rules: Any) -> _Schema:
    return _of("object", description, additionalProperties=values, **rules)


def _nullable(schema: _Schema) -> _Schema:
    if "enum" in schema:
        return schema | {"enum": [*schema["enum"], None]}
    return schema | {"type": [schema["type"], "null"]}


def _interval(description: str, **more: _Schema) -> _Schema:
    return _object(
        description,
        {
            "low": _nullable(_number("Lower end in TPS; null when unbounded or unknown.")),
            "high": _nullable(_number("Upper end in TPS; null when unbounded or unknown.")),
            "level": _number("Probability that the interval holds the true maximum.", maximum=1),
            **more,
        },
        tuple(more),
    )


def _validity(description: str) -> _Schema:
    return _object(
        description,
        {
            "status": _choice("Whether it says anything about the service.", "valid", "invalid", "inconclusive"),
            "reasons": _sentences("Why it is not valid, with evidence and cure; empty when valid."),
        },
    )


# not in the results of the first versions, which are still read
LATER_KEYS = (
    *("better", "target_ms", "share", "share_error", "allowed_share"),
    *("basis", "held_s", "stop_rule", "discarded"),
)

_SIZES = _object(
    "Sizes of the Auto Scaling group, in instances.",
    {"min": _count("Minimum."), "desired": _count("Desired."), "max": _count("Maximum.")},
)

_PERCENTILES = {
    name: _number(f"{label}, in milliseconds, from the intended start to the end of a transaction.")
    for name, label in (
        ("p50", "Median latency"),
        ("p90", "90th percentile of the latency"),
        ("p95", "95th percentile of the latency"),
        ("p99", "99th percentile of the latency"),
        ("max", "Highest latency"),
    )
}

_CONDITION = {
    "metric": _choice("What is limited.", *METRICS),
    "limit": _number("The last value that still counts as good, in the unit: a most or a least by `better`."),
    "unit": _choice("Unit of the limit; a score runs from 0 to 1.", "ms", "ratio", "score", "tps"),
    "better": _choice("Which direction of the metric is the good one.", "lower", "higher"),
    "target_ms": _nullable(_number("T of the Apdex, in milliseconds; null for other metrics.")),
    "label": _text("Transaction label, or `all`."),
    "window_s": _nullable(_number("Length of the windows that are judged, in seconds; null: the probe as a whole.")),
    "may_fail_ratio": _number("Share of the windows that may miss the limit.", maximum=1),
    "text": _text("The condition in words."),
}

_PROBE = _object(
    "One offered rate, held for a while and judged once.",
    {
        "stage": _text("Airflow task that ran it."),
        "number": _count("Place in its stage, from 0."),
        "kind": _choice("What it was for.", *STAGE_KINDS),
        "why": _text("Why this rate was tried."),
        "started_at": _time("Start."),
        "ended_at": _time("End."),
        "hold_s": _number("Planned length, in seconds."),
        "discard_s": _number("Seconds at its start that are not judged."),
        "held_s": _number("Seconds for which the rate was held, in seconds; less than planned when a rule ended it."),
        "measured_s": _count("Seconds that were judged."),
        "commanded_tps": _number("Rate ordered from the fleet, in TPS."),
        "offered_tps": _number("Rate that the fleet's dispatchers scheduled, in TPS."),
        "achieved_tps": _number("Rate of completed transactions, in TPS."),
        "latency_ms": _object(
            "Latency by percentile; empty when nothing completed.", _PERCENTILES, tuple(_PERCENTILES)
        ),
        "errors": _map("Outcome -> transactions, `ok` included.", {"type": "integer", "minimum": 0}),
        "error_ratio": _number("Share of the transactions that failed.", maximum=1),
        "lag_p99_ms": _nullable(_number("99th percentile of the load generator's schedule lag, in milliseconds.")),
        "in_flight_start": _count("Arrivals in flight when judging began."),
        "in_flight_end": _count("Arrivals in flight at the end."),
        "conditions": _list(
            "How each SLO condition came out.",
            _object(
                "One condition.",
                {
                    "text": _CONDITION["text"],
                    "value": _nullable(_number("Value of the worst window, in the condition's unit; null: no data.")),
                    "met": _flag("Whether the condition held."),
                    "windows": _count("Windows judged."),
                    "windows_missed": _count("Windows beyond the limit."),
                    "share": _nullable(_number("Share of the transactions that were slow, failed or unhappy.")),
                    "share_error": _nullable(_number("Standard error of the share.")),
                    "allowed_share": _nullable(_number("The largest share within the limit; null: has no share.")),
                },
                LATER_KEYS,
            ),
        ),
        "validity": _validity("Whether the probe says anything about the service."),
        "sustainable": _nullable(_flag("Whether the service sustained the rate; null unless the probe is valid.")),
        "misses": _sentences("Why the rate is not sustainable; empty when it is."),
        "stop": _text("What ended the probe, in the words of the rule."),
        "stop_rule": _choice("The rule that ended it.", *ENDINGS),
        "environment": _map("What was observed of the environment, such as healthy instances.", {"type": "number"}),
    },
    LATER_KEYS,
)

_DISCARDED = _object(
    "What was measured and does not count. Probes are named by their place in `probes`, from 1.",
    {
        "load_s": _number("Seconds of load of all probes, for comparison."),
        "starts_s": _number("Seconds at the start of valid probes that were not judged."),
        "rests_s": _number("Seconds of valid rests at a low rate, in which the service recovered."),
        "invalid": _list(
            "Probes that say nothing about the service.",
            _object(
                "One probe.",
                {
                    "probe": _count("Its place.", minimum=1),
                    "status": _choice("Why it says nothing.", "invalid", "inconclusive"),
                    "reasons": _sentences("With evidence and cure."),
                    "held_s": _number("Seconds of load."),
                },
            ),
        ),
        "overruled": _list(
            "Valid probes whose outcome was not believed, for what another probe showed.",
            _object(
                "One probe.",
                {
                    "probe": _count("Its place.", minimum=1),
                    "sustainable": _flag("How it came out."),
                    "by": _nullable(_count("Place of the probe that overruled it; null: doubted, not tested again.")),
                    "held_s": _number("Seconds of load."),
                },
            ),
        ),
    },
)

_COMPARISON = _object(
    "Comparison with the last accepted run of the same conditions; null when none was made.",
    {
        "verdict": _choice("The verdict.", "regression", "improvement", "no_change", "insufficient", "rerun"),
        "reasons": _sentences("The verdict in sentences."),
        "against": _nullable(
            _object(
                "The run compared with; null without one.",
                {
                    "run_id": _text("Its id."),
                    "ended_at": _time("Its end."),
                    "tps": _number("Its maximum sustainable TPS."),
                    "interval": _interval("Its interval."),
                },
            )
        ),
        "change_ratio": _nullable(_number("Relative change of the maximum; -0.05 is 5 % less.", minimum=-1)),
        "intervals_overlap": _nullable(_flag("Whether the two intervals share a rate.")),
        "smallest_change_ratio": _nullable(_number("Smallest relative change that is found in 4 of 5 cases.")),
        "noise_ratio": _nullable(_number("Relative standard deviation between runs that was used.")),
        "noise_runs": _count("Accepted runs that told the noise; 0: it was assumed."),
    },
)

_TOP: dict[str, _Schema] = {
    "schema_version": {"const": SCHEMA_VERSION, "description": "Version of this schema."},
    "service": _text("Name of the service.", minLength=1),
    "description": _text("What the service is."),
    "owner": _text("Who answers for it."),
    "run_id": _text("Airflow's id of the run; unique within the service's DAG.", minLength=1),
    "mode": _choice("Why it ran.", "weekly", "release"),
    "started_at": _time("Start of the run."),
    "ended_at": _time("End of the measurement."),
    "answer": _object(
        "The maximum sustainable TPS.",
        {
            "tps": _nullable(_number("Transactions per second; null when nothing is known.")),
            "interval": _interval(
                "Confidence interval of the maximum.", basis=_choice("How the interval was made.", *BASES)
            ),
            "verified": _flag("Whether a soak at this rate passed."),
            "bound": _choice("What the number is.", "exact", "at_least", "at_most", "unknown"),
            "why": _sentences("What it rests on."),
        },
    ),
    "validity": _validity("Whether the run says anything about the service."),
    "slo": _list("The conditions that a sustainable rate meets.", _object("One condition.", _CONDITION, LATER_KEYS)),
    "transactions_per_arrival": _number("Top-level samples that one arrival of the plan makes."),
    "probes": _list("All probes of all stages, by start.", _PROBE),
    "discarded": _DISCARDED,
    "method": _object(
        "How it was measured.",
        {
            "search": _map("Settings of the search; units in the names.", {"type": ["number", "boolean", "null"]}),
            "limits": _map("Beyond any of these a probe is invalid.", {"type": "number"}),
            "arrivals": _choice("Distribution of the gaps between arrivals.", "poisson", "even"),
            "shards": _count("Load generators.", minimum=1),
            "threads_per_shard": _count("Threads of each load generator.", minimum=1),
        },
    ),
    "plan_path": _text("The user's JMeter plan."),
    "plan_hash": _text("sha256 of the plan; empty when it was never read.", pattern=SHA256_PATTERN),
    "plan_notes": _sentences("What was changed in the plan to steer its load."),
    "versions": _object(
        "What measured; empty texts where unknown.",
        {name: _text(f"Version of {name}.") for name in ("headroom", "airflow", "jmeter", "python", "java")},
    ),
    "environment": _object(
        "What was measured.",
        {
            "region": _text("AWS region."),
            "account": _text("AWS account."),
            "autoscaling_group": _text("Auto Scaling group of the service."),
            "instance_type": _text("Type of its instances; comma-separated when mixed."),
            "load_balancer": _text("Load balancer in front of it."),
            "target": _text("Address that the load went to."),
            "sizes_before": _nullable(_SIZES),
            "sizes_during": _nullable(_SIZES),
            "instances": _list(
                "Instances seen in service during the probes.",
                _object("One instance.", {"id": _text("Id."), "type": _text("Type."), "zone": _text("Zone.")}),
            ),
        },
    ),
    "restored": _object(
        "Whether the environment was found as it was before the run.",
        {
            "equal": _flag("Whether it equals the snapshot taken before the run."),
            "differences": _sentences("What differs; empty when equal."),
        },
    ),
    "comparison": _nullable(_COMPARISON),
    "cost": _nullable(
        _object(
            "Estimated cost of the run; null when unknown.",
            {
                "currency": _text("ISO 4217 code.", pattern="^[A-Z]{3}$"),
                "load_hours": _number("Hours of all load shards together."),
                "instance_hours": _number("Hours of the instances that the run added."),
                "load": _number("Cost of the load shards."),
                "instances": _number("Cost of the added instances."),
                "total": _number("Cost of both."),
                "method": _text("How it was estimated."),
            },
        )
    ),
    "data_quality": _list(
        "Expectations about the collected data and how they came out.",
        _object(
            "One expectation.",
            {
                "name": _text("Its name."),
                "meaning": _text("What it says."),
                "severity": _choice("`fail` makes the data unfit for an answer.", "warn", "fail"),
                "success": _flag("Whether it held."),
                "observed": _text("What was seen."),
            },
        ),
    ),
    "artefacts": _map("Name -> path relative to the run's folder in the artefact store.", {"type": "string"}),
    "sandbox_truth": _map(
        "Only in the sandbox: its own simulation of the same service; max_tps is the true maximum in TPS.",
        {"type": ["number", "string", "boolean", "null"]},
        required=["max_tps"],
        properties={"max_tps": _number("True maximum sustainable TPS.")},
    ),
}

RESULT_SCHEMA: Mapping[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": f"urn:headroom:result:{SCHEMA_VERSION}",
    "title": "Result of one capacity run",
    **_object(
        "What Headroom found in one run. Rates are in transactions per second.", _TOP, ("sandbox_truth", *LATER_KEYS)
    ),
}


def schema_text() -> str:
    """The schema as it is published: same schema, same bytes."""
    return json.dumps(RESULT_SCHEMA, indent=2, ensure_ascii=False) + "\n"


def check_result(result: object, source: str = "result.json") -> None:
    """Raises InvalidData that names the first wrong place, such as `probes[3].kind`, and counts the others."""
    if (odd := _not_finite(result)) is not None:
        raise InvalidData(f"{source}: {odd} is no finite number.")
    errors = sorted(
        Draft202012Validator(RESULT_SCHEMA).iter_errors(result), key=lambda error: list(map(str, error.path))
    )
    if not errors:
        return
    first = errors[0]
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first.absolute_path).lstrip(".")
    message = first.message if len(first.message) < 300 else first.message[:300] + "…"
    more = f" ({len(errors) - 1} more)" if len(errors) > 1 else ""
    raise InvalidData(f"{source}: {place + ': ' if place else ''}{message}{more}")


def _not_finite(value: object, place: str = "") -> str | None:
    """Place of the first NaN or infinity: JSON has none, and no rule of a schema refuses NaN."""
    if isinstance(value, float):
        return None if math.isfinite(value) else place
    entries: list[tuple[str, object]] = []
    if isinstance(value, Mapping):
        entries = [(f"{place}.{key}" if place else str(key), entry) for key, entry in value.items()]
    elif isinstance(value, list):
        entries = [(f"{place}[{index}]", entry) for index, entry in enumerate(value)]
    return next((found for inner, entry in entries if (found := _not_finite(entry, inner)) is not None), None)


if __name__ == "__main__":
    print(schema_text(), end="")
