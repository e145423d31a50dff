"""The whole book on one page: which room is called with what, from a model and data to a page. Knows every room by its
public names; calculates nothing itself."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from encash.arrays import DayLike, Days, Float32, Int32, Text
from encash.errors import EncashError, InputError, MismatchError, UnknownKeyError
from encash.whole import check_folder

if TYPE_CHECKING:
    from encash.backtest import BacktestConfig, BacktestResult, Candidates, Comparisons, SweepResult, Trials
    from encash.cache import BuildReport, Cache, Lookup, Plan, Selection, VerifyReport
    from encash.clusters import (
        Assignments,
        CacheEntries,
        Choice,
        ClusterModel,
        FilterModel,
        FitConfig,
        Neighbours,
        OneModel,
        RankConfig,
        Ranking,
        Rule,
        Sample,
        WalkConfig,
        WalkModel,
    )
    from encash.encoders import Encoder, EncoderSpec
    from encash.panel import Panel, PriceTable

Progress = Callable[[int, int], None]
"""Called with (done, total)."""
RUNS = Path("runs")
"""Where runs go that nobody gave a folder."""
MAPPED_ENTRIES = 1_500
"""Entries that a map of clusters shows."""
NEAREST_SHARE = 0.3
"""What the filter `nearest` keeps where nobody says."""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where a piece of work finds what it reads; nothing is opened before it is asked for."""

    data: Path | None = None
    """Features, HDF5."""
    prices: Path | None = None
    """Prices, HDF5."""
    cache: str | None = None
    as_of: int | str | None = None
    """A version or tag of the cache to read as of; None for the newest."""
    model: str | None = None
    ensemble_models: tuple[str, ...] = ()
    """Further models whose forecasts are averaged with those of `model`."""
    device: str = "auto"
    precision: str = "auto"
    batch_size: int | None = None
    lookback: int | None = None
    default_lookback: int | None = None
    """Sessions in a window where neither `lookback` nor the model says; None takes the cache's, else 60."""
    pooling: str | None = None
    bin_edges: str | Path | None = None

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Sources:
        """The sources among the flags of a command."""
        given = {one.name: getattr(arguments, one.name, None) for one in fields(cls)}
        given["ensemble_models"] = tuple(given["ensemble_models"] or ())
        return cls(**{name: value for name, value in given.items() if value is not None})

    def panel(self) -> Panel | None:
        """Features, with prices where both are given; None without features."""
        from encash.panel import open_panel

        return None if self.data is None else open_panel(self.data, prices=self.prices)

    def the_panel(self) -> Panel:
        """The panel, which must be given.

        Raises:
            InputError: no features were named.
        """
        if (panel := self.panel()) is None:
            raise InputError("no features were named; give --data F")
        return panel

    def price_table(self) -> PriceTable:
        """The prices, which must be given.

        Raises:
            InputError: no prices were named.
        """
        from encash.panel import open_prices

        if self.prices is None:
            raise InputError("no prices were named; give --prices P")
        return open_prices(self.prices)

    def open_cache(self) -> Cache | None:
        """The cache; None where none was named."""
        from encash.cache import open_cache

        return None if self.cache is None else open_cache(self.cache, version=self.as_of)

    def encoder(self, cache: Cache | None = None) -> Encoder:
        """Load the model, in the precision and with the pooling of the cache that it is to fill or to stand in for;
        without one, the precision is chosen on windows of the data. The cache's window counts only where the model
        itself states none.

        Raises:
            InputError: no model was named.
            MismatchError: the model has another window than the cache.
        """
        from encash.encoders import DEFAULT_LOOKBACK, load_encoder

        if self.model is None:
            raise InputError("no model was named; give --model M")
        known = cache.encoder_spec if cache is not None and cache.exists else None
        asked = self if known is None else self.like(known)
        members = [
            load_encoder(
                model,
                device=self.device,
                precision=asked.precision,
                batch_size=self.batch_size,
                lookback=self.lookback,
                default_lookback=asked.default_lookback or DEFAULT_LOOKBACK,
                bin_edges=self.bin_edges,
                pooling=asked.pooling or "mean",
                sample=self._sample if self.data is not None else None,
            )
            for model in (self.model, *self.ensemble_models)
        ]
        if cache is not None and known is not None:
            _check_lookback(self.model, members[0].spec.lookback, cache, known.lookback)
        return members[0] if len(members) == 1 else _ensemble(members)

    def lookup(self, panel: Panel | None, cache: Cache | None) -> Lookup:
        """What a backtest reads through. A model file that the cache recognises is not loaded before a miss needs it.

        Raises:
            MismatchError: the cache was built with another model.
        """
        from encash.cache import Lookup

        if self.model is None:
            return Lookup(cache=cache, panel=panel)
        if cache is not None and not self._asks_otherwise(cache) and cache.recognises(self.model):
            return Lookup(cache=cache, panel=panel, encoder=lambda: self.encoder(cache))
        encoder = self.encoder(cache)
        if cache is not None:
            cache.check(encoder.spec)
        return Lookup(cache=cache, panel=panel, encoder=lambda: encoder, spec=encoder.spec)

    def like(self, spec: EncoderSpec) -> Sources:
        """The same sources; what neither a flag nor the model says of precision, window and pooling is as in a spec."""
        return replace(
            self,
            precision=spec.precision if self.precision == "auto" else self.precision,
            default_lookback=self.default_lookback or spec.lookback,
            pooling=self.pooling or (None if spec.pooling == "model" else spec.pooling),
        )

    def _sample(self, lookback: int) -> Float32:
        from encash.cache import sample_windows

        return sample_windows(self.the_panel(), lookback)

    def _asks_otherwise(self, cache: Cache) -> bool:
        """Whether these make another encoder of the model than the cache's, or might make other forecasts of it."""
        known = cache.encoder_spec
        asked = {
            "lookback": self.lookback or self.default_lookback,
            "precision": self.precision,
            "pooling": self.pooling,
        }
        other = [name for name, value in asked.items() if value not in (None, "auto", getattr(known, name, None))]
        return bool(self.ensemble_models or self.bin_edges or other)


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """How a cache is built."""

    dtype: str | None = None
    least_agreement: float | None = None
    """What a new cache narrower than float32 must keep; None takes the cache's own measure."""
    executor: str = "local"
    workers: int | None = None
    say: Callable[[str], None] = field(default=lambda text: None)
    """Told in one line which engine, precision and batch size were chosen, and why."""
    warn: Callable[[str], None] = field(default=lambda text: None)
    """Told what the cache will lack."""


