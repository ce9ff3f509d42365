"""What a search is measured on: a system, its truth, and the bounds that the search is given.

The bounds are drawn so that they do not give the truth away: the upper one lies 1.4 to 5 times above it, the lower one
at 2 to 12 % of it.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from tests.simulators import truth
from tests.simulators.effects import Dice
from tests.simulators.fleet import SimulatedFleet
from tests.simulators.running import Running
from tests.simulators.systems import System, draw

UPPER, LOWER = (1.4, 5.0), (0.02, 0.12)  # of the truth
LOWEST, HIGHEST = 15.0, 5000.0  # systems with a truth outside are left out


@dataclass(frozen=True, slots=True)
class Case:
    """Attributes: spread: how sharp the limit is (see `truth.Truth`)."""

    system: System
    truth_tps: float
    spread: float
    lower_tps: float
    upper_tps: float

    @property
    def name(self) -> str:
        return self.system.name

    def fleet(self, seed: int = 0) -> SimulatedFleet:
        """A fleet with fresh instances; another seed gives other arrivals."""
        return SimulatedFleet(self.system.service, self._stream(seed))

    def running(self, seed: int = 0) -> Running:
        """The same without the table of seconds."""
        return Running(self.system.service, self._stream(seed))

    def _stream(self, seed: int) -> int:
        return zlib.crc32(f"{self.name} {seed}".encode())


def case(system: System, found: truth.Truth, upper_range: tuple[float, float] = UPPER) -> Case | None:
    """None when the truth does not lie in the range that is measured."""
    if found.tps is None or not LOWEST <= found.tps <= HIGHEST:
        return None
    dice = Dice(zlib.crc32(b"bounds"), zlib.crc32(system.family.encode()), system.seed)
    upper = _two_digits(found.tps * dice.spread(*upper_range))
    lower = _two_digits(found.tps * dice.spread(*LOWER))
    return Case(system, found.tps, found.spread, lower, upper)


def _two_digits(value: float) -> float:
    return float(f"{value:.2g}")


def cases(
    families: Sequence[str], count: int, *, first: int = 0, jobs: int = 2, upper_range: tuple[float, float] = UPPER
) -> list[Case]:
    """The first so many cases of each family, from a seed on. Truths that are not stored are found first.

    Args:
        upper_range: lowest and highest upper bound of a search, in truths.
    """
    made: list[Case] = []
    for family in families:
        own: list[Case] = []
        seed = first
        while len(own) < count and seed < first + 4 * count + 10:
            names = [(family, number) for number in range(seed, seed + count - len(own))]
            seed += len(names)
            found = truth.ensure(names, jobs=jobs)
            drawn = (case(draw(name, number), found[f"{name}/{number}"], upper_range) for name, number in names)
            own += [each for each in drawn if each is not None]
        made += own
    return made
