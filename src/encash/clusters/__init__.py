"""Clusters: fitted and ranked on the past, then a filter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encash.clusters.assignment_cache import Assigner, CacheEntries, OneModel, covers, find_kept, keep_assignments
from encash.clusters.assignments import Assignments, assign_batches, load_assignments
from encash.clusters.filter import (
    KINDS,
    FilterModel,
    Term,
    first_allowed_day,
    models_fingerprint,
    single_term,
    static_clusters,
)
from encash.clusters.model import ClusterModel, load_clusters
from encash.clusters.rank import METRICS, RankConfig, Ranking, Rule, rank_clusters, select_best, stability
from encash.clusters.ranking_files import (
    check_ids,
    describe_ranking,
    load_ranking,
    load_rankings,
    read_best_clusters,
    remove_rankings,
    write_ranking,
)
from encash.lazy import lazy_names

if TYPE_CHECKING:
    from encash.clusters.choose import KSelection, choose_k
    from encash.clusters.fit import FitConfig, Sample, draw_entries, fit_clusters, fit_sample, sample_vectors
    from encash.clusters.similar import Neighbours, last_known_day, what_followed
    from encash.clusters.summary import ClusterMap, WalkDrift, cluster_map, load_map, map_entries, walk_drift
    from encash.clusters.walk import WalkConfig, WalkModel, load_walk, match_clusters, walk_forward
    from encash.clusters.walk_checkpoints import Refit, Unfinished, sole_walk

_LATER = {
    "KSelection": "choose",
    "choose_k": "choose",
    "FitConfig": "fit",
    "Sample": "fit",
    "draw_entries": "fit",
    "fit_clusters": "fit",
    "fit_sample": "fit",
    "sample_vectors": "fit",
    "Neighbours": "similar",
    "last_known_day": "similar",
    "what_followed": "similar",
    "ClusterMap": "summary",
    "WalkDrift": "summary",
    "cluster_map": "summary",
    "load_map": "summary",
    "map_entries": "summary",
    "walk_drift": "summary",
    "Refit": "walk_checkpoints",
    "Unfinished": "walk_checkpoints",
    "sole_walk": "walk_checkpoints",
    "WalkConfig": "walk",
    "WalkModel": "walk",
    "load_walk": "walk",
    "match_clusters": "walk",
    "walk_forward": "walk",
}
"""What fits clusters, and with it faiss, is imported when it is first asked for: a backtest fits nothing."""

__all__ = [
    "KINDS",
    "METRICS",
    "Assigner",
    "Assignments",
    "CacheEntries",
    "ClusterMap",
    "ClusterModel",
    "FilterModel",
    "FitConfig",
    "KSelection",
    "Neighbours",
    "OneModel",
    "RankConfig",
    "Ranking",
    "Refit",
    "Rule",
    "Sample",
    "Term",
    "Unfinished",
    "WalkConfig",
    "WalkDrift",
    "WalkModel",
    "assign_batches",
    "check_ids",
    "choose_k",
    "cluster_map",
    "covers",
    "describe_ranking",
    "draw_entries",
    "find_kept",
    "first_allowed_day",
    "fit_clusters",
    "fit_sample",
    "keep_assignments",
    "last_known_day",
    "load_assignments",
    "load_clusters",
    "load_map",
    "load_ranking",
    "load_rankings",
    "load_walk",
    "map_entries",
    "match_clusters",
    "models_fingerprint",
    "rank_clusters",
    "read_best_clusters",
    "remove_rankings",
    "sample_vectors",
    "select_best",
    "single_term",
    "sole_walk",
    "stability",
    "static_clusters",
    "walk_drift",
    "walk_forward",
    "what_followed",
    "write_ranking",
]

__getattr__ = lazy_names(__name__, _LATER)
