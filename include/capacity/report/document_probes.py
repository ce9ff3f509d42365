"""What the scaling document tells of the probes: their tables, the rules that ended them, what was discarded. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from include.capacity.report.charts import held_of, rule_of
from include.capacity.report.endings import ENDINGS
from include.capacity.report.markdown import Markdown, escaped
from include.capacity.report.phrases import duration, milliseconds, number

_KINDS = {
    "smoke": "smoke",
    "warm": "warm-up",
    "ramp": "ramp",
    "probe": "probe",
    "soak": "soak",
    "rest": "rest",
}

_BAD = {"error_ratio": "failed", "apdex": "unhappy"}  # the others limit the slow ones


def probes_context(result: Mapping[str, Any]) -> dict[str, Any]:
    """The template's values that rest on the probes."""
    probes = result["probes"]
    off = discarded_of(result)
    overruled = {each["probe"]: each for each in off["overruled"]}
    metrics = {condition["text"]: condition["metric"] for condition in result["slo"]}
    return {
        "probes": [_probe_row(place, probe, overruled.get(place), metrics) for place, probe in enumerate(probes, 1)],
        "measured": [_measured_row(place, probe) for place, probe in enumerate(probes, 1)],
        "endings": _endings(probes),
        "missed": [
            (place, f"{number(probe['commanded_tps'])} TPS", " ".join(probe["misses"]))
            for place, probe in enumerate(probes, 1)
            if probe["sustainable"] is False and probe["kind"] != "rest"
        ],
        "discarded": _discarded(off),
        "invalid": [
            (each["probe"], _rate(probes, each["probe"]), " ".join(each["reasons"])) for each in off["invalid"]
        ],
        "overruled": [
            (each["probe"], _rate(probes, each["probe"]), _overruling(probes, each)) for each in off["overruled"]
        ],
    }


