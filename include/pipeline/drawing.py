"""Draws the charts as SVG. Same data, same bytes: fixed ids, no dates. Glyphs are paths, to look alike everywhere."""

from __future__ import annotations

import io
import math
from datetime import UTC, datetime
from typing import Any

from include.capacity.report.charts import (
    Band,
    HistoryChart,
    LatencyLimit,
    Mark,
    ProbePoint,
    ProbesChart,
    RunChart,
)

# Blue and orange differ for colour-blind eyes, too; the shapes differ as well.
COLOURS: dict[Mark, str] = {"sustainable": "#1f6fb4", "not sustainable": "#d95f02", "invalid": "#8a8a8a"}
SHAPES: dict[Mark, str] = {"sustainable": "o", "not sustainable": "s", "invalid": "X"}
MARK_LABELS: dict[Mark, str] = {
    "sustainable": "sustainable",
    "not sustainable": "not sustainable",
    "invalid": "invalid: says nothing",
}
DIAGONAL = "#8c959f"
_LIMIT, INK, _GRID, _BAND = "#b2182b", "#24292f", "#d8dee4", "#2e8b57"

_STYLE: dict[str, Any] = {
    "svg.hashsalt": "headroom",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8c959f",
    "axes.labelcolor": INK,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": "white",
    "legend.frameon": False,
    "legend.fontsize": 9,
}


def draw_probes(chart: ProbesChart) -> bytes:
    """Chart 1: achieved over offered rate, and the SLO's latency over it; on the left all probes, on the right those
    near the answer."""
    near = _near_the_answer(chart)
    with Panels(11, 7.4, [1, 1], columns=2 if near else 1) as drawing:
        top = max(max(point.offered_tps, point.achieved_tps) for point in chart.points) * 1.06
        for column, (left, right) in enumerate([(0.0, top), near] if near else [(0.0, top)]):
            upper, lower = drawing.panel(0, column), drawing.panel(1, column)
            upper.plot([0, top * 2], [0, top * 2], color=DIAGONAL, linewidth=1, linestyle=(0, (4, 3)))
            draw_limit(lower, chart.limit, named=column == 0)
            for axes in (upper, lower):
                draw_band(axes, chart.band)
                axes.set_xlim(left, right)
            for point in chart.points:
                if left <= point.offered_tps <= right:
                    close = 0.03 * (right - left)
                    aside = any(
                        each.number < point.number
                        and abs(each.offered_tps - point.offered_tps) < close
                        and abs(each.achieved_tps - point.achieved_tps) < close
                        for each in chart.points
                    )
                    numbered = column == 1 or not near or not near[0] <= point.offered_tps <= near[1]
                    _draw_probe(upper, point, point.achieved_tps, numbered=numbered, aside=aside)
                    _draw_probe(lower, point, point.latency_ms, numbered=numbered, aside=aside)
            low = min([left, *(point.achieved_tps for point in chart.points if left <= point.offered_tps <= right)])
            upper.set_ylim(low - (right - left) * 0.04 if column else 0, right)
            lower.set_yscale("log")
            plain_log_ticks(lower)
            lower.set_xlabel("offered TPS" + (", near the answer" if column else ""))
        drawing.panel(0, 0).set_title(chart.title)
        drawing.panel(0, 0).set_ylabel("achieved TPS")
        drawing.panel(1, 0).set_ylabel(f"{chart.limit.percentile} latency, ms (log)")
        drawing.legend_below(_probe_handles(chart))
        return drawing.svg()


def _near_the_answer(chart: ProbesChart) -> tuple[float, float] | None:
    """Offered rates around the answer, wide enough for its interval; None when there is nothing to see there."""
    if chart.band.tps is None:
        return None
    low = min(chart.band.low or chart.band.tps, chart.band.tps * 0.92) * 0.99
    high = max(chart.band.high or chart.band.tps, chart.band.tps * 1.08) * 1.01
    inside = sum(low <= point.offered_tps <= high for point in chart.points)
    return (low, high) if inside >= 2 else None


