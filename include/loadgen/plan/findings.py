"""What the preparation of a plan has to say: refusals (the plan cannot run as it is) and notes (what was changed)."""

from __future__ import annotations

from collections.abc import Iterable

from include.capacity.errors import PlanRefused
from include.loadgen.plan.jmx import Node


class PlanRefusals(PlanRefused):
    """Several refusals at once, so that one look at the message is enough to mend the whole plan.

    Attributes:
        refusals: each single one, in the order in which the checks found them.
    """

    def __init__(self, refusals: Iterable[PlanRefused]) -> None:
        self.refusals = tuple(refusals)
        listing = "\n".join(f"  - {refusal.key}: {refusal.problem} {refusal.cure}" for refusal in self.refusals)
        super().__init__(
            self.refusals[0].source,
            "",
            f"the plan holds {len(self.refusals)} things that cannot be kept:\n{listing}\n",
            "Mend all of them; docs/jmeter-plans.md explains each.",
        )

    def __reduce__(self) -> tuple[type[PlanRefusals], tuple[tuple[PlanRefused, ...]]]:
        return type(self), (self.refusals,)


class Findings:
    """Collects refusals and notes while the plan is walked. `source` names the plan's file in every message."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.refusals: list[PlanRefused] = []
        self._notes: dict[str, None] = {}  # a dictionary keeps the order and drops repetitions

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(self._notes)

    def refuse(self, where: Node | str, problem: str, cure: str) -> None:
        key = where.path if isinstance(where, Node) else where
        self.refusals.append(PlanRefused(self.source, key, problem, cure))

    def note(self, text: str, where: Node | None = None) -> None:
        self._notes[f"{where.path}: {text}" if where else text] = None

    def raise_refusals(self) -> None:
        """Raises PlanRefused for one refusal, PlanRefusals (a PlanRefused) for several, and does nothing for none."""
        if len(self.refusals) == 1:
            raise self.refusals[0]
        if self.refusals:
            raise PlanRefusals(self.refusals)