def discarded_of(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """`discarded` of a result; from its probes where the result is of the first versions and lacks it."""
    if "discarded" in result:
        known: Mapping[str, Any] = result["discarded"]
        return known
    probes = result["probes"]
    valid = [each for each in probes if each["validity"]["status"] == "valid"]
    loaded = [each for each in valid if each["kind"] != "rest"]
    return {
        "load_s": sum(held_of(each) for each in probes),
        "starts_s": sum(min(each["discard_s"], max(held_of(each) - each["measured_s"], 0.0)) for each in loaded),
        "rests_s": sum(held_of(each) for each in valid if each["kind"] == "rest"),
        "invalid": [
            {"probe": place, **each["validity"], "held_s": held_of(each)}
            for place, each in enumerate(probes, 1)
            if each["validity"]["status"] != "valid"
        ],
        "overruled": [],
    }


def interval_story(result: Mapping[str, Any]) -> list[str]:
    """How the interval was made, in a sentence or two; nothing for a result that does not hold it."""
    answer = result["answer"]
    interval, tps = answer["interval"], answer["tps"]
    low, high, level = interval["low"], interval["high"], f"{interval['level'] * 100:g} %"
    spread = (
        "made from simulated services of many kinds whose true maximum is known: it reaches as far below and above the "
        f"answer as their truths lay from the answers that this search gave them, for {level} of them"
    )
    basis = interval.get("basis")
    if basis == "none":
        return ["There is no interval: nothing was measured that could bound the maximum."]
    if basis == "failure" and high is not None:
        return [f"The only end of the interval, {number(high)} TPS, is a rate that failed; no rate below it passed."]
    if not tps or low is None:
        return []
    bottom = _percent(low / tps)
    if basis == "short_probes":
        top = "There is no upper end." if high is None else "Its upper end is the lowest rate that failed."
        return [
            f"No soak passed, so the interval reaches down to {bottom} of the estimate: so much may short probes "
            f"overstate. {top}"
        ]
    if basis == "one_sided":
        return [
            f"The lower end of the interval, {bottom} of the answer, was {spread}. It has no upper end: no higher rate "
            "was seen to fail."
        ]
    if basis == "spread_to_failure" and high is not None:
        return [
            f"The lower end of the interval, {bottom} of the answer, was {spread}. Its upper end, {number(high)} TPS, "
            "is the lowest rate that failed: nothing between it and the answer was tried."
        ]
    if basis == "simulated_spread" and high is not None:
        return [f"The interval was {spread}. Its ends are {bottom} and {_percent(high / tps)} of the answer."]
    return []


def _percent(ratio: float) -> str:
    return f"{ratio * 100:.0f} %"


def _probe_row(
    place: int, probe: Mapping[str, Any], overruled: Mapping[str, Any] | None, metrics: Mapping[str, str]
) -> Markdown:
    held, rule = held_of(probe), rule_of(probe)
    planned = f"{held:.0f} s" if rule == "held" else f"{held:.0f} of {probe['hold_s']:.0f} s"
    verdict = _verdict(probe) + (", not believed" if overruled else "")
    cells = [
        place,
        probe["stage"],
        _KINDS[probe["kind"]],
        number(probe["commanded_tps"]),
        planned,
        _bad_share(probe, metrics),
        verdict,
        ENDINGS[rule].plain,
    ]
    return Markdown(" | ".join(escaped(cell) for cell in cells))


def _bad_share(probe: Mapping[str, Any], metrics: Mapping[str, str]) -> str:
    """The share of bad transactions of the condition that came closest to its allowance (or went farthest beyond)."""
    told = [each for each in probe["conditions"] if each.get("share") is not None]
    if not told or probe["kind"] == "rest":
        return "–"
    worst = max(told, key=lambda each: (each["share"] / (each.get("allowed_share") or 1.0), each["share"]))
    text = f"{worst['share'] * 100:.2f}"
    if worst.get("share_error") is not None:
        text += f" ± {worst['share_error'] * 100:.2f}"
    allowed = worst.get("allowed_share")
    text += " %" + ("" if allowed is None else f" of {allowed * 100:g} %")
    return f"{text} {_BAD.get(metrics.get(worst['text'], ''), 'slow')}"


def _measured_row(place: int, probe: Mapping[str, Any]) -> Markdown:
    latency = probe["latency_ms"]
    cells = [
        place,
        number(probe["offered_tps"]),
        number(probe["achieved_tps"]),
        *(milliseconds(latency.get(name)) for name in ("p50", "p95", "p99")),
        f"{probe['error_ratio'] * 100:.2f} %",
        "–" if probe["lag_p99_ms"] is None else f"{probe['lag_p99_ms']:.1f}",
    ]
    return Markdown(" | ".join(escaped(cell) for cell in cells))


def _verdict(probe: Mapping[str, Any]) -> str:
    if probe["validity"]["status"] != "valid":
        return f"{probe['validity']['status']} (discarded)"
    if probe["kind"] == "rest":
        return "pause to recover"
    return "sustainable" if probe["sustainable"] else "not sustainable"


def _endings(probes: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """The rules that ended a probe of this run early, with their meaning."""
    used = {rule_of(probe) for probe in probes}
    return [(words.plain, words.meaning) for ending, words in ENDINGS.items() if ending in used and ending != "held"]


def _discarded(off: Mapping[str, Any]) -> str:
    counts = [
        f"{duration(off['starts_s'])} were the first seconds of probes, in which the service settles at the new rate"
    ]
    if off["rests_s"]:
        counts.append(f"{duration(off['rests_s'])} were rests at a low rate, in which the service recovered")
    for rows, one, many in (
        (off["invalid"], "probe that says nothing about the service", "probes that say nothing about the service"),
        (off["overruled"], "probe that another test overruled", "probes that other tests overruled"),
    ):
        if rows:
            took = duration(sum(each["held_s"] for each in rows))
            counts.append(f"{took} went into {len(rows)} {one if len(rows) == 1 else many}")
    head = f"Of {duration(off['load_s'])} of load, {'; '.join(counts)}."
    return head if off["invalid"] else f"{head} No probe was invalid."


def _rate(probes: Sequence[Mapping[str, Any]], place: int) -> str:
    return f"{number(probes[place - 1]['commanded_tps'])} TPS"


def _overruling(probes: Sequence[Mapping[str, Any]], row: Mapping[str, Any]) -> str:
    if row["by"] is None:
        return "It failed, was doubted, and was not tested again; it did not count."
    by = probes[row["by"] - 1]
    other = f"{_KINDS[by['kind']]} {row['by']} at {_rate(probes, row['by'])}"
    if row["sustainable"]:
        return f"It passed, but {other} failed, which came later or was the longer test."
    return f"It failed, but {other}, later and at least as long, passed: the failure was chance, or an after-effect."
