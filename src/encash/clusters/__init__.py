"""Clusters of embeddings: fitted and ranked on the past, then used to filter candidates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encash.lazy import lazy_names

if TYPE_CHECKING:
    from encash.clusters.assignment_cache import (
        CacheEntries as CacheEntries,
    )
    from encash.clusters.assignment_cache import (
        covers as covers,
    )
    from encash.clusters.assignment_cache import (
        load_cached_assignments as load_cached_assignments,
    )
    from encash.clusters.assignment_cache import (
        update_assignment_cache as update_assignment_cache,
    )
    from encash.clusters.assignments import (
        Assignments as Assignments,
    )
    from encash.clusters.assignments import (
        assign_batches as assign_batches,
    )
    from encash.clusters.assignments import (
        load_assignments as load_assignments,
    )
    from encash.clusters.choose import KSelection as KSelection
    from encash.clusters.choose import choose_k as choose_k
    from encash.clusters.filters.base import CandidateFilter as CandidateFilter
    from encash.clusters.filters.hard import Hard as Hard
    from encash.clusters.filters.nearest import Nearest as Nearest
    from encash.clusters.filters.random import Random as Random
    from encash.clusters.filters.registry import (
        FILTERS as FILTERS,
    )
    from encash.clusters.filters.registry import (
        NO_FILTER as NO_FILTER,
    )
    from encash.clusters.filters.registry import (
        filter_class as filter_class,
    )
    from encash.clusters.filters.registry import (
        filter_names as filter_names,
    )
    from encash.clusters.filters.static import Static as Static
    from encash.clusters.fit import (
        FitConfig as FitConfig,
    )
    from encash.clusters.fit import (
        FitSample as FitSample,
    )
    from encash.clusters.fit import (
        draw_entries as draw_entries,
    )
    from encash.clusters.fit import (
        fit_clusters as fit_clusters,
    )
    from encash.clusters.fit import (
        fit_sample as fit_sample,
    )
    from encash.clusters.fit import (
        sample_vectors as sample_vectors,
    )
    from encash.clusters.model import ClusterModel as ClusterModel
    from encash.clusters.model import load_clusters as load_clusters
    from encash.clusters.periods import (
        Assigner as Assigner,
    )
    from encash.clusters.periods import (
        ModelPeriod as ModelPeriod,
    )
    from encash.clusters.periods import (
        first_allowed_day as first_allowed_day,
    )
    from encash.clusters.periods import (
        make_period as make_period,
    )
    from encash.clusters.periods import (
        models_fingerprint as models_fingerprint,
    )
    from encash.clusters.periods import (
        static_clusters as static_clusters,
    )
    from encash.clusters.rank import (
        METRICS as METRICS,
    )
    from encash.clusters.rank import (
        RankConfig as RankConfig,
    )
    from encash.clusters.rank import (
        Ranking as Ranking,
    )
    from encash.clusters.rank import (
        SelectionRule as SelectionRule,
    )
    from encash.clusters.rank import (
        rank_clusters as rank_clusters,
    )
    from encash.clusters.rank import (
        select_best as select_best,
    )
    from encash.clusters.rank import (
        selection_frequency as selection_frequency,
    )
    from encash.clusters.ranking_files import (
        check_ids as check_ids,
    )
    from encash.clusters.ranking_files import (
        describe_ranking as describe_ranking,
    )
    from encash.clusters.ranking_files import (
        load_ranking as load_ranking,
    )
    from encash.clusters.ranking_files import (
        load_rankings as load_rankings,
    )
    from encash.clusters.ranking_files import (
        read_best_clusters as read_best_clusters,
    )
    from encash.clusters.ranking_files import (
        remove_rankings as remove_rankings,
    )
    from encash.clusters.ranking_files import (
        write_ranking as write_ranking,
    )
    from encash.clusters.similar import (
        Neighbors as Neighbors,
    )
    from encash.clusters.similar import (
        last_known_day as last_known_day,
    )
    from encash.clusters.similar import (
        neighbor_returns as neighbor_returns,
    )
    from encash.clusters.summary import (
        ClusterMap as ClusterMap,
    )
    from encash.clusters.summary import (
        WalkDrift as WalkDrift,
    )
    from encash.clusters.summary import (
        cluster_map as cluster_map,
    )
    from encash.clusters.summary import (
        load_map as load_map,
    )
    from encash.clusters.summary import (
        map_entries as map_entries,
    )
    from encash.clusters.summary import (
        walk_drift as walk_drift,
    )
    from encash.clusters.walk import (
        WalkConfig as WalkConfig,
    )
    from encash.clusters.walk import (
        WalkModel as WalkModel,
    )
    from encash.clusters.walk import (
        load_walk as load_walk,
    )
    from encash.clusters.walk import (
        match_clusters as match_clusters,
    )
    from encash.clusters.walk import (
        walk_forward as walk_forward,
    )
    from encash.clusters.walk_checkpoints import Refit as Refit
    from encash.clusters.walk_checkpoints import WalkCheckpoints as WalkCheckpoints

_HOMES = {
    "Assigner": "periods",
    "Assignments": "assignments",
    "CacheEntries": "assignment_cache",
    "CandidateFilter": "filters.base",
    "ClusterMap": "summary",
    "ClusterModel": "model",
    "FILTERS": "filters.registry",
    "FitConfig": "fit",
    "FitSample": "fit",
    "Hard": "filters.hard",
    "KSelection": "choose",
    "METRICS": "rank",
    "ModelPeriod": "periods",
    "NO_FILTER": "filters.registry",
    "Nearest": "filters.nearest",
    "Neighbors": "similar",
    "Random": "filters.random",
    "RankConfig": "rank",
    "Ranking": "rank",
    "Refit": "walk_checkpoints",
    "SelectionRule": "rank",
    "Static": "filters.static",
    "WalkCheckpoints": "walk_checkpoints",
    "WalkConfig": "walk",
    "WalkDrift": "summary",
    "WalkModel": "walk",
    "assign_batches": "assignments",
    "check_ids": "ranking_files",
    "choose_k": "choose",
    "cluster_map": "summary",
    "covers": "assignment_cache",
    "describe_ranking": "ranking_files",
    "draw_entries": "fit",
    "filter_class": "filters.registry",
    "filter_names": "filters.registry",
    "first_allowed_day": "periods",
    "fit_clusters": "fit",
    "fit_sample": "fit",
    "last_known_day": "similar",
    "load_assignments": "assignments",
    "load_cached_assignments": "assignment_cache",
    "load_clusters": "model",
    "load_map": "summary",
    "load_ranking": "ranking_files",
    "load_rankings": "ranking_files",
    "load_walk": "walk",
    "make_period": "periods",
    "map_entries": "summary",
    "match_clusters": "walk",
    "models_fingerprint": "periods",
    "neighbor_returns": "similar",
    "rank_clusters": "rank",
    "read_best_clusters": "ranking_files",
    "remove_rankings": "ranking_files",
    "sample_vectors": "fit",
    "select_best": "rank",
    "selection_frequency": "rank",
    "static_clusters": "periods",
    "update_assignment_cache": "assignment_cache",
    "walk_drift": "summary",
    "walk_forward": "walk",
    "write_ranking": "ranking_files",
}

__all__ = list(_HOMES)

__getattr__ = lazy_names(__name__, _HOMES)