def verify_cache(
    sources: Sources, *, sample: int | Literal["all"] | None, drop: bool = False, progress: Progress | None = None
) -> VerifyReport:
    """Check a cache against itself, the data and the model, as far as these are named.

    A cache without provenance of which every entry is what the model makes is from then on known to be the model's.
    """
    from encash.cache import adopt

    cache, panel = _named_cache(sources), sources.panel()
    encoder = None if sources.model is None else sources.encoder(cache)
    report = cache.verify(panel, encoder, sample=sample, drop=drop, progress=progress)
    proven = report.passed and report.verified and report.sampled > 0 and cache.store.writable
    if panel is not None and encoder is not None and proven:
        adopt(cache, panel, encoder, report)
    return report


@dataclass(frozen=True, kw_only=True)
class ListedCache:
    """One cache of a folder, in a line."""

    path: str
    encoder: str = ""
    """Fingerprint; empty where nobody knows which it was."""
    models: int = 0
    """Model files that the cache is known to come from."""
    dim: int | None = None
    dtype: str | None = None
    entries: int | None = None
    first: str | None = None
    last: str | None = None
    belongs: bool | None = None
    """Whether the model in question made it; None without one."""
    problem: str = ""
    """Why it cannot be read, where it cannot."""


def list_caches(folder: Path, model: str | None = None) -> list[ListedCache]:
    """The caches of a folder; with a model, which of them it made. It is loaded where no cache knows its file.

    Raises:
        MissingFileError: no such folder.
    """
    from encash.cache import cache_paths, open_cache

    caches: dict[str, Cache | str] = {}
    for path in cache_paths(folder):
        try:
            caches[path] = open_cache(path)
        except EncashError as error:
            caches[path] = str(error)
    sound = [cache for cache in caches.values() if not isinstance(cache, str)]
    own = [] if model is None else [cache.path for cache in sound if cache.recognises(model)]
    if model is not None and not own:
        own = [cache.path for cache in sound if _made_by(cache, model)]
    return [_listed(path, cache, None if model is None else path in own) for path, cache in caches.items()]


