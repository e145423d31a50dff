"""Charts as SVG for one HTML page. Knows arrays and labels; nothing of runs or verdicts, and of matplotlib what
`drawing` lends it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from encash.arrays import Bool, Days, Float64, Int32
from encash.report import drawing
from encash.report.wording import money, number, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDE, HALF = 1000, 490
"""Widths of drawings, in pixels of the page."""
MOST_NAMED = 30
"""Clusters of a map that all carry their numbers; of more, those that are kept."""
LOG_RANGE = 4.0
"""Capital is drawn on a logarithmic axis where its highest value is so many times its lowest."""
_HEAT = (59, 124, 214)  # seen through its opacity, on white and on black


@dataclass(frozen=True, kw_only=True, eq=False)
class Line:
    """One line over days."""

    label: str
    values: Float64
    """shape (S,)."""
    role: str
    """A colour of the page: net, gross, bench, good, bad, ink, muted."""
    width: float = 1.9


@dataclass(frozen=True, kw_only=True, eq=False)
class Band:
    """A range over days."""

    low: Float64
    """shape (S,)."""
    high: Float64
    """shape (S,)."""
    role: str


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A labelled value."""

    label: str
    value: float
    role: str


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A value with the interval around it."""

    label: str
    value: float
    half_width: float | None = None
    """Half of the interval; None where it is not known."""
    role: str = "muted"


@dataclass(frozen=True, kw_only=True)
class BarWords:
    """What a chart of bars says beside its bars."""

    name: str
    """Of the drawing, unique on the page."""
    title: str
    """What the values are."""
    below: str
    """What the bars are."""
    unit: Callable[[float], str]
    """Writes a value on the axis."""


def equity_chart(alt: str, days: Days, lines: Sequence[Line], underwater: Sequence[Line], bands: Sequence[Band]) -> str:
    """Equity over time above its drawdowns; the names of the lines stand at their ends.

    Args:
        alt: what one sees, for those who do not.
        days: shape (S,), ascending.
        lines: equities; the first is drawn on top.
        underwater: drawdowns, as fractions; the area of the first is filled.
        bands: ranges of equity behind the lines.
    """
    with drawing.style():
        figure, when = drawing.new_figure(WIDE, 440), drawing.times(days)
        top, below = (
            drawing.new_axes(figure, (0.075, 0.36, 0.745, 0.57)),
            drawing.new_axes(figure, (0.075, 0.075, 0.745, 0.195)),
        )
        for band in bands:
            _fill(top, when, band)
        _draw(top, when, lines)
        drawing.upright(top, money, wide=_is_wide(lines))
        _end_labels(top, lines, money)
        drawing.axis_title(top, "capital, in the currency of the prices" + _scale_note(lines))
        _draw(below, when, underwater)
        below.fill_between(when, underwater[0].values, 0.0, color=drawing.COLOUR["net"], alpha=0.2, linewidth=0)
        below.set_ylim(top=0.0)
        drawing.upright(below, lambda value: percent(value, 0), most=3)
        drawing.axis_title(below, "drawdown: below the highest value so far")
        drawing.time_axis(top, when, named=False)
        drawing.time_axis(below, when)
        return drawing.svg(figure, "equity", alt)


def runs_chart(alt: str, runs: Sequence[tuple[Days, Line]]) -> str:
    """Growth of 1 in several runs, each over its own days; lines without a label stay in the background."""
    lines = [line for _, line in runs]
    with drawing.style():
        figure = drawing.new_figure(WIDE, 380)
        axes = drawing.new_axes(figure, (0.05, 0.09, 0.73, 0.83))
        for days, line in reversed(runs):
            _draw(axes, drawing.times(days), [line])
        drawing.upright(axes, lambda value: number(value, 2).rstrip("0").rstrip("."), wide=_is_wide(lines))
        _end_labels(axes, [line for line in lines if line.label], number)
        drawing.axis_title(axes, "growth of 1, after costs" + _scale_note(lines))
        drawing.time_axis(axes, np.concatenate([drawing.times(days) for days, _ in runs]))
        return drawing.svg(figure, "runs", alt)


def draws_chart(alt: str, name: str, draws: Float64, drawn: str, marks: Sequence[Mark]) -> str:
    """Histogram of final capitals; the first mark is the run, the others what it is compared with.

    Args:
        alt: what one sees.
        name: of the drawing, unique on the page.
        draws: shape (n,).
        drawn: what the capitals are of, such as random filters.
        marks: upright lines.
    """
    with drawing.style():
        figure = drawing.new_figure(HALF, 300)
        axes = drawing.new_axes(figure, (0.085, 0.17, 0.9, 0.5))
        values = np.concatenate([draws, [mark.value for mark in marks]])
        margin = 0.03 * max(float(np.ptp(values)), 1e-3 * float(np.abs(values).max()))
        bins = max(8, min(40, round(2.0 * len(draws) ** 0.5)))
        counts, edges = np.histogram(draws, bins=bins, range=(draws.min() - margin / 3, draws.max() + margin / 3))
        width = edges[1] - edges[0]
        axes.bar(edges[:-1] + width / 2, counts, width=0.86 * width, color=drawing.COLOUR["muted"], alpha=0.45)
        axes.set_xlim(values.min() - margin, values.max() + margin)
        drawing.upright(axes, money, most=4, integer=True)
        ticks = drawing.round_values(axes.get_xlim(), 5)
        drawing.base(axes, ticks, [money(tick) for tick in ticks], "final capital, in the currency of the prices")
        _marks(axes, marks)
        level = 1.0 + 16 / axes.bbox.height
        axes.text(-0.09, level, f"{drawn} in each bar", transform=axes.transAxes, va="center", fontsize=12)
        return drawing.svg(figure, name, alt)


def phases_chart(alt: str, finals: Mapping[int, float], own: int | None, yardstick: Mark | None) -> str:
    """Final capital by the session on which the run began; the run's own is marked."""
    with drawing.style():
        figure = drawing.new_figure(HALF, 300)
        axes = drawing.new_axes(figure, (0.145, 0.17, 0.84, 0.72))
        every = [*finals.values(), *([yardstick.value] if yardstick else [])]
        span = max(max(every) - min(every), 1e-3 * max(every))
        axes.set_ylim(min(every) - 0.12 * span, max(every) + 0.16 * span)
        axes.set_xlim(min(finals) - 0.5, max(finals) + 0.5)
        if yardstick is not None:
            axes.axhline(yardstick.value, color=drawing.COLOUR[yardstick.role], linewidth=1.5, linestyle=drawing.DASHES)
        for phase, capital in finals.items():
            role, size = ("net", 12) if phase == own else ("muted", 8)
            axes.plot([phase], [capital], "o", markersize=size, markeredgewidth=0, color=drawing.COLOUR[role])
        drawing.upright(axes, money, most=6)
        drawing.base(axes, list(finals), list(map(str, finals)), "first signal, sessions after the start")
        dashed = f"; dashed: {yardstick.label} {money(yardstick.value)}" if yardstick else ""
        drawing.axis_title(axes, f"final capital{dashed}")
        return drawing.svg(figure, "phases", alt)


