"""How drawings look: stand-in colours, axes, ticks and names, and the figure as an element of a page. Knows matplotlib;
nothing of what is drawn.

Lines and bars are drawn in stand-in colours that become CSS variables of the page, so that one drawing reads in light
and in dark. Text stays text. Ticks are drawn as plain lines and words: matplotlib's own take half of its time. The
same values give the same bytes.
"""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from encash.arrays import Days, Float64, Int64

_ROLES = ("ink", "muted", "grid", "net", "gross", "bench", "good", "bad")
COLOUR = {role: f"#0102{place:02x}" for place, role in enumerate(_ROLES, start=16)}
"""The stand-in of each colour of the page."""
SMALL = 11.5
"""Size of letters inside a drawing."""
DASHES = (0, (5, 3))
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "encash",
    "text.parse_math": False,
    "path.simplify": False,
    "font.size": 12.5,
    "font.family": ["DejaVu Sans"],
}


@contextmanager
def style(text: str = COLOUR["muted"]) -> Iterator[None]:
    """What matplotlib is set to while something is drawn or written, with words in this colour. It complains of letters
    that its own font lacks; the fonts of whoever reads the drawing have them (a PNG shows a box)."""
    with mpl.rc_context({**_STYLE, "text.color": text}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def new_figure(width: int, height: int) -> Figure:
    """A figure in which one point is one pixel of the page."""
    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    figure.patch.set_visible(False)
    FigureCanvasSVG(figure)
    return figure


def new_axes(figure: Figure, box: tuple[float, float, float, float]) -> Axes:
    """Bare axes: left, bottom, width and height as shares of the figure."""
    axes = figure.add_axes(box)
    axes.set_axis_off()
    axes.margins(x=0)
    return axes


def upright(
    axes: Axes, unit: Callable[[float], str], *, most: int = 6, integer: bool = False, wide: bool = False
) -> None:
    """Lines across at round values, which `unit` writes to the left of them."""
    if wide:
        axes.set_yscale("log")
    limits = axes.get_ylim()
    ticks = round_values(limits, most, integer=integer, wide=wide)
    axes.hlines(ticks, 0, 1, transform=axes.get_yaxis_transform(), color=COLOUR["grid"], linewidth=1.0, zorder=0)
    for tick in ticks:
        left(axes, tick, unit(float(tick)))
    axes.set_ylim(*limits)


def base(
    axes: Axes, places: Sequence[float] | Int64 | Float64, names: Sequence[str], below: str = "", line: bool = True
) -> None:
    """Names under their places, a line above them, and what they are below them."""
    down = 1.0 / axes.bbox.height
    for place, name in zip(places, names, strict=True):
        axes.text(place, -8 * down, name, transform=axes.get_xaxis_transform(), ha="center", va="top", fontsize=12)
    if line:
        axes.plot([0, 1], [0, 0], transform=axes.transAxes, color=COLOUR["muted"], linewidth=1.0, clip_on=False)
    axes.text(0.5, -42 * down, below, transform=axes.transAxes, ha="center", va="bottom", fontsize=12)


def left(axes: Axes, place: float, text: str, **style: Any) -> None:
    """A word to the left of the axes at a height."""
    at = -10.0 / axes.bbox.width
    axes.text(at, place, text, transform=axes.get_yaxis_transform(), ha="right", va="center", **style)


def axis_title(axes: Axes, text: str) -> None:
    """What the upright axis measures, written level above it, from the left edge of the drawing."""
    figure = axes.figure
    figure.text(0.0, axes.get_position().y1 + 21 / figure.bbox.height, text, va="center", fontsize=12)


def times(days: Days) -> Float64:
    """Days since 1970."""
    return days.astype("datetime64[D]").astype(np.float64)


def time_axis(axes: Axes, when: Float64, named: bool = True) -> None:
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
    base(axes, chosen.astype("datetime64[D]").astype(np.float64) if named else [], names if named else [])


def round_values(limits: tuple[float, float], most: int, *, integer: bool = False, wide: bool = False) -> Float64:
    """At most so many round values between the limits of an axis."""
    locator = LogLocator(subs=(1.0, 2.0, 5.0)) if wide else MaxNLocator(most, integer=integer)
    ticks = np.asarray(locator.tick_values(*limits), dtype=np.float64)
    low, high = min(limits), max(limits)
    slack = 1e-9 * (high - low)
    return ticks[(ticks >= low - slack) & (ticks <= high + slack)]


def svg(figure: Figure, name: str, alt: str) -> str:
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
    for role, stand_in in COLOUR.items():
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