def _made_by(cache: Cache, model: str) -> bool:
    """Whether a model, loaded as the cache says, is the one that made it."""
    try:
        cache.check(Sources(model=model).encoder(cache).spec)
    except MismatchError:
        return False
    return True


def _listed(path: str, cache: Cache | str, belongs: bool | None) -> ListedCache:
    if isinstance(cache, str):
        return ListedCache(path=path, problem=cache)
    try:
        info = cache.info()
    except EncashError as error:
        return ListedCache(path=path, belongs=belongs, problem=str(error))
    return ListedCache(
        path=path,
        encoder=info.encoder,
        models=cache.model_files,
        dim=info.dim,
        dtype=info.dtype,
        entries=info.entries,
        first=info.first,
        last=info.last,
        belongs=belongs,
    )


def plan_build(
    sources: Sources,
    selection: Selection,
    *,
    dtype: str | None = None,
    warn: Callable[[str], None] = lambda text: None,
) -> Plan:
    """What a build would do; the model is loaded to know what it is, nothing is encoded.

    Args:
        sources: the model, the data and the cache.
        selection: days and tickers.
        dtype: how vectors are kept; None takes the cache's, float32 for a new one.
        warn: told what the cache will lack.
    """
    cache = _named_cache(sources)
    encoder = _measured(sources.encoder(cache))
    _say_without_forecasts(encoder, warn)
    return cache.plan(sources.the_panel(), encoder, selection, dtype=dtype)


def build_cache(
    sources: Sources, selection: Selection, options: BuildOptions | None = None, *, progress: Progress | None = None
) -> BuildReport:
    """Make every missing or stale entry of a selection valid."""
    options = options or BuildOptions()
    cache, panel = _named_cache(sources), sources.the_panel()
    encoder = _measured(sources.encoder(cache))
    encoder.notify = options.say
    _say_without_forecasts(encoder, options.warn)
    rate = "" if "entries/s" in encoder.choice else f" ({encoder.entries_per_second:,.3g} entries/s)"
    options.say(encoder.choice + rate)
    how: dict[str, Any] = {"dtype": options.dtype, "progress": progress}
    how |= {} if options.least_agreement is None else {"least_agreement": options.least_agreement}
    if options.executor == "local":
        return cache.build(panel, encoder, selection, **how)
    from encash.cache.executors.ray import RayExecutor

    # The workers take the precision and the batch that were chosen here: measured again, they might be others.
    same = replace(sources.like(encoder.spec), batch_size=encoder.batch_size)
    with RayExecutor(same.encoder, workers=options.workers, say=options.say) as executor:
        return cache.build(panel, encoder, selection, executor=executor, **how)


def cached_batches(
    cache: Cache,
    start: DayLike | None,
    end: DayLike | None,
    batch_days: int = 64,
    *,
    progress: Progress | None = None,
) -> Iterator[tuple[Days, Text, Float32]]:
    """The entries of a range as (days, tickers, vectors), many days at a time; progress is told in entries."""
    pending: list[tuple[Days, Text, Float32]] = []
    done, total = 0, 0 if progress is None else cache.count(start, end)
    for day, tickers, vectors in cache.days(start, end):
        pending.append((np.full(len(tickers), day, dtype="datetime64[D]"), tickers, vectors))
        done += len(tickers)
        if progress is not None:
            progress(done, total)
        if len(pending) == batch_days:
            yield _joined(pending)
            pending = []
    if pending:
        yield _joined(pending)


def draw_sample(
    cache: Cache,
    config: FitConfig,
    *,
    start: DayLike | None = None,
    end: DayLike,
    progress: Progress | None = None,
) -> Sample:
    """The cached entries of a range that clusters are fitted on."""
    from encash.clusters import sample_vectors

    return sample_vectors(cached_batches(cache, start, end, progress=progress), config=config)


