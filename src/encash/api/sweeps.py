"""Sweeps from Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import encash.backtest as engine
from encash import pipeline
from encash.api.clusters import Clusters, Walk
from encash.api.heads import FittedHead
from encash.api.inputs import (
    CacheLike,
    GroupsLike,
    ModelLike,
    PanelLike,
    PricesLike,
    Progresses,
    ScoresLike,
    at_least,
    folder_of,
    fraction_of,
    groups_of,
    price_columns,
    sources_of,
    universe_of,
)
from encash.api.results import Home, InFolder, number, percent
from encash.api.signatures import with_settings
from encash.api.tables import Table, Tabular
from encash.arguments import typed
from encash.clusters import CandidateFilter
from encash.errors import InputError
from encash.live_progress import progress_bars


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Sweep(InFolder, Tabular):
    """The runs of a grid, in a folder."""

    result: engine.SweepResult
    points: tuple[engine.Point, ...]
    best_run: Path | None
    """Folder of the run with the highest Sharpe ratio; None if no run has one."""
    ranking_prices: str | None
    """Comparison of these prices with those of the ranking: "same", "other" or "unknown"; None without clusters."""
    stale: int | None
    """Entries that no longer belong to the data; None if no run was computed, or nothing was compared."""

    @cached_property
    def table(self) -> Table:
        """One row per run: its settings and its figures."""
        import pyarrow.parquet as pq  # noqa: PLC0415 - only if the table is read

        found = pq.read_table(self.result.table)
        return Table({name: found[name].to_numpy() for name in found.column_names})

    @property
    def best(self) -> dict[str, Any] | None:
        """Settings and figures of the run with the highest Sharpe ratio."""
        found: dict[str, Any] | None = self.to_json()["best"]
        return found

    def to_json(self) -> dict[str, Any]:
        """Return what ``encash sweep --json`` prints of the runs."""
        best = None if self.best_run is None else str(self.best_run)
        return {
            **self.result.to_json(), "stale": self.stale, "ranking_prices": self.ranking_prices, "best_run": best
        }  # fmt: skip

    def title(self) -> str:
        """Return one sentence."""
        found = self.to_json()
        return f"{found['runs']:,} runs ({found['computed']:,} computed), {found['trials']:,} tried in this folder"

    def facts(self) -> Sequence[tuple[str, str]]:
        """Return the best run, and how likely it is luck."""
        found = self.to_json()
        best, deflated = found["best"], found["deflated_sharpe"]
        varied = sorted({name for point in self.points for name, _ in point.varied})
        rows = []
        if best is not None:
            chosen = ", ".join(f"{name} {best[name]}" for name in varied if best.get(name) is not None)
            figures = f"Sharpe {number(best['sharpe'])}, {percent(best['cagr'])} a year"
            rows += [("best", f"{chosen}: {figures}" if chosen else figures)]
        if deflated is not None:
            text = f"{deflated:.1%} that it beats the best of {found['distinct_trials']:,} worthless runs"
            rows.append(("deflated Sharpe", text))
        else:
            rows.append(("deflated Sharpe", f"not judged: {found['note']}"))
        return [*rows, ("folder", str(self.folder))]


@with_settings(pipeline.Sources)
@typed
def sweep(
    grid: Mapping[str, Any] | str | Path,
    *,
    prices: PricesLike | None = None,
    cache: CacheLike | None = None,
    panel: PanelLike | None = None,
    clusters: Clusters | Walk | str | Path | None = None,
    head: FittedHead | str | Path | None = None,
    scores: ScoresLike | None = None,
    model: ModelLike | None = None,
    groups: GroupsLike | None = None,
    horizon: int = 5,
    keep: float | None = None,
    tickers: Iterable[str] | None = None,
    membership: str | Path | None = None,
    workers: int | None = None,
    out: str | Path | None = None,
    progress: Progresses = progress_bars,
    **options: Any,
) -> Sweep:
    """Run a grid of backtests on one cache.

    Args:
        grid: ``{"base": {…}, "grid": {"top_k": [3, 5]}, "random": {…}}``, or a TOML file with these sections. Settings
            are the fields of `encash.backtest.BacktestConfig`, ``filter`` and ``keep``.
        prices: prices; those of the panel if None.
        cache: the cache with the forecasts.
        panel: features: entries are compared with them.
        clusters: clusters with a ranking, or a walk.
        head: a head whose forecasts replace those of the encoder.
        scores: a table of scores that replace them.
        model: encodes what the cache does not have.
        groups: a CSV file of ``ticker,group``, or what `encash.backtest.read_groups` made of it.
        horizon: of the ranking that is used.
        keep: share of the candidates that filters keep, if they take one.
        tickers: candidates; all with prices if None.
        membership: a file of the days on which each ticker may be bought, in place of `tickers`.
        workers: processes; None for one per core.
        out: the folder; a run that is there already is not computed again. None takes a temporary one.
        progress: returns a progress bar of a title and a unit; by default one in a terminal or a notebook.
        options: options of `encash.pipeline.Sources`.

    Raises:
        InputError: an unknown section or setting.

    Example::

        grid = {"base": {"start": "2020-05-13"}, "grid": {"top_k": [2, 3], "horizon": [1, 5]}}
        found = encash.sweep(grid, prices="prices.h5", cache="cache.lance", workers=1)
        found.best, found.table.to_pandas()
    """
    at_least("horizon", horizon, 1), at_least("workers", 1 if workers is None else workers, 1)
    keep = None if keep is None else fraction_of("keep", keep)
    folder = folder_of("clusters", clusters)
    default = "none" if clusters is None and options.get("encoders") is None else "hard"
    if isinstance(grid, Mapping):
        points = engine.points_of(grid, filter=default)
    else:
        points = engine.read_grid(grid, filter=default)
    configs = [point.config for point in points]
    if groups is not None and not any(config.needs_groups for config in configs):
        raise InputError(
            "groups are for group_neutral or max_per_group, which no run sets; give both it and one of these"
        )
    universe = universe_of(tickers, membership)
    sources = sources_of(
        prices=prices,
        cache=cache,
        panel=panel,
        head=head,
        scores=scores,
        model=model,
        price_columns=price_columns(configs),
        **options,
    )
    choice = pipeline.FilterChoice(clusters=folder, horizon=horizon, keep=keep)
    inputs = pipeline.open_inputs(sources, replace(choice, name="none", keep=None), universe)  # each run sets its own
    inputs = replace(inputs, groups=groups_of(groups))
    choice = pipeline.with_periods(sources, choice, inputs.prices.days)
    names = {point.filter for point in points}
    filters = pipeline.open_filters(choice, names, inputs.prices.days, sources.open_cache())
    home = Home.at(out)
    with progress("sweep", "runs") as bar:
        result = engine.run_sweep(points, inputs, home.folder, filters=filters, workers=workers, progress=bar)
    with progress("best run", "cells") as bar:
        best = engine.write_best(result, points, inputs, filters=filters, progress=bar)
    return Sweep(
        home=home,
        result=result,
        points=tuple(points),
        best_run=best,
        ranking_prices=_ranking_prices(inputs, filters.values()),
        stale=inputs.lookup.stats.stale if result.computed else None,
    )


def _ranking_prices(inputs: engine.BacktestInputs, filters: Iterable[CandidateFilter]) -> str | None:
    """Compare the prices with those that the clusters of the filters were ranked on; None without clusters."""
    found = (engine.ranking_prices_of(replace(inputs, filter=filter)) for filter in filters)
    return next((prices for prices in found if prices is not None), None)
