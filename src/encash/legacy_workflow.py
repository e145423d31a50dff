"""The workflow of the guide: its four commands on the files that its users have. Knows the guide's paths, months and
fees; what a flag is where nobody gives it stands in the flag tables of `cluster` and `inference` alone, and the work is
`pipeline`'s."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from encash import pipeline
from encash.arrays import Days, day_text
from encash.atomic_write import write_whole
from encash.errors import InputError, MismatchError
from encash.pipeline import Sources
from encash.progress import Progress
from encash.store.locator import HDF5_SUFFIXES

if TYPE_CHECKING:
    from encash.cache import BuildReport, Selection

MODEL = "checkpoints/best_model_100m_1.18.pt"
DATA = Path("data/all_complete_dataset.h5")
PRICES = Path("data/actual_prices.h5")
CACHE = "data/embeddings_cache.h5"
"""Where the guide's commands look and write when they are not told: some of its lines name none of these."""
SESSIONS_OF_A_MONTH = 21
SEQ_LEN = 60
"""Sessions in a window where neither the flag nor the checkpoint says."""
HORIZONS = (1, 5, 10, 20)
BINS = 100
_RECREATE = "python -m cluster.create_clusters --model-path … --dataset-path …"
SAMPLE = "assignments/sample"
"""Where the clusters of the sampled entries lie in the folder of the clusters."""
MARGIN_SESSIONS = 5
"""Days by which a features file may reach beyond its prices."""
HOLDOUT_MONTHS = 6
"""Months at the end of the data that neither the clusters nor their ranking look at: the backtest trades in them."""
OLD_SELL_FEE = 0.001
"""0.1 % of the proceeds, nothing on buying."""


def build_named(sources: Sources, selection: Selection, *, progress: Progress | None = None) -> BuildReport:
    """Build the cache of a name: in place for .lance, by way of one for .h5.

    An HDF5 file cannot be written safely in place. Entries go to a Lance cache beside it, block by block, and the
    HDF5 file is written from that and moved to its name when it is whole. A build that was killed goes on from the
    cache beside; a whole older file stays until then. A build that is refused leaves nothing beside.
    """
    assert sources.cache is not None
    target = Path(sources.cache)
    sources = with_bin_edges(settled(sources))
    if target.suffix.lower() not in HDF5_SUFFIXES:
        return pipeline.build_cache(sources, selection, progress=progress)
    from encash.cache import export_hdf5, import_hdf5, open_cache

    beside = target.with_name(target.name + ".lance")
    continued = beside.exists()
    if target.exists() and not continued:
        _check_ours(target)
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


def settled(sources: Sources) -> Sources:
    """The same sources with the guide's window where neither a flag nor the model says, and in float32 where neither
    a flag nor a cache does.

    The guide's clusters are fitted without a cache; all of its commands must load one and the same encoder, so none
    of them measures which precision is the fastest, and none takes its window from a cache.
    """
    sources = replace(sources, default_lookback=SEQ_LEN)
    cache = sources.open_cache()
    known = cache is not None and cache.exists and cache.encoder_spec is not None
    return sources if known or sources.precision != "auto" else replace(sources, precision="float32")


def with_bin_edges(sources: Sources) -> Sources:
    """The same sources; a classifier whose bin edges are nowhere to be found ranks by equal bins from −25 % to +25 %.

    The guide's commands name no file of edges. The rule becomes part of the encoder's forecast fingerprint.
    """
    if sources.bin_edges is not None or sources.encoder().spec.horizons:
        return sources
    return replace(sources, bin_edges="uniform")


@dataclass(frozen=True, kw_only=True)
class SampledFit:
    """What ``cluster.create_clusters`` is asked for."""

    n_clusters: int
    method: str
    standardize: bool
    use_pca: bool
    pca_components: int
    samples_per_stock: int
    max_stocks: int | None
    holdout_months: int
    seed: int
    output_dir: Path
    visualize: bool


