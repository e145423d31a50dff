"""Charts as SVG for one HTML page, and pictures of coverage. The only file that imports matplotlib. Knows arrays and
labels; nothing of runs or verdicts.

Lines and bars are drawn in stand-in colours that become CSS variables of the page, so that one drawing reads in light
and in dark. Text stays text. Ticks are drawn as plain lines and words: matplotlib's own take half of its time. The
same values give the same bytes.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from encash.arrays import Bool, Days, Float64, Int8, Int32, Int64
from encash.errors import InputError
from encash.report.wording import money, number, percent
from encash.whole import write_whole

WIDE, HALF = 1000, 490
"""Widths of drawings, in pixels of the page."""
MOST_NAMED = 30
"""Clusters of a map that all carry their numbers; of more, those that are kept."""
LOG_RANGE = 4.0
"""Capital is drawn on a logarithmic axis where its highest value is so many times its lowest."""

_ROLES = ("ink", "muted", "grid", "net", "gross", "bench", "good", "bad")
_COLOUR = {role: f"#0102{place:02x}" for place, role in enumerate(_ROLES, start=16)}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "encash",
    "text.parse_math": False,
    "path.simplify": False,
    "font.size": 12.5,
    "font.family": ["DejaVu Sans"],
    "text.color": _COLOUR["muted"],
}
_SMALL = 11.5
_DASHES = (0, (5, 3))
_HEAT = (59, 124, 214)  # seen through its opacity, on white and on black
_STATES = (("valid", "#2f6fd0"), ("stale", "#f0a030"), ("missing", "#d6403a"), ("unavailable", "#e3e6ea"))


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
class HeatMap:
    """A figure over two settings."""

    figure: str
    row_name: str
    rows: tuple[str, ...]
    column_name: str
    columns: tuple[str, ...]
    values: Float64
    """shape (rows, columns), NaN without a run."""


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
    with mpl.rc_context(_STYLE):
        figure, when = _figure(WIDE, 440), _times(days)
        top, below = _axes(figure, (0.075, 0.36, 0.745, 0.57)), _axes(figure, (0.075, 0.075, 0.745, 0.195))
        for band in bands:
            top.fill_between(when, band.low, band.high, color=_COLOUR[band.role], alpha=0.17, linewidth=0)
        _draw(top, when, lines)
        _upright(top, money, wide=_is_wide(lines))
        _end_labels(top, lines, money)
        _axis_title(top, "capital, in the currency of the prices" + _scale_note(lines))
        _draw(below, when, underwater)
        below.fill_between(when, underwater[0].values, 0.0, color=_COLOUR["net"], alpha=0.2, linewidth=0)
        below.set_ylim(top=0.0)
        _upright(below, lambda value: percent(value, 0), most=3)
        _axis_title(below, "drawdown: below the highest value so far")
        _time_axis(top, when, named=False)
        _time_axis(below, when)
        return _svg(figure, "equity", alt)


def runs_chart(alt: str, runs: Sequence[tuple[Days, Line]]) -> str:
    """Growth of 1 in several runs, each over its own days; lines without a label stay in the background."""
    lines = [line for _, line in runs]
    with mpl.rc_context(_STYLE):
        figure = _figure(WIDE, 380)
        axes = _axes(figure, (0.05, 0.09, 0.73, 0.83))
        for days, line in reversed(runs):
            _draw(axes, _times(days), [line])
        _upright(axes, lambda value: number(value, 2).rstrip("0").rstrip("."), wide=_is_wide(lines))
        _end_labels(axes, [line for line in lines if line.label], number)
        _axis_title(axes, "growth of 1, after costs" + _scale_note(lines))
        _time_axis(axes, np.concatenate([_times(days) for days, _ in runs]))
        return _svg(figure, "runs", alt)


def draws_chart(alt: str, name: str, draws: Float64, drawn: str, marks: Sequence[Mark]) -> str:
    """Histogram of final capitals; the first mark is the run, the others what it is compared with.

    Args:
        alt: what one sees.
        name: of the drawing, unique on the page.
        draws: shape (n,).
        drawn: what the capitals are of, such as random filters.
        marks: upright lines.
    """
    with mpl.rc_context(_STYLE):
        figure = _figure(HALF, 300)
        axes = _axes(figure, (0.085, 0.17, 0.9, 0.5))
        values = np.concatenate([draws, [mark.value for mark in marks]])
        margin = 0.03 * max(float(np.ptp(values)), 1e-3 * float(np.abs(values).max()))
        bins = max(8, min(40, round(2.0 * len(draws) ** 0.5)))
        counts, edges = np.histogram(draws, bins=bins, range=(draws.min() - margin / 3, draws.max() + margin / 3))
        width = edges[1] - edges[0]
        axes.bar(edges[:-1] + width / 2, counts, width=0.86 * width, color=_COLOUR["muted"], alpha=0.45)
        axes.set_xlim(values.min() - margin, values.max() + margin)
        _upright(axes, money, most=4, integer=True)
        ticks = _within(MaxNLocator(5).tick_values(*axes.get_xlim()), axes.get_xlim())
        _base(axes, ticks, [money(tick) for tick in ticks], "final capital, in the currency of the prices")
        _marks(axes, marks)
        level = 1.0 + 16 / axes.bbox.height
        axes.text(-0.09, level, f"{drawn} in each bar", transform=axes.transAxes, va="center", fontsize=12)
        return _svg(figure, name, alt)


def phases_chart(alt: str, finals: Mapping[int, float], own: int | None, yardstick: Mark | None) -> str:
    """Final capital by the session on which the run began; the run's own is marked."""
    with mpl.rc_context(_STYLE):
        figure = _figure(HALF, 300)
        axes = _axes(figure, (0.145, 0.17, 0.84, 0.72))
        every = [*finals.values(), *([yardstick.value] if yardstick else [])]
        span = max(max(every) - min(every), 1e-3 * max(every))
        axes.set_ylim(min(every) - 0.12 * span, max(every) + 0.16 * span)
        axes.set_xlim(min(finals) - 0.5, max(finals) + 0.5)
        if yardstick is not None:
            axes.axhline(yardstick.value, color=_COLOUR[yardstick.role], linewidth=1.5, linestyle=_DASHES)
        for phase, capital in finals.items():
            role, size = ("net", 12) if phase == own else ("muted", 8)
            axes.plot([phase], [capital], "o", markersize=size, markeredgewidth=0, color=_COLOUR[role])
        _upright(axes, money, most=6)
        _base(axes, list(finals), list(map(str, finals)), "first signal, sessions after the start")
        dashed = f"; dashed: {yardstick.label} {money(yardstick.value)}" if yardstick else ""
        _axis_title(axes, f"final capital{dashed}")
        return _svg(figure, "phases", alt)


