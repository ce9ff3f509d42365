"""What a run may cost, before it, and while its search is under way."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Protocol

from include.capacity.cost import Cost
from include.capacity.errors import GuardRefused
from include.capacity.guard.budget import Limits, MonthSpend, at_most, money, refusal, seconds_left, told
from include.capacity.guard.spending import Cut, decide, new_cut
from include.capacity.models import Done, ProbeResult, SearchSettings, Slo, Step
from include.capacity.profile import Prices, ServiceProfile
from include.capacity.search.decision import next_step
from include.capacity.search.evidence import weigh
from include.history.store import HistoryStore
from include.pipeline.run_folder import RunFolder
from include.pipeline.run_plan import RunPlan

log = logging.getLogger(__name__)

CUTS_PATH = "cuts.json"


class PriceSource(Protocol):
    """Where the prices of a run come from."""

    def prices(self, profile: ServiceProfile) -> Prices: ...


class ProfilePrices:
    """The prices that the service profile states."""

    def prices(self, profile: ServiceProfile) -> Prices:
        return profile.prices


def limits_of(profile: ServiceProfile) -> Limits:
    budget = profile.budget
    return Limits() if budget is None else Limits(budget.per_run, budget.per_month)


def check_budget(
    plan: RunPlan, instances_now: int, history_url: str, now: datetime, source: PriceSource | None = None
) -> dict[str, Any]:
    """Estimates the run's cost and compares it with the budget; returns facts for the log and the run's folder.

    Raises GuardRefused when it may cost too much, StoreError when the month's spend cannot be read.
    """
    profile, limits = plan.profile, limits_of(plan.profile)
    estimate = at_most(
        (source or ProfilePrices()).prices(profile),
        shards=profile.load.fleet.shards,
        added_instances=profile.prescale.instances - instances_now,
        longest=profile.longest(),
    )
    spent = None if limits.per_month is None else month_spend(history_url, plan, now, estimate.currency)
    lines = told(limits, estimate, spent)
    for line in lines:
        log.info(line)
    if (why := refusal(limits, estimate, spent)) is not None:
        raise GuardRefused(why)
    return _facts(estimate, limits, spent, lines)


def _facts(estimate: Cost, limits: Limits, spent: MonthSpend | None, lines: Sequence[str]) -> dict[str, Any]:
    return {
        "estimate": {"total": round(estimate.total, 6), "currency": estimate.currency, "method": estimate.method},
        "limits": asdict(limits),
        "month": None if spent is None else asdict(spent),
        "told": list(lines),
    }


def month_spend(history_url: str, plan: RunPlan, now: datetime, currency: str) -> MonthSpend:
    """What the service's runs of this calendar month cost, this one left out."""
    month = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    history = HistoryStore(history_url)
    try:
        history.migrate()
        costs = [entry for entry in history.costs(plan.service, since=month) if entry.run_id != plan.run_id]
    finally:
        history.close()
    known = [entry.cost for entry in costs if entry.cost is not None and entry.currency == currency]
    return MonthSpend(f"{month:%Y-%m}", currency, sum(known), len(known), unknown=len(costs) - len(known))


class SpendingLimit:
    """Decides the steps of a search so that the run ends within budget.per_run.

    When the money does not last for the next step and a soak after it, the search's load time is cut to what is left,
    and the search itself makes the best of it. Cuts are stored: a repeated task and a replay decide the same.
    """

    def __init__(
        self,
        plan: RunPlan,
        folder: RunFolder,
        clock: Callable[[], float] = time.time,
        source: PriceSource | None = None,
    ) -> None:
        self._profile, self._folder, self._clock = plan.profile, folder, clock
        self._prices = (source or ProfilePrices()).prices(plan.profile)
        self._notes = folder.notes()

    def decide(self, settings: SearchSettings, slo: Slo, history: Sequence[ProbeResult]) -> Step | Done:
        cuts = stored_cuts(self._folder)
        step = decide(next_step, cuts, settings, slo, history)
        if isinstance(step, Done):
            return step
        left_s = self.seconds_left()
        cut = new_cut(step, left_s, self._why(), settings, history, weigh(history).spent_s)
        if cut is None:
            return step
        if not cuts:
            log.warning("%s Left for load: %.0f s.", cut.why, max(left_s, 0))
        cuts = [*cuts, cut]
        self._folder.store.write_json(CUTS_PATH, [asdict(entry) for entry in cuts])
        return decide(next_step, cuts, settings, slo, history)

    def seconds_left(self) -> float:
        """For how long the load may go on; infinite without budget.per_run."""
        per_run, notes, now = limits_of(self._profile).per_run, self._notes, self._clock()
        if per_run is None:
            return float("inf")
        before, during = (notes.get(key, {}).get("sizes", {}) for key in ("before", "during"))
        return seconds_left(
            per_run,
            self._prices,
            shards=self._profile.load.fleet.shards,
            added_instances=during.get("DesiredCapacity", 0) - before.get("DesiredCapacity", 0),
            fleet_s=now - notes.get("fleet_opened_at", now),
            environment_s=now - notes.get("prescale_began_at", now),
            restore_s=self._profile.prescale.ready_within_s,
        )

    def _why(self) -> str:
        per_run = money(limits_of(self._profile).per_run or 0.0, self._prices.currency)
        return f"The search was cut short: more load would cost more than budget.per_run, {per_run}."


def stored_cuts(folder: RunFolder) -> list[Cut]:
    """The cuts of a run's search so far, oldest first."""
    data = folder.store.read_or_none(CUTS_PATH)
    return [] if data is None else [Cut(**entry) for entry in folder.store.read_json(CUTS_PATH)]
