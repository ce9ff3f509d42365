"""The stages that put load on the service: smoke, search, confirm. No Airflow in here.

Each stores a probe as soon as it is judged and begins by reading back what is stored, so that a repeated task goes on
where the one before it stopped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from include.capacity.errors import Inconclusive, NotReady
from include.capacity.judgement.light_load import healthy_arrival_s
from include.capacity.models import Done, FleetSecond, ProbeResult, SearchSettings, Slo, Step
from include.capacity.search.decision import next_step
from include.pipeline.conductor import Conductor, Observe, Stage
from include.pipeline.run_folder import SMOKE_PATH, RunFolder
from include.pipeline.run_plan import STAGES, RunPlan

log = logging.getLogger(__name__)

READY_WITHIN_S = 120.0
SMOKE_S = 5.0
WARM_AT_LEAST_S, WARM_AT_MOST_S = 8.0, 40.0

Decide = Callable[[SearchSettings, Slo, Sequence[ProbeResult]], Step | Done]


def conductor_for(
    folder: RunFolder,
    plan: RunPlan,
    stage: str,
    try_number: int,
    observe: Observe,
    stop_reason: Callable[[], str | None] = lambda: None,
) -> Conductor:
    """A conductor whose commands win over those of earlier stages and earlier tries of the same stage."""
    return Conductor(
        folder.store,
        Stage(stage, epoch=(STAGES.index(stage) + 1) * 1000 + try_number),
        shards=plan.profile.load.fleet.shards,
        lease_s=plan.profile.guard.lease_s,
        slo=plan.profile.slo_conditions(),
        limits=plan.profile.validity_limits(),
        observe=observe,
        usual_sizes={} if stage == "smoke" else folder.usual_sizes(),
        stop_reason=stop_reason,
    )


def run_smoke(folder: RunFolder, plan: RunPlan, conductor: Conductor) -> Mapping[str, float]:
    """Warms the generators at the lowest rate and holds one probe: is the target the right one, do the assertions hold?

    Raises NotReady when the fleet does not come up or the target answers with errors.
    """
    waited_s = conductor.wait_ready(READY_WITHIN_S)
    rate = plan.profile.search.lower_tps
    log.info(
        "Fleet of %d shards ready after %.1f s; warming at %.0f/s.", plan.profile.load.fleet.shards, waited_s, rate
    )
    warmed_s = conductor.warm(rate, at_least_s=WARM_AT_LEAST_S, at_most_s=WARM_AT_MOST_S)
    step = Step("smoke", rate, SMOKE_S, 0.0, "does the target answer as the plan expects?")
    result, seconds = conductor.run_step(step, 0, transactions_per_arrival=1.0)
    conductor.stand_down()
    _store(folder, conductor, result, seconds)
    log.info(describe(result))
    bad = {outcome: count for outcome, count in result.errors.items() if outcome != "ok" and count}
    if bad or not result.errors.get("ok"):
        told = ", ".join(f"{count} {outcome}" for outcome, count in bad.items()) or "no transaction completed"
        raise NotReady(
            f"The smoke probe at {rate:g}/s failed: {told} beside {result.errors.get('ok', 0)} good transactions. "
            "Is the target up and the right one, do the plan's assertions fit it? The logs of load_fleet show examples."
        )
    transactions_per_arrival = conductor.totals().transactions_per_arrival
    if transactions_per_arrival is None:
        raise NotReady("No arrival was completed during the smoke probe; the plan may never finish an iteration.")
    facts = {
        "transactions_per_arrival": round(transactions_per_arrival, 4),
        "ready_after_s": round(waited_s, 1),
        "warmed_s": round(warmed_s, 1),
    }
    folder.save_usual_sizes(conductor.response_sizes())
    folder.store.write_json(SMOKE_PATH, facts)
    return facts


def run_search(
    folder: RunFolder,
    plan: RunPlan,
    conductor: Conductor,
    *,
    decide: Decide = next_step,
    replace_instances: Callable[[], object] = lambda: None,
) -> None:
    """Runs the search's steps until it wants a soak or is done.

    Args:
        decide: may ask for less than `next_step` does.
        replace_instances: called for a step that wants fresh ones (only if the profile allows that).
    """
    _drive(folder, plan, conductor, "search", decide, replace_instances, stop_before="soak")


def run_confirm(
    folder: RunFolder,
    plan: RunPlan,
    conductor: Conductor,
    *,
    decide: Decide = next_step,
    replace_instances: Callable[[], object] = lambda: None,
) -> None:
    """Runs soaks (and what they make necessary) until the search is done, and stores the answer. See `run_search`."""
    _drive(folder, plan, conductor, "confirm", decide, replace_instances, stop_before=None)
    answer = folder.answer()
    log.info("Answer: %s", " ".join(answer.why))
    if answer.tps is None and answer.validity.status != "valid":
        log.warning("No number: %s", " ".join(answer.validity.reasons))


def _drive(
    folder: RunFolder,
    plan: RunPlan,
    conductor: Conductor,
    stage: str,
    decide: Decide,
    replace_instances: Callable[[], object],
    *,
    stop_before: str | None,
) -> None:
    settings, slo = plan.search_settings(), plan.profile.slo_conditions()
    history = folder.probes()
    number = sum(probe.stage == stage for probe in history)
    if number:
        log.info("Resuming after %d stored probes of this stage.", number)
    transactions_per_arrival, smoke = folder.transactions_per_arrival(), folder.probes(["smoke"])
    conductor.wait_ready(READY_WITHIN_S)
    while True:
        step = decide(settings, slo, history)
        if isinstance(step, Done):
            folder.save_answer(step.answer)
            break
        if step.kind == stop_before:
            break
        if step.replace_first:
            conductor.stand_down()
            replace_instances()
        log.info("%s at %.1f TPS for %.0f s: %s", step.kind, step.rate_tps, step.hold_s, step.why)
        result, seconds = conductor.run_step(
            step,
            number,
            transactions_per_arrival=transactions_per_arrival,
            healthy_arrival_s=healthy_arrival_s([*smoke, *history]),
        )
        _store(folder, conductor, result, seconds)
        log.info(describe(result))
        history.append(result)
        number += 1
    conductor.stand_down()


def _store(folder: RunFolder, conductor: Conductor, result: ProbeResult, seconds: Sequence[FleetSecond]) -> None:
    """A probe costs minutes of load: it is not given up for a store that fails for some seconds."""
    conductor.patiently(lambda: folder.add_probe(result, seconds))


def describe(result: ProbeResult) -> str:
    """One line about a probe, for the log."""
    if result.validity.status != "valid":
        verdict = f"{result.validity.status}: {' '.join(result.validity.reasons)}"
    elif result.sustainable:
        verdict = "sustainable"
    else:
        verdict = f"not sustainable: {' '.join(result.misses)}"
    p95 = result.latency_ms.get("p95")
    return (
        f"{result.stage} {result.number} {result.step.kind}: commanded {result.step.rate_tps:.1f}, "
        f"offered {result.offered_tps:.1f}, achieved {result.achieved_tps:.1f} TPS, "
        f"p95 {'-' if p95 is None else f'{p95:.0f} ms'}, errors {result.error_ratio:.2%}, "
        f"lag p99 {'-' if result.lag_p99_ms is None else f'{result.lag_p99_ms:.0f} ms'} -> {verdict} ({result.stop})"
    )


def require_conclusive(folder: RunFolder) -> None:
    """Raises Inconclusive when the run has no valid answer, with the reasons."""
    answer = folder.answer()
    if answer.validity.status != "valid" or answer.tps is None:
        reasons = " ".join(answer.validity.reasons) or " ".join(answer.why)
        raise Inconclusive(f"The run gave no valid answer ({answer.validity.status}): {reasons}")
