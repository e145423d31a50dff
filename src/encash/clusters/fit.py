"""Fit clusters to embeddings of past entries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from encash.arrays import Bool, Days, Float32, Float64, Text, day_text
from encash.clusters.clusterers.base import Clusterer, Partition, too_many_clusters
from encash.clusters.clusterers.registry import make_clusterer
from encash.clusters.draw import draw_scores, group_ranks, ticker_codes, ticker_keys
from encash.clusters.geometry import Geometry
from encash.clusters.model import ClusterModel
from encash.errors import InputError, MismatchError, shown
from encash.fingerprint import row_digests
from encash.plugins import is_attribute
from encash.progress import Progress
from encash.serialization import from_description, identity

_BLOCK_ROWS = 4096
_PENDING_ROWS = 32_768
Batch = tuple[Days, Text, Float32]
"""Days (n,), tickers (n,) and vectors (n, d) of some entries."""


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """Settings of a fit."""

    k: int
    """Number of clusters."""
    seed: int = 0
    method: str = "kmeans"
    """A clusterer: ``NAME`` or ``NAME?field=value`` as `make_clusterer` takes it. The fields below from `starts` on are
    those of `kmeans`."""
    standardize: bool = True
    """Scale each dimension to mean 0 and deviation 1 over the fitted entries."""
    pca_components: int | None = None
    """Number of principal components to project on; None keeps all dimensions."""
    samples_per_ticker: int | None = None
    """Number of entries per ticker to fit on, drawn by (seed, day, ticker); None takes all."""
    max_entries: int | None = 262_144
    """Maximum number of entries to fit on, drawn likewise (1 GiB of 1,024 floats); None takes all."""
    starts: int = 4
    """Runs on a subsample; the best one is refined on all entries."""
    rough_entries: int = 500
    """Entries of that subsample per cluster."""
    rough_iterations: int = 25
    iterations: int = 15
    """Lloyd iterations of the refinement."""

    def __post_init__(self) -> None:
        """Refuse a negative seed.

        Raises:
            InputError: a seed below 0.
        """
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; expected 0 or more")

    def clusterer(self) -> Clusterer:
        """Return the clusterer of these settings.

        Raises:
            InputError: an unknown one, or an invalid field.
        """
        return make_clusterer(self.method, identity(self) if self.method.partition("?")[0] == "kmeans" else {})

    def options(self) -> dict[str, Any]:
        """Describe the settings that a `ClusterModel` does not hold itself."""
        return {name: value for name, value in identity(self).items() if name not in ("k", "seed", "method")}

    @classmethod
    def of_model(cls, model: ClusterModel) -> FitConfig:
        """Return the settings that a model was fitted with.

        Raises:
            MismatchError: its notes do not hold them, or its clusterer is the code of a module.
        """
        if is_attribute(model.method.partition("?")[0]):
            raise MismatchError(
                f"the clusters were fitted by {model.method}, and code that a file names is not run; fit again with "
                "--clusterer to compare"
            )
        if missing := [name for name in cls(k=model.k).options() if name not in model.notes]:
            raise MismatchError(f"the clusters do not record {missing[0]}; fit them again: encash clusters fit …")
        names = {one.name for one in fields(cls)}
        options = {name: value for name, value in model.notes.items() if name in names}
        own = {"k": model.k, "seed": model.seed, "method": model.method}
        return from_description(cls, {**options, **own}, what="the notes of the clusters")


@dataclass(frozen=True, kw_only=True)
class FitSample:
    """The entries to fit on, sorted by (day, ticker)."""

    days: Days
    """shape (n,)."""
    tickers: Text
    """shape (n,)."""
    vectors: Float32
    """shape (n, d)."""
    seen: int
    """Number of entries that they were drawn from."""
    first: np.datetime64
    """First day of those."""
    last: np.datetime64


def fit_clusters(vectors: Float32, days: Days, tickers: Text, *, config: FitConfig, encoder: str) -> ClusterModel:
    """Fit clusters to entries; the same entries and seed give the same bytes, in any order of the entries.

    Clusters are numbered by size, the largest first.

    Args:
        vectors: embeddings, shape (n, d), finite. All of them may be used: pass only the past.
        days: day of each entry, shape (n,).
        tickers: ticker of each entry, shape (n,).
        config: number of clusters, seed and the rest.
        encoder: fingerprint of the encoder; empty if unknown.

    Raises:
        InputError: fewer entries, or fewer distinct ones, than clusters; a value that is not finite; a method that
            cannot assign new entries.
    """
    return fit_sample(sample_vectors([(days, tickers, vectors)], config=config), config=config, encoder=encoder)


def sample_vectors(batches: Iterable[Batch], *, config: FitConfig) -> FitSample:
    """Draw the entries to fit on from a stream; memory stays within about three times the sample and a batch.

    The draw depends only on (seed, day, ticker), so batches of any size and order give the same sample.

    Args:
        batches: days (n,), tickers (n,) and vectors (n, d) of past entries.
        config: `samples_per_ticker`, `max_entries` and `seed` are used.

    Raises:
        InputError: no entries, or a sample size below 1.
    """
    for name in ("samples_per_ticker", "max_entries"):
        if (most := getattr(config, name)) is not None and most < 1:
            raise InputError(f"{name} is {most}; expected 1 or more, or None for all entries")
    kept: list[Batch] = []
    ends: list[np.datetime64] = []
    seen = pending = 0
    for batch in batches:
        kept.append(batch)
        ends += [batch[0].min(), batch[0].max()] if len(batch[0]) else []
        seen, pending = seen + len(batch[0]), pending + len(batch[0])
        if pending > max(_PENDING_ROWS, sum(len(days) for days, _, _ in kept) // 2):
            kept, pending = _thinned(kept, config), 0
    if seen == 0:
        raise InputError("no entries to fit clusters on; give a range of days that the cache covers")
    days, tickers, vectors = _joined(_thinned(kept, config))
    order = np.lexsort((tickers, days))
    if (order != np.arange(len(order))).any():
        days, tickers, vectors = days[order], tickers[order], vectors[order]
    return FitSample(days=days, tickers=tickers, vectors=vectors, seen=seen, first=min(ends), last=max(ends))


def draw_entries(days: Days, tickers: Text, *, config: FitConfig) -> Bool:
    """Mark the entries that `sample_vectors` keeps, shape (n,): with the keys, a reader can skip the others.

    Args:
        days: shape (n,).
        tickers: shape (n,).
        config: `samples_per_ticker`, `max_entries` and `seed` are used.
    """
    chosen = np.ones(len(days), dtype=np.bool_)
    if config.samples_per_ticker is None and (config.max_entries is None or len(days) <= config.max_entries):
        return chosen
    codes, names = ticker_codes(tickers)
    scores = draw_scores(config.seed, days, ticker_keys(names)[codes])
    if config.samples_per_ticker is not None:
        chosen = group_ranks(codes, scores) < config.samples_per_ticker
    if config.max_entries is not None and chosen.sum() > config.max_entries:
        chosen &= scores <= np.partition(scores[chosen], config.max_entries - 1)[config.max_entries - 1]
    return chosen


def fit_sample(sample: FitSample, *, config: FitConfig, encoder: str, progress: Progress | None = None) -> ClusterModel:
    """Fit clusters to drawn entries, as `fit_clusters` does.

    Args:
        sample: the entries.
        config: number of clusters, seed and the rest.
        encoder: fingerprint of the encoder; empty if unknown.
        progress: called with entries compared with all centroids, and their total over all iterations.

    Raises:
        InputError: like `fit_clusters`.
    """
    vectors, clusterer = np.ascontiguousarray(sample.vectors, dtype=np.float32), config.clusterer()
    _check(vectors, config)
    mean, scale = _moments(vectors, standardize=config.standardize)
    components, explained = _principal(vectors, mean, scale, config.pca_components)
    space = _project(vectors, mean, scale, components)
    found = _whole(clusterer.fit(space, k=config.k, seed=config.seed, progress=progress), space, config).by_size()
    return ClusterModel(
        centroids=found.centroids,
        rule=found.rule,
        mean=mean,
        scale=scale,
        components=components,
        encoder=encoder,
        fit_start=day_text(sample.first),
        fit_end=day_text(sample.last),
        seed=config.seed,
        method=config.method,
        counts=np.bincount(found.cluster, minlength=config.k).astype(np.int64),
        inertia=float(np.mean(found.distance.astype(np.float64) ** 2)),
        explained=explained,
        notes={"entries": len(vectors), "entries_seen": sample.seen, **config.options()},
    )


def _whole(found: Partition, space: Float32, config: FitConfig) -> Partition:
    """Refuse what a clusterer of the user returned, unless it is k clusters of all vectors."""
    shape = (config.k, space.shape[1])
    whole = (
        isinstance(found, Partition)
        and found.centroids.shape == shape
        and np.isfinite(found.centroids).all()
        and found.cluster.shape == found.distance.shape == space.shape[:1]
        and found.cluster.dtype.kind in "iu"
        and np.isin(found.cluster, np.arange(config.k)).all()
        and np.isfinite(found.distance).all()
    )
    if not whole:
        raise InputError(
            f"the clusterer {config.method} returned {shown(found)}; expected Partition.of(vectors, centroids, rule) "
            f"with finite centroids of shape {shape}: test it with encash.testing.ClustererContract"
        )
    return found


def _thinned(kept: list[Batch], config: FitConfig) -> list[Batch]:
    """Remove the entries that are not drawn."""
    days = np.concatenate([batch[0] for batch in kept])
    tickers = np.concatenate([batch[1] for batch in kept])
    chosen = draw_entries(days, tickers, config=config)
    if chosen.all():
        return kept
    masks = np.split(chosen, np.cumsum([len(batch[0]) for batch in kept])[:-1])
    parts = [(batch[0][mask], batch[1][mask], batch[2][mask]) for batch, mask in zip(kept, masks, strict=True)]
    return [_joined([part for part in parts if len(part[0])])]


def _joined(parts: list[Batch]) -> Batch:
    if len(parts) == 1:
        return parts[0]
    days, tickers, vectors = (np.concatenate(column) for column in zip(*parts, strict=True))
    return days, tickers, vectors


def _check(vectors: Float32, config: FitConfig) -> None:
    if config.k < 2:
        raise InputError(f"k is {config.k}; expected 2 clusters or more")
    for rows in _blocks(len(vectors)):
        if not np.isfinite(vectors[rows]).all():
            raise InputError(f"a vector among rows {rows.start} to {rows.stop} holds NaN or infinity; verify the cache")
    distinct = len(np.unique(row_digests(vectors)))
    if distinct < config.k:
        raise too_many_clusters(config.k, distinct, len(vectors))
    if config.pca_components is not None and not 1 <= config.pca_components <= vectors.shape[1]:
        raise InputError(f"pca_components is {config.pca_components}; expected 1 to the dimension, {vectors.shape[1]}")


def _blocks(num_rows: int) -> list[slice]:
    return [slice(first, min(first + _BLOCK_ROWS, num_rows)) for first in range(0, num_rows, _BLOCK_ROWS)]


def _moments(vectors: Float32, *, standardize: bool) -> tuple[Float32, Float32]:
    """Compute mean and deviation of each dimension; a constant dimension has the scale 1."""
    blocks = _blocks(len(vectors))
    mean = sum(vectors[rows].sum(axis=0, dtype=np.float64) for rows in blocks) / len(vectors)
    if not standardize:
        return mean.astype(np.float32), np.ones(len(mean), dtype=np.float32)
    squares = sum(np.square(vectors[rows] - mean).sum(axis=0) for rows in blocks)
    scale = np.sqrt(squares / len(vectors)).astype(np.float32)
    constant = (vectors[0] == vectors.min(axis=0)) & (vectors[0] == vectors.max(axis=0))
    return mean.astype(np.float32), np.where(constant | (scale == 0), np.float32(1), scale)


def _principal(
    vectors: Float32, mean: Float32, scale: Float32, count: int | None
) -> tuple[Float32 | None, float | None]:
    """Compute the first principal components (count, d), largest weight positive, and the variance fraction."""
    if count is None:
        return None, None
    covariance: Float64 = np.zeros((len(mean), len(mean)))
    for rows in _blocks(len(vectors)):
        standard = _project(vectors[rows], mean, scale, None).astype(np.float64)
        covariance += standard.T @ standard
    values, axes = np.linalg.eigh(covariance)
    components = axes[:, ::-1][:, :count].T
    largest = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
    explained = float(values[::-1][:count].sum() / values.sum())
    return np.ascontiguousarray(components * np.sign(largest), dtype=np.float32), explained


def _project(vectors: Float32, mean: Float32, scale: Float32, components: Float32 | None) -> Float32:
    width = len(mean) if components is None else len(components)
    geometry = Geometry(np.zeros((1, width), dtype=np.float32), mean, scale, components)
    space = np.empty((len(vectors), width), dtype=np.float32)
    for rows in _blocks(len(vectors)):
        space[rows] = geometry.project(vectors[rows])
    return space
