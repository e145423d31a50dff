"""The legacy workflow: the four commands of `cluster` and `inference`, on the files that their users have.

Paths, months and fees are those of the legacy commands; the defaults of their flags are in `cluster` and `inference`.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from encash import backtest, clusters, pipeline
from encash.arrays import Days, day_text
from encash.atomic_write import write_whole
from encash.errors import InputError, MismatchError
from encash.pipeline import Sources
from encash.progress import Progress
from encash.store.local.lock import file_writer
from encash.store.locator import HDF5_SUFFIXES

if TYPE_CHECKING:
    from encash.cache import BuildReport, Selection

MODEL = "checkpoints/best_model_100m_1.18.pt"
DATA = Path("data/all_complete_dataset.h5")
PRICES = Path("data/actual_prices.h5")
CACHE = "data/embeddings_cache.h5"
"""Default files of the legacy commands."""
SESSIONS_PER_MONTH = 21
SEQ_LEN = 60
"""Sessions in a window if neither the flag nor the checkpoint defines it."""
HORIZONS = (1, 5, 10, 20)
BINS = 100
_RECREATE = "python -m cluster.create_clusters --model-path … --dataset-path …"
SAMPLE = "assignments/sample"
"""The folder of the sample's assignments, in the folder of the clusters."""
MARGIN_SESSIONS = 5
"""Days by which a features file may extend beyond its prices."""
HOLDOUT_MONTHS = 6
"""Months at the end of the data that clusters and rankings do not use, because the backtest trades in them."""
SELL_FEE = 0.001
"""0.1% of the proceeds; buying is free."""


def build_cache(sources: Sources, selection: Selection, *, progress: Progress | None = None) -> BuildReport:
    """Build a cache: in place for .lance, through a temporary Lance cache for .h5.

    An HDF5 file cannot be written safely in place. Entries are committed to a Lance cache beside it, block by block,
    and the HDF5 file is exported from that and replaced atomically. An interrupted build resumes from the Lance cache,
    and the older file stays until then. A build that is refused leaves nothing beside the file.

    Raises:
        MismatchError: an existing file does not record which model made it.
        ConflictError: a different process is building this file.
    """
    assert sources.cache is not None
    target = Path(sources.cache)
    sources = with_bin_edges(with_defaults(sources))
    if target.suffix.lower() not in HDF5_SUFFIXES:
        return pipeline.build_cache(sources, selection, progress=progress)
    with file_writer(target, "build"):
        return _build_hdf5(target, sources, selection, progress)


def _build_hdf5(target: Path, sources: Sources, selection: Selection, progress: Progress | None) -> BuildReport:
    """Build an HDF5 cache through a Lance cache beside it; the caller holds the lock of the file."""
    from encash.cache import export_hdf5, import_hdf5, open_cache

    beside = target.with_name(target.name + ".lance")
    continued = beside.exists()
    if target.exists() and not continued:
        if open_cache(target).encoder_spec is None:
            raise MismatchError(
                f"{target} exists and does not record which model made it, so it is neither continued nor overwritten; "
                "give a different --output-path, or move it away"
            )
        import_hdf5(target, beside)
    try:
        report = pipeline.build_cache(replace(sources, cache=str(beside)), selection, progress=progress)
    except InputError:
        if not continued:
            shutil.rmtree(beside, ignore_errors=True)
        raise
    if not report.failed:
        export_hdf5(open_cache(beside), target)
        shutil.rmtree(beside)
    return report


def with_defaults(sources: Sources) -> Sources:
    """Set the window to 60 sessions unless a flag or the model defines it, and the precision to float32 unless a flag
    or a cache does.

    The legacy clusters are fitted without a cache, and all commands must load the same encoder. So none of them
    measures which precision is the fastest, or takes its window from a cache.
    """
    sources = replace(sources, default_lookback=SEQ_LEN)
    cache = sources.open_cache()
    known = cache is not None and cache.exists and cache.encoder_spec is not None
    return sources if known or sources.precision != "auto" else replace(sources, precision="float32")


def with_bin_edges(sources: Sources) -> Sources:
    """Use equal bins from −25% to +25% for a classifier without bin edges.

    The legacy commands name no file of edges. The rule becomes part of the encoder's forecast fingerprint.
    """
    if sources.bin_edges is not None or sources.encoder().spec.horizons:
        return sources
    return replace(sources, bin_edges="uniform")


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
    sources: Sources, options: CreateClustersOptions, *, progress: Progress | None = None
) -> dict[str, Any]:
    """Encode a seeded sample of past sessions of each stock, fit clusters to them, and save model and assignments.

    The last `holdout_months` of the data, and a margin for the longest horizon, are not used.
    """
    from encash.cache import Selection
    from encash.cache.window_digests import window_digests

    sources = with_defaults(sources)
    panel = sources.the_panel()
    encoder = sources.encoder()
    encoder.spec.check_features(panel.num_features, panel.feature_names)
    tickers = Selection(num_stocks=options.max_stocks).choose_tickers(panel.tickers)
    days = known_sessions(panel.sessions, options.holdout_months, max(HORIZONS) + MARGIN_SESSIONS)
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
    """Options of ``cluster.analyze_clusters``."""

    cluster_dir: Path
    prices_path: Path
    horizons: Sequence[int]
    rule: clusters.SelectionRule
    ranking_metric: str
    holdout_months: int
    output_dir: Path | None


