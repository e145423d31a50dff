"""The style of all drawings: colors, fonts, axes, ticks and labels. The only module that imports matplotlib.

Charts of the page are drawn in stand-in colors, which `svg` replaces by CSS variables. Ticks are drawn as plain lines
and text, because matplotlib's own ticks take half of its time. The same values give the same bytes.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import matplotlib as mpl
import numpy as np
from matplotlib import axes as mpl_axes
from matplotlib import figure as mpl_figure
from matplotlib.ticker import LogLocator, MaxNLocator

from encash.arrays import Days, Float64, Int64
from encash.report.formatting import Unit

Axes: TypeAlias = mpl_axes.Axes
Figure: TypeAlias = mpl_figure.Figure

WIDE, HALF = 1000, 490
"""Widths of charts, in pixels of the page."""
COLOR = {
    role: f"#0102{place:02x}"
    for place, role in enumerate(
        ("ink", "muted", "grid", "net", "gross", "bench", "good", "bad", "bg", "teal", "pink"), start=16
    )
}
"""Stand-in of each color of the page, by the name of its CSS variable."""
PAPER = {
    "ink": "#15181d",
    "muted": "#5b6470",
    "grid": "#e6e9ed",
    "net": "#1b5fcf",
    "gross": "#7f9fd6",
    "bench": "#b45309",
    "good": "#177245",
    "bad": "#c0262d",
    "bg": "#ffffff",
}
"""The colors of the page in its light theme, for figures outside of it."""
SMALL = 11.5
"""Font size inside a drawing."""
LETTER = 7.2
"""Width of a digit or a letter of a label, in pixels, a little more than most have."""
AXIS = "data-axis"
"""Mark of the ticks and labels of an axis, which the script of the page replaces when it zooms."""
DASHES = (0, (5, 3))
_RC_PARAMS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "encash",
    "text.parse_math": False,
    "path.simplify": False,
    "font.size": 12.5,
    "font.family": ["DejaVu Sans"],
}


@contextmanager
def applied(text: str = COLOR["muted"]) -> Iterator[None]:
    """Apply the style within a block, with text in this color.

    matplotlib's warning about glyphs that its own font lacks is ignored: the fonts of the reader have them (a PNG shows
    a box).
    """
    with mpl.rc_context({**_RC_PARAMS, "text.color": text}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


@contextmanager
def on_paper() -> Iterator[None]:
    """Draw in the colors of `PAPER` within a block, instead of the stand-ins."""
    stand_ins = dict(COLOR)
    COLOR.update(PAPER)
    try:
        yield
    finally:
        COLOR.update(stand_ins)


def new_figure(width: int, height: int, background: str | None = None) -> Figure:
    """Return an empty figure, in pixels of the page; transparent without a background color."""
    return Figure(figsize=(width / 72, height / 72), dpi=72, facecolor=background or "none")


def new_axes(figure: Figure, box: tuple[float, float, float, float]) -> Axes:
    """Add axes without decoration: left, bottom, width and height as fractions of the figure."""
    axes = figure.add_axes(box)
    axes.set_axis_off()
    axes.margins(x=0)
    return axes


def file_bytes(figure: Figure, suffix: str) -> bytes:
    """Save a figure as ".svg" or ".png", without a date or the name of a program."""
    buffer, vector = io.BytesIO(), suffix == ".svg"
    hidden: dict[str, Any] = {"Date": None, "Creator": None} if vector else {"Software": None}
    figure.savefig(buffer, format=suffix[1:], dpi=72 if vector else 144, metadata=hidden)
    return buffer.getvalue()


def distinct_colors(number: int) -> Float64:
    """Return RGBA colors that are easy to tell apart, shape (number, 4)."""
    return np.asarray(mpl.colormaps["turbo"](np.linspace(0.05, 0.95, number)), dtype=np.float64)


def y_axis(
    axes: Axes,
    unit: Unit,
    title: str = "",
    *,
    most: int = 6,
    integer: bool = False,
    logarithmic: bool = False,
) -> None:
    """Draw horizontal grid lines at round values of equal steps, with exact labels, and the title above them."""
    if logarithmic:
        axes.set_yscale("log")
    limits = axes.get_ylim()
    ticks = round_values(limits, most, integer=integer, logarithmic=logarithmic)
    transform = axes.get_yaxis_transform()
    axes.hlines(ticks, 0, 1, transform=transform, color=COLOR["grid"], linewidth=1.0, zorder=0, gid=AXIS)
    for tick, label in zip(ticks, unit.labels(ticks.tolist()), strict=True):
        y_label(axes, tick, label, gid=AXIS)
    axes.set_ylim(*limits)
    y_title(axes, title)


def y_title(axes: Axes, text: str) -> None:
    """Write what the y axis measures, horizontally above it, from the left edge of the drawing."""
    figure = axes.figure
    figure.text(0.0, axes.get_position().y1 + 21 / figure.bbox.height, text, va="center", fontsize=12)


def y_label(axes: Axes, place: float, text: str, **style: Any) -> None:
    """Write a label to the left of the axes."""
    at = -10.0 / axes.bbox.width
    axes.text(at, place, text, transform=axes.get_yaxis_transform(), ha="right", va="center", **style)


def x_axis(
    axes: Axes, places: Sequence[float] | Int64 | Float64, labels: Sequence[str], title: str = "", line: bool = True
) -> None:
    """Write labels below their places, a line above them, and the title below them.

    A label that would touch the one before it is left out; one at the edge of the drawing is moved inside.
    """
    down, end = 1.0 / axes.bbox.height, -np.inf
    for place, label in zip(places, labels, strict=True):
        center, half = float(axes.transData.transform((place, 0.0))[0]), LETTER * len(label) / 2
        if center - half < end:
            continue
        end = center + half + 4.0
        inside = min(max(center, half), axes.figure.bbox.width - half)
        at = float(axes.transData.inverted().transform((inside, 0.0))[0])
        transform = axes.get_xaxis_transform()
        axes.text(at, -8 * down, label, transform=transform, ha="center", va="top", fontsize=12, gid=AXIS)
    if line:
        axes.plot([0, 1], [0, 0], transform=axes.transAxes, color=COLOR["muted"], linewidth=1.0, clip_on=False)
    axes.text(0.5, -42 * down, title, transform=axes.transAxes, ha="center", va="bottom", fontsize=12)


def time_axis(axes: Axes, when: Float64, labeled: bool = True) -> None:
    """Label years or months at their first days, ten of them at most."""
    axes.set_xlim(when.min(), when.max())
    first, last = (np.datetime64(int(end), "D") for end in (when.min(), when.max()))
    months = np.arange(first.astype("datetime64[M]"), last.astype("datetime64[M]") + 1)
    months = months[months.astype("datetime64[D]") >= first]
    number_of_month = months.astype(np.int64)
    step = next(step for step in (1, 2, 3, 6, 12, 24, 60, 120, 1200) if (number_of_month % step == 0).sum() <= 10)
    chosen = months[number_of_month % step == 0]
    if len(chosen) < 2:
        chosen = np.array([first, last])
    labels = [str(day)[:4] if step >= 12 and len(chosen) > 2 else str(day) for day in chosen]
    x_axis(axes, times(chosen) if labeled else [], labels if labeled else [])


def dots(axes: Axes, x: Float64, y: Float64, size: float, color: str, alpha: float) -> None:
    """Draw n dots as one path, whose bytes do not repeat a mark for each; x and y have shape (n,)."""
    gap = np.full(len(x), np.nan)
    across, up = (np.column_stack([values, values, gap]).ravel() for values in (x, y))
    axes.plot(across, up, color=color, alpha=alpha, linewidth=size, solid_capstyle="round", clip_on=False)


def spread_labels(axes: Axes, places: Float64, gap: tuple[float, float] = (17.0, 13.0)) -> Float64:
    """Move labels down until none covers an earlier one.

    Args:
        axes: with all of their data.
        places: shape (n, 2).
        gap: pixels between the centers of two labels, across and down.

    Returns:
        The places of the labels, shape (n, 2).
    """
    axes.autoscale_view()  # matplotlib sets the limits only when it draws
    pixels = np.asarray(axes.transData.transform(places), dtype=np.float64)
    for at in range(len(pixels)):
        while (np.abs(pixels[:at] - pixels[at]) < gap).all(axis=1).any():
            pixels[at, 1] -= gap[1]
    return np.asarray(axes.transData.inverted().transform(pixels), dtype=np.float64)


def centered(axes: Axes, place: Float64, text: str, color: str, **style: Any) -> None:
    """Center a label on a point, shape (2,)."""
    x, y = place
    axes.text(x, y, text, ha="center", va="center", fontsize=SMALL, color=color, **style)


def times(days: Days) -> Float64:
    """Convert dates to days since 1970."""
    return days.astype("datetime64[D]").astype(np.float64)


def round_values(
    limits: tuple[float, float], most: int, *, integer: bool = False, logarithmic: bool = False
) -> Float64:
    """Return about N round values between the limits of an axis."""
    locator = (
        LogLocator(subs=(1.0, 2.0, 5.0))
        if logarithmic
        else MaxNLocator(most, integer=integer, steps=[1, 2, 5, 10], min_n_ticks=2)
    )
    ticks = np.asarray(locator.tick_values(*limits), dtype=np.float64)
    low, high = min(limits), max(limits)
    slack = 1e-9 * (high - low)
    inside = ticks[(ticks >= low - slack) & (ticks <= high + slack)]
    few = logarithmic and len(inside) < 3  # of less than a decade: equal steps
    return round_values(limits, most) if few else inside


def pixel(axes: Axes, x: float, y: float) -> tuple[float, float]:
    """Return the place of a value in the drawing, in pixels from its top left corner."""
    across, up = axes.transData.transform((x, y))
    return round(float(across), 1), round(float(axes.figure.bbox.height - up), 1)
