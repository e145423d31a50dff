"""Image files: the coverage of a cache, a map of clusters, a heat map of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from encash.arrays import Days, Float64, Int8, Int32, Int64
from encash.atomic_write import write_whole
from encash.errors import InputError
from encash.report import style
from encash.report.formatting import percent, shorten

_INK = "#3c4450"
_STATES = (("valid", "#2f6fd0"), ("stale", "#f0a030"), ("missing", "#d6403a"), ("unavailable", "#e3e6ea"))


@dataclass(frozen=True, kw_only=True)
class HeatMap:
    """A figure for each pair of values of two settings."""

    figure: str
    row_name: str
    rows: tuple[str, ...]
    column_name: str
    columns: tuple[str, ...]
    values: Float64
    """shape (rows, columns), NaN without a run."""


def coverage_picture(states: Int8, days: Days, tickers: Sequence[str], out_path: str | Path) -> Path:
    """Draw the coverage of a cache: one row per ticker, one column per session, four colors.

    If there are too many cells, neighbors are blended: a block that is partly missing is partly red. The legend counts
    the cells.

    Args:
        states: 0 valid, 1 stale, 2 missing, 3 unavailable; shape (T, N).
        days: shape (T,).
        tickers: N names.
        out_path: the image file, .svg or .png, written atomically.

    Returns:
        The path of the image.

    Raises:
        InputError: a different suffix, shapes that do not match, an invalid state, or nothing to draw.
    """
    path = Path(out_path)
    _check_coverage(states, days, tickers, path)
    with style.applied(text=_INK):
        figure = style.new_figure(1100, 640, "white")
        axes = style.new_axes(figure, (0.09, 0.06, 0.895, 0.85))
        colors = np.array([list(bytes.fromhex(color[1:])) for _, color in _STATES])[states.T] / 255.0
        shown = _blend(_blend(colors, 900, axis=0), 1600, axis=1)
        axes.imshow(shown, aspect="auto", interpolation="nearest")
        for place in _some(len(tickers), 24):
            style.y_label(
                axes, _scaled(place, len(tickers), shown.shape[0]), shorten(tickers[place], 11), fontsize=style.SMALL
            )
        columns = _some(len(days), 9)
        names = [str(days[column]) for column in columns]
        style.x_axis(axes, [_scaled(column, len(days), shown.shape[1]) for column in columns], names, line=False)
        _legend(figure, np.bincount(states.ravel(), minlength=len(_STATES)))
    return _save(figure, path)


def cluster_picture(centroids: Float64, entries: Float64, cluster: Int32, out_path: str | Path) -> Path:
    """Draw a map of the clusters: entries in the color of their cluster, centroids with their numbers.

    Args:
        centroids: shape (k, 2).
        entries: shape (n, 2); of more than 20,000 entries, every n-th is drawn.
        cluster: of each entry, shape (n,).
        out_path: the image file, .svg or .png, written atomically.

    Returns:
        The path of the image.
    """
    path, step = Path(out_path), -(-len(entries) // 20_000)
    with style.applied(text=_INK):
        figure = style.new_figure(900, 700, "white")
        axes = style.new_axes(figure, (0.02, 0.02, 0.96, 0.96))
        colors = style.distinct_colors(len(centroids))
        across, up = entries[::step].T
        axes.scatter(across, up, s=5, c=colors[cluster[::step]], alpha=0.35, linewidths=0, rasterized=True)
        for number, (x, y) in enumerate(centroids):
            axes.scatter(x, y, s=260, c="white", edgecolors=tuple(colors[number].tolist()), linewidths=2.5)
            style.centered(axes, centroids[number], str(number), _INK)
    return _save(figure, path)


def heat_picture(heat: HeatMap, out_path: str | Path) -> Path:
    """Draw a heat map: one cell per pair of values, labeled; green above the median, brown below.

    Args:
        heat: the values.
        out_path: the image file, .svg or .png, written atomically.

    Returns:
        The path of the image.
    """
    values = heat.values
    spread = float(np.nanmax(np.abs(values - np.nanmedian(values)), initial=0.0)) or 1.0
    with style.applied(text=_INK):
        width, height = 150 + 90 * len(heat.columns), 90 + 44 * len(heat.rows)
        figure = style.new_figure(width, height, "white")
        axes = figure.add_axes((110 / width, 44 / height, 1 - 130 / width, 1 - 90 / height))
        shown = (values - np.nanmedian(values)) / (2 * spread) + 0.5
        axes.imshow(shown, aspect="auto", cmap="BrBG", vmin=-0.6, vmax=1.6)  # pale enough for dark text
        axes.set_xticks(range(len(heat.columns)), heat.columns)
        axes.set_yticks(range(len(heat.rows)), heat.rows)
        axes.set_xlabel(heat.column_name)
        axes.set_ylabel(heat.row_name)
        axes.set_title(f"{heat.figure}, mean of the runs in each cell", loc="left")
        for row, column in np.argwhere(np.isfinite(values)):
            style.centered(axes, np.array([column, row]), f"{values[row, column]:.3g}", _INK)
    return _save(figure, Path(out_path))


def _save(figure: style.Figure, path: Path) -> Path:
    with style.applied():
        content = style.file_bytes(figure, path.suffix)
    return write_whole(path, content)


def _check_coverage(states: Int8, days: Days, tickers: Sequence[str], path: Path) -> None:
    if path.suffix not in (".svg", ".png"):
        raise InputError(f"invalid image file {path.name!r}: expected a name that ends in .svg or .png")
    if states.shape != (len(days), len(tickers)):
        raise InputError(f"states of shape {states.shape}; expected ({len(days)} days, {len(tickers)} tickers)")
    if not states.size:
        raise InputError("nothing to draw: no session or no ticker; choose a wider range")
    if states.min() < 0 or states.max() >= len(_STATES):
        raise InputError(
            f"states from {states.min()} to {states.max()}; expected 0 valid, 1 stale, 2 missing, 3 unavailable"
        )


def _blend(colors: Float64, most: int, axis: int) -> Float64:
    """Reduce rows or columns to at most N, each the mean of those it replaces."""
    count = colors.shape[axis]
    if count <= most:
        return colors
    edges = np.linspace(0, count, most + 1).astype(np.int64)
    sums: Float64 = np.add.reduceat(colors, edges[:-1], axis=axis)
    shape = [1, 1, 1]
    shape[axis] = most
    return sums / np.diff(edges).reshape(shape)


def _some(count: int, most: int) -> Int64:
    """Choose at most N of `count` places, evenly spaced, including both ends."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(np.int64))


def _scaled(place: float, count: int, shown: int) -> float:
    """Return the place of a row or column after blending."""
    return (place + 0.5) * shown / count - 0.5


def _legend(figure: style.Figure, counts: Int64) -> None:
    """Draw a colored square, the name and the count of each state above the image."""
    whole = int(counts.sum())
    for order, ((name, color), cells) in enumerate(zip(_STATES, counts.tolist(), strict=True)):
        left = 0.09 + 0.225 * order
        figure.text(left, 0.953, "■", color=color, fontsize=18, va="center")
        figure.text(left + 0.02, 0.957, f"{name}  {cells:,}  ({percent(cells / whole)})", va="center")
