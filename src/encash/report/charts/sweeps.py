"""Charts of a sweep: distributions, heat maps of two settings, parallel coordinates, and the table of all runs."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from encash.arrays import Float64, Int64
from encash.backtest.sweep.sweep_table import heat_map
from encash.metrics import PATH_METRICS
from encash.report import formatting, style
from encash.report.charts.base import Chart, Column, Point, Table
from encash.report.charts.elements import Mark, histogram
from encash.report.formatting import (
    COUNT,
    MONEY,
    MULTIPLE,
    NUMBER,
    PERCENT,
    SIGNED_PERCENT,
    Unit,
    count,
    number,
    pluralize,
    shorten,
    signed_percent,
)
from encash.report.sweep_files import Sweep

_HEATS = 6
_UNITS = {"percent": PERCENT, "signed_percent": SIGNED_PERCENT, "number": NUMBER}
_FIGURES: dict[str, tuple[str, Unit]] = {
    "sharpe": ("Sharpe ratio", NUMBER),
    "cagr": ("CAGR", SIGNED_PERCENT),
    "max_drawdown": ("Max drawdown", PERCENT),
    "final_capital": ("Final capital", MONEY),
    **{
        key: (one.term, _UNITS[one.format])
        for key, one in PATH_METRICS.items()
        if one.term and key not in ("sharpe", "cagr", "max_drawdown")
    },
    "alpha_t": ("t of alpha", NUMBER),
    "turnover": ("Turnover", MULTIPLE),
    "trades": ("Trades", COUNT),
    "win_rate": ("Win rate", PERCENT),
    "keep_rate": ("Keep-rate", PERCENT),
}
"""Figures of the table, in its order."""


def sweep_charts(sweep: Sweep) -> list[Chart]:
    """Draw the charts of a sweep; identical runs count once."""
    with style.applied():
        drawn = [sharpe_ratios(sweep), returns(sweep), *heat_maps(sweep), parallel_coordinates(sweep), all_runs(sweep)]
    return [chart for chart in drawn if chart is not None]


def sharpe_ratios(sweep: Sweep) -> Chart | None:
    """Draw the distribution of the Sharpe ratios, with the expected best of as many runs without skill as a line."""
    values = _defined(sweep, "sharpe")
    if len(values) < 2:
        return None
    best, expected = float(values.max()), sweep.number("expected_best_sharpe")
    marks = [Mark(label="best run", value=best, role="net")]
    if expected is not None:
        marks.append(Mark(label="expected best of runs without skill", value=expected, role="bad"))
    marks.append(Mark(label="median run", value=float(np.median(values)), role="muted"))
    reading = f"The best of {pluralize(len(values), 'distinct run')} has a Sharpe ratio of {number(best)}"
    if expected is not None:
        reading += f"; the best of as many runs without skill would have {number(expected)}"
    return Chart(
        title="Sharpe ratios of all runs",
        reading=f"{reading}.",
        section="sweep",
        **histogram(values, marks, NUMBER, y_title="number of runs", x_title="Sharpe ratio"),
    )


def returns(sweep: Sweep) -> Chart | None:
    """Draw the distribution of the total returns, with all candidates in equal weights as a line if it is one value."""
    values = _defined(sweep, "total_return")
    if len(values) < 2:
        return None
    marks = [Mark(label="median run", value=float(np.median(values)), role="muted")]
    base = (
        np.unique(_defined(sweep, "benchmark_return").round(9)) if "benchmark_return" in sweep.columns else values[:0]
    )
    ahead = ""
    if len(base) == 1:
        marks.insert(0, Mark(label="all candidates", value=float(base[0]), role="bench"))
        ahead = (
            f"; {count(int((values > base[0]).sum()))} of {count(len(values))} runs returned more than all candidates"
        )
    low, high = signed_percent(float(values.min())), signed_percent(float(values.max()))
    return Chart(
        title="Total returns of all runs",
        reading=f"Between {low} and {high} after costs{ahead}.",
        section="sweep",
        **histogram(values, marks, SIGNED_PERCENT, y_title="number of runs", x_title="total return"),
    )


def heat_maps(sweep: Sweep) -> list[Chart]:
    """Draw the mean Sharpe ratio over each pair of settings with several values."""
    drawn = []
    columns = {name: values[sweep.distinct] for name, values in sweep.columns.items()}
    columns["sharpe"] = columns["sharpe"].astype(np.float64)
    for rows, across in combinations([name for name in sweep.varied if name != "seed"], 2):
        heat = heat_map(columns, rows, across)
        if min(heat["values"].shape) >= 2 and max(heat["values"].shape) <= 16 and np.isfinite(heat["values"]).any():
            drawn.append(_heat(rows, across, heat))
    return drawn[:_HEATS]


def _heat(rows: str, across: str, heat: dict[str, np.ndarray]) -> Chart:
    values = heat["values"]
    names = [list(map(_setting, heat[side].tolist())) for side in ("rows", "columns")]
    height = 84 + 30 * len(names[0])
    figure = style.new_figure(style.HALF, height)
    left = min(150.0, 14 + style.LETTER * max(map(len, names[0])))
    axes = style.new_axes(figure, (left / style.HALF, 46 / height, 1 - (left + 6) / style.HALF, 1 - 84 / height))
    middle = float(np.nanmedian(values))
    spread = float(np.nanmax(np.abs(values - middle), initial=0.0)) or 1.0
    colors = np.zeros((*values.shape, 4))
    colors[..., :3] = np.where((values >= middle)[..., None], (59, 124, 214), (205, 110, 30))
    colors[..., :3] /= 255
    colors[..., 3] = np.nan_to_num(np.abs(values - middle) / spread) * 0.5
    axes.imshow(colors, aspect="auto", interpolation="none")
    points = []
    for row, column in np.argwhere(np.isfinite(values)).tolist():
        text = number(float(values[row, column]))
        style.centered(axes, np.array([column, row], dtype=np.float64), text, style.COLOR["ink"])
        words = f"{rows} {names[0][row]}, {across} {names[1][column]}: {text}"
        points.append(Point(*style.pixel(axes, column, row), words))
    for row, name in enumerate(names[0]):
        style.y_label(axes, row, shorten(name, 18), fontsize=12)
    style.x_axis(axes, range(len(names[1])), [shorten(name, 14) for name in names[1]], across, line=False)
    style.y_title(axes, rows)
    best = np.unravel_index(int(np.nanargmax(values)), values.shape)
    return Chart(
        title=f"Sharpe ratio by {rows} and {across}",
        reading=f"Highest mean: {number(float(values[best]))}, at {rows} {names[0][best[0]]} and {across} "
        f"{names[1][best[1]]}; the best of {count(np.isfinite(values).sum())} cells is partly luck.",
        section="sweep",
        figure=figure,
        points=points,
        table=Table(
            columns=(
                Column(name=rows, values=names[0]),
                *(
                    Column(name=f"{across} {name}", values=values[:, at], unit=NUMBER)
                    for at, name in enumerate(names[1])
                ),
            )
        ),
        note="Mean over the runs of a cell. Blue: above the median of the cells; brown: below.",
    )


def parallel_coordinates(sweep: Sweep) -> Chart | None:
    """Draw each run as a line through its settings, the best tenth in color."""
    names = [name for name in sweep.varied if name != "seed"]
    rows = sweep.distinct
    if not names or len(rows) < 3:
        return None
    places = np.column_stack([_places(sweep.columns[name][rows]) for name in names])
    sharpe = sweep.figure("sharpe")[rows]
    known = np.isfinite(sharpe)
    if not known.any():
        return None
    span = max(float(np.ptp(sharpe[known])), 1e-9)
    paths = np.column_stack([places, np.nan_to_num((sharpe - np.nanmin(sharpe)) / span)])[known]
    top = np.arange(len(paths)) < max(1, len(paths) // 10)
    figure = style.new_figure(style.WIDE, 320)
    axes = style.new_axes(figure, (0.05, 0.14, 0.9, 0.74))
    gap = np.full((len(paths), 1), np.nan)
    spread = np.random.default_rng(0).uniform(-0.03, 0.03, paths[:, :-1].shape)
    paths[:, :-1] += spread
    axes.set_xlim(-0.05, len(names) + 0.05)
    axes.set_ylim(-0.05, 1.05)
    for chosen, role, alpha in ((~top, "muted", 0.2), (top, "net", 0.5)):
        part = np.hstack([paths, gap])[chosen]
        across = np.tile(np.append(np.arange(len(names) + 1.0), np.nan), len(part))
        axes.plot(across, part.ravel(), color=style.COLOR[role], alpha=alpha, linewidth=0.8)
    for at, name in enumerate(names):
        axes.plot([at, at], [0, 1], color=style.COLOR["ink"], linewidth=1.0)
        _levels(axes, at, sweep.columns[name][rows])
        axes.text(at, 1.1, name, ha="center", va="center", fontsize=12, color=style.COLOR["ink"])
    axes.plot([len(names)] * 2, [0, 1], color=style.COLOR["ink"], linewidth=1.0)
    for up, value in ((0.0, float(np.nanmin(sharpe))), (1.0, float(np.nanmax(sharpe)))):
        axes.text(1.01 * len(names), up, number(value), va="center", fontsize=12)
    axes.text(len(names), 1.1, "Sharpe ratio", ha="center", va="center", fontsize=12, color=style.COLOR["ink"])
    return Chart(
        title="Settings of all runs",
        reading=f"Each line is a run. Blue: the {pluralize(int(top.sum()), 'run')} with the highest Sharpe ratio.",
        section="sweep",
        figure=figure,
        note="Settings that the blue lines do not share made no clear difference. Lines are shifted a little, so that "
        "equal ones can be seen.",
        wide=True,
    )


def all_runs(sweep: Sweep) -> Chart:
    """List the distinct runs with their varied settings and figures, the highest Sharpe ratio first."""
    rows = sweep.distinct
    columns = [Column(name="rank", values=[str(place) for place in range(1, len(rows) + 1)])]
    columns += [_setting_column(name, sweep.columns[name][rows]) for name in sweep.varied]
    columns += [
        Column(name=title, values=sweep.figure(key)[rows], unit=unit)
        for key, (title, unit) in _FIGURES.items()
        if key in sweep.columns
    ]
    columns.append(Column(name="identical runs", values=sweep.copies[rows], unit=COUNT))
    table = Table(columns=tuple(columns), sortable=True)
    repeated = len(sweep) - len(rows)
    return Chart(
        title="All runs",
        reading=f"{pluralize(len(rows), 'distinct run')}"
        + (f"; {count(repeated)} more are identical to one of them and shown once." if repeated else "."),
        section="sweep",
        template="chart_table.html.j2",
        table=table,
        wide=True,
    )


def _setting_column(name: str, values: np.ndarray) -> Column:
    if values.dtype.kind == "U":
        return Column(name=name, values=values.tolist())
    return Column(name=name, values=values.astype(np.float64), unit=_PLAIN)


def _plain(value: float | None, digits: int) -> str:
    return formatting.ABSENT if formatting.undefined(value) else f"{value:g}".replace("-", "−")


_PLAIN = Unit("number", _plain, 4)


def _setting(value: Any) -> str:
    return _plain(value, 0) if isinstance(value, float) else str(value) or "–"


def _places(values: np.ndarray) -> Float64:
    """Return the place of each value between the lowest (0) and the highest (1) of the distinct values."""
    distinct, place = np.unique(values, return_inverse=True)
    spread: Float64 = place / max(1, len(distinct) - 1)
    return spread


def _levels(axes: style.Axes, at: int, values: np.ndarray) -> None:
    """Label the values of one setting, at most nine of them."""
    distinct = np.unique(values)
    shown: Int64 = np.unique(np.linspace(0, len(distinct) - 1, min(len(distinct), 9)).round().astype(np.int64))
    for place in shown.tolist():
        text = shorten(_setting(distinct[place].item()), 14)
        up = place / max(1, len(distinct) - 1)
        box = {"facecolor": style.COLOR["bg"], "alpha": 0.8, "linewidth": 0, "pad": 1.5}
        axes.text(at + 0.03, up, text, va="center", fontsize=style.SMALL, color=style.COLOR["ink"], bbox=box)


def _defined(sweep: Sweep, name: str) -> Float64:
    """Return the defined values of a figure over the distinct runs."""
    values = sweep.figure(name)[sweep.distinct]
    return values[np.isfinite(values)]
