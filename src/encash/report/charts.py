"""Charts as SVG for one HTML page, and pictures of coverage. The only file that imports matplotlib. Knows arrays and
labels; nothing of runs or verdicts.

Lines and bars are drawn in stand-in colours that become CSS variables of the page, so that one drawing reads in light
and in dark. Text stays text. The same values give the same bytes.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from encash.arrays import Bool, Days, Float64, Int8, Int32, Int64
from encash.errors import InputError
from encash.report.files import write_whole
from encash.report.wording import money, number, percent, signed_percent

WIDE, HALF = 1000, 490
"""Widths of drawings, in pixels of the page."""
LOG_RANGE = 4.0
"""Equity is drawn on a logarithmic axis where its highest value is so many times its lowest."""

_ROLES = ("ink", "muted", "grid", "net", "gross", "bench", "good", "bad", "surface")
_COLOUR = {role: f"#0102{place:02x}" for place, role in enumerate(_ROLES, start=16)}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "encash",
    "text.parse_math": False,
    "path.simplify": False,
    "font.size": 12.5,
    "font.family": ["DejaVu Sans"],
    "text.color": _COLOUR["muted"],
    "axes.edgecolor": _COLOUR["muted"],
    "axes.linewidth": 1.0,
    "grid.color": _COLOUR["grid"],
    "grid.linewidth": 1.0,
    "xtick.color": _COLOUR["muted"],
    "ytick.color": _COLOUR["muted"],
    "xtick.major.pad": 7.0,
    "ytick.major.pad": 7.0,
}
_HEAT = (59, 124, 214)  # seen through its opacity, on white and on black


@dataclass(frozen=True, kw_only=True, eq=False)
class Line:
    """One line over days."""

    label: str
    values: Float64
    """shape (S,)."""
    role: str
    """A colour of the page: net, gross, bench, muted."""
    dashed: bool = False
    width: float = 1.9


@dataclass(frozen=True, kw_only=True, eq=False)
class Band:
    """A range over days."""

    low: Float64
    """shape (S,)."""
    high: Float64
    """shape (S,)."""


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


def equity_chart(alt: str, days: Days, lines: Sequence[Line], underwater: Sequence[Line], band: Band | None) -> str:
    """Equity over time above its drawdowns; the names of the lines stand at their ends.

    Args:
        alt: what one sees, for those who do not.
        days: shape (S,), ascending.
        lines: equities; the first is drawn on top.
        underwater: drawdowns, as fractions; the area of the first is filled.
        band: lowest and highest equity among variants of the run.
    """
    with mpl.rc_context(_STYLE):
        figure = _figure(WIDE, 440)
        top, below = figure.add_axes((0.075, 0.36, 0.745, 0.575)), figure.add_axes((0.075, 0.07, 0.745, 0.2))
        when = _times(days)
        if band is not None:
            top.fill_between(when, band.low, band.high, color=_COLOUR["net"], alpha=0.15, linewidth=0)
        _draw(top, when, lines)
        _money_axis(top, lines)
        _end_labels(
            top,
            [
                Mark(label=f"{one.label} {money(one.values[-1])}", value=float(one.values[-1]), role=one.role)
                for one in lines
            ],
        )
        _axis_title(top, "capital, in the currency of the prices" + (", logarithmic" if _is_wide(lines) else ""))
        _draw(below, when, underwater)
        below.fill_between(when, underwater[0].values, 0.0, color=_COLOUR["net"], alpha=0.2, linewidth=0)
        below.set_ylim(top=0.0)
        _plain_axis(below, lambda value: percent(value, 0), most_ticks=3)
        _axis_title(below, "drawdown: below the highest value so far")
        for axes in (top, below):
            _time_axis(axes, when)
        top.tick_params(labelbottom=False)
        return _svg(figure, "equity", alt)


def runs_chart(alt: str, runs: Sequence[tuple[Days, Line]]) -> str:
    """Growth of 1 in several runs, each over its own days."""
    with mpl.rc_context(_STYLE):
        figure = _figure(WIDE, 360)
        axes = figure.add_axes((0.06, 0.09, 0.74, 0.83))
        for days, line in reversed(runs):
            _draw(axes, _times(days), [line])
        lines = [line for _, line in runs]
        if _is_wide(lines):
            axes.set_yscale("log")
            axes.yaxis.set_minor_formatter(NullFormatter())
        _plain_axis(axes, lambda value: number(value, 1), most_ticks=None if _is_wide(lines) else 6)
        named = [line for line in lines if line.label]
        _end_labels(
            axes,
            [
                Mark(label=f"{line.label} {number(line.values[-1])}", value=float(line.values[-1]), role=line.role)
                for line in named
            ],
        )
        _axis_title(axes, "growth of 1, after costs" + (", logarithmic" if _is_wide(lines) else ""))
        _time_axis(axes, np.concatenate([_times(days) for days, _ in runs]))
        return _svg(figure, "runs", alt)


def draws_chart(alt: str, draws: Float64, marks: Sequence[Mark]) -> str:
    """Histogram of final capitals with marks."""
    with mpl.rc_context(_STYLE):
        figure = _figure(HALF, 270)
        axes = figure.add_axes((0.085, 0.19, 0.885, 0.5))
        bins = max(8, min(40, round(2.0 * len(draws) ** 0.5)))
        low, high = draws.min(), draws.max()
        margin = max(high - low, 1e-3 * abs(high)) * 0.03
        counts, edges = np.histogram(draws, bins=bins, range=(low - margin, high + margin))
        width = edges[1] - edges[0]
        axes.bar(edges[:-1] + width / 2, counts, width=width * 0.86, color=_COLOUR["muted"], alpha=0.45)
        _plain_axis(axes, money, most_ticks=4, integer=True)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: money(value)))
        values = [mark.value for mark in marks]
        axes.set_xlim(min(low - margin, *values) - margin, max(high + margin, *values) + margin)
        _flags(axes, marks)
        figure.text(0.5275, 0.03, "final capital, in the currency of the prices", ha="center")
        _axis_title(axes, "random filters")
        return _svg(figure, "draws", alt)


def phases_chart(alt: str, finals: Sequence[float], own: int | None, yardstick: Mark | None) -> str:
    """Final capital by the session on which the run began; the run's own is marked."""
    with mpl.rc_context(_STYLE):
        figure = _figure(HALF, 270)
        axes = figure.add_axes((0.15, 0.19, 0.8, 0.67))
        for phase, capital in enumerate(finals):
            role = "net" if phase == own else "muted"
            axes.plot([phase], [capital], "o", markersize=11 if phase == own else 8, color=_COLOUR[role])
            axes.annotate(
                money(capital),
                (phase, capital),
                (0, 10),
                textcoords="offset points",
                ha="center",
                color=_COLOUR["ink" if phase == own else "muted"],
                fontsize=11.5,
            )
        every = [*finals, *([yardstick.value] if yardstick else [])]
        span = max(max(every) - min(every), 1e-3 * max(every))
        axes.set_ylim(min(every) - 0.12 * span, max(every) + 0.2 * span)
        axes.set_xlim(-0.5, len(finals) - 0.5)
        if yardstick is not None:
            axes.axhline(yardstick.value, color=_COLOUR[yardstick.role], linewidth=1.4, linestyle=(0, (5, 3)))
            axes.annotate(
                yardstick.label,
                (0.0, yardstick.value),
                (4, 5),
                ("axes fraction", "data"),
                textcoords="offset points",
                color=_COLOUR[yardstick.role],
                fontsize=11.5,
            )
        _plain_axis(axes, money, most_ticks=5)
        axes.set_xticks(range(len(finals)), [str(phase) for phase in range(len(finals))])
        figure.text(0.55, 0.03, "first signal, sessions after the start", ha="center")
        _axis_title(axes, "final capital")
        return _svg(figure, "phases", alt)


