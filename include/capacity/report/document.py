"""The scaling document as data: every sentence and table cell that the template puts in its place. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from include.capacity.report.document_probes import interval_story, probes_context
from include.capacity.report.markdown import Markdown, code, escaped
from include.capacity.report.phrases import date, duration, minute, number, plain, pretty

_VERDICTS = {
    "regression": "**Regression**",
    "improvement": "**Improvement**",
    "no_change": "**No change**",
    "insufficient": "**Nothing to compare with**",
    "rerun": "**Suspicious: run again**",
}
_ERRORS = {
    "service_error": "error from the service",
    "connection_error": "connection error",
    "timeout": "timeout",
    "generator_error": "error of the load generator",
}


def document_context(
    result: Mapping[str, Any], *, charts: Mapping[str, str], glossary: str, run_folder: str | None = None
) -> dict[str, Any]:
    """Everything the template needs, from result.json alone.

    Args:
        charts: `probes`, `story`, `run`, `history` -> file beside the document; a chart that was not drawn is left out.
        glossary: address of the glossary as seen from the document.
        run_folder: address of the run's folder as seen from the document: artefacts become links; None: they do not.
    """
    return {
        "result": result,
        "glossary": Markdown(glossary),
        "charts": {name: Markdown(charts.get(name, "")) for name in ("probes", "story", "run", "history")},
        "date": date(result["ended_at"]),
        "times": f"{minute(result['started_at'])} to {minute(result['ended_at'])} UTC",
        "answer": _answer_sentence(result),
        "rests_on": _rests_on(result),
        "transactions_per_arrival": plain(result["transactions_per_arrival"]),
        "resolution": plain(result["method"]["search"]["resolution"] * 100),
        "search": {name: plain(value) for name, value in result["method"]["search"].items()},
        "glance": _glance(result),
        "limits": _limits(result),
        "certainty": _certainty(result),
        "comparison": _comparison(result["comparison"]),
        **probes_context(result),
        "quality_failed": [each for each in result["data_quality"] if not each["success"]],
        "cost": _cost(result["cost"]),
        "truth": _truth(result),
        "artefacts": [
            (name.replace("_", " "), code(path) if run_folder is None else _link(path, f"{run_folder}/{path}"))
            for name, path in result["artefacts"].items()
        ],
        "code": code,
    }


def _link(text: str, address: str) -> Markdown:
    return Markdown(f"[{escaped(text)}]({quote(address)})")


def _answer_sentence(result: Mapping[str, Any]) -> str:
    service, answer, status = result["service"], result["answer"], result["validity"]["status"]
    tps, interval = answer["tps"], answer["interval"]
    if status != "valid" or (tps is None and interval["high"] is None):
        reason = status if status != "valid" else "without an answer"
        return f"This run gives no capacity for {service}: it is {reason}."
    conditions = _on(result)
    if answer["bound"] == "at_most":
        return (
            f"{service} does not sustain even {number(interval['high'] or tps)} transactions per second "
            f"within its SLO{conditions}."
        )
    if tps is None:
        return f"This run gives no capacity for {service}."
    least = "at least " if answer["bound"] == "at_least" else ""
    sure = "" if answer["verified"] else "probably "
    return f"{service} {sure}sustains {least}{number(tps)} transactions per second within its SLO{conditions}."


def _on(result: Mapping[str, Any]) -> str:
    environment = result["environment"]
    during = environment["sizes_during"]
    if during is None:
        return ""
    return f" on {during['desired']} × {environment['instance_type'] or 'instance'}"


def _rests_on(result: Mapping[str, Any]) -> str:
    answer = result["answer"]
    if result["validity"]["status"] != "valid":
        return " ".join(result["validity"]["reasons"])
    if answer["verified"]:
        soak = _verifying_soak(result)
        length = f" of {duration(soak['hold_s'])}" if soak else ""
        return f"Verified: a soak{length} at this rate met every condition of the SLO. " + _interval_sentence(answer)
    if answer["tps"] is None:
        return " ".join(answer["why"])
    return "Not verified: no soak at this rate passed; do not plan with it. " + _interval_sentence(answer)


def _verifying_soak(result: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The longest soak that passed at the answer's rate (within a tenth of a per cent)."""
    tps = result["answer"]["tps"]
    soaks = [
        probe
        for probe in result["probes"]
        if probe["kind"] == "soak" and probe["sustainable"] and abs(probe["commanded_tps"] - tps) <= tps / 1000
    ]
    return max(soaks, key=lambda probe: probe["hold_s"], default=None)