def create_clusters(sources: Sources, asked: SampledFit, *, progress: Progress | None = None) -> dict[str, Any]:
    """Encode a seeded sample of past sessions of each stock, fit clusters to them, keep model and assignments.

    The last `holdout_months` of the data, and a margin for the longest horizon, are not looked at.
    """
    from encash.cache import Selection
    from encash.cache.plan import window_digests
    from encash.clusters import Assignments, FitConfig, draw_entries, fit_clusters

    sources = settled(sources)
    panel = sources.the_panel()
    encoder = sources.encoder()
    encoder.spec.check_features(panel.num_features, panel.feature_names)
    tickers = Selection(num_stocks=asked.max_stocks).choose_tickers(panel.tickers)
    days = held_in(panel.sessions, asked.holdout_months, max(HORIZONS) + MARGIN_SESSIONS)
    row, column = np.nonzero(window_digests(panel, tickers, days, encoder.spec.lookback).digest)
    config = FitConfig(
        k=asked.n_clusters,
        seed=asked.seed,
        method=asked.method,
        standardize=asked.standardize,
        pca_components=asked.pca_components if asked.use_pca else None,
        samples_per_ticker=asked.samples_per_stock,
    )
    cell_days, cell_tickers = days[row], np.asarray(tickers)[column]
    drawn = draw_entries(cell_days, cell_tickers, config=config)
    cell_days, cell_tickers = cell_days[drawn], cell_tickers[drawn]
    lookup = sources.lookup(panel, None)
    chunks = list(lookup.read(cell_days, cell_tickers, embeddings=True, forecasts=False, progress=progress))
    if not chunks:
        raise InputError(
            f"no stock has a window of {encoder.spec.lookback} sessions by {day_text(days[-1])}; give a longer history "
            "or a smaller --holdout-months"
        )
    vectors = np.concatenate([chunk.embedding for chunk in chunks if chunk.embedding is not None])
    model = fit_clusters(
        vectors,
        cell_days,
        cell_tickers,
        config=replace(config, samples_per_ticker=None),
        encoder=encoder.spec.fingerprint,
    )
    model.save(asked.output_dir)
    cluster, distance = model.assign(vectors)
    assigned = Assignments.of_rows(cell_days, cell_tickers, cluster, distance, k=model.k, model=model.fingerprint)
    assigned.save(asked.output_dir / SAMPLE)
    if asked.visualize:
        from encash.clusters import cluster_map
        from encash.report import cluster_picture

        plane = cluster_map(model, vectors)
        cluster_picture(plane.centroids, plane.entries, plane.cluster, asked.output_dir / "clusters.svg")
    return {
        "k": model.k,
        "entries": len(cluster),
        "tickers": len(set(cell_tickers.tolist())),
        "fit_start": model.fit_start,
        "fit_end": model.fit_end,
        "output_dir": str(asked.output_dir),
    }


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """What ``cluster.analyze_clusters`` is asked for."""

    cluster_dir: Path
    prices_path: Path
    horizons: Sequence[int]
    top_k_percent_coverage: float
    ranking_metric: str
    min_return: float | None
    min_win_rate: float | None
    min_sharpe: float | None
    top_k: int | None
    holdout_months: int
    output_dir: Path | None


def analyze_clusters(asked: Analysis) -> dict[str, Any]:
    """Rank the clusters of a folder for each horizon, on returns that ended before the held-out months."""
    from encash.clusters import RankConfig, SelectionRule, load_assignments, load_clusters
    from encash.panel import open_prices

    model = load_clusters(asked.cluster_dir)
    assignments = load_assignments(asked.cluster_dir / SAMPLE, remake=_RECREATE)
    prices = open_prices(asked.prices_path)
    out = asked.output_dir or asked.cluster_dir
    if out != asked.cluster_dir:
        model.save(out)
    coverage = None if asked.top_k is not None else asked.top_k_percent_coverage
    rule = SelectionRule(
        top_k=asked.top_k,
        coverage=coverage,
        min_return=asked.min_return,
        min_win_rate=asked.min_win_rate,
        min_sharpe=asked.min_sharpe,
    )
    found: dict[str, Any] = {}
    for horizon in asked.horizons:
        known = held_in(prices.days, asked.holdout_months, horizon)
        config = RankConfig(horizon=horizon, end=known[-1], embargo=horizon, metric=asked.ranking_metric)
        ranking, best = pipeline.rank_clusters(assignments, prices, out, config=config, rule=rule)
        found[str(horizon)] = {"best": best.tolist(), "rank_end": ranking.rank_end, "samples": ranking.counts["used"]}
    return {"horizons": found, "output_dir": str(out)}


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """What ``inference.backtest_simulation`` is asked for, beside its sources."""

    num_test_stocks: int
    subset_size: int | None
    top_k: int
    horizon_idx: int
    confidence_percentile: float
    test_months: int
    cluster_dir: Path | None
    best_clusters_file: Path | None
    cluster_top_k_percent: float | None
    initial_capital: float
    max_missing: float
    seed: int
    num_trials: int
    compare: int
    output: Path | None
    allow_lookahead: str | None
    caches: Sequence[str]