def draw_run(chart: RunChart) -> bytes:
    """Chart 2: rates, latency and arrivals in flight by second."""
    with Panels(11, 8, [1.25, 1, 0.8]) as drawing:
        rate, latency, flight = (drawing.panel(row) for row in range(3))
        times = [time / 60 for time in chart.times_s]
        for axes in (rate, latency, flight):
            for span in chart.spans:
                if span.mark != "sustainable":
                    axes.axvspan(span.start_s / 60, span.end_s / 60, color=COLOURS[span.mark], alpha=0.16, linewidth=0)
        rate.step(times, chart.commanded_tps, where="post", color=INK, linewidth=1.4, label="commanded")
        rate.plot(times, chart.offered_tps, color="#6baed6", linewidth=0.9, label="offered")
        rate.plot(times, chart.completed_tps, color="#08519c", linewidth=0.9, label="completed")
        errors = [count if count else math.nan for count in chart.errors]
        if any(chart.errors):
            rate.plot(
                times, errors, color=_LIMIT, linestyle="none", marker="x", markersize=4, label="errors", clip_on=False
            )
        rate.set_ylabel("TPS")
        rate.set_title(chart.title, pad=30)
        rate.set_ylim(0)
        values = [math.nan if value is None else value for value in chart.latency_ms]
        latency.plot(times, values, color="#5e3c99", linewidth=1)
        draw_limit(latency, chart.limit)
        latency.set_yscale("log")
        latency.set_ylabel(f"{chart.limit.percentile}, ms (log)")
        plain_log_ticks(latency)
        flight.plot(times, chart.in_flight, color="#525252", linewidth=1)
        flight.set_ylabel("in flight")
        flight.set_ylim(0)
        flight.set_xlabel("minutes since the first second of load (numbers above: probes, as in the table)")
        flight.set_xlim(0, times[-1])
        _label_run(rate, chart)
        return drawing.svg()


def draw_history(chart: HistoryChart) -> bytes:
    """Chart 3: the answers over time."""
    with Panels(9, 3.8, [1]) as drawing:
        axes = drawing.panel(0)
        times = [datetime.fromtimestamp(point.ended_at, UTC) for point in chart.points]
        for time, point in zip(times, chart.points, strict=True):
            colour = _LIMIT if point.verdict == "regression" else COLOURS["sustainable"]
            low = point.tps if point.low is None else point.low
            high = point.tps if point.high is None else point.high
            axes.vlines(time, low, high, color=colour, linewidth=5 if point.current else 2.5, alpha=0.35)
            axes.plot(
                time,
                point.tps,
                marker="D" if point.current else "o",
                markersize=9 if point.current else 7,
                color=colour,
                markerfacecolor=colour if point.accepted or point.current else "white",
                linestyle="none",
            )
        accepted = [(time, point.tps) for time, point in zip(times, chart.points, strict=True) if point.accepted]
        if len(accepted) > 1:
            axes.plot(*zip(*accepted, strict=True), color=COLOURS["sustainable"], linewidth=1, alpha=0.5, zorder=1)
        _legend_history(axes, chart)
        values = [value for point in chart.points for value in (point.low, point.tps, point.high) if value is not None]
        reach = max(max(values) - min(values), max(values) * 0.1)
        axes.set_ylim(max(0, min(values) - reach * 0.3), max(values) + reach * 0.55)
        axes.set_title(chart.title)
        axes.set_ylabel("TPS")
        drawing.date_axis(axes, times)
        return drawing.svg()


class Panels:
    """A figure of panels in our style; panels of a column share their x axis, those of a row need not."""

    def __init__(self, width: float, height: float, heights: list[float], *, columns: int = 1) -> None:
        import matplotlib
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        style: Any = {**matplotlib.rcParamsDefault, **_STYLE, "backend": "svg"}
        self._context = matplotlib.rc_context(rc=style)
        self._context.__enter__()
        self._figure = Figure(figsize=(width, height), layout="constrained")
        self._canvas = FigureCanvasSVG(self._figure)
        ratios = {"height_ratios": heights}
        self._grid = self._figure.subplots(len(heights), columns, sharex="col", squeeze=False, gridspec_kw=ratios)

    def __enter__(self) -> Panels:
        return self

    def __exit__(self, *error: object) -> None:
        self._context.__exit__(None, None, None)

    def panel(self, row: int, column: int = 0) -> Any:
        return self._grid[row, column]

    def legend_below(self, handles: list[Any]) -> None:
        self._figure.legend(handles=handles, loc="outside lower center", ncols=4)

    def svg(self) -> bytes:
        self._figure.align_ylabels()
        buffer = io.BytesIO()
        self._figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        text = buffer.getvalue().decode()
        return ("\n".join(line.rstrip() for line in text.splitlines()) + "\n").encode()

    @staticmethod
    def date_axis(axes: Any, times: list[datetime]) -> None:
        """Dates of the runs themselves while they fit, else round dates."""
        from matplotlib.dates import AutoDateLocator, DateFormatter

        within_days = (times[-1] - times[0]).total_seconds() < 3 * 86400
        if len(times) <= 8 and not within_days:
            axes.set_xticks(times)
        else:
            axes.xaxis.set_major_locator(AutoDateLocator(minticks=2, maxticks=8))
        axes.xaxis.set_major_formatter(DateFormatter("%m-%d %H:%M" if within_days else "%Y-%m-%d"))
        axes.margins(x=0.08)