def fit_clusters(
    cache: Cache,
    sample: Sample,
    config: FitConfig,
    out: Path,
    *,
    counts: Sequence[int] = (),
    progress: Progress | None = None,
) -> tuple[ClusterModel, Choice | None]:
    """Fit clusters on drawn entries of a cache, and save them with a map of them.

    Args:
        cache: where the entries are from.
        sample: the entries, from `draw_sample`.
        config: how to fit.
        out: the folder of the clusters.
        counts: numbers of clusters to choose from, instead of the one of `config`.
        progress: as `fit_sample` tells it; or numbers of clusters tried and their number.

    Returns:
        The model, and what it was chosen from where it was.
    """
    from encash.clusters import choose_k, fit_sample, remove_rankings

    how: dict[str, Any] = {"config": config, "encoder": encoder_fingerprint(cache), "progress": progress}
    check_folder(out)
    if _is_walk(out):
        raise InputError(f"{out} holds a walk; give another folder for these clusters (--out)")
    choice = choose_k(sample, counts, **how) if counts else None
    model = fit_sample(sample, **how) if choice is None else choice.best
    model.save(out)
    remove_rankings(out, but_of=model.fingerprint)
    _write_map(cache, model, out)
    return model, choice


def assign_entries(cache: Cache, model: ClusterModel, *, start: DayLike | None, end: DayLike | None) -> Assignments:
    """The cluster of every cached entry of a range, from its vector.

    Raises:
        MismatchError: the clusters were fitted on another encoder's entries.
    """
    from encash.clusters import assign_batches

    model.check_encoder(encoder_fingerprint(cache))
    return assign_batches(
        cached_batches(cache, start, end),
        lambda _, vectors: model.assign(vectors),
        k=model.k,
        model=model.fingerprint,
        cache=cache.spec.fingerprint,
        version=cache.version,
    )


def keep_assignments(cache: Cache, folder: Path, *, progress: Progress | None = None) -> Assignments:
    """The cluster of every cached entry under the model or the walk of a folder, kept there; only what has changed
    since the last time is read.

    Raises:
        MismatchError: the clusters are of another encoder, or nobody knows which model made the cache.
    """
    from encash.clusters import keep_assignments

    assigner = _assigner(folder)
    assigner.check_encoder(encoder_fingerprint(cache))
    if not cache.verified:
        raise MismatchError(
            f"{cache.path} does not say which model made it, so nothing is kept of it; `encash cache verify` finds out"
        )
    return keep_assignments(folder, assigner, _entries(cache), progress=progress)


def assignments_to_rank(
    cache: Cache,
    folder: Path,
    *,
    start: DayLike | None,
    end: DayLike,
    progress: Progress | None = None,
) -> Assignments:
    """The cluster of every entry of the days that are ranked: kept ones; assigned anew where nothing can be kept of a
    cache, because nobody knows which model made it."""
    from encash.clusters import load_clusters

    if _is_walk(folder):
        raise InputError(f"{folder} holds a walk, whose refits are ranked already; give a folder of clusters fit")
    if not cache.verified:
        return assign_entries(cache, load_clusters(folder), start=start, end=end)
    return keep_assignments(cache, folder, progress=progress).between(start, end)


def rank_clusters(
    assignments: Assignments, prices: PriceTable, folder: Path, *, config: RankConfig, rule: Rule
) -> tuple[Ranking, Int32]:
    """Rank the clusters of a folder by what their entries earned, and write the ranking beside them."""
    from encash.clusters import load_clusters, rank_clusters, select_best, write_ranking

    model = load_clusters(folder)
    known = replace(config, fit_end=model.fit_end, model=model.fingerprint, encoder=model.encoder)
    ranking = rank_clusters(assignments, prices, config=known)
    best = select_best(ranking, rule)
    write_ranking(folder, ranking, best, rule=rule)
    return ranking, best


def the_only_cache(folder: Path = Path()) -> str:
    """The cache of a folder that has just one.

    Raises:
        InputError: none, or several: the message names them.
    """
    found = sorted(str(path) for path in folder.glob("*.lance"))
    if len(found) != 1:
        named = f"there are several caches here ({', '.join(found)})" if found else "there is no *.lance here"
        raise InputError(f"no cache was named and {named}; give --cache C")
    return found[0]


