"""Clusters of the guide: fitted on a sample of the past of each stock, and ranked before the held-out months."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from encash import clusters, pipeline
from encash.arrays import Days, day_text
from encash.errors import InputError
from encash.extras import require
from encash.legacy_workflow.caches import with_defaults
from encash.legacy_workflow.defaults import COVERAGE, HORIZONS, SESSIONS_PER_MONTH, Announce
from encash.pipeline import Sources
from encash.progress import Progress

SAMPLE = "assignments/sample"
"""The folder of the sample's assignments, in the folder of the clusters."""
MARGIN_SESSIONS = 5
"""Days by which a features file may extend beyond its prices."""
_RECREATE = "python -m cluster.create_clusters --model-path … --dataset-path …"


@dataclass(frozen=True, kw_only=True)
class CreateClustersOptions:
    """Options of ``cluster.create_clusters``, except its sources."""

    fit: clusters.FitConfig
    use_pca: bool
    max_stocks: int | None
    holdout_months: int
    output_dir: Path
    visualize: bool


def create_clusters(
    sources: Sources, options: CreateClustersOptions, *, say: Announce, progress: Progress | None = None
) -> dict[str, Any]:
    """Encode a seeded sample of past sessions of each stock, fit clusters to them, and save model and assignments.

    The last `holdout_months` of the data, and a margin for the longest horizon, are not used.
    """
    require("clusters", "k-means")
    if options.visualize:
        require("report", "a picture (--visualize)")
    from encash.cache import Selection
    from encash.cache.window_digests import window_digests

    sources = with_defaults(sources)
    panel = sources.the_panel()
    encoder = sources.encoder()
    encoder.spec.check_features(panel.num_features, panel.feature_names)
    selection = Selection(num_stocks=options.max_stocks)
    tickers = selection.choose_tickers(panel.tickers)
    if described := selection.describe(panel.tickers):
        say(described)
    days = known_sessions(panel.sessions, options.holdout_months, max(HORIZONS) + MARGIN_SESSIONS)
    say(
        f"clusters are fitted on sessions up to {day_text(days[-1])}; the last {options.holdout_months} months are "
        "held out for the backtest (--holdout-months)"
    )
    row, column = np.nonzero(window_digests(panel, tickers, days, encoder.spec.lookback).digest)
    config = options.fit if options.use_pca else replace(options.fit, pca_components=None)
    cell_days, cell_tickers = days[row], np.asarray(tickers)[column]
    drawn = clusters.draw_entries(cell_days, cell_tickers, config=config)
    cell_days, cell_tickers = cell_days[drawn], cell_tickers[drawn]
    lookup = sources.lookup(panel, None)
    chunks = list(lookup.read(cell_days, cell_tickers, embeddings=True, forecasts=False, progress=progress))
    if not chunks:
        raise InputError(
            f"no stock has a window of {encoder.spec.lookback} sessions by {day_text(days[-1])}; give a longer history "
            "or a smaller --holdout-months"
        )
    vectors = np.concatenate([chunk.embedding for chunk in chunks if chunk.embedding is not None])
    model = clusters.fit_clusters(
        vectors,
        cell_days,
        cell_tickers,
        config=replace(config, samples_per_ticker=None),
        encoder=encoder.spec.fingerprint,
    )
    model.save(options.output_dir)
    cluster, distance = model.assign(vectors)
    assigned = clusters.Assignments.of_rows(
        cell_days, cell_tickers, cluster, distance, k=model.k, model=model.fingerprint
    )
    assigned.save(options.output_dir / SAMPLE)
    if options.visualize:
        from encash.report import cluster_picture

        plane = clusters.cluster_map(model, vectors)
        cluster_picture(plane.centroids, plane.entries, plane.cluster, options.output_dir / "clusters.svg")
    return {
        "k": model.k,
        "entries": len(cluster),
        "tickers": len(set(cell_tickers.tolist())),
        "fit_start": model.fit_start,
        "fit_end": model.fit_end,
        "output_dir": str(options.output_dir),
    }


