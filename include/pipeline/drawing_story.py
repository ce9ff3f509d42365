"""Draws chart 4: every probe of a run in its order, with its rates, its latency, its verdict and what ended it."""

from __future__ import annotations

from typing import Any

from include.capacity.report.charts import Mark, StoryChart, StoryProbe
from include.pipeline.drawing import (
    COLOURS,
    DIAGONAL,
    INK,
    MARK_LABELS,
    SHAPES,
    Panels,
    band_handles,
    draw_band,
    draw_limit,
    plain_log_ticks,
)

_HATCHES: dict[Mark, str] = {"sustainable": "", "not sustainable": "///", "invalid": "xxx"}
_FAINT = "#8c959f"
_REST: dict[str, Any] = {"facecolor": "#eceff2", "edgecolor": "#d0d7de", "linewidth": 0.6}


def draw_story(chart: StoryChart) -> bytes:
    """Chart 4: a column for each probe in its order; above its rates, below its latency against the limit."""
    from matplotlib.patheffects import withStroke

    count = len(chart.probes)
    with Panels(min(max(7.5, 2.5 + 0.42 * count), 22), 8.4, [1.25, 1]) as drawing:
        rate, latency = drawing.panel(0), drawing.panel(1)
        draw_band(rate, chart.band, across=True)
        draw_limit(latency, chart.limit)
        places = range(count)
        for place, probe in zip(places, chart.probes, strict=True):
            look = _column_look(probe)
            rate.bar(place, probe.achieved_tps, width=0.74, **look)
            rate.hlines(probe.offered_tps, place - 0.42, place + 0.42, color=INK, linewidth=0.8 if probe.rest else 1.8)
            top = max(probe.offered_tps, probe.achieved_tps)
            rate.annotate(
                str(probe.number),
                (place, top),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                fontsize=8,
                color=_FAINT if probe.rest else INK,
                fontweight="bold" if probe.soak else "normal",
                path_effects=[withStroke(linewidth=2.2, foreground="white")],
            )
            if probe.latency_ms is not None:
                _draw_latency(latency, place, probe)
        rate.set_ylim(
            0, 1.12 * max((max(each.offered_tps, each.achieved_tps) for each in chart.probes), default=1) or 1
        )
        rate.set_title(chart.title)
        rate.set_ylabel("transactions per second")
        latency.set_yscale("log")
        latency.margins(y=0.12)
        plain_log_ticks(latency)
        latency.set_ylabel(f"{chart.limit.percentile} latency, ms (log)")
        latency.set_xlim(-0.7, count - 0.3)
        latency.set_xticks(list(places), [probe.label for probe in chart.probes], rotation=90, fontsize=8.5)
        for axes in (rate, latency):
            axes.grid(visible=False, axis="x")
            axes.tick_params(axis="x", length=0)
        for text, probe in zip(latency.get_xticklabels(), chart.probes, strict=True):
            text.set_color(_FAINT if probe.rest else INK)
        drawing.legend_below(_story_handles(chart))
        return drawing.svg()


def _column_look(probe: StoryProbe) -> dict[str, Any]:
    """Colour and hatching say the verdict, so that either of them is enough."""
    if probe.rest:
        return _REST | ({"hatch": _HATCHES[probe.mark]} if probe.mark == "invalid" else {})
    look: dict[str, Any] = {"facecolor": COLOURS[probe.mark], "edgecolor": "white", "linewidth": 0}
    look["hatch"] = _HATCHES[probe.mark]
    if not probe.counts:
        look |= {"facecolor": "white", "edgecolor": COLOURS[probe.mark], "linewidth": 1.6, "linestyle": (0, (3, 2))}
    return look


def _draw_latency(axes: Any, place: int, probe: StoryProbe) -> None:
    colour = "#c4cad0" if probe.rest else COLOURS[probe.mark]
    axes.plot(
        place,
        probe.latency_ms,
        marker="." if probe.rest else SHAPES[probe.mark],
        markersize=10 if probe.soak else 7.5,
        color=colour,
        markerfacecolor=colour if probe.counts else "white",
        markeredgecolor=INK if probe.soak else colour,
        markeredgewidth=1.3,
        linestyle="none",
        zorder=4,
    )


def _story_handles(chart: StoryChart) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [Line2D([], [], color=INK, linewidth=1.8, label="offered rate (columns: achieved)")]
    loaded = [probe for probe in chart.probes if not probe.rest]
    look: dict[str, Any]
    for mark, label in MARK_LABELS.items():
        if any(probe.mark == mark for probe in loaded):
            look = {"facecolor": COLOURS[mark], "edgecolor": "white", "linewidth": 0, "hatch": _HATCHES[mark]}
            handles.append(Patch(**look, label=label))
    if any(not probe.counts for probe in loaded):
        look = {"facecolor": "white", "edgecolor": DIAGONAL, "linewidth": 1.6, "linestyle": (0, (3, 2))}
        handles.append(Patch(**look, label="overruled by another test"))
    if any(probe.rest for probe in chart.probes):
        handles.append(Patch(**_REST, label="rest: the service recovers"))
    if any(probe.rest and probe.mark == "invalid" for probe in chart.probes):
        handles.append(Patch(**_REST, hatch=_HATCHES["invalid"], label="rest that says nothing"))
    if any(probe.soak for probe in chart.probes):
        rim: dict[str, Any] = {"color": "white", "marker": "o", "markeredgecolor": INK, "markersize": 9}
        handles.append(Line2D([], [], linestyle="none", label="soak (long hold)", **rim))
    return handles + band_handles(chart.band)