def find_similar(cache: Cache, ticker: str, day: DayLike, *, before: DayLike, count: int) -> Neighbours:
    """The entries up to a day whose embeddings are nearest to that of an entry.

    Raises:
        UnknownKeyError: the cache has no such entry.
        InputError: nothing that early.
    """
    from encash.clusters import Neighbours

    vectors, found = cache.get(day, [ticker])
    if not found[0]:
        raise UnknownKeyError(f"the cache has no entry of {ticker} on {day}; build it, or ask for another")
    days, tickers, distance = cache.nearest(vectors[0], count, last_day=before)
    if not len(days):
        raise InputError(f"no entry on or before {before}; ask about a later day, or build more of the past")
    return Neighbours(days=days, tickers=tickers, distance=distance)


@dataclass(frozen=True, kw_only=True)
class FilterChoice:
    """Which filter a backtest uses."""

    clusters: Path | None = None
    """A folder of clusters and their ranking."""
    kind: str | None = None
    """None: hard with clusters, else none."""
    keep: float | None = None
    best_file: Path | None = None
    """Instead of the best clusters of the ranking."""
    horizon: int = 5
    seed: int = 42


@dataclass(frozen=True, kw_only=True)
class Trading:
    """Everything that a backtest, a comparison, a sweep or a list of the day is run on, opened once."""

    prices: PriceTable
    lookup: Lookup
    filter: FilterModel | None
    candidates: Candidates
    """Members by day, or the tickers with prices of which the panel, or else the cache, knows anything at all."""
    without_features: int = 0
    """Tickers with prices that are not among the candidates for want of features."""


def open_trading(sources: Sources, choice: FilterChoice, universe: Path | tuple[str, ...] | None = None) -> Trading:
    """Open prices, panel, cache and filter; the universe is a membership file, a list of tickers, or all there are.

    Raises:
        MismatchError: cache and model do not belong together.
        InputError: no ticker has both prices and features.
    """
    from encash.backtest import read_membership

    panel, cache = sources.panel(), sources.open_cache()
    prices = sources.price_table() if panel is None or panel.prices is None else panel.prices
    known = _known_tickers(panel, cache, prices)
    return Trading(
        prices=prices,
        lookup=sources.lookup(panel, cache),
        filter=open_filter(choice, prices.days, cache),
        candidates=read_membership(universe) if isinstance(universe, Path) else universe or known,
        without_features=len(prices.tickers) - len(known),
    )


def open_filter(choice: FilterChoice, sessions: Days, cache: Cache | None) -> FilterModel | None:
    """The filter of a backtest; None for none.

    Raises:
        InputError: a filter by clusters without clusters, or `nearest` without the share that it keeps.
    """
    from encash.clusters import FilterModel, covers, load_clusters, single_term, static_clusters

    kind = choice.kind or ("none" if choice.clusters is None else "hard")
    if kind == "none" or (kind == "random" and choice.clusters is None):
        return None if kind == "none" else FilterModel(kind=kind, keep_share=choice.keep, seed=choice.seed)
    if choice.clusters is None:
        raise InputError(f"the filter {kind!r} goes by clusters; give --clusters DIR")
    if choice.keep is not None and kind not in ("nearest", "random"):
        raise InputError(f"the filter {kind!r} keeps whole clusters; leave --keep out, or filter by nearest or random")
    share = NEAREST_SHARE if kind == "nearest" and choice.keep is None else choice.keep
    if _is_walk(choice.clusters):
        from encash.clusters import load_walk  # fits clusters too, and with that imports faiss

        walk = load_walk(choice.clusters)
        if (ranked := walk.refits[0].ranking.horizon) != choice.horizon:
            raise MismatchError(
                f"the walk in {choice.clusters} was ranked over {ranked} sessions, {choice.horizon} were asked for; "
                f"walk again with --horizon {choice.horizon}, or hold for {ranked}"
            )
        kept = _kept(choice.clusters, walk.fingerprint, cache, distances=kind == "nearest")
        return walk.filter(kind, keep_share=share, seed=choice.seed, assignments=kept)
    model = load_clusters(choice.clusters)
    kept = _kept(choice.clusters, model.fingerprint, cache, distances=kind == "nearest")
    ranking, best = _ranking(choice)
    static = None
    if kind == "static":
        if cache is None:
            raise InputError("the static filter takes each ticker's cluster from the cache; give --cache C")
        fitted = {"start": model.fit_start, "end": model.fit_end}
        known = kept is not None and covers(kept, cache.index(), **fitted)
        assignments = kept.between(**fitted) if kept and known else assign_entries(cache, model, **fitted)
        static = static_clusters(assignments, model.fit_end)
    term = single_term(model, best, ranking, sessions, static=static)
    return FilterModel(kind=kind, terms=(term,), keep_share=share, seed=choice.seed, assignments=kept)


