"""Clusters from a cache and prices: fit, rank and walk, with cached assignments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encash import clusters
from encash.arrays import DayLike, Days, Int32
from encash.atomic_write import check_folder
from encash.errors import InputError, MismatchError, UnknownKeyError, meant
from encash.pipeline.sources import cached_batches, encoder_fingerprint, entries_of
from encash.progress import Progress
from encash.store.local.lock import sole_writer

if TYPE_CHECKING:
    from encash.cache import Cache
    from encash.panel import PriceTable


def draw_sample(
    cache: Cache,
    config: clusters.FitConfig,
    *,
    start: DayLike | None = None,
    end: DayLike,
    progress: Progress | None = None,
) -> clusters.FitSample:
    """Draw the cached entries of a range of days that clusters are fitted on.

    Raises:
        MissingExtraError: the library that fits them is not installed.
    """
    config.clusterer().require_installed()
    return clusters.sample_vectors(cached_batches(cache, start, end, progress=progress), config=config)


def fit_clusters(
    cache: Cache,
    sample: clusters.FitSample,
    config: clusters.FitConfig,
    out: Path,
    *,
    counts: Sequence[int] = (),
    progress: Progress | None = None,
) -> tuple[clusters.ClusterModel, clusters.KSelection | None]:
    """Fit clusters to drawn entries of a cache, and save them with a map of them.

    Args:
        cache: the source of the entries.
        sample: the entries, from `draw_sample`.
        config: settings of the fit.
        out: the folder of the clusters.
        counts: numbers of clusters to choose from, instead of the one of `config`.
        progress: as for `fit_sample`; or called with numbers of clusters tried and their total.

    Returns:
        The model, and the candidates if it was chosen.
    """
    settings: dict[str, Any] = {"config": config, "encoder": encoder_fingerprint(cache), "progress": progress}
    check_folder(out)
    if is_walk(out):
        raise InputError(f"{out} holds a walk; give a different folder for these clusters (--out)")
    selection = clusters.choose_k(sample, counts, **settings) if counts else None
    model = clusters.fit_sample(sample, **settings) if selection is None else selection.best
    model.save(out)
    clusters.remove_rankings(out, keep_model=model.fingerprint)
    clusters.map_entries(model, entries_of(cache)).save(out)
    return model, selection


def assign_entries(
    cache: Cache, model: clusters.ClusterModel, *, start: DayLike | None, end: DayLike | None
) -> clusters.Assignments:
    """Assign every cached entry of a range of days from its vector.

    Raises:
        MismatchError: the clusters were fitted on embeddings of a different encoder.
    """
    model.check_encoder(encoder_fingerprint(cache))
    batches = cached_batches(cache, start, end)
    return clusters.assign_batches(batches, model, cache=cache.spec.fingerprint, version=cache.version)


def update_assignment_cache(cache: Cache, folder: Path, *, progress: Progress | None = None) -> clusters.Assignments:
    """Assign the entries of a cache under the model or the walk of a folder, and store the assignments there.

    Only entries that have changed since the last time are read.

    Raises:
        MismatchError: the clusters are of a different encoder, or the cache does not record which model made it.
    """
    assigner = load_assigner(folder)
    assigner.check_encoder(encoder_fingerprint(cache))
    if not cache.verified:
        raise MismatchError(
            f"{cache.path} does not record which model made it, so its assignments are not cached; run "
            "`encash cache verify` with the model"
        )
    return clusters.update_assignment_cache(folder, assigner, entries_of(cache), progress=progress)


def assignments_to_rank(
    cache: Cache,
    folder: Path,
    *,
    start: DayLike | None,
    end: DayLike,
    progress: Progress | None = None,
) -> clusters.Assignments:
    """Return the cluster of every entry of the days to rank: from the assignment cache, or assigned again if the cache
    does not record which model made it."""
    if is_walk(folder):
        raise InputError(f"{folder} holds a walk, whose refits are already ranked; give a folder of clusters fit")
    if not cache.verified:
        return assign_entries(cache, clusters.load_clusters(folder), start=start, end=end)
    return update_assignment_cache(cache, folder, progress=progress).between(start, end)


def rank_clusters(
    assignments: clusters.Assignments,
    prices: PriceTable,
    folder: Path,
    *,
    config: clusters.RankConfig,
    rule: clusters.SelectionRule,
) -> tuple[clusters.Ranking, Int32]:
    """Rank the clusters of a folder by the forward returns of their entries, and write the ranking beside them."""
    model = clusters.load_clusters(folder)
    config = replace(config, fit_end=model.fit_end, model=model.fingerprint, encoder=model.encoder)
    ranking = clusters.rank_clusters(assignments, prices, config=config)
    best = clusters.select_best(ranking, rule)
    clusters.write_ranking(folder, ranking, best, rule=rule)
    return ranking, best


def write_walk(
    cache: Cache, prices: PriceTable, config: clusters.WalkConfig, out: Path, *, progress: Progress | None
) -> clusters.WalkModel:
    """Refit and rank every N sessions, each time on the past only, and save every model with its first day.

    Each refit is a checkpoint: after an interruption, the same walk into the same folder resumes from there. Until it
    is finished, the folder keeps its previous content. Without a record of the model that made the cache there are no
    checkpoints.

    Raises:
        ConflictError: a different walk is writing into the folder.
        MissingExtraError: the library that fits clusters is not installed.
        KeyboardInterrupt: says how many refits are stored.
    """
    config.fit.clusterer().require_installed()
    check_folder(out)
    if (out / "clusters.json").is_file():
        raise InputError(f"{out} holds clusters of one period; give a different folder for the walk (--out)")
    with sole_writer(out, "walk"):  # two walks would remove each other's checkpoints and mix their files
        checkpoints = clusters.WalkCheckpoints(out, entries_of(cache)) if cache.verified else None
        try:
            walk = clusters.walk_forward(
                prices,
                lambda start, end: cached_batches(cache, start, end),
                config=config if config.start is not None else replace(config, start=cache.first_day),
                encoder=encoder_fingerprint(cache),
                checkpoints=checkpoints,
                progress=progress,
            )
        except KeyboardInterrupt:
            if checkpoints is None or not checkpoints.stored:
                raise
            raise KeyboardInterrupt(
                f"{checkpoints.stored} refits are stored: the same walk into {out} resumes from there"
            ) from None
        walk.save(out)
        clusters.map_entries(walk.periods[-1].model, entries_of(cache)).save(out)
        if checkpoints is not None:
            checkpoints.clear()
        return walk


def missing_entry(cache: Cache, ticker: str, day: DayLike) -> UnknownKeyError:
    """Return the error of an entry that was asked for: a ticker that the cache does not have, or a day without one."""
    tickers = cache.index().tickers.tolist()
    if ticker not in tickers:
        return UnknownKeyError(f"the cache has no entry of {ticker}{meant(ticker, tickers) or '; build it'}")
    return UnknownKeyError(f"the cache has no entry of {ticker} on {day}; give a session that is in it, or build it")


def find_similar(
    cache: Cache, ticker: str, day: DayLike, *, before: DayLike, count: int, sessions: Days, apart: int = 1
) -> clusters.Neighbors:
    """Find the entries up to a day whose embeddings are nearest to that of an entry.

    Args:
        cache: the entries.
        ticker: of the entry.
        day: of the entry.
        before: last day of its neighbors.
        count: maximum number of neighbors.
        sessions: all trading days.
        apart: of the entries of one ticker that are fewer sessions apart, only the nearest is taken.

    Raises:
        UnknownKeyError: the cache has no such entry.
        InputError: no entry that early.
    """
    vectors, found = cache.get(day, [ticker], checked=True)
    if not found[0]:
        raise missing_entry(cache, ticker, day)
    enough = count * max(1, 2 * apart - 1)  # the most days of an episode
    days, tickers, distance = cache.nearest(vectors[0], enough, last_day=before, checked=True)
    if not len(days):
        raise InputError(f"no entry on or before {before}; give a later day, or build more of the past")
    near = clusters.Neighbors(days=days, tickers=tickers, distance=distance)
    return clusters.one_per_episode(near, sessions, apart).first(count)


def is_walk(folder: Path) -> bool:
    """Say if a folder holds a walk, not clusters of one period."""
    return (folder / "walk.json").is_file()


def load_assigner(folder: Path) -> clusters.Assigner:
    """Load the assigner of the model of a folder, or of its walk."""
    if is_walk(folder):
        return clusters.load_walk(folder).assigner
    return clusters.Assigner.of_model(clusters.load_clusters(folder))


def cached_assignments(
    folder: Path, model: str, cache: Cache | None, *, distances: bool
) -> clusters.Assignments | None:
    """Load the cached assignments of a cache under a model, as far as they are still valid."""
    if cache is None or not cache.verified:
        return None
    return clusters.load_cached_assignments(folder, model, entries_of(cache), distances=distances)
