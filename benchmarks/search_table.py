"""What a benchmark of searches says: one row a search, a table of their distributions, and a picture."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

FAR_TPS = 1.2  # of the truth: load beyond hurts the service more than the search needs


@dataclass(frozen=True, slots=True)
class Row:
    """One search by one algorithm.

    Attributes:
        tps: the reported number; None without one.
        load_s, far_s: seconds of load, and those beyond FAR_TPS x the truth.
        replaced: how often the instances were replaced.
        steps: what was done, one sentence each.
    """

    algorithm: str
    family: str
    seed: int
    truth_tps: float
    tps: float | None
    load_s: float
    far_s: float
    bound: str = "exact"
    verified: bool = False
    low_tps: float | None = None
    high_tps: float | None = None
    replaced: int = 0
    steps: list[str] = field(default_factory=list)

    @property
    def error(self) -> float | None:
        """Relative; positive is too high. None without a number, or where it is a bound only."""
        if self.tps is None or self.bound != "exact":
            return None
        return self.tps / self.truth_tps - 1

    @property
    def covers(self) -> bool:
        low = 0.0 if self.low_tps is None else self.low_tps
        return low <= self.truth_tps <= (float("inf") if self.high_tps is None else self.high_tps)


def seconds_of(load: Iterable[tuple[float, float]], truth_tps: float) -> tuple[float, float]:
    """All seconds of load, and those far beyond the truth."""
    pairs = list(load)
    return sum(s for _, s in pairs), sum(s for rate, s in pairs if rate > FAR_TPS * truth_tps)


def quantile(values: Iterable[float], q: float) -> float:
    """The smallest value with at least a share q of the values at or below it; nan of nothing."""
    ordered = sorted(values)
    if not ordered:
        return float("nan")
    return ordered[min(max(math.ceil(q * len(ordered)) - 1, 0), len(ordered) - 1)]


HEADINGS = (
    "algorithm",
    "n",
    "median error %",
    "p90 error %",
    "bias %",
    "> 5 % high",
    "> 10 % high",
    "> 10 % low",
    "load s p50",
    "p90",
    "mean",
    "load ratio",
    "covered",
    "half width %",
    "s beyond 1.2 x",
    "no number",
    "bound only",
)


def line(name: str, rows: Sequence[Row], reference_s: float | None) -> list[str]:
    """One line of the table.

    Shares too high and too low are of all searches; median and 90th percentile of those with a number. `reference_s`
    is the mean load of the reference algorithm on the same systems.
    """
    n = len(rows)
    errors = [row.error for row in rows if row.error is not None]
    sizes = [100 * abs(error) for error in errors]
    loads = [row.load_s for row in rows]
    ranges = [row for row in rows if row.low_tps is not None and row.high_tps is not None and row.tps]
    widths = [50 * (row.high_tps - row.low_tps) / row.tps for row in ranges]  # type: ignore[operator]
    answered = [row for row in rows if row.low_tps is not None or row.high_tps is not None]

    def share(count: int) -> str:
        return f"{100 * count / n:.1f} %"

    return [
        name,
        str(n),
        f"{quantile(sizes, 0.5):.1f}",
        f"{quantile(sizes, 0.9):.1f}",
        f"{100 * statistics.fmean(errors):+.1f}" if errors else "",
        share(sum(error > 0.05 for error in errors)),
        share(sum(error > 0.10 for error in errors)),
        share(sum(error < -0.10 for error in errors)),
        f"{quantile(loads, 0.5):.0f}",
        f"{quantile(loads, 0.9):.0f}",
        f"{statistics.fmean(loads):.0f}",
        f"{statistics.fmean(loads) / reference_s:.1%}" if reference_s else "",
        f"{sum(row.covers for row in answered) / len(answered):.1%}" if answered else "",
        f"{quantile(widths, 0.5):.1f}" if widths else "",
        f"{statistics.fmean(row.far_s for row in rows):.1f}",
        share(sum(row.tps is None for row in rows)),
        share(sum(row.tps is not None and row.bound != "exact" for row in rows)),
    ]


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """A table that is readable as text, too."""
    table = [list(HEADINGS), *map(list, lines)]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEADINGS))]
    made = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in table
    ]
    made.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(made)


def draw(rows: Sequence[Row], path: Path) -> None:
    """Distributions of the errors, by algorithm, and ours by family."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    searches = Counter(row.algorithm for row in rows)
    by_algorithm: dict[str, list[float]] = {}
    by_family: dict[str, list[float]] = {}
    for row in rows:
        if row.error is None:
            continue
        by_algorithm.setdefault(row.algorithm, []).append(100 * row.error)
        if row.algorithm.startswith("ours"):
            by_family.setdefault(row.family, []).append(100 * row.error)
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(14, 6), width_ratios=(3, 2))
    for name, errors in by_algorithm.items():
        ordered = [-100.0, *sorted(errors), 1000.0]
        shares = [min(number, len(errors)) / searches[name] for number in range(len(ordered))]
        left.plot(
            ordered, shares, drawstyle="steps-post", label=name, linewidth=2.5 if name.startswith("ours") else 1.2
        )
    left.set(xlim=(-40, 40), ylim=(0, 1), xlabel="error of the reported TPS in % (right: too high)")
    left.set(ylabel="share of the systems at or below (without a number: never)", title="All algorithms")
    left.axvspan(-5, 5, color="0.93")
    left.axvline(0, color="0.6", linewidth=0.8)
    left.legend(loc="upper left", fontsize=8)
    names = sorted(by_family)
    for place, name in enumerate(names):
        right.plot(by_family[name], [place] * len(by_family[name]), "o", alpha=0.5, markersize=4)
    right.set_yticks(range(len(names)), names)
    right.axvspan(-5, 5, color="0.93")
    right.axvline(0, color="0.6", linewidth=0.8)
    right.set(xlabel="error in %", title="Ours, by family")
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)
