"""Clusters: fitted and ranked on the past, then a filter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from encash.clusters.assignments import Assignments, assign_batches, load_assignments
from encash.clusters.filter import KINDS, FilterModel, Term, first_allowed_day, single_term, static_clusters
from encash.clusters.model import ClusterModel, load_clusters
from encash.clusters.rank import METRICS, RankConfig, Ranking, Rule, rank_clusters, select_best, stability
from encash.clusters.ranking_files import (
    check_ids,
    describe_ranking,
    load_ranking,
    read_best_clusters,
    write_ranking,
)

if TYPE_CHECKING:
    from encash.clusters.fit import FitConfig, Sample, draw_entries, fit_clusters, fit_sample, sample_vectors

_FIT = ("FitConfig", "Sample", "draw_entries", "fit_clusters", "fit_sample", "sample_vectors")

__all__ = [
    "KINDS",
    "METRICS",
    "Assignments",
    "ClusterModel",
    "FilterModel",
    "FitConfig",
    "RankConfig",
    "Ranking",
    "Rule",
    "Sample",
    "Term",
    "assign_batches",
    "check_ids",
    "describe_ranking",
    "draw_entries",
    "first_allowed_day",
    "fit_clusters",
    "fit_sample",
    "load_assignments",
    "load_clusters",
    "load_ranking",
    "rank_clusters",
    "read_best_clusters",
    "sample_vectors",
    "select_best",
    "single_term",
    "stability",
    "static_clusters",
    "write_ranking",
]


def __getattr__(name: str) -> Any:
    """What fits clusters, and with it faiss, is imported when it is first asked for."""
    if name in _FIT:
        from encash.clusters import fit  # noqa: PLC0415  faiss takes 0.15 s, and a backtest fits nothing

        return getattr(fit, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