def backtest(
    trading: Trading,
    config: BacktestConfig,
    *,
    run_dir: Path | None = None,
    reference: Path | None = None,
    refuse_misses: bool = False,
    progress: Progress | None = None,
) -> tuple[BacktestResult, Path]:
    """One backtest, written into its run folder; beside a series of ``date,value`` where one is given.

    Without a `run_dir` the folder is named after the run's fingerprint: another run never takes its place.
    """
    from encash.backtest import read_series, run_backtest, write_run

    check_folder(run_dir or RUNS)
    series = None if reference is None else read_series(reference)
    result = run_backtest(config, **_parts(trading), reference=series, progress=progress)
    if refuse_misses and trading.lookup.tally.unserved:
        raise InputError(
            f"{trading.lookup.tally.unserved:,} candidates have no valid entry in the cache, and no model may be "
            "loaded; build the cache for these days, or leave --no-model out"
        )
    extra = {"tickers_without_features": trading.without_features}
    result = replace(result, facts={**result.facts, **extra})
    folder = run_dir or RUNS / result.fingerprint[:12]
    return result, write_run(result, folder)


def compare(
    trading: Trading, config: BacktestConfig, run_dir: Path, *, draws: int = 200, progress: Progress | None = None
) -> Comparisons:
    """What a run must be compared with, on the same days and costs, written beside it."""
    from encash.backtest import CompareConfig, run_comparisons, write_comparisons

    comparisons = run_comparisons(config, **_parts(trading), settings=CompareConfig(draws=draws), progress=progress)
    write_comparisons(comparisons, run_dir)
    return comparisons


def trials(
    trading: Trading, config: BacktestConfig, count: int, run_dir: Path, *, progress: Progress | None = None
) -> Trials:
    """The same run under other seeds; a row of `trials.csv` each, written as it comes."""
    from encash.backtest import run_trials

    return run_trials(config, count, **_parts(trading), path=run_dir / "trials.csv", progress=progress)