def analyze_clusters(options: AnalyzeClustersOptions) -> dict[str, Any]:
    """Rank the clusters of a folder for each horizon, on returns that ended before the held-out months."""
    from encash.panel import open_prices

    model = clusters.load_clusters(options.cluster_dir)
    assignments = clusters.load_assignments(options.cluster_dir / SAMPLE, remake=_RECREATE)
    prices = open_prices(options.prices_path)
    out = options.output_dir or options.cluster_dir
    if out != options.cluster_dir:
        model.save(out)
    found: dict[str, Any] = {}
    for horizon in options.horizons:
        known = known_sessions(prices.days, options.holdout_months, horizon)
        config = clusters.RankConfig(horizon=horizon, end=known[-1], embargo=horizon, metric=options.ranking_metric)
        ranking, best = pipeline.rank_clusters(assignments, prices, out, config=config, rule=options.rule)
        found[str(horizon)] = {"best": best.tolist(), "rank_end": ranking.rank_end, "samples": ranking.counts["used"]}
    return {"horizons": found, "output_dir": str(out)}


@dataclass(frozen=True, kw_only=True)
class SimulationOptions:
    """Options of ``inference.backtest_simulation``, except its sources."""

    config: backtest.BacktestConfig
    """Settings except the horizon, the sessions and the fees."""
    horizon_idx: int
    test_months: int
    cluster_dir: Path | None
    best_clusters_file: Path | None
    cluster_top_k_percent: float | None
    num_trials: int
    compare: int
    output: Path | None
    caches: Sequence[str]


def simulate(sources: Sources, options: SimulationOptions, *, progress: Progress | None = None) -> dict[str, Any]:
    """Run the legacy backtest with its universe, filter and costs; return the result as plain values."""
    horizon, sessions = HORIZONS[options.horizon_idx], options.test_months * SESSIONS_PER_MONTH
    config = replace(options.config, horizon=horizon, test_sessions=sessions, buy_fee=0.0, sell_fee=SELL_FEE)
    folder, share = options.cluster_dir, options.cluster_top_k_percent
    if folder is None and options.best_clusters_file is not None:
        folder = options.best_clusters_file.parent
    choice = pipeline.FilterChoice(
        clusters=folder,
        name=None if share is None else "nearest",
        keep=share if share is None or share <= 1 else share / 100,  # a share, or a percentage
        best_file=options.best_clusters_file,
        horizon=horizon,
        seed=config.seed,
    )
    document = options.output if options.output is not None and options.output.suffix == ".json" else None
    run_dir = options.output if document is None else document.with_suffix("")
    with _merged_cache(options.caches) as cache:
        inputs = pipeline.open_inputs(_with_cached_bin_edges(with_defaults(replace(sources, cache=cache))), choice)
        result, run_dir = pipeline.backtest(inputs, config, run_dir=run_dir, progress=progress)
        beside = pipeline.evaluate_run(
            inputs, config, run_dir, num_trials=options.num_trials, draws=options.compare, progress=progress
        )
    extras = pipeline.PageExtras(clusters=choice.clusters, horizon=horizon)
    pipeline.write_report([run_dir], run_dir / "report.html", extras)
    if document is not None:
        write_whole(document, (run_dir / "result.json").read_bytes())
    return {**result.to_json(), **beside, "run_dir": str(run_dir)}


@contextmanager
def _merged_cache(caches: Sequence[str]) -> Iterator[str | None]:
    """Yield one cache, or several merged into a temporary one; None without any.

    Raises:
        MismatchError: the caches are of different models, or differ under one key.
    """
    if len(caches) < 2:
        yield caches[0] if caches else None
        return
    from encash.cache import merge_caches

    with tempfile.TemporaryDirectory(prefix="encash-") as folder:
        merged = str(Path(folder) / "merged.lance")
        merge_caches(caches, merged)
        yield merged


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


def _with_cached_bin_edges(sources: Sources) -> Sources:
    """Use the bin edges that the cache was built with, unless a flag names some."""
    from encash.encoders.bins import UNIFORM, uniform_edges

    cache = sources.open_cache()
    known = None if cache is None else cache.encoder_spec
    if known is None or not known.horizons:
        return with_bin_edges(sources)
    ranked_evenly = known.forecast_rule == uniform_edges(BINS).rule
    return replace(sources, bin_edges=UNIFORM) if ranked_evenly and sources.bin_edges is None else sources