def _interval_sentence(answer: Mapping[str, Any]) -> str:
    interval = answer["interval"]
    low, high, level = interval["low"], interval["high"], f"{interval['level'] * 100:g} %"
    if low is not None and high is not None:
        return f"With {level} confidence the maximum lies between {number(low)} and {number(high)} TPS."
    if low is not None:
        return f"With {level} confidence the maximum is at least {number(low)} TPS; no upper end was found."
    if high is not None:
        return f"With {level} confidence the maximum is at most {number(high)} TPS."
    return "There is no confidence interval."


def _glance(result: Mapping[str, Any]) -> list[tuple[str, Any]]:
    answer, environment, comparison = result["answer"], result["environment"], result["comparison"]
    interval, during = answer["interval"], environment["sizes_during"]
    rows: list[tuple[str, Any]] = [
        ("Maximum sustainable rate", _maximum(answer)),
        (
            f"{interval['level'] * 100:g} % interval",
            f"{number(interval['low'], 'unknown')} to {number(interval['high'], 'unbounded')} TPS",
        ),
        ("Verified by a soak", "yes" if answer["verified"] else "no"),
        ("Validity of the run", result["validity"]["status"]),
        ("SLO", "; ".join(pretty(condition["text"]) for condition in result["slo"])),
    ]
    if during is not None:
        text = f"{during['desired']} × {environment['instance_type'] or 'unknown type'}"
        text += f" in {environment['autoscaling_group']}, {environment['region']}, scaling suspended"
        rows.append(("Measured on", text))
        if answer["tps"] is not None and answer["verified"] and during["desired"]:
            rows.append(("Per instance", f"{number(answer['tps'] / during['desired'])} TPS"))
    if comparison is not None:
        rows.append(("Against the last accepted run", _change(comparison)))
    restored = result["restored"]
    rows.append(("Environment restored", "yes, equal to the snapshot" if restored["equal"] else "**NO**, see below"))
    if not restored["equal"]:
        rows[-1] = (rows[-1][0], Markdown(rows[-1][1]))
    if result["cost"] is not None:
        rows.append(("Cost of the run", f"{result['cost']['total']:.2f} {result['cost']['currency']}"))
    return rows


def _maximum(answer: Mapping[str, Any]) -> str:
    if answer["tps"] is not None:
        return ("at least " if answer["bound"] == "at_least" else "") + f"{number(answer['tps'])} TPS"
    high = answer["interval"]["high"]
    return "unknown" if high is None else f"below {number(high)} TPS"


def _change(comparison: Mapping[str, Any]) -> Markdown:
    text = _VERDICTS[comparison["verdict"]]
    if comparison["change_ratio"] is not None:
        text += f" ({comparison['change_ratio']:+.1%})".replace("%", " %").replace("-", "−")
    return Markdown(text)


def _limits(result: Mapping[str, Any]) -> list[str]:
    """What stopped the service from doing more: the misses of the lowest valid rate above the answer that failed."""
    tps = result["answer"]["tps"]
    failed = [probe for probe in result["probes"] if probe["sustainable"] is False and probe["kind"] != "rest"]
    if not failed:
        return ["Nothing did, up to the highest rate tried: no valid probe missed the SLO."]
    above = [probe for probe in failed if tps is None or probe["commanded_tps"] > tps * 1.001] or failed
    lowest = min(above, key=lambda probe: probe["commanded_tps"])
    share = lowest["achieved_tps"] / lowest["offered_tps"] if lowest["offered_tps"] else 0.0
    rate, misses = number(lowest["commanded_tps"]), " ".join(lowest["misses"])
    lines = [f"At {rate} TPS the service no longer met its SLO. {misses}"]
    if share >= 0.98 and lowest["error_ratio"] < 0.005:
        lines.append(
            f"It still completed {share * 100:.0f} % of the offered rate, nearly without errors: requests wait in a "
            "queue before they are served. So the limit is how many requests the instances work on at once, or what "
            "these wait for."
        )
    elif lowest["error_ratio"] >= 0.005:
        failures = {name: count for name, count in lowest["errors"].items() if name != "ok" and count}
        told = ", ".join(f"{count} × {_ERRORS.get(name, name)}" for name, count in sorted(failures.items()))
        lines.append(f"{lowest['error_ratio'] * 100:.1f} % of its transactions failed ({told}).")
    else:
        lines.append(f"It completed {share * 100:.0f} % of the offered rate: work arrived faster than it was done.")
    ceiling = max(probe["achieved_tps"] for probe in result["probes"] if probe["validity"]["status"] == "valid")
    lines.append(f"The highest rate achieved in a valid probe, within the SLO or not, was {number(ceiling)} TPS.")
    return lines


