"""Cluster models: clusters in a standardized space, and the nearest one to each vector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from encash.arrays import Float32, Int32, Int64
from encash.clusters.files import CHECKSUM, check_seal, check_types, read_arrays, read_json, write_arrays, write_json
from encash.clusters.geometry import Geometry
from encash.clusters.rules import AssignmentRule, rule_of
from encash.errors import FormatError, MismatchError
from encash.fingerprint import fingerprint

_REFIT = (
    "encash clusters fit --cache …, or from a model: python -m cluster.create_clusters --model-path … --dataset-path …"
)
_ARRAYS_FILE, _FACTS_FILE = "clusters.npz", "clusters.json"
_FACTS = {
    **dict.fromkeys(("encoder", "fit_start", "fit_end", "method"), str),
    "seed": int,
    "inertia": float | None,
    "explained": float | None,
}
_ARRAYS = ("centroids", "mean", "scale", "components", "counts")


@dataclass(frozen=True, kw_only=True, eq=False)
class ClusterModel:
    """k clusters, and the map from embeddings into their space.

    Without a `rule`, the distance of an embedding x to a cluster is that to its centroid c,
    ``‖components · ((x − mean) / scale) − c‖`` in float64, rounded to float32 once. It has the same bits whatever the
    other rows of a call are.
    """

    centroids: Float32
    """shape (k, p); p is the embedding's length d, or the number of components."""
    mean: Float32
    """shape (d,)."""
    scale: Float32
    """shape (d,), above zero."""
    components: Float32 | None = None
    """Rows of the projection, shape (p, d); None without one."""
    encoder: str
    """Fingerprint of the encoder of the embeddings; empty if unknown."""
    fit_start: str
    """First day of the fitted entries, or of those that they were drawn from, YYYY-MM-DD."""
    fit_end: str
    """Last day of them, YYYY-MM-DD."""
    seed: int
    method: str = "kmeans"
    """The clusterer, as `FitConfig.method`."""
    rule: AssignmentRule | None = None
    """How vectors are assigned; None assigns to the nearest centroid."""
    counts: Int64
    """Fitted entries of each cluster, shape (k,)."""
    inertia: float
    """Mean squared distance of the fitted entries to their centroids."""
    explained: float | None = None
    """Fraction of the variance that the components keep."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the fit, informational; not a part of the identity."""

    @property
    def k(self) -> int:
        """Number of clusters."""
        return len(self.centroids)

    @property
    def dim(self) -> int:
        """Length of the embeddings it takes."""
        return len(self.mean)

    @cached_property
    def fingerprint(self) -> str:
        """Identity: arrays, encoder, days, method and seed (64 hexadecimal digits)."""
        return fingerprint({**self._facts(), **self._arrays()})

    def assign(self, vectors: Float32) -> tuple[Int32, Float32]:
        """Find the nearest cluster of each vector, like brute force in float64; ties go to the lowest id.

        Args:
            vectors: embeddings, shape (n, d), finite.

        Returns:
            cluster ids, shape (n,), and distances, shape (n,).

        Raises:
            MismatchError: vectors of a different length.
            InputError: a value that is not finite.

        >>> model = ClusterModel(centroids=np.float32([[0, 0], [4, 0]]), mean=np.zeros(2, "f4"), encoder="",
        ...     scale=np.ones(2, "f4"), fit_start="", fit_end="", seed=0, counts=np.array([1, 1]), inertia=0.0)
        >>> ids, distances = model.assign(np.float32([[3, 0], [1, 1]]))
        >>> ids.tolist(), distances.round(3).tolist()
        ([1, 0], [1.0, 1.4140000343322754])
        """
        checked = self._checked(vectors)
        return self._geometry.assign(checked) if self.rule is None else self.rule.assign(self._space(checked))

    def distances(self, vectors: Float32) -> Float32:
        """Measure the distance of each vector to each cluster, shape (n, k); same bits as `assign`.

        Raises:
            MismatchError: vectors of a different length.
            InputError: a value that is not finite.
        """
        checked = self._checked(vectors)
        return self._geometry.distances(checked) if self.rule is None else self.rule.distances(self._space(checked))

    def distances_to(self, clusters: Int32, vectors: Float32) -> Float32:
        """Measure the distance of each vector to the nearest of some clusters, shape (n,); same bits as `distances`.

        Raises:
            MismatchError: vectors of a different length.
            InputError: a value that is not finite.
        """
        if self.rule is None:
            some = Geometry(self.centroids[clusters], self.mean, self.scale, self.components)
            return some.assign(self._checked(vectors))[1]
        nearest: Float32 = self.distances(vectors)[:, clusters].min(axis=1)
        return nearest

    def reordered(self, order: Int64) -> ClusterModel:
        """Return the same clusters under different ids: cluster i is the current cluster ``order[i]``."""
        rule = None if self.rule is None else self.rule.reordered(order)
        return replace(self, centroids=self.centroids[order], counts=self.counts[order], rule=rule)

    def project(self, vectors: Float32) -> Float32:
        """Map vectors into the space of the centroids, shape (n, p).

        Raises:
            MismatchError: vectors of a different length.
        """
        return self._space(self._checked(vectors))

    def check_encoder(self, encoder: str) -> None:
        """Refuse embeddings of a different encoder; an empty fingerprint on either side is unknown and passes.

        Raises:
            MismatchError: the fingerprints differ.
        """
        if encoder and self.encoder and encoder != self.encoder:
            raise MismatchError(
                f"the clusters were fitted on embeddings of encoder {self.encoder[:12]}, not of {encoder[:12]}; fit "
                "clusters on this cache: encash clusters fit --cache …"
            )

    def save(self, folder: str | Path) -> None:
        """Write `clusters.npz` (arrays, no pickle) and `clusters.json` (the rest, readable), each atomically."""
        folder = Path(folder)
        write_arrays(folder / _ARRAYS_FILE, self._arrays())
        head = {"fingerprint": self.fingerprint, "k": self.k, "dim": self.dim}
        write_json(folder / _FACTS_FILE, {**head, **self._facts(), "notes": dict(self.notes)}, seal=CHECKSUM)

    @cached_property
    def _geometry(self) -> Geometry:
        return Geometry(self.centroids, self.mean, self.scale, self.components)

    def _facts(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _FACTS}

    def _arrays(self) -> dict[str, Any]:
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        found = {name: array for name, array in arrays.items() if array is not None}
        return found if self.rule is None else found | self.rule.arrays

    def _space(self, checked: Float32) -> Float32:
        return self._geometry.project(checked).astype(np.float32)

    def _checked(self, vectors: Float32) -> Float32:
        if vectors.ndim != 2 or vectors.shape[1] != self.dim:
            raise MismatchError(
                f"the vectors have shape {vectors.shape}, these clusters take (n, {self.dim}); "
                "fit the clusters on embeddings of this encoder"
            )
        return np.ascontiguousarray(vectors, dtype=np.float32)