def simulate(sources: Sources, asked: Simulation, *, progress: Progress | None = None) -> dict[str, Any]:
    """The guide's backtest: its universe, its filter, its money; the result as plain values."""
    with _one_cache(asked.caches) as cache:
        return _simulate(replace(sources, cache=cache), asked, progress)


@contextmanager
def _one_cache(caches: Sequence[str]) -> Iterator[str | None]:
    """The cache of these parts: none, the one that is named, or all of them merged for as long as it is read.

    Raises:
        MismatchError: the parts are of different models, or differ under one key.
    """
    if len(caches) < 2:
        yield caches[0] if caches else None
        return
    from encash.cache import merge_caches

    with tempfile.TemporaryDirectory(prefix="encash-") as folder:
        whole = str(Path(folder) / "parts.lance")
        merge_caches(caches, whole)
        yield whole


def _simulate(sources: Sources, asked: Simulation, progress: Progress | None) -> dict[str, Any]:
    from encash.backtest import BacktestConfig

    horizon = HORIZONS[asked.horizon_idx]
    config = BacktestConfig(
        test_sessions=asked.test_months * SESSIONS_OF_A_MONTH,
        horizon=horizon,
        top_k=asked.top_k,
        num_test_stocks=asked.num_test_stocks,
        subset_size=asked.subset_size,
        confidence_percentile=asked.confidence_percentile,
        initial_capital=asked.initial_capital,
        buy_fee=0.0,
        sell_fee=OLD_SELL_FEE,
        max_missing=asked.max_missing,
        seed=asked.seed,
        allow_lookahead=asked.allow_lookahead,
    )
    choice = pipeline.FilterChoice(
        clusters=_cluster_folder(asked),
        name=None if asked.cluster_top_k_percent is None else "nearest",
        keep=_share(asked.cluster_top_k_percent),
        best_file=asked.best_clusters_file,
        horizon=horizon,
        seed=asked.seed,
    )
    document = asked.output if asked.output is not None and asked.output.suffix == ".json" else None
    run_dir = asked.output if document is None else document.with_suffix("")
    inputs = pipeline.open_inputs(_like_the_cache(settled(sources)), choice)
    result, folder = pipeline.backtest(inputs, config, run_dir=run_dir, progress=progress)
    beside = pipeline.evaluate_run(
        inputs, config, folder, num_trials=asked.num_trials, draws=asked.compare, progress=progress
    )
    extras = pipeline.PageExtras(clusters=choice.clusters, horizon=horizon)
    pipeline.write_report([folder], folder / "report.html", extras)
    if document is not None:
        write_whole(document, (folder / "result.json").read_bytes())
    return {**result.to_json(), **beside, "run_dir": str(folder)}


def held_in(sessions: Days, months: int, embargo: int) -> Days:
    """The sessions that may be known: all but the last months of 21 sessions each and an embargo before them.

    Weekends, which a features file may hold, are no sessions here.

    Raises:
        InputError: nothing is left.
    """
    weekdays = sessions[np.is_busday(sessions)]
    left = len(weekdays) - months * SESSIONS_OF_A_MONTH - embargo + 1
    if left <= 0:
        raise InputError(
            f"{len(weekdays)} sessions are too few to hold out {months} months of {SESSIONS_OF_A_MONTH} and an embargo "
            f"of {embargo}; give a longer history or a smaller --holdout-months"
        )
    known: Days = sessions[sessions <= weekdays[left - 1]]
    return known


def _like_the_cache(sources: Sources) -> Sources:
    """The same sources, with the bin edges that the cache was built with where the flags name none."""
    from encash.encoders.bins import UNIFORM, uniform_edges

    cache = sources.open_cache()
    known = None if cache is None else cache.encoder_spec
    if known is None or not known.horizons:
        return with_bin_edges(sources)
    ranked_evenly = known.forecast_rule == uniform_edges(BINS).rule
    return replace(sources, bin_edges=UNIFORM) if ranked_evenly and sources.bin_edges is None else sources


def _cluster_folder(asked: Simulation) -> Path | None:
    if asked.cluster_dir is None and asked.best_clusters_file is not None:
        return asked.best_clusters_file.parent
    return asked.cluster_dir


def _share(percent: float | None) -> float | None:
    """A share of 1, from a share or a percentage.

    >>> _share(0.3), _share(30)
    (0.3, 0.3)
    """
    return percent if percent is None or percent <= 1 else percent / 100


def _check_ours(path: Path) -> None:
    from encash.cache import open_cache

    if open_cache(path).encoder_spec is None:
        raise MismatchError(
            f"{path} exists and does not say which model made it, so it is neither continued nor overwritten; "
            "give another --output-path, or move it away"
        )