def occupancy_chart(alt: str, clusters: Int32, kept: Bool, labels: Sequence[str], share: Float64) -> str:
    """Which share of the candidates each cluster held over time; one row a cluster.

    Args:
        alt: what one sees.
        clusters: in the order of the rows, kept ones first; shape (k,).
        kept: whether the filter keeps it, shape (k,).
        labels: first day of each column, shape (B,).
        share: shape (k, B).
    """
    with mpl.rc_context(_STYLE):
        row = max(8, min(21, 900 // len(clusters)))
        height = 66 + row * len(clusters)
        figure = _figure(WIDE, height)
        axes = _axes(figure, (0.05, 34 / height, 0.95, 1 - 66 / height))
        colours = np.zeros((*share.shape, 4), dtype=np.uint8)
        colours[..., :3] = _HEAT
        colours[..., 3] = np.round(255 * np.sqrt(share / share.max()))
        axes.imshow(colours, aspect="auto", interpolation="none")
        for place in range(0, len(clusters), -(-13 // row)):
            role, weight = ("net", "bold") if kept[place] else ("muted", "normal")
            _left(axes, place, str(clusters[place]), color=_COLOUR[role], fontweight=weight, fontsize=_SMALL)
        columns = np.unique(np.linspace(0, len(labels) - 1, min(9, len(labels))).round().astype(int))
        _base(axes, columns, [labels[column][:7] for column in columns], line=False)
        if 0 < kept.sum() < len(kept):
            axes.axhline(float(kept.sum()) - 0.5, color=_COLOUR["ink"], linewidth=1.2)
        _axis_title(axes, f"cluster; kept ones bold, on top; the darkest cell holds {percent(float(share.max()), 0)}")
        return _svg(figure, "occupancy", alt)


def bars_chart(alt: str, bars: Sequence[Bar], words: BarWords) -> str:
    """Values with their intervals, from zero up or down, in the order given."""
    with mpl.rc_context(_STYLE):
        figure = _figure(HALF, 300)
        axes = _axes(figure, (0.145, 0.17, 0.84, 0.72))
        for place, bar in enumerate(bars):
            axes.bar(place, bar.value, width=0.68, color=_COLOUR[bar.role], alpha=0.85 if bar.role == "net" else 0.5)
            if bar.half_width is not None:
                ends = (bar.value - bar.half_width, bar.value + bar.half_width)
                axes.vlines(place, *ends, color=_COLOUR["ink"], linewidth=1.4)
        axes.set_xlim(-0.6, len(bars) - 0.4)
        _upright(axes, words.unit)
        axes.axhline(0.0, color=_COLOUR["muted"], linewidth=1.2)
        step = -(-len(bars) // 22)
        shown = range(0, len(bars), step)
        _base(axes, shown, [bars[place].label for place in shown], words.below, line=False)
        _axis_title(axes, words.title)
        return _svg(figure, words.name, alt)


def cluster_map_chart(alt: str, centroids: Float64, entries: Float64, kept_entries: Bool, kept: Bool) -> str:
    """Entries as points and centroids as numbers, on a plane; kept clusters in blue.

    Args:
        alt: what one sees.
        centroids: shape (k, 2).
        entries: shape (n, 2).
        kept_entries: whether the filter keeps the cluster of each entry, shape (n,).
        kept: whether it keeps each cluster, shape (k,).
    """
    with mpl.rc_context(_STYLE):
        figure = _figure(HALF, 300)
        axes = _axes(figure, (0.02, 0.03, 0.96, 0.94))
        for those, role in ((~kept_entries, "muted"), (kept_entries, "net")):
            axes.plot(*entries[those].T, "o", markersize=3.4, markeredgewidth=0, color=_COLOUR[role], alpha=0.4)
        axes.margins(0.03)
        named = np.arange(len(centroids)) if len(centroids) <= MOST_NAMED else np.flatnonzero(kept)
        for number in named:
            style: dict[str, Any] = {"color": _COLOUR["net" if kept[number] else "ink"], "fontweight": "bold"}
            across, up = centroids[number]
            axes.text(across, up, str(number), ha="center", va="center", fontsize=_SMALL, **style)
        return _svg(figure, "map", alt)


def refits_chart(alt: str, days: Days, shares: Sequence[Line], drift: Line, band: Band) -> str:
    """What stays from refit to refit, as shares, above how far centroids moved.

    Args:
        alt: what one sees.
        days: first day of each refit but the first, shape (R,).
        shares: fractions, each of shape (R,).
        drift: the median move of a centroid, shape (R,).
        band: the smallest and the largest move.
    """
    with mpl.rc_context(_STYLE):
        figure, when = _figure(WIDE, 340), _times(days)
        if len(when) == 1:  # one refit is a point; a line needs a second
            when = np.array([when[0], when[0] + 1.0])
            shares = [replace(line, values=np.repeat(line.values, 2)) for line in shares]
            drift = replace(drift, values=np.repeat(drift.values, 2))
            band = replace(band, low=np.repeat(band.low, 2), high=np.repeat(band.high, 2))
        top, below = _axes(figure, (0.05, 0.5, 0.77, 0.4)), _axes(figure, (0.05, 0.1, 0.77, 0.24))
        _draw(top, when, shares)
        top.set_ylim(0.0, 1.02)
        _upright(top, lambda value: percent(value, 0), most=4)
        _end_labels(top, shares, lambda value: percent(value, 0))
        _axis_title(top, "share that stays as it was")
        below.fill_between(when, band.low, band.high, color=_COLOUR[band.role], alpha=0.17, linewidth=0)
        _draw(below, when, [drift])
        below.set_ylim(bottom=0.0)
        _upright(below, lambda value: number(value, 2), most=3)
        _end_labels(below, [drift], lambda value: number(value, 2))
        _axis_title(below, "how far centroids moved: median, and all of them")
        _time_axis(top, when, named=False)
        _time_axis(below, when)
        return _svg(figure, "refits", alt)


def coverage_picture(states: Int8, days: Days, tickers: Sequence[str], out_path: str | Path) -> Path:
    """A picture of what a cache holds: one row a ticker, one column a session, four colours.

    More cells than fit are blended: a block that is partly missing is partly red. The legend counts the cells.

    Args:
        states: 0 valid, 1 stale, 2 missing, 3 unavailable; shape (T, N).
        days: shape (T,).
        tickers: N names.
        out_path: its suffix says how: .svg or .png; replaced whole or not at all.

    Returns:
        The path of the picture.

    Raises:
        InputError: another suffix, shapes that do not belong together, a state that is none, or nothing to draw.
    """
    path = Path(out_path)
    _check_coverage(states, days, tickers, path)
    with mpl.rc_context({**_STYLE, "text.color": "#3c4450"}):
        figure = Figure(figsize=(1100 / 72, 640 / 72), dpi=72, facecolor="white")
        axes = _axes(figure, (0.09, 0.06, 0.895, 0.85))
        colours = np.array([to_rgb(colour) for _, colour in _STATES])[states.T]
        shown = _blend(_blend(colours, 900, axis=0), 1600, axis=1)
        axes.imshow(shown, aspect="auto", interpolation="nearest")
        for place in _some(len(tickers), 24):
            _left(axes, _scaled(place, len(tickers), shown.shape[0]), _cut(tickers[place], 11), fontsize=_SMALL)
        columns = _some(len(days), 9)
        names = [str(days[column]) for column in columns]
        _base(axes, [_scaled(column, len(days), shown.shape[1]) for column in columns], names, line=False)
        _legend(figure, np.bincount(states.ravel(), minlength=len(_STATES)))
    return _save_picture(figure, path)


def cluster_picture(centroids: Float64, entries: Float64, cluster: Int32, out_path: str | Path) -> Path:
    """A map of the clusters: entries in the colour of their cluster, centroids with their numbers.

    Args:
        centroids: shape (k, 2).
        entries: shape (n, 2); of more than 20,000 every so many are drawn.
        cluster: of each entry, shape (n,).
        out_path: its suffix says how: .svg or .png; replaced whole or not at all.

    Returns:
        The path of the picture.
    """
    path, step = Path(out_path), -(-len(entries) // 20_000)
    with mpl.rc_context({**_STYLE, "text.color": "#3c4450"}):
        figure = Figure(figsize=(900 / 72, 700 / 72), dpi=72, facecolor="white")
        axes = _axes(figure, (0.02, 0.02, 0.96, 0.96))
        colours = mpl.colormaps["turbo"](np.linspace(0.05, 0.95, len(centroids)))
        across, up = entries[::step].T
        axes.scatter(across, up, s=5, c=colours[cluster[::step]], alpha=0.35, linewidths=0, rasterized=True)
        for number, (x, y) in enumerate(centroids):
            axes.scatter(x, y, s=260, c="white", edgecolors=tuple(colours[number].tolist()), linewidths=2.5)
            axes.text(x, y, str(number), ha="center", va="center", fontsize=_SMALL)
    return _save_picture(figure, path)


def heat_picture(heat: HeatMap, out_path: str | Path) -> Path:
    """A figure over two settings: one cell a pair, its value written in it; blue above the middle, brown below.

    Args:
        heat: what is drawn.
        out_path: its suffix says how: .svg or .png; replaced whole or not at all.

    Returns:
        The path of the picture.
    """
    values = heat.values
    spread = float(np.nanmax(np.abs(values - np.nanmedian(values)), initial=0.0)) or 1.0
    with mpl.rc_context({**_STYLE, "text.color": "#3c4450"}):
        width, height = 150 + 90 * len(heat.columns), 90 + 44 * len(heat.rows)
        figure = Figure(figsize=(width / 72, height / 72), dpi=72, facecolor="white")
        axes = figure.add_axes((110 / width, 44 / height, 1 - 130 / width, 1 - 90 / height))
        shown = (values - np.nanmedian(values)) / (2 * spread) + 0.5
        axes.imshow(shown, aspect="auto", cmap="BrBG", vmin=-0.15, vmax=1.15)
        axes.set_xticks(range(len(heat.columns)), heat.columns)
        axes.set_yticks(range(len(heat.rows)), heat.rows)
        axes.set_xlabel(heat.column_name)
        axes.set_ylabel(heat.row_name)
        axes.set_title(f"{heat.figure}, mean of all runs of a cell", loc="left")
        for row, column in np.argwhere(np.isfinite(values)):
            axes.text(column, row, f"{values[row, column]:.3g}", ha="center", va="center", fontsize=_SMALL)
    return _save_picture(figure, Path(out_path))


def _save_picture(figure: Figure, path: Path) -> Path:
    """Write a picture; it carries neither the day nor the program: the same values give the same bytes."""
    buffer, vector = io.BytesIO(), path.suffix == ".svg"
    hidden: dict[str, Any] = {"Date": None, "Creator": None} if vector else {"Software": None}
    with mpl.rc_context(_STYLE):
        figure.savefig(buffer, format=path.suffix[1:], dpi=72 if vector else 144, metadata=hidden)
    return write_whole(path, buffer.getvalue())


def _figure(width: int, height: int) -> Figure:
    """A figure in which one point is one pixel of the page."""
    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    figure.patch.set_visible(False)
    FigureCanvasSVG(figure)
    return figure


def _axes(figure: Figure, box: tuple[float, float, float, float]) -> Axes:
    """Bare axes: left, bottom, width and height as shares of the figure."""
    axes = figure.add_axes(box)
    axes.set_axis_off()
    axes.margins(x=0)
    return axes


def _upright(
    axes: Axes, unit: Callable[[float], str], *, most: int = 6, integer: bool = False, wide: bool = False
) -> None:
    """Lines across at round values, which `unit` writes to the left of them."""
    if wide:
        axes.set_yscale("log")
    limits = axes.get_ylim()
    locator = LogLocator(subs=(1.0, 2.0, 5.0)) if wide else MaxNLocator(most, integer=integer)
    ticks = _within(locator.tick_values(*limits), limits)
    axes.hlines(ticks, 0, 1, transform=axes.get_yaxis_transform(), color=_COLOUR["grid"], linewidth=1.0, zorder=0)
    for tick in ticks:
        _left(axes, tick, unit(float(tick)))
    axes.set_ylim(*limits)


def _base(
    axes: Axes, places: Sequence[float] | Int64 | Float64, names: Sequence[str], below: str = "", line: bool = True
) -> None:
    """Names under their places, a line above them, and what they are below them."""
    down = 1.0 / axes.bbox.height
    for place, name in zip(places, names, strict=True):
        axes.text(place, -8 * down, name, transform=axes.get_xaxis_transform(), ha="center", va="top", fontsize=12)
    if line:
        axes.plot([0, 1], [0, 0], transform=axes.transAxes, color=_COLOUR["muted"], linewidth=1.0, clip_on=False)
    axes.text(0.5, -42 * down, below, transform=axes.transAxes, ha="center", va="bottom", fontsize=12)


def _left(axes: Axes, place: float, text: str, **style: Any) -> None:
    """A word to the left of the axes at a height."""
    at = -10.0 / axes.bbox.width
    axes.text(at, place, text, transform=axes.get_yaxis_transform(), ha="right", va="center", **style)


def _within(ticks: Sequence[float] | Float64, limits: tuple[float, float]) -> Float64:
    """The ticks that lie on the axis."""
    ticks = np.asarray(ticks, dtype=np.float64)
    low, high = min(limits), max(limits)
    slack = 1e-9 * (high - low)
    return ticks[(ticks >= low - slack) & (ticks <= high + slack)]


def _is_wide(lines: Sequence[Line]) -> bool:
    values = np.concatenate([line.values for line in lines])
    values = values[np.isfinite(values)]
    return bool(values.min() > 0 and values.max() / values.min() > LOG_RANGE)


def _scale_note(lines: Sequence[Line]) -> str:
    return "; logarithmic" if _is_wide(lines) else ""


def _times(days: Days) -> Float64:
    """Days since 1970."""
    return days.astype("datetime64[D]").astype(np.float64)


def _time_axis(axes: Axes, when: Float64, named: bool = True) -> None:
    """Years or months under their first days, ten of them at the most."""
    axes.set_xlim(when.min(), when.max())
    first, last = (np.datetime64(int(end), "D") for end in (when.min(), when.max()))
    months = np.arange(first.astype("datetime64[M]"), last.astype("datetime64[M]") + 1)
    months = months[months.astype("datetime64[D]") >= first]
    number_of_month = months.astype(np.int64)
    step = next(step for step in (1, 2, 3, 6, 12, 24, 60, 120, 1200) if (number_of_month % step == 0).sum() <= 10)
    chosen = months[number_of_month % step == 0]
    if len(chosen) < 2:
        chosen = np.array([first, last])
    names = [str(day)[:4] if step >= 12 and len(chosen) > 2 else str(day) for day in chosen]
    _base(axes, chosen.astype("datetime64[D]").astype(np.float64) if named else [], names if named else [])


def _draw(axes: Axes, when: Float64, lines: Sequence[Line]) -> None:
    """Lines, the first on top."""
    for order, line in enumerate(lines):
        axes.plot(when, line.values, color=_COLOUR[line.role], linewidth=line.width, zorder=3.0 - 0.01 * order)


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
        axes.text(*place, text, transform=axes.transAxes, va="center", color=_COLOUR[line.role])


def _marks(axes: Axes, marks: Sequence[Mark]) -> None:
    """Upright lines, and their names one below the other over the drawing."""
    for order, mark in enumerate(marks):
        style: dict[str, Any] = {"color": _COLOUR[mark.role], "linewidth": 2.4 if order == 0 else 1.7, "clip_on": False}
        dashes = "-" if order == 0 else _DASHES
        axes.plot([mark.value] * 2, [0, 1.03], transform=axes.get_xaxis_transform(), linestyle=dashes, **style)
        level = 1.0 + (92 - 20 * order) / axes.bbox.height
        axes.plot([-0.09, -0.03], [level, level], transform=axes.transAxes, linestyle=dashes, **style)
        axes.text(-0.015, level, f"{mark.label} {money(mark.value)}", transform=axes.transAxes, va="center",
                  color=_COLOUR[mark.role])  # fmt: skip


def _axis_title(axes: Axes, text: str) -> None:
    """What the upright axis measures, written level above it, from the left edge of the drawing."""
    figure = axes.figure
    figure.text(0.0, axes.get_position().y1 + 21 / figure.bbox.height, text, va="center", fontsize=12)


def _check_coverage(states: Int8, days: Days, tickers: Sequence[str], path: Path) -> None:
    if path.suffix not in (".svg", ".png"):
        raise InputError(f"a picture of coverage is written as .svg or .png, not {path.name!r}; give one of these")
    if states.shape != (len(days), len(tickers)):
        raise InputError(f"states of shape {states.shape}; expected ({len(days)} days, {len(tickers)} tickers)")
    if not states.size:
        raise InputError("no cell to draw: no session or no ticker; choose a wider range")
    if states.min() < 0 or states.max() >= len(_STATES):
        raise InputError(
            f"states from {states.min()} to {states.max()}; expected 0 valid, 1 stale, 2 missing, 3 unavailable"
        )


def _blend(colours: Float64, most: int, axis: int) -> Float64:
    """At most so many rows or columns, each the mean of those that it stands for."""
    count = colours.shape[axis]
    if count <= most:
        return colours
    edges = np.linspace(0, count, most + 1).astype(np.int64)
    sums: Float64 = np.add.reduceat(colours, edges[:-1], axis=axis)
    shape = [1, 1, 1]
    shape[axis] = most
    return sums / np.diff(edges).reshape(shape)


def _some(count: int, most: int) -> Int64:
    """At most so many of `count` places, evenly, both ends among them."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(np.int64))


def _scaled(place: float, count: int, shown: int) -> float:
    """The place of a row or column after blending."""
    return (place + 0.5) * shown / count - 0.5


def _cut(name: str, most: int) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _legend(figure: Figure, counts: Int64) -> None:
    """A coloured square, the name and the count of each state, over the picture."""
    whole = int(counts.sum())
    for order, ((name, colour), cells) in enumerate(zip(_STATES, counts.tolist(), strict=True)):
        left = 0.09 + 0.225 * order
        figure.text(left, 0.953, "■", color=colour, fontsize=18, va="center")
        figure.text(left + 0.02, 0.957, f"{name}  {cells:,}  ({percent(cells / whole)})", va="center")


def _svg(figure: Figure, name: str, alt: str) -> str:
    """The drawing as an element of an HTML page: no identifiers but its own, no addresses, no fonts of its own."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = buffer.getvalue()
    text = re.sub(
        r"<metadata>.*?</metadata>|<defs>\s*<style.*?</defs>", "", text[text.index("<svg") :], flags=re.DOTALL
    )
    head, body = text.split(">", 1)
    box = re.findall(r"viewBox=\"[^\"]*\"", head)[0]
    body = re.sub(r"<(g|image) id=\"[^\"]*\"", r"<\1", body)
    body = re.sub(r"(<clipPath id=\"|url\(#|<path id=\"|xlink:href=\"#)", rf"\g<1>{name}-", body)
    body = body.replace("xlink:href", "href")
    body = re.sub(r"font-family: [^;\"]*(; )?| transform=\"rotate\(-0[^\"]*\"", "", body)
    for role, stand_in in _COLOUR.items():
        body = body.replace(stand_in, f"var(--{role})")
    body = re.sub(r" (?:d|x|y|points)=\"[^\"]*\"", _shorten, body)
    return f'<svg {box} role="img" aria-label="{html.escape(alt)}">' + re.sub(r"\s*\n\s*", "\n", body).strip()


def _shorten(attribute: re.Match[str]) -> str:
    """Coordinates to a tenth of a pixel, on one line, without repeated commands."""
    text = re.sub(r"(\.\d)\d+", r"\1", attribute[0])
    text = re.sub(r"\s+", " ", text).replace(' "', '"').replace(".0 ", " ")
    start, *rest = text.split(" L ")
    straight = rest and not re.search("[A-KM-Zz]", " ".join(rest))
    return f" {start.strip()} L {' '.join(rest)}" if straight else text