def sweep(
    trading: Trading,
    filters: Mapping[str, FilterModel],
    grid: Path,
    out: Path,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> SweepResult:
    """All runs of a grid on one reading of the signals."""
    from encash.backtest import read_grid, run_sweep

    points = read_grid(grid)
    result = run_sweep(
        points,
        out,
        prices=trading.prices,
        lookup=trading.lookup,
        filters=filters,
        candidates=trading.candidates,
        workers=workers,
        progress=progress,
    )
    _heat_maps(result, sorted({name for point in points for name, _ in point.varied if name != "seed"}))
    return result


def write_walk(
    cache: Cache, prices: PriceTable, config: WalkConfig, out: Path, *, progress: Progress | None
) -> WalkModel:
    """Refit and rank every so many sessions, each time on the past, and save every model with the days of its use."""
    from encash.clusters import walk_forward

    check_folder(out)
    if (out / "clusters.json").is_file():
        raise InputError(f"{out} holds clusters of one period; give another folder for the walk (--out)")
    walk = walk_forward(
        prices,
        lambda start, end: cached_batches(cache, start, end),
        config=config if config.start is not None else replace(config, start=cache.first_day),
        encoder=encoder_fingerprint(cache),
        progress=progress,
    )
    walk.save(out)
    _write_map(cache, walk.terms[-1].model, out)
    return walk


@dataclass(frozen=True, kw_only=True)
class PageExtras:
    """What a page shows beside its runs."""

    clusters: Path | None = None
    """A folder with the ranking of `horizon`: return by cluster."""
    horizon: int = 5
    timings: Mapping[str, float] = field(default_factory=dict)
    """Seconds of the same work done in several ways."""
    same_picks: bool | None = None


def write_report(runs: Sequence[Path], out: Path, extras: PageExtras | None = None) -> Path:
    """The page of one or several runs."""
    from encash.report import Extras, render_report

    given, shown = extras or PageExtras(), dict[str, Any]()
    if given.clusters is not None:
        _check_clusters(runs, given.clusters)
        shown = _cluster_extras(given.clusters, given.horizon)
    return render_report(runs, out, extras=Extras(timings=given.timings, same_picks=given.same_picks, **shown))


def encoder_fingerprint(cache: Cache) -> str:
    """Identity of the encoder that made a cache; empty where nobody wrote it down."""
    return "" if cache.encoder_spec is None else cache.encoder_spec.fingerprint


def _check_clusters(runs: Sequence[Path], folder: Path) -> None:
    """Refuse clusters that a run did not use; a run that names none may be shown beside any.

    Raises:
        MissingFileError: the folder holds no clusters.
        MismatchError: they are of another fit or walk.
    """
    from encash.clusters import OneModel, models_fingerprint
    from encash.report import read_run

    assigner = _assigner(folder)
    models = [assigner.model] if isinstance(assigner, OneModel) else [term.model for term in assigner.terms]
    ours = models_fingerprint(models)
    for run in runs:
        theirs = read_run(run).fingerprints.get("clusters")
        if theirs and theirs != ours:
            raise MismatchError(f"{run} was filtered by other clusters than those in {folder}; give the ones it used")


def _cluster_extras(folder: Path, horizon: int) -> dict[str, Any]:
    """What a folder of clusters or of a walk shows of itself on a page."""
    from encash.clusters import load_map, load_ranking
    from encash.report import cluster_returns

    shown: dict[str, Any] = {}
    if (folder / "map.npz").is_file():
        shown["cluster_map"] = load_map(folder)
    ranking = None
    if _is_walk(folder):
        from encash.clusters import load_walk, walk_drift

        walk = load_walk(folder)
        ranking, shown["refits"] = walk.refits[-1].ranking, walk_drift(walk)
    elif (folder / f"ranking_{horizon}d.json").is_file():
        ranking = load_ranking(folder, horizon)
    if ranking is not None:
        shown["ranking"] = cluster_returns(ranking.rows(), ranking.best or (), ranking.selected_share)
        shown["ranking_horizon"] = ranking.horizon
    return shown


def _is_walk(folder: Path) -> bool:
    return (folder / "walk.json").is_file()


def _assigner(folder: Path) -> OneModel | WalkModel:
    """The model of a folder, or its walk."""
    from encash.clusters import OneModel, load_clusters

    if _is_walk(folder):
        from encash.clusters import load_walk

        return load_walk(folder)
    return OneModel(load_clusters(folder))


def _entries(cache: Cache) -> CacheEntries:
    """The entries of a cache as the clusters see them."""
    from encash.clusters import CacheEntries

    fingerprint, vectors = cache.spec.fingerprint, cache.store.vectors
    return CacheEntries(index=cache.index(), vectors=vectors, cache=fingerprint, version=cache.version)


def _kept(folder: Path, model: str, cache: Cache | None, *, distances: bool) -> Assignments | None:
    """What was kept of a cache under a model, as far as it still holds."""
    from encash.clusters import find_kept

    if cache is None or not cache.verified:
        return None
    return find_kept(folder, model, _entries(cache), distances=distances)


def _write_map(cache: Cache, model: ClusterModel, out: Path) -> None:
    """Keep a map of a model with a seeded sample of the entries that it was fitted on."""
    from encash.clusters import cluster_map

    index = cache.index()
    fitted = (index.days >= np.datetime64(model.fit_start)) & (index.days <= np.datetime64(model.fit_end))
    rows = index.row[fitted].astype(np.int64)
    rows = rows[rows >= 0]
    if len(rows) > MAPPED_ENTRIES:
        rows = np.sort(np.random.default_rng(model.seed).choice(rows, MAPPED_ENTRIES, replace=False))
    cluster_map(model, cache.store.vectors(rows)).save(out)


def _measured(encoder: Encoder) -> Encoder:
    """The same encoder, its entries a second measured: on a few windows, and on a whole batch if these were quick."""
    if encoder.entries_per_second is not None:  # known since it was chosen
        return encoder
    for count in (1, min(8, encoder.batch_size), encoder.batch_size):  # the first call is slower than all others
        windows = np.zeros((count, encoder.spec.lookback, encoder.spec.num_features), dtype=np.float32)
        began = time.perf_counter()
        encoder.encode(windows)
        encoder.entries_per_second = count / (time.perf_counter() - began)
        if count > 1 and encoder.batch_size / encoder.entries_per_second > 1.0:
            break
    return encoder


def _check_lookback(model: str, lookback: int, cache: Cache, cached: int) -> None:
    """Refuse a model whose windows have another length than those that the cache was made from."""
    if lookback != cached:
        raise MismatchError(
            f"{model} reads windows of {lookback} sessions, the cache {cache.path} was built with windows of {cached}; "
            "give the model that built the cache, the lookback it was built with, or another cache"
        )


def _say_without_forecasts(encoder: Encoder, warn: Callable[[str], None]) -> None:
    from encash.encoders.bins import NO_EDGES

    if encoder.spec.forecast_rule == NO_EDGES:
        warn("no forecasts: the checkpoint has no bin edges (--bin-edges F)")
    elif not encoder.spec.horizons:
        warn(f"no forecasts: the model has none ({encoder.spec.forecast_rule}); the cache will hold embeddings alone")


def _named_cache(sources: Sources) -> Cache:
    if (cache := sources.open_cache()) is None:
        raise InputError("no cache was named; give --cache C")
    return cache


def _ranking(choice: FilterChoice) -> tuple[Ranking | None, Int32]:
    """The ranking of a folder, where there is one, and the best clusters."""
    from encash.clusters import load_ranking, read_best_clusters

    assert choice.clusters is not None
    folder, horizon = choice.clusters, choice.horizon
    best = read_best_clusters(choice.best_file or folder / f"best_clusters_{horizon}d.txt")
    known = (folder / f"ranking_{horizon}d.json").is_file()
    return (load_ranking(folder, horizon) if known else None), best


def _known_tickers(panel: Panel | None, cache: Cache | None, prices: PriceTable) -> tuple[str, ...]:
    """The tickers with prices of which the panel, or else the cache, knows anything at all.

    Raises:
        InputError: there are none.
    """
    if panel is not None:
        known = set(panel.tickers)
    else:
        assert cache is not None
        known = set(cache.index().tickers.tolist())
    if not (both := tuple(sorted(known & set(prices.tickers)))):
        raise InputError("no ticker has both prices and features; give files of the same tickers")
    return both


def _parts(trading: Trading) -> dict[str, Any]:
    return {
        "prices": trading.prices,
        "lookup": trading.lookup,
        "filter": trading.filter,
        "candidates": trading.candidates,
    }


def _heat_maps(result: SweepResult, settings: Sequence[str]) -> None:
    """A picture of the Sharpe ratio over each pair of settings that the sweep varied, beside its table."""
    import pyarrow.parquet as pq

    from encash.backtest import heat_map
    from encash.report import HeatMap, heat_picture

    found = pq.read_table(result.table)
    table = {name: found[name].to_numpy() for name in found.column_names}
    for rows, columns in combinations(settings, 2):
        heat = heat_map(table, rows, columns)
        if min(heat["values"].shape) < 2:
            continue
        picture = HeatMap(
            figure="Sharpe ratio",
            row_name=rows,
            rows=tuple(map(str, heat["rows"])),
            column_name=columns,
            columns=tuple(map(str, heat["columns"])),
            values=heat["values"],
        )
        heat_picture(picture, result.table.with_name(f"heat_{rows}_{columns}.svg"))


def _joined(parts: list[tuple[Days, Text, Float32]]) -> tuple[Days, Text, Float32]:
    days, tickers, vectors = zip(*parts, strict=True)
    return np.concatenate(days), np.concatenate(tickers), np.concatenate(vectors)


def _ensemble(members: list[Encoder]) -> Encoder:
    from encash.encoders import Ensemble

    ensemble: Encoder = Ensemble(members)
    return ensemble