def _draw_probe(axes: Any, point: ProbePoint, value: float | None, *, numbered: bool, aside: bool) -> None:
    if value is None:
        return
    axes.plot(
        point.offered_tps,
        value,
        marker=SHAPES[point.mark],
        markersize=11 if point.soak else 7,
        color=COLOURS[point.mark],
        markeredgecolor=INK if point.soak else "white",
        markeredgewidth=1.3 if point.soak else 0.7,
        linestyle="none",
        zorder=3 if point.soak else 4,
    )
    if numbered:
        axes.annotate(
            str(point.number),
            (point.offered_tps, value),
            xytext=((10 if point.soak else 8) * (-1 if aside else 1), -3),
            textcoords="offset points",
            ha="right" if aside else "left",
            fontsize=8,
            color="#57606a",
        )


def draw_band(axes: Any, band: Band, *, across: bool = False) -> None:
    """Answer and interval; `across` the chart where its rates run upwards."""
    span, line = (axes.axhspan, axes.axhline) if across else (axes.axvspan, axes.axvline)
    if band.low is not None and band.high is not None:
        span(band.low, band.high, color=_BAND, alpha=0.18, linewidth=0)
    if band.tps is not None:
        line(band.tps, color=_BAND, linewidth=1.6)


def draw_limit(axes: Any, limit: LatencyLimit, *, named: bool = True) -> None:
    if limit.limit_ms is None:
        return
    axes.axhline(limit.limit_ms, color=_LIMIT, linewidth=1.3, linestyle=(0, (5, 2)))
    if not named:
        return
    axes.annotate(
        f"SLO: {limit.percentile} ≤ {limit.limit_ms:g} ms",
        (0.008, limit.limit_ms),
        xycoords=("axes fraction", "data"),
        xytext=(0, 4),
        textcoords="offset points",
        color=_LIMIT,
        fontsize=9,
    )


def _probe_handles(chart: ProbesChart) -> list[Any]:
    from matplotlib.lines import Line2D

    handles: list[Any] = [Line2D([], [], color=DIAGONAL, linestyle=(0, (4, 3)), label="achieved = offered")]
    for mark, label in MARK_LABELS.items():
        if any(point.mark == mark for point in chart.points):
            handles.append(Line2D([], [], color=COLOURS[mark], marker=SHAPES[mark], linestyle="none", label=label))
    if any(point.soak for point in chart.points):
        rim: dict[str, Any] = {"color": "white", "marker": "o", "markeredgecolor": INK, "markersize": 10}
        handles.append(Line2D([], [], linestyle="none", label="soak (long hold)", **rim))
    return handles + band_handles(chart.band)


def band_handles(band: Band) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = []
    if band.tps is not None:
        handles.append(Line2D([], [], color=_BAND, linewidth=1.6, label=f"answer: {band.tps:.1f} TPS"))
    if band.low is not None and band.high is not None:
        label = f"interval: {band.low:.1f} to {band.high:.1f} TPS"
        handles.append(Patch(color=_BAND, alpha=0.18, linewidth=0, label=label))
    return handles


def _label_run(axes: Any, chart: RunChart) -> None:
    """Stage names above the panel, with the numbers of the probes below them."""
    for stage, start_s, end_s in chart.stages:
        axes.annotate(
            stage,
            ((start_s + end_s) / 120, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 15),
            textcoords="offset points",
            ha="center",
            fontsize=9,
            fontweight="bold",
        )
    for span in chart.spans:
        axes.annotate(
            str(span.number),
            ((span.start_s + span.end_s) / 120, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            fontsize=7.5,
            color=COLOURS[span.mark] if span.mark != "sustainable" else "#57606a",
            fontweight="bold" if span.soak else "normal",
        )
    from matplotlib.patches import Patch

    handles, _ = axes.get_legend_handles_labels()
    for mark in ("not sustainable", "invalid"):
        if any(span.mark == mark for span in chart.spans):
            handles.append(Patch(color=COLOURS[mark], alpha=0.16, linewidth=0, label=f"{mark} probe"))
    axes.legend(handles=handles, loc="lower right", ncols=2)


def _legend_history(axes: Any, chart: HistoryChart) -> None:
    from matplotlib.lines import Line2D

    blue = COLOURS["sustainable"]

    def marker(shape: str, colour: str, fill: str, label: str) -> Any:
        return Line2D([], [], color=colour, marker=shape, markerfacecolor=fill, linestyle="none", label=label)

    handles = [marker("D", blue, blue, "this run")]
    if any(point.accepted and not point.current for point in chart.points):
        handles.append(marker("o", blue, blue, "accepted run"))
    if any(not (point.accepted or point.current or point.verdict == "regression") for point in chart.points):
        handles.append(marker("o", blue, "white", "not accepted"))
    if any(point.verdict == "regression" for point in chart.points):
        handles.append(marker("o", _LIMIT, "white", "regression"))
    handles.append(Line2D([], [], color=blue, linewidth=3, alpha=0.35, label="90 % interval"))
    axes.legend(handles=handles, loc="upper left", ncols=5)


def plain_log_ticks(axes: Any) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