def occupancy_chart(alt: str, clusters: Int32, kept: Bool, labels: Sequence[str], share: Float64) -> str:
    """Which share of the candidates each cluster held over time; one row a cluster, kept ones on top.

    Args:
        alt: what one sees.
        clusters: shape (k,), in the order of the rows.
        kept: whether the filter keeps it, shape (k,).
        labels: first day of each column, shape (B,).
        share: shape (k, B).
    """
    with mpl.rc_context(_STYLE):
        height = 80 + max(8, min(22, 900 // len(clusters))) * len(clusters)
        figure = _figure(WIDE, height)
        axes = figure.add_axes((0.06, 44 / height, 0.925, 1 - 80 / height))
        colours = np.zeros((*share.shape, 4), dtype=np.uint8)
        colours[..., :3] = _HEAT
        colours[..., 3] = np.round(255 * np.sqrt(share / share.max()))
        axes.imshow(colours, aspect="auto", interpolation="none")
        _bare(axes)
        step = max(1, -(-len(clusters) * 14 // (height - 80)))
        places = range(0, len(clusters), step)
        axes.set_yticks(places, [str(clusters[place]) for place in places], fontsize=11)
        for tick, place in zip(axes.get_yticklabels(), places, strict=True):
            tick.set_color(_COLOUR["net" if kept[place] else "muted"])
            tick.set_fontweight("bold" if kept[place] else "normal")
        columns = np.unique(np.linspace(0, len(labels) - 1, min(8, len(labels))).round().astype(int))
        axes.set_xticks(columns, [labels[column][:7] for column in columns])
        if 0 < kept.sum() < len(kept):
            axes.axhline(float(kept.sum()) - 0.5, color=_COLOUR["ink"], linewidth=1.2)
        _axis_title(
            axes, f"cluster (kept ones bold, on top); darkest: {percent(float(share.max()), 0)} of the candidates"
        )
        return _svg(figure, "occupancy", alt)


def bars_chart(
    alt: str, name: str, bars: Sequence[Bar], *, title: str, below: str, unit: Callable[[float], str], width: int = HALF
) -> str:
    """Values with their intervals, from zero up or down.

    Args:
        alt: what one sees.
        name: of the drawing, unique on the page.
        bars: from left to right.
        title: what the values are.
        below: what the bars are.
        unit: writes a value on the axis.
        width: pixels of the page.
    """
    with mpl.rc_context(_STYLE):
        figure = _figure(width, 270)
        left = 62 / width
        axes = figure.add_axes((left, 0.19, 1 - left - 0.02, 0.67))
        for place, bar in enumerate(bars):
            axes.bar(place, bar.value, width=0.68, color=_COLOUR[bar.role], alpha=0.85 if bar.role == "net" else 0.5)
            if bar.half_width is not None:
                ends = (bar.value - bar.half_width, bar.value + bar.half_width)
                axes.vlines(place, *ends, color=_COLOUR["ink"], linewidth=1.4)
        axes.axhline(0.0, color=_COLOUR["muted"], linewidth=1.0)
        _plain_axis(axes, unit, most_ticks=6)
        axes.spines["bottom"].set_visible(False)
        step = max(1, -(-len(bars) * 26 // width))
        axes.set_xticks(range(0, len(bars), step), [bar.label for bar in bars[::step]])
        axes.set_xlim(-0.6, len(bars) - 0.4)
        figure.text(left + (1 - left) / 2, 0.03, below, ha="center")
        _axis_title(axes, title)
        return _svg(figure, name, alt)


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
    with mpl.rc_context({**_STYLE, **_ON_PAPER}):
        figure = Figure(figsize=(1100 / 72, 640 / 72), dpi=72, facecolor="white")
        axes = figure.add_axes((0.09, 0.13, 0.89, 0.76))
        colours = np.array([mpl.colors.to_rgb(colour) for _, colour in _STATES])[states.T]
        axes.imshow(_blend(_blend(colours, 900, axis=0), 1600, axis=1), aspect="auto", interpolation="nearest")
        _bare(axes)
        _place_names(
            axes.set_yticks, [name if len(name) <= 10 else f"{name[:9]}…" for name in tickers], colours.shape[0], 24
        )
        _place_names(axes.set_xticks, [str(day) for day in days], colours.shape[1], 9)
        _legend(figure, np.bincount(states.ravel(), minlength=4))
        buffer = io.BytesIO()
        kept = {"Date": None} if path.suffix == ".svg" else {"Software": None}
        figure.savefig(buffer, format=path.suffix[1:], dpi=72 if path.suffix == ".svg" else 144, metadata=kept)
    return write_whole(path, buffer.getvalue())


def signed(value: float) -> str:
    """A tick of returns."""
    return signed_percent(value, 1) if value else "0 %"


_STATES = (("valid", "#2f6fd0"), ("stale", "#f0a030"), ("missing", "#d6403a"), ("unavailable", "#e3e6ea"))
_ON_PAPER: dict[Any, Any] = {name: "#3c4450" for name in ("text.color", "xtick.color", "ytick.color")}


def _check_coverage(states: Int8, days: Days, tickers: Sequence[str], path: Path) -> None:
    if path.suffix not in (".svg", ".png"):
        raise InputError(f"a picture of coverage is written as .svg or .png, not {path.name!r}; give one of these")
    if states.shape != (len(days), len(tickers)):
        raise InputError(
            f"states of shape {states.shape} for {len(days)} days and {len(tickers)} tickers; expected (days, tickers)"
        )
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


def _place_names(set_ticks: Callable[..., object], names: Sequence[str], shown: int, most: int) -> None:
    """Some of the names, evenly, at their places among the rows or columns that are shown."""
    chosen = np.unique(np.linspace(0, len(names) - 1, min(most, len(names))).round().astype(np.int64))
    places = (chosen + 0.5) * shown / len(names) - 0.5
    set_ticks(places, [names[place] for place in chosen], fontsize=11)


def _legend(figure: Figure, counts: Int64) -> None:
    """A coloured square, the name and the count of each state, over the picture."""
    whole = int(counts.sum())
    for order, ((name, colour), cells) in enumerate(zip(_STATES, counts.tolist(), strict=True)):
        left = 0.09 + 0.225 * order
        figure.text(left, 0.945, "■", color=colour, fontsize=17, va="center")
        figure.text(left + 0.02, 0.945, f"{name}  {cells:,}  ({percent(cells / whole)})", va="center")


def _figure(width: int, height: int) -> Figure:
    """A transparent figure in which one point is one pixel of the page."""
    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    figure.patch.set_visible(False)
    FigureCanvasSVG(figure)
    return figure


def _bare(axes: Axes) -> None:
    """No frame, no ticks."""
    axes.patch.set_visible(False)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(which="both", bottom=False, left=False)


def _plain_axis(axes: Axes, unit: Callable[[float], str], *, most_ticks: int | None, integer: bool = False) -> None:
    """A frame of one line below and a grid across, with values written by `unit`."""
    _bare(axes)
    axes.spines["bottom"].set_visible(True)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: unit(value)))
    if most_ticks is not None:
        axes.yaxis.set_major_locator(MaxNLocator(most_ticks, integer=integer))


def _money_axis(axes: Axes, lines: Sequence[Line]) -> None:
    if _is_wide(lines):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_minor_locator(NullLocator())
    _plain_axis(axes, money, most_ticks=None if _is_wide(lines) else 6)


def _is_wide(lines: Sequence[Line]) -> bool:
    values = np.concatenate([line.values for line in lines])
    values = values[np.isfinite(values)]
    return bool(values.min() > 0 and values.max() / values.min() > LOG_RANGE)


def _times(days: Days) -> Float64:
    """Days as matplotlib counts them, since 1970."""
    return days.astype("datetime64[D]").astype(np.float64)


def _time_axis(axes: Axes, when: Float64) -> None:
    locator = AutoDateLocator(minticks=4, maxticks=9)  # type: ignore[no-untyped-call]  # matplotlib.dates has no types
    axes.xaxis.set_major_locator(locator)
    formatter = ConciseDateFormatter(locator, show_offset=False)  # type: ignore[no-untyped-call]  # as above
    axes.xaxis.set_major_formatter(formatter)
    axes.set_xlim(when.min(), when.max())


def _draw(axes: Axes, when: Float64, lines: Sequence[Line]) -> None:
    """Lines, the first on top."""
    for order, line in enumerate(lines):
        axes.plot(
            when,
            line.values,
            color=_COLOUR[line.role],
            linewidth=line.width,
            zorder=3.0 - 0.01 * order,
            linestyle=(0, (5, 3)) if line.dashed else "-",
        )


def _end_labels(axes: Axes, marks: Sequence[Mark], gap: float = 17.0) -> None:
    """Names at the right end of their lines, moved apart where they would touch."""
    marks = [mark for mark in marks if np.isfinite(mark.value)]
    axes.get_ylim()  # settles the scale
    height = axes.get_window_extent().height
    bottom = axes.get_window_extent().y0
    wanted = [axes.transData.transform((0.0, mark.value))[1] - bottom for mark in marks]
    order = sorted(range(len(marks)), key=lambda place: wanted[place])
    floor = -np.inf
    heights = {}
    for place in order:
        floor = heights[place] = max(wanted[place], floor + gap)
    excess = max(0.0, floor - height)
    for place in order:
        axes.annotate(
            marks[place].label,
            (1.0, (heights[place] - excess) / height),
            (8, 0),
            "axes fraction",
            textcoords="offset points",
            va="center",
            color=_COLOUR[marks[place].role],
            annotation_clip=False,
        )


def _flags(axes: Axes, marks: Sequence[Mark]) -> None:
    """Upright lines, their names one above the other over the drawing."""
    low, high = axes.get_xlim()
    for order, mark in enumerate(marks):
        place = (mark.value - low) / (high - low)
        level = 1.06 + 0.13 * (len(marks) - 1 - order)
        axes.plot(
            [place, place],
            [0.0, level + 0.02],
            color=_COLOUR[mark.role],
            linewidth=2.2 if order == 0 else 1.6,
            linestyle="-" if order == 0 else (0, (4, 3)),
            transform=axes.transAxes,
            clip_on=False,
            zorder=4,
        )
        right = place < 0.55
        axes.annotate(
            mark.label,
            (place, level),
            (6 if right else -6, 0),
            "axes fraction",
            textcoords="offset points",
            ha="left" if right else "right",
            va="center",
            color=_COLOUR[mark.role],
            annotation_clip=False,
        )


def _axis_title(axes: Axes, text: str) -> None:
    """What the upright axis measures, written level above it, from the left edge of the drawing."""
    axes.figure.text(0.0, axes.get_position().y1 + 13 / axes.figure.bbox.height, text, va="center", fontsize=12)


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
    text = re.sub(r"\s+", " ", text).replace(' "', '"')
    head, *rest = text.split(" L ")
    return " L ".join([head, " ".join(rest)]) if len(rest) > 0 and not re.search("[A-KM-Zz]", " ".join(rest)) else text