def occupancy_chart(alt: str, clusters: Int32, kept: Bool, labels: Sequence[str], share: Float64) -> str:
    """Which share of the candidates each cluster held over time; one row a cluster.

    Args:
        alt: what one sees.
        clusters: in the order of the rows, kept ones first; shape (k,).
        kept: whether the filter keeps it, shape (k,).
        labels: first day of each column, shape (B,).
        share: shape (k, B).
    """
    with drawing.style():
        row = max(8, min(21, 900 // len(clusters)))
        height = 66 + row * len(clusters)
        figure = drawing.new_figure(WIDE, height)
        axes = drawing.new_axes(figure, (0.05, 34 / height, 0.95, 1 - 66 / height))
        colours = np.zeros((*share.shape, 4), dtype=np.uint8)
        colours[..., :3] = _HEAT
        colours[..., 3] = np.round(255 * np.sqrt(share / share.max()))
        axes.imshow(colours, aspect="auto", interpolation="none")
        for place in range(0, len(clusters), -(-13 // row)):
            role, weight = ("net", "bold") if kept[place] else ("muted", "normal")
            drawing.left(
                axes, place, str(clusters[place]), color=drawing.COLOUR[role], fontweight=weight, fontsize=drawing.SMALL
            )
        months = np.array([label[:7] for label in labels])
        begins = np.flatnonzero(np.concatenate([[True], months[1:] != months[:-1]]))
        columns = begins[np.unique(np.linspace(0, len(begins) - 1, min(9, len(begins))).round().astype(int))]
        drawing.base(axes, columns, months[columns].tolist(), line=False)
        if 0 < kept.sum() < len(kept):
            axes.axhline(float(kept.sum()) - 0.5, color=drawing.COLOUR["ink"], linewidth=1.2)
        drawing.axis_title(
            axes, f"cluster; kept ones bold, on top; the darkest cell holds {percent(float(share.max()), 0)}"
        )
        return drawing.svg(figure, "occupancy", alt)


def bars_chart(alt: str, bars: Sequence[Bar], words: BarWords) -> str:
    """Values with their intervals, from zero up or down, in the order given."""
    with drawing.style():
        figure = drawing.new_figure(HALF, 300)
        axes = drawing.new_axes(figure, (0.145, 0.17, 0.84, 0.72))
        for place, bar in enumerate(bars):
            axes.bar(
                place, bar.value, width=0.68, color=drawing.COLOUR[bar.role], alpha=0.85 if bar.role == "net" else 0.5
            )
            if bar.half_width is not None:
                ends = (bar.value - bar.half_width, bar.value + bar.half_width)
                axes.vlines(place, *ends, color=drawing.COLOUR["ink"], linewidth=1.4)
        axes.set_xlim(-0.6, len(bars) - 0.4)
        drawing.upright(axes, words.unit)
        axes.axhline(0.0, color=drawing.COLOUR["muted"], linewidth=1.2)
        step = -(-len(bars) // 22)
        shown = range(0, len(bars), step)
        drawing.base(axes, shown, [bars[place].label for place in shown], words.below, line=False)
        drawing.axis_title(axes, words.title)
        return drawing.svg(figure, words.name, alt)


def cluster_map_chart(alt: str, centroids: Float64, entries: Float64, kept_entries: Bool, kept: Bool) -> str:
    """Entries as points and centroids as numbers, on a plane; kept clusters in blue.

    Args:
        alt: what one sees.
        centroids: shape (k, 2).
        entries: shape (n, 2).
        kept_entries: whether the filter keeps the cluster of each entry, shape (n,).
        kept: whether it keeps each cluster, shape (k,).
    """
    with drawing.style():
        figure = drawing.new_figure(HALF, 300)
        axes = drawing.new_axes(figure, (0.02, 0.03, 0.96, 0.94))
        for those, role in ((~kept_entries, "muted"), (kept_entries, "net")):
            axes.plot(*entries[those].T, "o", markersize=3.4, markeredgewidth=0, color=drawing.COLOUR[role], alpha=0.4)
        axes.margins(0.03)
        named = np.arange(len(centroids)) if len(centroids) <= MOST_NAMED else np.flatnonzero(kept)
        for number in named:
            style: dict[str, Any] = {"color": drawing.COLOUR["net" if kept[number] else "ink"], "fontweight": "bold"}
            across, up = centroids[number]
            axes.text(across, up, str(number), ha="center", va="center", fontsize=drawing.SMALL, **style)
        return drawing.svg(figure, "map", alt)


def refits_chart(alt: str, days: Days, shares: Sequence[Line], drift: Line, band: Band) -> str:
    """What stays from refit to refit, as shares, above how far centroids moved.

    Args:
        alt: what one sees.
        days: first day of each refit but the first, shape (R,).
        shares: fractions, each of shape (R,).
        drift: the median move of a centroid, shape (R,).
        band: the smallest and the largest move.
    """
    with drawing.style():
        figure, when = drawing.new_figure(WIDE, 340), drawing.times(days)
        if len(when) == 1:  # one refit is a point; a line needs a second
            when = np.array([when[0], when[0] + 1.0])
            shares = [replace(line, values=np.repeat(line.values, 2)) for line in shares]
            drift = replace(drift, values=np.repeat(drift.values, 2))
            band = replace(band, low=np.repeat(band.low, 2), high=np.repeat(band.high, 2))
        top, below = drawing.new_axes(figure, (0.05, 0.5, 0.77, 0.4)), drawing.new_axes(figure, (0.05, 0.1, 0.77, 0.24))
        _draw(top, when, shares)
        top.set_ylim(0.0, 1.02)
        drawing.upright(top, lambda value: percent(value, 0), most=4)
        _end_labels(top, shares, lambda value: percent(value, 0))
        drawing.axis_title(top, "share that stays as it was")
        _fill(below, when, band)
        _draw(below, when, [drift])
        below.set_ylim(bottom=0.0)
        drawing.upright(below, lambda value: number(value, 2), most=3)
        _end_labels(below, [drift], lambda value: number(value, 2))
        drawing.axis_title(below, "how far centroids moved: median, and all of them")
        drawing.time_axis(top, when, named=False)
        drawing.time_axis(below, when)
        return drawing.svg(figure, "refits", alt)


def _is_wide(lines: Sequence[Line]) -> bool:
    values = np.concatenate([line.values for line in lines])
    values = values[np.isfinite(values)]
    return bool(values.min() > 0 and values.max() / values.min() > LOG_RANGE)


def _scale_note(lines: Sequence[Line]) -> str:
    return "; logarithmic" if _is_wide(lines) else ""


def _draw(axes: Axes, when: Float64, lines: Sequence[Line]) -> None:
    """Lines, the first on top."""
    for order, line in enumerate(lines):
        axes.plot(when, line.values, color=drawing.COLOUR[line.role], linewidth=line.width, zorder=3.0 - 0.01 * order)


def _fill(axes: Axes, when: Float64, band: Band) -> None:
    """A range, seen through."""
    axes.fill_between(when, band.low, band.high, color=drawing.COLOUR[band.role], alpha=0.17, linewidth=0)


def _end_labels(axes: Axes, lines: Sequence[Line], unit: Callable[[float], str], gap: float = 17.0) -> None:
    """Names and last values at the right end of the lines, moved apart where they would touch."""
    lines = sorted((line for line in lines if np.isfinite(line.values[-1])), key=lambda line: float(line.values[-1]))
    height, bottom = axes.bbox.height, axes.bbox.y0
    heights: list[float] = []
    for line in lines:
        wanted = float(axes.transData.transform((0.0, line.values[-1]))[1]) - bottom
        heights.append(max(wanted, heights[-1] + gap) if heights else wanted)
    excess = max(0.0, heights[-1] - height) if heights else 0.0
    for line, at in zip(lines, heights, strict=True):
        text = f"{line.label} {unit(float(line.values[-1]))}"
        place = (1 + 8 / axes.bbox.width, (at - excess) / height)
        axes.text(*place, text, transform=axes.transAxes, va="center", color=drawing.COLOUR[line.role])


def _marks(axes: Axes, marks: Sequence[Mark]) -> None:
    """Upright lines, and their names one below the other over the drawing."""
    for order, mark in enumerate(marks):
        style: dict[str, Any] = {
            "color": drawing.COLOUR[mark.role],
            "linewidth": 2.4 if order == 0 else 1.7,
            "clip_on": False,
        }
        dashes = "-" if order == 0 else drawing.DASHES
        axes.plot([mark.value] * 2, [0, 1.03], transform=axes.get_xaxis_transform(), linestyle=dashes, **style)
        level = 1.0 + (92 - 20 * order) / axes.bbox.height
        axes.plot([-0.09, -0.03], [level, level], transform=axes.transAxes, linestyle=dashes, **style)
        axes.text(-0.015, level, f"{mark.label} {money(mark.value)}", transform=axes.transAxes, va="center",
                  color=drawing.COLOUR[mark.role])  # fmt: skip