def load_clusters(folder: str | Path) -> ClusterModel:
    """Load the cluster model that `ClusterModel.save` wrote.

    Raises:
        MissingFileError: no such folder, or no clusters in it.
        FormatError: the folder has only old pickles, a file is damaged, or the two files do not belong together.
    """
    folder = Path(folder)
    pickles = sorted(path.name for path in folder.glob("*.pkl"))
    if pickles and not (folder / _FACTS_FILE).exists():
        raise FormatError(
            f"{folder} holds only pickles ({', '.join(pickles)}), which can run code and are never loaded; fit the "
            f"clusters again, from a cache in seconds: {_REFIT}"
        )
    facts = read_json(folder / _FACTS_FILE, remake=_REFIT)
    check_types(folder / _FACTS_FILE, facts, _FACTS, remake=_REFIT)
    arrays = read_arrays(folder / _ARRAYS_FILE, remake=_REFIT)
    try:
        fields: dict[str, Any] = {name: facts[name] for name in _FACTS}
        fields |= {name: arrays[name] for name in _ARRAYS if name != "components" or name in arrays}
        model = ClusterModel(**fields, rule=rule_of(arrays), notes=facts.get("notes", {}))
        if model.rule is not None:
            model.rule.check(*model.centroids.shape)
    except KeyError as missing:
        raise FormatError(f"{folder} lacks {missing}; fit the clusters again: {_REFIT}") from None
    except (FormatError, TypeError, ValueError) as error:
        raise FormatError(f"{folder / _ARRAYS_FILE}: {error}; fit the clusters again: {_REFIT}") from None
    if facts.get("fingerprint") != model.fingerprint:
        raise FormatError(
            f"{_FACTS_FILE} and {_ARRAYS_FILE} in {folder} do not belong together, or one was changed; "
            f"fit the clusters again: {_REFIT}"
        )
    check_seal(folder / _FACTS_FILE, facts, required=False, remake=_REFIT, seal=CHECKSUM)
    return model