def _certainty(result: Mapping[str, Any]) -> list[str]:
    probes = result["probes"]
    valid = [probe for probe in probes if probe["validity"]["status"] == "valid"]
    measured = sum(probe["measured_s"] for probe in valid)
    transactions = sum(sum(probe["errors"].values()) for probe in valid)
    lags = [probe["lag_p99_ms"] for probe in valid if probe["lag_p99_ms"] is not None]
    lines = [
        f"{len(valid)} of {len(probes)} probes are valid; together they judged {duration(measured)} of load "
        f"and {transactions:,} transactions.".replace(",", " ")
    ]
    if lags:
        allowed = result["method"]["limits"].get("max_lag_p99_ms")
        lines.append(
            f"In valid probes the load generator lagged at most {max(lags):.1f} ms (p99) behind its schedule"
            + (f"; {allowed:g} ms is allowed." if allowed else ".")
            + " Latencies count from the intended start, so this lag is part of them."
        )
    if result["transactions_per_arrival"] != 1:
        lines.append(f"One arrival (iteration of the plan) makes {result['transactions_per_arrival']:g} transactions.")
    return [*result["answer"]["why"], *interval_story(result), *lines]


def _comparison(comparison: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if comparison is None:
        return None
    lines: list[str] = list(comparison["reasons"])
    against = comparison["against"]
    if against is not None:
        interval = against["interval"]
        lines.append(
            f"The last accepted run under the same conditions ({against['run_id']}) ended on "
            f"{date(against['ended_at'])} with {number(against['tps'])} TPS "
            f"({number(interval['low'], 'unknown')} to {number(interval['high'], 'unbounded')})."
        )
    if comparison["intervals_overlap"] is not None:
        lines.append(
            "The two intervals overlap." if comparison["intervals_overlap"] else "The two intervals do not overlap."
        )
    if comparison["smallest_change_ratio"] is not None:
        noise = f"{comparison['noise_ratio'] * 100:.1f} %"
        source = f"learnt from {comparison['noise_runs']} runs" if comparison["noise_runs"] else "assumed"
        lines.append(
            f"Runs differ by {noise} from each other without any cause ({source}). A change smaller than about "
            f"{comparison['smallest_change_ratio'] * 100:.0f} % would probably go unseen here."
        )
    return {"verdict": Markdown(_VERDICTS[comparison["verdict"]]), "lines": lines}


def _cost(cost: Mapping[str, Any] | None) -> str | None:
    if cost is None:
        return None
    load = f"{cost['load']:.2f} for {cost['load_hours']:.2f} h of load shards"
    instances = f"{cost['instances']:.2f} for {cost['instance_hours']:.2f} h of added instances"
    return f"About {cost['total']:.2f} {cost['currency']}: {load} and {instances}. {cost['method']}"


def _truth(result: Mapping[str, Any]) -> str | None:
    truth, tps = result.get("sandbox_truth"), result["answer"]["tps"]
    if truth is None:
        return None
    text = f"This run measured the sandbox, whose own simulation knows the truth: {number(truth['max_tps'])} TPS."
    if tps is not None and truth["max_tps"]:
        off = tps / truth["max_tps"] - 1
        text += f" The answer is {abs(off) * 100:.1f} % {'below' if off < 0 else 'above'} it."
    return text
