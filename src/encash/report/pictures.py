"""Pictures that are files: what a cache holds, a map of clusters, a figure over two settings. Knows arrays and labels;
nothing of pages."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from encash.arrays import Days, Float64, Int8, Int32, Int64
from encash.atomic_write import write_whole
from encash.errors import InputError
from encash.report import drawing
from encash.report.wording import percent

_INK = "#3c4450"
_STATES = (("valid", "#2f6fd0"), ("stale", "#f0a030"), ("missing", "#d6403a"), ("unavailable", "#e3e6ea"))


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
    with drawing.style(text=_INK):
        figure = _sheet(1100, 640)
        axes = drawing.new_axes(figure, (0.09, 0.06, 0.895, 0.85))
        colours = np.array([to_rgb(colour) for _, colour in _STATES])[states.T]
        shown = _blend(_blend(colours, 900, axis=0), 1600, axis=1)
        axes.imshow(shown, aspect="auto", interpolation="nearest")
        for place in _some(len(tickers), 24):
            drawing.left(
                axes, _scaled(place, len(tickers), shown.shape[0]), _cut(tickers[place], 11), fontsize=drawing.SMALL
            )
        columns = _some(len(days), 9)
        names = [str(days[column]) for column in columns]
        drawing.base(axes, [_scaled(column, len(days), shown.shape[1]) for column in columns], names, line=False)
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
    with drawing.style(text=_INK):
        figure = _sheet(900, 700)
        axes = drawing.new_axes(figure, (0.02, 0.02, 0.96, 0.96))
        colours = mpl.colormaps["turbo"](np.linspace(0.05, 0.95, len(centroids)))
        across, up = entries[::step].T
        axes.scatter(across, up, s=5, c=colours[cluster[::step]], alpha=0.35, linewidths=0, rasterized=True)
        for number, (x, y) in enumerate(centroids):
            axes.scatter(x, y, s=260, c="white", edgecolors=tuple(colours[number].tolist()), linewidths=2.5)
            axes.text(x, y, str(number), ha="center", va="center", fontsize=drawing.SMALL)
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
    with drawing.style(text=_INK):
        width, height = 150 + 90 * len(heat.columns), 90 + 44 * len(heat.rows)
        figure = _sheet(width, height)
        axes = figure.add_axes((110 / width, 44 / height, 1 - 130 / width, 1 - 90 / height))
        shown = (values - np.nanmedian(values)) / (2 * spread) + 0.5
        axes.imshow(shown, aspect="auto", cmap="BrBG", vmin=-0.15, vmax=1.15)
        axes.set_xticks(range(len(heat.columns)), heat.columns)
        axes.set_yticks(range(len(heat.rows)), heat.rows)
        axes.set_xlabel(heat.column_name)
        axes.set_ylabel(heat.row_name)
        axes.set_title(f"{heat.figure}, mean of all runs of a cell", loc="left")
        for row, column in np.argwhere(np.isfinite(values)):
            axes.text(column, row, f"{values[row, column]:.3g}", ha="center", va="center", fontsize=drawing.SMALL)
    return _save_picture(figure, Path(out_path))


def _sheet(width: int, height: int) -> Figure:
    """A white figure of so many pixels."""
    return Figure(figsize=(width / 72, height / 72), dpi=72, facecolor="white")


def _save_picture(figure: Figure, path: Path) -> Path:
    """Write a picture; it carries neither the day nor the program: the same values give the same bytes."""
    buffer, vector = io.BytesIO(), path.suffix == ".svg"
    hidden: dict[str, Any] = {"Date": None, "Creator": None} if vector else {"Software": None}
    with drawing.style():
        figure.savefig(buffer, format=path.suffix[1:], dpi=72 if vector else 144, metadata=hidden)
    return write_whole(path, buffer.getvalue())


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
