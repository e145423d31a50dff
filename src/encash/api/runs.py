"""Backtests from Python: run, compare, and write the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import encash.backtest as engine
import encash.report as pages
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
    file_of,
    filter_choice,
    folder_of,
    groups_of,
    path_of,
    price_columns,
    sources_of,
    spec_of,
    split_settings,
    universe_of,
)
from encash.api.plots import Plots
from encash.api.results import number, percent
from encash.api.signatures import with_settings
from encash.api.tables import Table, Tabular
from encash.arguments import typed
from encash.clusters import CandidateFilter
from encash.display import Shown
from encash.errors import InputError
from encash.live_progress import progress_bars


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Run(Shown, Tabular):
    """A backtest: its figures, tables and folder."""

    folder: Path
    config: engine.BacktestConfig
    result: engine.BacktestResult
    inputs: engine.BacktestInputs
    clusters: Path | None = None
    """Folder of the clusters that filtered it."""
    kept: Any = None
    """The clusters themselves: a temporary folder of theirs lasts as long as the run."""

    @property
    def summary(self) -> dict[str, float | int]:
        """Figures of the run: ``sharpe``, ``cagr``, ``max_drawdown``, …"""
        return self.result.summary

    @cached_property
    def equity(self) -> Table:
        """Equity at the close of each session: date, gross, net, benchmark."""
        return Table(self.result.equity_columns())

    @property
    def table(self) -> Table:
        """The equity, which pandas, polars and Arrow read from the run itself."""
        return self.equity

    @cached_property
    def ledger(self) -> Table:
        """Orders: date, ticker, side, shares, price, fee."""
        return Table(self.result.ledger.columns())

    @cached_property
    def picks(self) -> Table:
        """Candidates of every rebalance: what was kept, its forecast, cluster, score and weight."""
        return Table(self.result.picks.columns())

    @property
    def returns(self) -> Table:
        """Daily net returns as fractions: date, net; the first session has none, and its costs are in the next one."""
        path = self.result.outcome.path
        return Table({"date": self.result.days[1:], "net": path[1:] / path[:-1] - 1})

    @property
    def plot(self) -> Plots:
        """Charts of the page as figures of matplotlib: ``run.plot.equity()``; ``dir(run.plot)`` lists them."""
        return Plots(self.folder, self.clusters)

    def to_json(self) -> dict[str, Any]:
        """Return what ``encash backtest --json`` prints of the run."""
        return {**self.result.to_json(), "run_dir": str(self.folder)}

    def title(self) -> str:
        """Return one sentence."""
        found, days = self.summary, self.result.days
        return (
            f"${self.config.initial_capital:,.0f} became ${found['final_capital']:,.0f} from {days[0]} to {days[-1]}: "
            f"{percent(found['cagr'])} a year, Sharpe {number(found['sharpe'])}, max drawdown "
            f"{percent(found['max_drawdown'])}"
        )

    def facts(self) -> Sequence[tuple[str, str]]:
        """Return what the figures rest on."""
        found = self.to_json()
        rows = [
            ("alpha", f"{percent(found['alpha'])} a year, t {number(found['alpha_t'], 1)}, to {found['benchmark']}"),
            ("trades", f"{found['trades']:,}, {number(found['turnover'])} × the capital a year"),
            ("entries", f"{found['hits']:,} from the cache, {found['computed']:,} computed, {found['unavailable']:,} "
             f"unavailable; staleness {found['staleness']}"),
            ("trained to", found["training_period"]),
            ("folder", str(self.folder)),
        ]  # fmt: skip
        warning = [("LOOK-AHEAD", found["lookahead"])] if found["lookahead"] else []
        verdict = [] if (told := pages.headline(self.folder)) is None else [("verdict", told)]
        return [*warning, *verdict, *rows]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class RunComparison(Shown, Tabular):
    """A run beside no filter, random filters, a delay and other start days."""

    folder: Path
    """Folder of the run, which holds the comparisons."""
    values: dict[str, Any]
    """``verdict``: p, alpha and the sentence."""

    alternatives: tuple[pages.Alternative, ...] = ()
    """Variants of the run on the same days, such as no filter and a delay; none without random filters."""

    @property
    def verdict(self) -> dict[str, Any]:
        """Result of the comparison with random filters: p, alpha, and the sentence.

        Raises:
            InputError: there was none.
        """
        if "verdict" not in self.values:
            raise InputError("the run was compared with no random filters; give draws of 1 or more")
        found: dict[str, Any] = self.values["verdict"]
        return found

    @property
    def table(self) -> Table:
        """One row per alternative: means of its figures over its runs."""
        figures = ("final_capital", "sharpe", "max_drawdown")
        means = {name: [getattr(one, name).mean for one in self.alternatives] for name in figures}
        return Table(
            {
                "name": np.array([one.name for one in self.alternatives], dtype=np.str_),
                "runs": np.array([one.runs for one in self.alternatives], dtype=np.int64),
                **{name: np.array(values, dtype=np.float64) for name, values in means.items()},
            }
        )

    def title(self) -> str:
        """Return the verdict."""
        return str(self.verdict["sentence"]) if "verdict" in self.values else "compared with no random filters"

    def facts(self) -> Sequence[tuple[str, str]]:
        """Return the figures of each alternative."""
        return [
            (
                one.name,
                f"${one.final_capital.mean:,.0f}, Sharpe {number(one.sharpe.mean)}, max drawdown "
                f"{percent(one.max_drawdown.mean)}",
            )
            for one in self.alternatives
        ]


@with_settings(engine.BacktestConfig, pipeline.FilterChoice, pipeline.Sources)
@typed
def backtest(
    *,
    prices: PricesLike | None = None,
    cache: CacheLike | None = None,
    panel: PanelLike | None = None,
    clusters: Clusters | Walk | str | Path | None = None,
    filter: CandidateFilter | str | None = None,
    head: FittedHead | str | Path | None = None,
    scores: ScoresLike | None = None,
    model: ModelLike | None = None,
    groups: GroupsLike | None = None,
    tickers: Iterable[str] | None = None,
    membership: str | Path | None = None,
    reference: str | Path | None = None,
    run_dir: str | Path | None = None,
    refuse_misses: bool = False,
    spreadsheet: bool = False,
    progress: Progresses = progress_bars,
    **settings: Any,
) -> Run:
    """Run one backtest, and write its run folder.

    Inputs are paths, or what was opened from them.

    Args:
        prices: prices; those of the panel if None.
        cache: the cache with the forecasts.
        panel: features: entries are compared with them.
        clusters: clusters with a ranking, or a walk.
        filter: hard (if there are clusters), nearest, static, random, none, ``module:attribute``, or a
            `encash.clusters.CandidateFilter`.
        head: a head whose forecasts replace those of the encoder.
        scores: a table of scores that replace them.
        model: encodes what the cache does not have.
        groups: a CSV file of ``ticker,group``, or what `encash.backtest.read_groups` made of it.
        tickers: candidates; all with prices if None.
        membership: a file of the days on which each ticker may be bought, in place of `tickers`.
        reference: a CSV file of ``date,value`` to compare with.
        run_dir: the run folder; None is a folder below ``runs`` that is named after the run.
        refuse_misses: fail if a candidate has no valid entry in the cache.
        spreadsheet: also write the ledger so that a spreadsheet shows every ticker as text.
        progress: returns a progress bar of a title and a unit; by default one in a terminal or a notebook.
        settings: fields of `encash.backtest.BacktestConfig`, of `encash.pipeline.FilterChoice` and options of
            `encash.pipeline.Sources`.

    Raises:
        InputError: an unknown setting, or one that these inputs do not allow.
        LookaheadError: the clusters, head or encoder have seen days of the run.

    Example::

        run = encash.backtest(prices="prices.h5", cache="cache.lance", horizon=5, top_k=3, start="2020-05-13")
        run.summary["sharpe"], run.equity.to_pandas()
    """
    config, inputs = open_run(
        settings, filter=filter, clusters=clusters, groups=groups, tickers=tickers, membership=membership,
        prices=prices, cache=cache, panel=panel, head=head, scores=scores, model=model,
    )  # fmt: skip
    with progress("entries", "cells") as bar:
        result, folder = pipeline.backtest(
            inputs,
            config,
            run_dir=folder_of("run_dir", run_dir),
            reference=file_of("reference", reference),
            refuse_misses=refuse_misses,
            spreadsheet=spreadsheet,
            progress=bar,
        )
    where = folder_of("clusters", clusters)
    return Run(folder=folder, config=config, result=result, inputs=inputs, clusters=where, kept=clusters)


@typed
def compare(run: Run, *, draws: int = 200, num_trials: int = 1, progress: Progresses = progress_bars) -> RunComparison:
    """Compare a run with random filters, no filter, a delay of a session and other start days.

    Args:
        run: of `backtest`.
        draws: random filters; 0 compares with none.
        num_trials: seeds to run, the run's own included.
        progress: returns a progress bar of a title and a unit; by default one in a terminal or a notebook.

    Raises:
        InputError: not a run, or a number that is not whole or too small.

    Example::

        run = encash.backtest(prices="prices.h5", cache="cache.lance", start="2020-05-13")
        encash.compare(run, draws=20).verdict["sentence"]
    """
    at_least("draws", draws, 0), at_least("num_trials", num_trials, 1)
    with progress("comparisons", "steps") as bar:
        values = pipeline.evaluate_run(
            run.inputs, run.config, run.folder, num_trials=num_trials, draws=draws, progress=bar
        )
    alternatives = tuple(pages.read_comparisons(run.folder).alternatives) if draws else ()
    return RunComparison(folder=run.folder, values=values, alternatives=alternatives)


@typed
def report(
    runs: Run | str | Path | Sequence[Run | str | Path],
    *,
    out: str | Path = "report.html",
    clusters: Clusters | Walk | str | Path | None = None,
    horizon: int | None = None,
) -> Path:
    """Write the page of one or several runs.

    Args:
        runs: runs, or their folders.
        out: the HTML file.
        clusters: also show these clusters, with one run; None takes those of the run.
        horizon: of the ranking that is shown; None is that of the run, if it was ranked.

    Returns:
        The path of the page.

    Raises:
        InputError: no run.
        MissingFileError: a folder without a run, or no ranking of the horizon.
        MismatchError: clusters that the run was not filtered by.

    Example::

        run = encash.backtest(prices="prices.h5", cache="cache.lance", start="2020-05-13")
        encash.report(run, out="report.html")
    """
    several = list(runs) if isinstance(runs, tuple) else [runs]
    if horizon is not None:
        at_least("horizon", horizon, 1)
    if not several:
        raise InputError("runs is empty; expected a run, or several")
    only = several[0] if len(several) == 1 and isinstance(several[0], Run) else None
    if only is not None and clusters is None:
        clusters = only.clusters
    extras = pipeline.PageExtras(clusters=folder_of("clusters", clusters), horizon=horizon)
    return pipeline.write_report([Path(path_of("runs", one)) for one in several], Path(out), extras)


def open_run(
    settings: dict[str, Any],
    *,
    filter: Any,
    clusters: Any,
    groups: GroupsLike | None = None,
    tickers: Iterable[str] | None = None,
    membership: str | Path | None = None,
    **given: Any,
) -> tuple[engine.BacktestConfig, engine.BacktestInputs]:
    """Return the configuration and the inputs of a run from keyword arguments.

    Raises:
        InputError: a setting that nothing has, or both tickers and a membership.
    """
    universe = universe_of(tickers, membership)
    options, choice = split_settings(settings)
    config = spec_of(engine.BacktestConfig, settings, "a setting of a backtest")
    sources = sources_of(**given, price_columns=price_columns([config]), **options)
    own = filter if isinstance(filter, CandidateFilter) else None
    named = filter_choice("none" if own is not None else filter, clusters, choice, config)
    inputs = pipeline.open_inputs(sources, named, universe)
    return config, replace(inputs, groups=groups_of(groups), filter=inputs.filter if own is None else own)