@dataclass(frozen=True, kw_only=True)
class AnalyzeClustersOptions:
    """Options of ``cluster.analyze_clusters``; the rule is that of `selection_rule`."""

    cluster_dir: Path
    prices_path: Path
    horizons: Sequence[int]
    rule: clusters.SelectionRule
    ranking_metric: str
    holdout_months: int
    output_dir: Path | None


def selection_rule(
    *,
    coverage: float | None,
    top_k: int | None,
    min_return: float | None,
    min_win_rate: float | None,
    min_sharpe: float | None,
    say: Announce,
) -> clusters.SelectionRule:
    """Return the rule that selects the best clusters; all given conditions must hold.

    The best clusters are taken until they cover a fraction of the distinct tickers: `COVERAGE`, unless a coverage or a
    number of clusters is given. In the guide's version a coverage makes every other condition idle.

    Raises:
        InputError: an invalid condition.
    """
    if coverage is not None and not 0 < coverage <= 1:
        raise InputError(
            f"--top-k-percent-coverage is {coverage:g}; expected a fraction above 0 and at most 1: 10 percent is 0.1"
        )
    least = {"min_return": min_return, "min_win_rate": min_win_rate, "min_sharpe": min_sharpe}
    given = [f"--{name.replace('_', '-')}" for name, value in {**least, "top_k": top_k}.items() if value is not None]
    covered = COVERAGE if coverage is None and top_k is None else coverage
    if given:
        beside = "without a coverage" if covered is None else f"in addition to the coverage of {covered:g}"
        say(f"{', '.join(given)} must hold {beside}; in the guide's version a coverage makes them idle")
    return clusters.SelectionRule(top_k=top_k, ticker_coverage=covered, **least)


def analyze_clusters(options: AnalyzeClustersOptions, *, say: Announce) -> dict[str, Any]:
    """Rank the clusters of a folder for each horizon, on returns that ended before the held-out months."""
    from encash.panel import open_prices

    model = clusters.load_clusters(options.cluster_dir)
    assignments = clusters.load_assignments(options.cluster_dir / SAMPLE, remake=_RECREATE)
    prices = open_prices(options.prices_path)
    out = options.output_dir or options.cluster_dir
    if out != options.cluster_dir:
        model.save(out)
    say(
        f"clusters are ranked on returns that ended before the last {options.holdout_months} months "
        "(--holdout-months), clipped to their 0.5% and 99.5% quantiles"
    )
    found: dict[str, Any] = {}
    for horizon in options.horizons:
        known = known_sessions(prices.days, options.holdout_months, horizon)
        config = clusters.RankConfig(horizon=horizon, end=known[-1], embargo=horizon, metric=options.ranking_metric)
        ranking, best = pipeline.rank_clusters(assignments, prices, out, config=config, rule=options.rule)
        found[str(horizon)] = {"best": best.tolist(), "rank_end": ranking.rank_end, "samples": ranking.counts["used"]}
    return {"horizons": found, "output_dir": str(out)}


def known_sessions(sessions: Days, months: int, embargo: int) -> Days:
    """Select the sessions before a holdout of some months of 21 sessions each, and an embargo before it.

    Weekends, which a features file may hold, do not count as sessions.

    Raises:
        InputError: no session is left.
    """
    weekdays = sessions[np.is_busday(sessions)]
    left = len(weekdays) - months * SESSIONS_PER_MONTH - embargo + 1
    if left <= 0:
        raise InputError(
            f"{len(weekdays)} sessions are too few to hold out {months} months of {SESSIONS_PER_MONTH} and an embargo "
            f"of {embargo}; give a longer history or a smaller --holdout-months"
        )
    known: Days = sessions[sessions <= weekdays[left - 1]]
    return known
