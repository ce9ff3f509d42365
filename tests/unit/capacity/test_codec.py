import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.capacity import codec
from include.capacity.errors import InvalidData
from include.capacity.histogram import Histogram
from include.capacity.models import Answer, ConditionResult, FleetSecond, ProbeResult, SloCondition, Step, Validity
from include.capacity.protocol import OUTCOMES
from tests.unit.capacity.examples import judged, second, seconds, shard

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
COUNTS = st.integers(0, 2**53)
TEXTS = st.text(max_size=20)
OUTCOME = st.sampled_from(OUTCOMES)
HISTOGRAMS = st.dictionaries(st.integers(0, 5000), COUNTS, max_size=5).map(Histogram)

VALIDITIES = st.builds(
    Validity, st.sampled_from(["valid", "invalid", "inconclusive"]), st.lists(TEXTS, max_size=3).map(tuple)
)
STEPS = st.builds(
    Step, st.sampled_from(["smoke", "warm", "ramp", "probe", "soak", "rest"]), NUMBERS, NUMBERS, NUMBERS, TEXTS
)
CONDITIONS = st.builds(
    SloCondition,
    st.sampled_from(["latency_p50_ms", "latency_p95_ms", "error_ratio", "apdex", "throughput_tps"]),
    NUMBERS,
    TEXTS,
    st.none() | NUMBERS,
    NUMBERS,
    st.none() | NUMBERS,
)
RESULTS = st.builds(
    ProbeResult,
    stage=TEXTS,
    number=COUNTS,
    step=STEPS,
    started_at=NUMBERS,
    ended_at=NUMBERS,
    measured_s=COUNTS,
    offered_tps=NUMBERS,
    achieved_tps=NUMBERS,
    transactions_per_arrival=NUMBERS,
    latency_ms=st.dictionaries(TEXTS, NUMBERS, max_size=3),
    error_ratio=NUMBERS,
    errors=st.dictionaries(OUTCOME, COUNTS, max_size=3),
    conditions=st.lists(
        st.builds(ConditionResult, CONDITIONS, st.none() | NUMBERS, st.booleans(), COUNTS, COUNTS), max_size=2
    ).map(tuple),
    lag_p99_ms=st.none() | NUMBERS,
    in_flight_start=COUNTS,
    in_flight_end=COUNTS,
    validity=VALIDITIES,
    sustainable=st.none() | st.booleans(),
    misses=st.lists(TEXTS, max_size=2).map(tuple),
    stop=TEXTS,
    environment=st.dictionaries(TEXTS, NUMBERS, max_size=2),
    overloaded=st.booleans(),
    in_flight_mean=NUMBERS,
    changes=st.lists(TEXTS, max_size=2).map(tuple),
)
ANSWERS = st.builds(
    Answer,
    st.none() | NUMBERS,
    st.none() | NUMBERS,
    st.none() | NUMBERS,
    st.booleans(),
    st.sampled_from(["exact", "at_least", "at_most", "unknown"]),
    VALIDITIES,
    st.lists(TEXTS, max_size=3).map(tuple),
)
SECONDS = st.builds(
    FleetSecond,
    second=COUNTS,
    offered=COUNTS,
    completed=COUNTS,
    rows=st.dictionaries(st.tuples(TEXTS, OUTCOME), HISTOGRAMS, max_size=3),
    lag=HISTOGRAMS,
    in_flight=COUNTS,
    shards=st.just(second(1, shards=[shard(0, delay_s=0.3, in_force_after_s=0.1), shard(1)]).shards),
    missing=st.lists(COUNTS, max_size=2).map(tuple),
    restarted=st.lists(COUNTS, max_size=2).map(tuple),
    rejected=COUNTS,
    guard=TEXTS,
    sizes=st.dictionaries(TEXTS, HISTOGRAMS, max_size=2),
    own_errors=st.dictionaries(TEXTS, COUNTS, max_size=2),
)


def through_json(value: dict[str, Any]) -> Any:
    return json.loads(json.dumps(value, allow_nan=False))


@given(RESULTS)
def test_probe_results_come_back_as_they_were(result: ProbeResult) -> None:
    assert codec.probe_from_json(through_json(codec.probe_to_json(result))) == result


@given(ANSWERS)
def test_answers_come_back_as_they_were(answer: Answer) -> None:
    assert codec.answer_from_json(through_json(codec.answer_to_json(answer))) == answer


@given(SECONDS)
def test_seconds_come_back_as_they_were(fleet_second: FleetSecond) -> None:
    assert codec.second_from_json(through_json(codec.second_to_json(fleet_second))) == fleet_second


def test_a_result_without_the_newer_fields_is_read() -> None:
    raw = codec.probe_to_json(judged(seconds()))
    for name in ("environment", "overloaded", "in_flight_mean", "changes"):
        del raw[name]
    assert codec.probe_from_json(raw).overloaded is False


def _without(raw: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in raw.items() if key != name}


@pytest.mark.parametrize(
    "break_it",
    [
        lambda raw: _without(raw, "step"),
        lambda raw: raw | {"offered_tps": float("nan")},
        lambda raw: raw | {"offered_tps": "fast"},
        lambda raw: raw | {"misses": "one text"},
        lambda raw: raw | {"validity": {"status": "fine", "reasons": []}},
        lambda raw: raw | {"step": raw["step"] | {"kind": "sprint"}},
        lambda raw: raw | {"conditions": [{}]},
        lambda raw: raw | {"errors": []},
        lambda raw: [raw],
    ],
)
def test_a_broken_result_is_refused(break_it: Any) -> None:
    with pytest.raises(InvalidData, match="not a probe result"):
        codec.probe_from_json(break_it(codec.probe_to_json(judged(seconds()))))


def test_a_broken_answer_or_second_is_refused() -> None:
    with pytest.raises(InvalidData, match="not an answer"):
        codec.answer_from_json({"tps": 1})
    with pytest.raises(InvalidData, match="not a second"):
        codec.second_from_json(codec.second_to_json(second(1)) | {"rows": [{"label": "x", "outcome": "?"}]})
