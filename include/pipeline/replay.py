"""Replays a stored run without any load: `python -m include.pipeline.replay SERVICE RUN_ID`.

Every probe is judged again on its stored seconds, and every step is decided again from the probes before it. A run is
explained by its artefacts exactly if both come out as they were recorded.
"""

from __future__ import annotations

import argparse
import sys

from include.capacity.errors import HeadroomError
from include.capacity.guard.spending import decide
from include.capacity.judgement.light_load import healthy_arrival_s
from include.capacity.judgement.probe import judge
from include.capacity.models import Done, ProbeResult
from include.capacity.search.decision import next_step
from include.capacity.validity.checks import Surroundings
from include.pipeline.guards_budget import stored_cuts
from include.pipeline.installation import Installation
from include.pipeline.run_folder import ANSWER_PATH, RunFolder, folder_of_run
from include.pipeline.run_plan import STAGES
from include.pipeline.stages import describe


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 everything came out as recorded, 1 something differs, 2 wrong input."""
    parser = argparse.ArgumentParser(
        prog="python -m include.pipeline.replay",
        description=(__doc__ or "").splitlines()[0],
        epilog="Exit status: 0 as recorded; 1 something differs; 2 wrong input. HEADROOM_ARTEFACTS names the store.",
    )
    parser.add_argument("service", help="name of the service profile, such as checkout")
    parser.add_argument("run_id", help="the DAG run's id as the UI shows it")
    arguments = parser.parse_args(argv)
    try:
        folder = folder_of_run(Installation.from_environment().store(), arguments.service, arguments.run_id)
        differences = [*judged_otherwise(folder), *decided_otherwise(folder)]
    except HeadroomError as error:
        print(error, file=sys.stderr)
        return 2
    print("\n".join(differences) or "Every judgement and every decision came out as recorded.")
    return 1 if differences else 0


def judged_otherwise(folder: RunFolder) -> list[str]:
    """Judges each stored probe again on its stored seconds; a sentence for each that comes out otherwise."""
    plan = folder.plan()
    slo, limits = plan.profile.slo_conditions(), plan.profile.validity_limits()
    usual = folder.usual_sizes()
    differences: list[str] = []
    before: list[ProbeResult] = []
    for probe in folder.probes(STAGES):
        again = judge(
            probe.step,
            slo,
            limits,
            folder.seconds_of(probe),
            stage=probe.stage,
            number=probe.number,
            started_at=probe.started_at,
            ended_at=probe.ended_at,
            stop=probe.stop,
            transactions_per_arrival=probe.transactions_per_arrival,
            expected_shards=plan.profile.load.fleet.shards,
            environment=probe.environment,
            surroundings=Surroundings(probe.changes, {} if probe.stage == "smoke" else usual),
            healthy_arrival_s=None if probe.stage == "smoke" else healthy_arrival_s(before),
        )
        print(describe(again))
        if again != probe:
            differences.append(f"{probe.stage} {probe.number} was recorded otherwise: {describe(probe)}")
        before.append(probe)
    return differences


def decided_otherwise(folder: RunFolder) -> list[str]:
    """Decides each step again from the probes before it; a sentence for each that was recorded otherwise."""
    plan, probes, cuts = folder.plan(), folder.probes(), stored_cuts(folder)
    settings, slo = plan.search_settings(), plan.profile.slo_conditions()
    recorded_steps = [*(probe.step for probe in probes), None]
    pairs = [
        (decide(next_step, cuts, settings, slo, probes[:number]), recorded)
        for number, recorded in enumerate(recorded_steps)
    ]
    differences = [
        f"{probe.stage} {probe.number} was {recorded}, but the decision is {decided}."
        for probe, (decided, recorded) in zip(probes, pairs, strict=False)
        if decided != recorded
    ]
    last = pairs[-1][0]
    if folder.store.exists(ANSWER_PATH) and (not isinstance(last, Done) or last.answer != folder.answer()):
        differences.append(f"The answer was {folder.answer()}, but the decision is {last}.")
    return differences


if __name__ == "__main__":
    sys.exit(main())
